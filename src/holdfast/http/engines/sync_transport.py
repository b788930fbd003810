"""The transport of the sync engine: what `httpx2.HTTPTransport` does, on connections that keep to a call's deadline."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore2
import httpx2

from holdfast.http.engines.pools import Pools, core_request, translated
from holdfast.http.engines.sync_network import Backend, Sending
from holdfast.http.engines.sync_turns import Turns
from holdfast.http.engines.wire import MOST_HEAD_BYTES

# Over HTTP/2, a response may come in while its request is still being sent, so that what is read before its head was
# noticed can be as large as the windows that httpcore2 opens (16 MiB), with the frames around it. The head itself is
# limited to 64 KiB there, by the settings that httpcore2 sends and h2 enforces.
_MOST_HTTP2_BYTES = 32 * 1024 * 1024


class SyncTransport(httpx2.BaseTransport):
    """Sends requests over a pool of connections, directly or through a proxy.

    Each step is cut to what `holdfast.http.deadlines.limit` leaves the calling thread, besides the timeouts of the
    request. `close` wakes the threads that are waiting for an answer.

    Args:
        ssl_context: for connections to https URLs; not for one to the proxy, which has its own.
        http2: offers HTTP/2 beside HTTP/1.1.
        limits: of the pool.
        proxy: sends everything through this one.
        uds: path of a Unix domain socket to connect to instead of the host; without a proxy only.
        local_address: to connect from; without a proxy only.
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
        self._most_head = _MOST_HTTP2_BYTES if http2 else MOST_HEAD_BYTES
        # Through a proxy too: there httpcore2 keeps a connection whose making failed half-way in the pool for ever.
        self._pool = (_TURNS if http2 or proxy else _POOLS).made(
            self._backend,
            ssl_context,
            http2=http2,
            limits=limits,
            proxy=proxy,
            uds=uds,
            local_address=local_address,
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends the request; the response's body has not been read.

        Raises:
            httpx2.TransportError: no response, as from `httpx2.HTTPTransport`.
        """
        try:
            with Sending(self._most_head):
                response = self._pool.handle_request(core_request(request))
        except Exception as error:
            ours = translated(error)
            if ours is error:
                raise
            raise ours from error
        return httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response.stream),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Closes all connections, also those that other threads are using; these fail at once."""
        self._backend.interrupt()
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream: Iterable[bytes] = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            ours = translated(error)
            if ours is error:
                raise
            raise ours from error

    def close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


class _TurnsPool(httpcore2.ConnectionPool):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.ConnectionInterface:
        return Turns(super().create_connection(origin))


class _TurnsHttpProxy(httpcore2.HTTPProxy):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.ConnectionInterface:
        return Turns(super().create_connection(origin))


class _TurnsSocksProxy(httpcore2.SOCKSProxy):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.ConnectionInterface:
        return Turns(super().create_connection(origin))


_POOLS = Pools[httpcore2.ConnectionPool](httpcore2.ConnectionPool, httpcore2.HTTPProxy, httpcore2.SOCKSProxy)
_TURNS = Pools[httpcore2.ConnectionPool](_TurnsPool, _TurnsHttpProxy, _TurnsSocksProxy)
