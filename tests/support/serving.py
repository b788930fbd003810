"""A real `holdfast serve` in a process of its own, on ports that are free."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.support import forks

PORTS = (8000, 8001, 8002, 8005, 8010)
# Ports below those that the system gives to outgoing connections, or one could be taken before the server binds it.
OFFSETS = range(3_000, 24_000)
PATIENCE = 90.0
"""Seconds that a busy machine may take for what an idle one does in one."""

Process = subprocess.Popen[str] | forks.Forked


def free_offset() -> int:
    """A --port-offset under which all ports of the servers are free."""
    for _ in range(200):
        offset = random.choice(OFFSETS)
        if all(_is_free(port + offset) for port in PORTS):
            return offset
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class Serving:
    process: Process
    offset: int
    url: str

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> tuple[int, str]:
        """Send the signal; exit status and what was printed."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=patience)
        assert self.process.returncode is not None
        return self.process.returncode, out


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "holdfast", *arguments]


def started(*arguments: str, env: Mapping[str, str] | None = None, apart: bool = False, fresh: bool = False) -> Process:
    """The command, begun; standard output and error are one pipe, or two if they are wanted apart.

    Args:
        fresh: whether by an interpreter of its own, which takes seconds, as when a user starts it.
    """
    if forks.POSSIBLE and not fresh:
        return forks.start(list(arguments), environment(env), apart=apart)
    errors = subprocess.PIPE if apart else subprocess.STDOUT
    return subprocess.Popen(command(*arguments), env=environment(env), text=True, stdout=subprocess.PIPE, stderr=errors)


def finished(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command, begun and waited for."""
    process = started(*arguments, env=env, apart=True)
    try:
        out, errors = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode is not None
    return subprocess.CompletedProcess(command(*arguments), process.returncode, out, errors)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVER_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **(extra or {})}


def request(
    url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str]:
    """Status and body, without any client of ours or proxy of the machine in between."""
    asked = urllib.request.Request(url, data=body, method=method, headers=dict(headers))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def serving(
    data_dir: Path, *options: str, env: Mapping[str, str] | None = None, fresh: bool = False
) -> Iterator[Serving]:
    """The servers while the block runs. Other ports are tried if one is taken before they start."""
    for attempt in range(3):
        offset = free_offset()
        arguments = [
            "serve",
            "--host",
            "127.0.0.1",
            "--data-dir",
            str(data_dir),
            "--port-offset",
            str(offset),
            *options,
        ]
        process = started(*arguments, env=env, fresh=fresh)
        try:
            url = f"http://127.0.0.1:{8000 + offset}"
            if _answers(process, url):
                yield Serving(process, offset, url)
                return
            out = process.communicate()[0]
            assert "in use" in out and attempt < 2, f"the server ended with {process.returncode}:\n{out}"
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.communicate(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()


def _answers(process: Process, url: str) -> bool:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        try:
            return request(f"{url}/health")[0] == 200
        except OSError:
            assert time.monotonic() < deadline, f"the server at {url} does not answer"
            time.sleep(0.05)
    return False
