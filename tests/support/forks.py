"""Processes of the command `holdfast`, forked from one that has imported it already: see `tests.support.zygote`."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from tests.support.zygote import MOST

ROOT = Path(__file__).resolve().parents[2]
# What is forked is not measured: coverage is begun by a new interpreter.
POSSIBLE = hasattr(os, "pidfd_open") and not {"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"} & os.environ.keys()
"""Whether processes can be forked here; if not, they are started the slow way."""


class Forked:
    """A process, with what tests use of `subprocess.Popen`. Its standard output and error are one pipe, or two."""

    def __init__(self, zygote: Zygote, pid: int, arguments: list[str], stdout: IO[str], stderr: IO[str] | None) -> None:
        self.pid = pid
        self.args = arguments
        self.returncode: int | None = None
        self.stdout = stdout
        self.stderr = stderr
        self._zygote = zygote

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._zygote.status(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        until = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            time.sleep(0.005)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, when it has ended. To be asked again after a timeout, like Popen's."""
        until = None if timeout is None else time.monotonic() + timeout
        for reader in self._readers():
            reader.join(None if until is None else max(0.0, until - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if until is None else max(0.0, until - time.monotonic()))
        texts = ["".join(read) for read in self._read]
        return texts[0], texts[1] if len(texts) > 1 else ""

    def _readers(self) -> list[threading.Thread]:
        if not hasattr(self, "_reading"):
            streams = [stream for stream in (self.stdout, self.stderr) if stream is not None]
            self._read: list[list[str]] = [[] for _ in streams]
            self._reading = [
                threading.Thread(target=_read, args=(stream, into), daemon=True)
                for stream, into in zip(streams, self._read, strict=True)
            ]
            for thread in self._reading:
                thread.start()
        return self._reading

    def send_signal(self, number: int) -> None:
        # The zygote reaps a child at once, and tells; its id may be another's a moment later, but not within that.
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _read(stream: IO[str], into: list[str]) -> None:
    with stream:
        into.append(stream.read())


class Zygote:
    """The process that forks, and what is known of its children."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._lock = threading.Lock()
        self._ended: dict[int, int] = {}
        atexit.register(self.close)

    def start(self, arguments: list[str], environment: Mapping[str, str], *, apart: bool = False) -> Forked:
        """Args: apart: whether standard error has a pipe of its own."""
        ends = [os.pipe() for _ in range(2 if apart else 1)]
        asked = {"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())}
        with self._lock:
            self._channel.settimeout(None)
            socket.send_fds(self._channel, [json.dumps(asked).encode()], [ends[0][1], ends[-1][1]])
            pid = self._answer(None)
        assert pid is not None
        for _, theirs in ends:
            os.close(theirs)
        streams = [os.fdopen(ours, encoding="utf-8", newline="") for ours, _ in ends]
        return Forked(self, pid, arguments, streams[0], streams[1] if apart else None)

    def status(self, pid: int) -> int | None:
        """The exit status of a process, negative for a signal, once it has ended."""
        with self._lock:
            if pid not in self._ended:
                self._answer(0.0)
            return self._ended.get(pid)

    def _answer(self, timeout: float | None) -> int | None:
        """Takes messages in until one says which process was started, or there is none left."""
        self._channel.settimeout(timeout)
        while True:
            try:
                data = self._channel.recv(MOST)
            except BlockingIOError:
                return None
            assert data, "the process that forks servers has ended"
            told = json.loads(data)
            if "status" not in told:
                self._ended.pop(told["pid"], None)
                pid: int = told["pid"]
                return pid
            self._ended[told["pid"]] = told["status"]

    def close(self) -> None:
        """What it has forked and still runs is not ended by this: whoever started it does that."""
        self._channel.close()
        self._process.wait(10)


zygote = functools.cache(Zygote)
"""The one of this process, made when it is first needed."""


def start(arguments: list[str], environment: Mapping[str, str], *, apart: bool = False) -> Forked:
    """Runs `holdfast` with these arguments, in a process of its own."""
    return zygote().start(arguments, environment, apart=apart)
