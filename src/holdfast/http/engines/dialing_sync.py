"""TCP connections on the calling thread: to all addresses of a name, as `dialing` does it under asyncio (RFC 8305)."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from collections import deque
from contextlib import suppress
from time import monotonic

from holdfast.core.effects import FOREVER
from holdfast.http.engines.addresses import HEAD_START, Address, in_turns, literal, none_answered
from holdfast.http.engines.readiness import ready

_UNDER_WAY = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK)})


class Dialing:
    """One who makes a connection, which another thread may give up at any time.

    Args:
        until: when it has to be made, in monotonic seconds.
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._lock = threading.Lock()  # or a descriptor might be shut down that has become another connection's
        self._sockets: list[socket.socket] = []
        self._given_up = False

    def give_up(self) -> None:
        """Wakes the thread that waits for the other side."""
        with self._lock:
            self._given_up = True
            for one in self._sockets:
                with suppress(OSError):
                    # Not `SSLSocket.shutdown`, which takes the TLS layer away from under the thread that uses it.
                    socket.socket.shutdown(one, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes what was opened and not handed out."""
        with self._lock:
            while self._sockets:
                self._sockets.pop().close()

    def tcp(self, host: str, port: int, local_address: str | None = None) -> socket.socket:
        """A socket that is connected to one of the addresses of a host. It does not block.

        Looking a name up is the one thing that cannot be cut; when it is done, the time may be up.

        Raises:
            OSError: there is no such name, no address took the connection, or it was given up.
            TimeoutError: there was none in time.
        """
        found = literal(host, port)
        if found is None:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return self._first(deque(in_turns(host, found)), local_address)

    def unix(self, path: str) -> socket.socket:
        """A socket that is connected to a Unix domain socket; otherwise as `tcp`."""
        made = self._opened(socket.AF_UNIX)
        made.settimeout(self._left())
        made.connect(path)
        self._check()
        return made

    def secured(self, plain: socket.socket, context: ssl.SSLContext, server_hostname: str) -> ssl.SSLSocket:
        """A connection with TLS on it.

        Raises:
            OSError: the handshake failed, or was given up.
            TimeoutError: it was not done in time.
        """
        with self._lock:
            made = context.wrap_socket(plain, server_hostname=server_hostname, do_handshake_on_connect=False)
            self._sockets = [made]
        self._check()
        made.settimeout(self._left())
        made.do_handshake()
        self._check()
        return made

    def handed_out(self) -> None:
        """What was made is in other hands."""
        self._sockets.clear()

    def _opened(self, family: int) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        with self._lock:
            self._sockets.append(made)
        self._check()
        return made

    def _dropped(self, one: socket.socket) -> None:
        with self._lock:
            self._sockets.remove(one)
            one.close()

    def _check(self) -> None:
        if self._given_up:
            raise ConnectionAbortedError("the client was closed")

    def _left(self) -> float | None:
        if self._until == FOREVER:
            return None
        left = self._until - monotonic()
        if left <= 0.0:
            raise TimeoutError("no connection was made in time")
        return left

    def _head_start(self) -> float:
        left = self._left()
        return HEAD_START if left is None or left > HEAD_START else left

    def _first(self, left: deque[Address], local_address: str | None) -> socket.socket:
        trying: list[socket.socket] = []
        failures: list[str] = []
        alone = len(left) == 1
        while left or trying:
            self._left()  # or a name with very many addresses would take longer
            if left:
                try:
                    trying.append(self._begun(left.popleft(), local_address))
                except OSError as error:
                    self._check()
                    if alone:
                        raise
                    failures.append(str(error))
                    continue
            for one in ready(trying, self._head_start() if left else self._left()):
                self._check()
                code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                trying.remove(one)
                if not code:
                    for other in trying:
                        self._dropped(other)
                    return one
                self._dropped(one)
                failure = OSError(code, os.strerror(code))
                if alone:
                    raise failure
                failures.append(str(failure))
        raise none_answered(failures)

    def _begun(self, address: Address, local_address: str | None) -> socket.socket:
        made = self._opened(address.family)
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is handed over is to go out
            if local_address is not None:
                made.bind((local_address, 0))
            code = made.connect_ex(address.place)
            if code not in _UNDER_WAY:
                raise OSError(code, os.strerror(code))
        except BaseException:
            self._dropped(made)
            raise
        return made
