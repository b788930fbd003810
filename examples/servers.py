"""The reference servers, for as long as an example runs: some that are there, or some of its own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

OFFSETS = range(3_000, 24_000)  # so that the ports lie below those that the system hands out by itself
ATTEMPTS = 10


@dataclass(frozen=True)
class Servers:
    """Where the servers are."""

    crews: str
    sessions: str
    memory: str
    integration: str
    codegen: str


@contextmanager
def reference_servers(*options: str, **environment: str) -> Iterator[Servers]:
    """The servers.

    With EXAMPLES_PORT_OFFSET set, those of a running `holdfast serve --port-offset` are used; EXAMPLES_PORT_OFFSET=0 is
    one on the usual ports. Otherwise a process is started, with its data in a folder that is removed in the end.

    Args:
        options: of `holdfast serve`, such as ``--faults``.
        environment: variables for the process.

    Raises:
        RuntimeError: the servers do not start; says what they said.
    """
    given = os.environ.get("EXAMPLES_PORT_OFFSET")
    if given is not None:
        yield _at(int(given))
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-example-") as folder:
        for attempt in range(1, ATTEMPTS + 1):
            offset = random.choice(OFFSETS)
            command = [sys.executable, "-m", "holdfast", "serve", "--data-dir", folder, "--port-offset", str(offset)]
            process = subprocess.Popen(
                [*command, *options],
                env={**os.environ, **_reachable(offset), **environment, "PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            try:
                said = _until_ready(process)
                if said is None:
                    yield _at(offset)
                    return
                if "in use" not in said or attempt == ATTEMPTS:
                    raise RuntimeError(f"the servers do not start:\n{said}")
            finally:
                process.terminate()
                process.communicate()


def _at(offset: int) -> Servers:
    first = f"http://127.0.0.1:{8001 + offset}"
    return Servers(
        crews=first,
        sessions=first,
        memory=f"http://127.0.0.1:{8002 + offset}",
        integration=f"http://127.0.0.1:{8005 + offset}/api",
        codegen=f"http://127.0.0.1:{8010 + offset}/v1",
    )


def _reachable(offset: int) -> dict[str, str]:
    """By these variables the servers' own crews find the Memory service."""
    return {"MEMORY_SERVICE_URL": _at(offset).memory}


def _until_ready(process: subprocess.Popen[str]) -> str | None:
    """None as soon as the servers answer; what they said, if they ended instead."""
    said = []
    for line in process.stdout or ():
        if "http://127.0.0.1:" in line and "in use" not in line:
            return None  # they announce themselves when all of them answer
        said.append(line)
    return "".join(said)
