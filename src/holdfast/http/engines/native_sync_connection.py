"""One connection of the native engine in sync use: a blocking socket, which another thread can cut off."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any, TypeAlias

from holdfast.core.effects import FOREVER
from holdfast.http.deadlines import within
from holdfast.http.engines import native_request
from holdfast.http.engines.native_network import NetworkStream
from holdfast.http.engines.readiness import Readiness
from holdfast.http.engines.wire import HUNG_UP, has_hung_up

_MOST = 64 * 1024  # bytes that are read at once
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Origin: TypeAlias = "native_request.Origin[Connection]"


class Connection:
    """A connection to one origin, used by one thread at a time.

    Args:
        origin: what it is to.
        made: the connected socket, with or without TLS.

    Attributes:
        due: when it has been idle for too long.
        ended: whether it was cut off.
    """

    __slots__ = ("_busy", "_inherited", "_names", "_readiness", "_seconds", "_socket", "_tls", "due", "ended", "origin")

    def __init__(self, origin: Origin, made: socket.socket) -> None:
        self.origin = origin
        self.due = FOREVER
        self.ended = False
        self._socket = made
        self._tls = made if isinstance(made, ssl.SSLSocket) else None
        self._names = made.getsockname(), made.getpeername()
        self._readiness = Readiness(made)
        self._seconds: float | None = -1.0  # the timeout of the socket; not known yet
        self._busy = False
        self._inherited = False

    # By the thread whose request it serves

    def usable(self) -> bool:
        """Whether a request may be sent. What the server has done meanwhile is looked for."""
        if self.ended:
            return False
        tls = self._tls
        if tls is None:
            # Nothing was asked, so that whatever there is to read is the end, or no answer.
            return not self._readiness.readable()
        try:
            # What there is to read may be a ticket for the next session, which nobody else takes.
            return not (tls.pending() or self._readiness.readable()) or self.receive_now() is None
        except OSError:
            return False

    def prepare(self, timeout: float | None) -> None:
        """Gives the next step so many seconds, but no more than the deadline leaves.

        Raises:
            TimeoutError: it leaves none.
        """
        seconds = within(timeout)
        if seconds != self._seconds:
            self._limit(seconds)

    def send(self, data: bytes) -> int:
        """Sends as much as there is room for; how much that was. To be called after `prepare`.

        Raises:
            OSError: the connection broke, or was cut off.
        """
        try:
            self._busy = True
            self._check()
            return self._socket.send(data)
        finally:
            self._busy = False

    def receive(self) -> bytes:
        """The next bytes, none at the end of the connection. To be called after `prepare`.

        Raises:
            TimeoutError: there were none in time.
            OSError: the connection broke, or was cut off.
        """
        try:
            self._busy = True
            self._check()
            data = self._socket.recv(_MOST)
            self._check()  # what a connection that was cut off gives looks like the end of a body
            return data
        finally:
            self._busy = False

    def wait(self, *, read: bool, write: bool, timeout: float | None) -> tuple[bool, bool]:
        """Waits until there is something to read, or room to write; which of both. Neither, if it took too long.

        Raises:
            TimeoutError: the deadline leaves no time.
            OSError: the connection was cut off.
        """
        try:
            self._busy = True
            self._check()
            found = self._readiness.wait(read=read, write=write, timeout=within(timeout))
            self._check()
            return found
        finally:
            self._busy = False

    def receive_now(self) -> bytes | None:
        """As `receive`, without waiting: None if there is nothing."""
        self._limit(0.0)
        try:
            return self.receive()
        except _NOT_NOW:
            return None

    def send_now(self, data: memoryview) -> int | None:
        """As `send`, without waiting: None if the connection has to be read from first, as TLS may demand."""
        self._limit(0.0)
        try:
            self._busy = True
            self._check()
            return self._socket.send(data)
        except ssl.SSLWantReadError:
            return None
        except _NOT_NOW:
            return 0
        finally:
            self._busy = False

    def _limit(self, seconds: float | None) -> None:
        if seconds != self._seconds and not self.ended:
            self._socket.settimeout(seconds)
            self._seconds = seconds

    def _check(self) -> None:
        if self.ended:
            raise ConnectionAbortedError("the connection was closed by another thread")

    # By the pool, which lets one thread do so at a time

    def cut(self) -> None:
        """Closes it. If a thread is inside, that is woken and fails, and this has to be called again when it has left.

        A descriptor that was closed under a thread in ``recv`` might be given to another connection, and be read from.
        """
        self.ended = True
        if self._inherited:
            return
        if self._busy:
            with suppress(OSError):
                # Not `SSLSocket.shutdown`, which takes the TLS layer away from under the thread that reads through it.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        else:
            self._socket.close()

    def disown(self) -> None:
        """In the child of a fork: it is the parent's, and left alone."""
        self.ended = self._inherited = True

    # For a response

    def told_of(self, name: str) -> Any:
        """See `NetworkStream.get_extra_info`."""
        if name == "client_addr":
            return self._names[0]
        if name == "server_addr":
            return self._names[1]
        if name == "is_readable":
            return self.ended or self._readiness.readable()
        if name == HUNG_UP:
            return self.ended or has_hung_up(self._socket)
        if name == "ssl_object":
            return self._tls
        return self._socket if name == "socket" else None

    def network_stream(self) -> NetworkStream:
        """What a response tells of the connection that it came over."""
        return NetworkStream(self)
