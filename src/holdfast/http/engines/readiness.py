"""Which sockets can be read from and written to. Where the system has it, by ``poll``, which takes any descriptor."""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Sequence

_READ = 1
_WRITE = 2
_HAS_POLL = hasattr(select, "poll")


class Readiness:
    """Watches one connected socket, for one thread at a time."""

    __slots__ = ("_poll", "_socket", "_wanted")

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._wanted = _READ
        self._poll: select.poll | None = None
        if _HAS_POLL:
            self._poll = select.poll()
            self._poll.register(connection.fileno(), select.POLLIN)

    def readable(self) -> bool:
        """Whether there is something to read, be it the end, right now."""
        poll = self._poll
        if poll is not None and self._wanted == _READ:
            return bool(poll.poll(0))  # what is asked before every request
        return self._waited(_READ, 0.0) != 0

    def wait(self, *, read: bool, write: bool, timeout: float | None) -> tuple[bool, bool]:
        """Waits until it can be read from, or written to; which of both. Neither, if it took `timeout` seconds."""
        found = self._waited(_READ * read | _WRITE * write, timeout)
        return found & _READ != 0, found & _WRITE != 0

    def _waited(self, wanted: int, timeout: float | None) -> int:
        poll = self._poll
        if poll is None:
            mine = [self._socket]
            reads, writes, broken = select.select(
                mine if wanted & _READ else [], mine if wanted & _WRITE else [], mine, timeout
            )
            return wanted if broken else _READ * bool(reads) | _WRITE * bool(writes)
        if wanted != self._wanted:
            self._wanted = wanted
            mask = select.POLLIN * (wanted & _READ != 0) | select.POLLOUT * (wanted & _WRITE != 0)
            poll.modify(self._socket.fileno(), mask)
        found = poll.poll(_milliseconds(timeout))
        if not found:
            return 0
        event = found[0][1]
        if event & ~(select.POLLIN | select.POLLOUT):
            return wanted  # it broke: whatever is done next says how
        return _READ * (event & select.POLLIN != 0) | _WRITE * (event & select.POLLOUT != 0)


def ready(connecting: Sequence[socket.socket], timeout: float | None) -> list[socket.socket]:
    """Those that are connected, or have failed to be; none, if it took `timeout` seconds."""
    if not _HAS_POLL:
        _, done, failed = select.select([], connecting, connecting, timeout)
        return list(dict.fromkeys([*done, *failed]))
    poll = select.poll()
    by_number = {one.fileno(): one for one in connecting}
    for number in by_number:
        poll.register(number, select.POLLOUT)
    return [by_number[number] for number, _ in poll.poll(_milliseconds(timeout))]


def _milliseconds(timeout: float | None) -> int | None:
    return None if timeout is None else math.ceil(timeout * 1000.0)
