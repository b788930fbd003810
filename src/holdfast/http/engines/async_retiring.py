"""Connections under asyncio that are not used again after a request on them has gone wrong.

httpcore2 leaves two kinds of them in its pools:

- Over HTTP/2, a response that is not read to its end goes on coming in: no RST_STREAM is sent, and what comes is not
  acknowledged, so that the window of the connection shrinks until all its requests stand still.
- Through a proxy, a connection whose making was cancelled or failed half-way is kept, or forgotten while it is open.

HTTP/1.1 without a proxy needs none of this: there a connection serves one request at a time, and closes itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

import anyio
import httpcore2

from holdfast.http.engines.async_network import making
from holdfast.http.engines.wire import HUNG_UP


class Retiring(httpcore2.AsyncConnectionInterface):
    """A connection that takes no more requests after one did not end well, and is closed when the others have."""

    def __init__(self, connection: httpcore2.AsyncConnectionInterface) -> None:
        self._connection = connection
        self._requests = 0
        self._retired = False
        self._opened: list[httpcore2.AsyncNetworkStream] = []
        self._stream: httpcore2.AsyncNetworkStream | None = None

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Sends a request and returns the head of its response.

        Raises:
            httpcore2.ConnectionNotAvailable: the connection takes no more requests; the pool takes another one.
        """
        if self._retired:
            raise httpcore2.ConnectionNotAvailable
        self._requests += 1
        noting = making.set(self._opened)
        try:
            response = await self._connection.handle_async_request(request)
        except BaseException as error:
            await self.done(complete=isinstance(error, httpcore2.ConnectionNotAvailable) or _was_reset(error))
            raise
        finally:
            making.reset(noting)
        self._stream = response.extensions.get("network_stream")
        assert isinstance(response.stream, AsyncIterable)  # noqa: S101  # it is, under asyncio
        body = _Body(response.stream, self)
        return httpcore2.Response(
            response.status, headers=response.headers, content=body, extensions=response.extensions
        )

    async def done(self, *, complete: bool) -> None:
        """A request is over, and its response was read to its end or not."""
        self._requests -= 1
        self._retired |= not complete
        if self._retired and not self._requests:
            await self.aclose()

    def can_handle_request(self, origin: httpcore2.Origin) -> bool:
        return self._connection.can_handle_request(origin)

    async def aclose(self) -> None:
        self._retired = True
        with anyio.CancelScope(shield=True):
            await self._connection.aclose()
            for stream in self._opened:
                await stream.aclose()

    def info(self) -> str:
        return self._connection.info()

    def is_connected(self) -> bool:
        return self._connection.is_connected()

    def is_available(self) -> bool:
        return not self._retired and self._connection.is_available()

    def has_expired(self) -> bool:
        # httpcore2 does not look whether an idle HTTP/2 connection is still there; a request on it would be lost.
        return self._connection.has_expired() or (
            self._stream is not None and self.is_idle() and bool(self._stream.get_extra_info(HUNG_UP))
        )

    def is_idle(self) -> bool:
        return self._connection.is_idle()

    def is_closed(self) -> bool:
        return not self._requests and (self._retired or self._connection.is_closed())

    def can_multiplex(self) -> bool:
        return self._connection.can_multiplex()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.info()}]>"


def _was_reset(error: BaseException) -> bool:
    """Whether it was the server that ended the request, and with it the stream, as h2's event tells."""
    return isinstance(error, httpcore2.RemoteProtocolError) and any(hasattr(told, "stream_id") for told in error.args)


class _Body:
    """The body of a response, which ends its request."""

    def __init__(self, stream: AsyncIterable[bytes], connection: Retiring) -> None:
        self._stream = stream
        self._connection: Retiring | None = connection
        self._complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._stream.__aiter__()
        try:
            async for chunk in chunks:
                yield chunk
            self._complete = True
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            close = getattr(self._stream, "aclose", None)
            if close is not None:
                await close()
        finally:
            await connection.done(complete=self._complete)
