"""A process that has imported the servers, and forks itself for each command: `python -m tests.support.zygote FD`.

Importing the servers takes seconds of processor time, forking a process that has done so takes milliseconds. What is
forked runs the command as `python -m holdfast` would, in a process of its own that can be killed like any other. Only
that it starts from nothing is not tested so; `tests/cli` does that.

The descriptor is one end of a socket that keeps messages apart. A message asks for one command, with its standard
output and error as descriptors beside it, and is answered with the process's id, and once more when it has ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys

MOST = 1 << 20
"""Bytes of a message."""


def main(channel: socket.socket) -> list[str]:
    """Forks until the socket is closed. Returns in each child, with the arguments of its command."""
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        children: dict[int, int] = {}
        while True:
            for key, _ in selector.select():
                if key.fileobj is channel:
                    data, descriptors, _, _ = socket.recv_fds(channel, MOST, 2)
                    if not data:
                        os._exit(0)
                    asked = json.loads(data)
                    pid = os.fork()
                    if not pid:
                        break
                    for descriptor in descriptors:
                        os.close(descriptor)
                    watch = os.pidfd_open(pid)
                    children[watch] = pid
                    selector.register(watch, selectors.EVENT_READ)
                    channel.send(json.dumps({"pid": pid}).encode())
                else:
                    watch = key.fd
                    selector.unregister(watch)
                    os.close(watch)
                    pid = children.pop(watch)
                    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    channel.send(json.dumps({"pid": pid, "status": status}).encode())
            else:
                continue
            break
    for watch in children:
        os.close(watch)
    channel.close()
    become(asked, *descriptors)
    arguments: list[str] = asked["arguments"]
    return arguments


def become(asked: dict[str, object], output: int, errors: int) -> None:
    """Makes this the process that a command expects to run in."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (errors, 2)):
        os.dup2(source, target)
    for source in {nothing, output, errors}:
        os.close(source)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[call-overload]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in paths if path and path not in sys.path]
    os.chdir(str(asked["folder"]))


if __name__ == "__main__":
    from holdfast.cli import main as command

    for name in ("holdfast.cli.app", "holdfast.servers.app"):
        importlib.import_module(name)
    # Ctrl-C is for the tests to act on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    arguments = main(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[1:] = arguments
    command(arguments)
