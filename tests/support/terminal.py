"""The command line, as a process with pipes, as one on a terminal of its own, and in this process."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.cli import main
from tests.support import forks

PATIENCE = 60
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
HOLDFAST = str(Path(sys.executable).with_name("holdfast"))
"""The console script that is installed."""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that was said, on standard error."""
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert "Traceback" not in line
        return line


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of the machine, without what would change how requests are sent or shown."""
    unwanted = (*PROXIES, "no_color", "force_color", "term", "columns")
    kept = {name: value for name, value in os.environ.items() if name.lower() not in unwanted}
    return {**kept, "TERM": "xterm-256color", **(extra or {})}


def run(*arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
    """The command in a process with pipes. Where it reads something, it is the console script that is installed."""
    if not stdin and forks.POSSIBLE:
        process = forks.start(list(arguments), environment(env), apart=True)
        try:
            out, errors = process.communicate(PATIENCE)
        finally:
            process.kill()
        return Done(process.wait(), out, errors)
    done = subprocess.run(
        [HOLDFAST, *arguments], env=environment(env), input=stdin, capture_output=True, timeout=PATIENCE, check=False
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def on_terminal(*arguments: str, env: Mapping[str, str] | None = None) -> Done:
    """The console script with a terminal for input, output and errors, which end up in `out` together."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [HOLDFAST, *arguments], env=environment(env), stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    pieces: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(ours, pieces))
    reader.start()
    try:
        code = process.wait(PATIENCE)
        reader.join(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Done(code, b"".join(pieces).decode().replace("\r\n", "\n"), "")


def _drain(descriptor: int, pieces: list[bytes]) -> None:
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the other end is closed
            return
        if not piece:
            return
        pieces.append(piece)


def inside(capsys: pytest.CaptureFixture[str], *arguments: str, stdin: bytes = b"") -> Done:
    """The command line in this process, which is quicker."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        for name in PROXIES:
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        main(list(arguments))
    out, err = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return Done(code, out, err)
