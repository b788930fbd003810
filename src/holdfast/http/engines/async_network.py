"""Sockets under asyncio that no cancelled task leaves open, and on which no head is read without end.

They are those of httpcore2's own backend, which closes the socket of a TLS handshake that fails, but not that of one
that is cancelled.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Coroutine, Iterable
from contextvars import ContextVar
from typing import Any

import anyio
import httpcore2

from holdfast.http.engines.wire import HUNG_UP, MOST_HEAD_BYTES, HeadTooLarge, has_hung_up

OWN = "own"
"""A name that `SocketStream.get_extra_info` knows besides: the stream itself, from within one that wraps it."""

making: ContextVar[list[httpcore2.AsyncNetworkStream] | None] = ContextVar("making", default=None)
"""Where what the current task opens is to be noted, if anywhere."""


class SocketStream(httpcore2.AsyncNetworkStream):
    """A connection, with or without TLS.

    Between a write and `head_ended`, what is read is counted. Otherwise reading and writing is passed on as it is.
    """

    def __init__(self, inner: httpcore2.AsyncNetworkStream, backend: Backend) -> None:
        self._inner = inner
        self._backend = backend
        # Over HTTP/2, requests share a connection, so that what is read for one cannot be told from the others.
        security = inner.get_extra_info("ssl_object")
        self._most = MOST_HEAD_BYTES if security is None or security.selected_alpn_protocol() != "h2" else None
        self._left: int | None = None
        self._socket: socket.socket = inner.get_extra_info("socket")
        self._poll: select.poll | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """The next bytes, none at the end of the connection.

        Raises:
            httpcore2.ReadTimeout: there were none in `timeout` seconds.
            httpcore2.ReadError: the connection broke.
            HeadTooLarge: the head of the response does not end.
        """
        if self._left is None:
            return self._inner.read(max_bytes, timeout)
        return self._read_head(self._left, max_bytes, timeout)

    async def _read_head(self, left: int, max_bytes: int, timeout: float | None) -> bytes:  # noqa: ASYNC109  # as `read`
        data = await self._inner.read(max_bytes, timeout)
        self._left = left - len(data)
        if self._left < 0:
            raise HeadTooLarge(MOST_HEAD_BYTES)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Writes all of it.

        Raises:
            httpcore2.WriteTimeout: that took longer than `timeout` seconds.
            httpcore2.WriteError: the connection broke.
        """
        self._left = self._most  # what comes now answers that
        return self._inner.write(buffer, timeout)

    def head_ended(self) -> None:
        """The head of the response is there: what follows is its body."""
        self._left = None

    def handed_over(self) -> None:
        """What follows is another protocol's, up to the end of the connection."""
        self._left = self._most = None

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface is httpcore2's
    ) -> httpcore2.AsyncNetworkStream:
        """The connection with TLS on it; inside of TLS, as through an HTTPS proxy, with a second layer of it.

        Raises:
            httpcore2.ConnectTimeout: the handshake took longer than `timeout` seconds.
            httpcore2.ConnectError: it failed.
        """
        try:
            inner = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._inner.aclose()
            if isinstance(error, anyio.ClosedResourceError):  # closed by another task
                raise httpcore2.ConnectError("the connection was closed") from error
            raise
        return await self._backend.opened(inner)

    def get_extra_info(self, info: str) -> Any:
        """What the streams of httpcore2 tell, as ``ssl_object``, ``server_addr`` and ``is_readable``, and more."""
        if info == "is_readable":
            return self._is_readable()
        if info == HUNG_UP:
            return has_hung_up(self._socket)
        return self if info == OWN else self._inner.get_extra_info(info)

    def _is_readable(self) -> bool:
        """What httpcore2's stream tells of it, at a fifth of the cost: a pool asks several times for each request."""
        poll = self._poll
        if poll is None:
            if not hasattr(select, "poll") or self._socket.fileno() < 0:
                return bool(self._inner.get_extra_info("is_readable"))
            poll = self._poll = select.poll()
            poll.register(self._socket.fileno(), select.POLLIN)
        return self._socket.fileno() < 0 or bool(poll.poll(0))


class Backend(httpcore2.AsyncNetworkBackend):
    """Opens connections until it is closed."""

    def __init__(self) -> None:
        self._sockets = httpcore2.AnyIOBackend()
        self._closed = False

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the same
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connects to the addresses of `host`, in parallel if the first ones hesitate, all in `timeout` seconds.

        Raises:
            httpcore2.ConnectTimeout: none answered in time.
            httpcore2.ConnectError: there was no such name, or all of them refused.
        """
        return await self.opened(await self._sockets.connect_tcp(host, port, timeout, local_address, socket_options))

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  # the same
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connects to a Unix domain socket; otherwise as `connect_tcp`."""
        return await self.opened(await self._sockets.connect_unix_socket(path, timeout, socket_options))

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await anyio.sleep(seconds)

    async def opened(self, inner: httpcore2.AsyncNetworkStream) -> SocketStream:
        """A connection that was just made.

        Raises:
            httpcore2.ConnectError: `close` was called meanwhile.
        """
        if self._closed:
            with anyio.CancelScope(shield=True):
                await inner.aclose()
            raise httpcore2.ConnectError("the client was closed")
        stream = SocketStream(inner, self)
        noted = making.get()
        if noted is not None:
            noted.append(stream)
        return stream

    def close(self) -> None:
        """Lets no more connections be made."""
        self._closed = True
