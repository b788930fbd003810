"""The transport of the async engine: what `httpx2.AsyncHTTPTransport` does, on connections that are not left behind."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import httpcore2
import httpx2

from holdfast.http.engines.async_network import OWN, Backend, SocketStream
from holdfast.http.engines.async_retiring import Retiring
from holdfast.http.engines.pools import Pools, core_request, translated


class AsyncTransport(httpx2.AsyncBaseTransport):
    """Sends requests over a pool of connections, directly or through a proxy, on one event loop.

    The arguments are those of `holdfast.http.engines.sync_transport.SyncTransport`.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        *,
        http2: bool = False,
        limits: httpx2.Limits,
        proxy: httpx2.Proxy | None = None,
        uds: str | None = None,
        local_address: str | None = None,
    ) -> None:
        self._backend = Backend()
        self._pool = (_RETIRING if http2 or proxy else _POOLS).made(
            self._backend,
            ssl_context,
            http2=http2,
            limits=limits,
            proxy=proxy,
            uds=uds,
            local_address=local_address,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends the request; the response's body has not been read.

        Raises:
            httpx2.TransportError: no response, as from `httpx2.AsyncHTTPTransport`.
        """
        try:
            response = await self._pool.handle_async_request(core_request(request))
        except Exception as error:
            ours = translated(error)
            if ours is error:
                raise
            raise ours from error
        extensions = response.extensions
        stream = extensions.get("network_stream")
        if stream.__class__ is SocketStream:
            stream.head_ended()
        elif stream is not None and (own := stream.get_extra_info(OWN)) is not None:
            own.handed_over()
        return httpx2.Response(
            response.status, headers=response.headers, stream=_Body(response.stream), extensions=extensions
        )

    async def aclose(self) -> None:
        """Closes all connections, also those that are in use; their requests fail."""
        self._backend.close()
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream: AsyncIterable[bytes] = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except Exception as error:
            ours = translated(error)
            if ours is error:
                raise
            raise ours from error

    async def aclose(self) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


class _RetiringPool(httpcore2.AsyncConnectionPool):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.AsyncConnectionInterface:
        return Retiring(super().create_connection(origin))


class _RetiringHttpProxy(httpcore2.AsyncHTTPProxy):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.AsyncConnectionInterface:
        return Retiring(super().create_connection(origin))


class _RetiringSocksProxy(httpcore2.AsyncSOCKSProxy):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.AsyncConnectionInterface:
        return Retiring(super().create_connection(origin))


_POOLS = Pools[httpcore2.AsyncConnectionPool](
    httpcore2.AsyncConnectionPool, httpcore2.AsyncHTTPProxy, httpcore2.AsyncSOCKSProxy
)
_RETIRING = Pools[httpcore2.AsyncConnectionPool](_RetiringPool, _RetiringHttpProxy, _RetiringSocksProxy)
