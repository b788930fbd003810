"""The transport of the sync engine: what `httpx2.HTTPTransport` does, on connections that keep to a call's deadline.

It stands on the public pools of httpcore2, which take a network backend; httpx2's own transport passes none on.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore2
import httpx2

from holdfast.http.engines.sync_network import Backend, Sending
from holdfast.http.engines.sync_turns import Turns

MOST_HEAD_BYTES = 256 * 1024
"""What is read for the head of a response over HTTP/1.1, the informational responses (1xx) before it included.

One head alone may be smaller still: h11 takes up to 100 KiB in httpcore2.
"""

# Over HTTP/2, a response may come in while its request is still being sent, so that what is read before its head was
# noticed can be as large as the windows that httpcore2 opens (16 MiB), with the frames around it. The head itself is
# limited to 64 KiB there, by the settings that httpcore2 sends and h2 enforces.
_MOST_HTTP2_BYTES = 32 * 1024 * 1024

# The first class that fits decides, so that the special ones come before the general ones.
_ERRORS: tuple[tuple[type[Exception], type[httpx2.HTTPError]], ...] = (
    (httpcore2.ConnectTimeout, httpx2.ConnectTimeout),
    (httpcore2.ReadTimeout, httpx2.ReadTimeout),
    (httpcore2.WriteTimeout, httpx2.WriteTimeout),
    (httpcore2.PoolTimeout, httpx2.PoolTimeout),
    (httpcore2.TimeoutException, httpx2.TimeoutException),
    (httpcore2.ConnectError, httpx2.ConnectError),
    (httpcore2.ReadError, httpx2.ReadError),
    (httpcore2.WriteError, httpx2.WriteError),
    (httpcore2.NetworkError, httpx2.NetworkError),
    (httpcore2.ProxyError, httpx2.ProxyError),
    (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol),
    (httpcore2.LocalProtocolError, httpx2.LocalProtocolError),
    (httpcore2.RemoteProtocolError, httpx2.RemoteProtocolError),
    (httpcore2.ProtocolError, httpx2.ProtocolError),
)


def translated(error: Exception) -> Exception:
    """The exception of httpx2 for one of httpcore2; any other one as it is."""
    for theirs, ours in _ERRORS:
        if isinstance(error, theirs):
            return ours(str(error))
    return error


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
        settings: dict[str, Any] = {
            "ssl_context": ssl_context,
            "max_connections": limits.max_connections,
            "max_keepalive_connections": limits.max_keepalive_connections,
            "keepalive_expiry": limits.keepalive_expiry,
            "http2": http2,
            "network_backend": self._backend,
        }
        self._pool = _pool(settings, proxy, uds, local_address)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends the request; the response's body has not been read.

        Raises:
            httpx2.TransportError: no response, as from `httpx2.HTTPTransport`.
        """
        url = request.url
        sent = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            with Sending(self._most_head):
                response = self._pool.handle_request(sent)
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


def _pool(
    settings: dict[str, Any], proxy: httpx2.Proxy | None, uds: str | None, local_address: str | None
) -> httpcore2.ConnectionPool:
    if proxy is None:
        pool = _TurnsPool if settings["http2"] else httpcore2.ConnectionPool
        return pool(uds=uds, local_address=local_address, **settings)
    url = httpcore2.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
    )
    if proxy.url.scheme in ("socks5", "socks5h"):
        try:
            import socksio  # noqa: F401
        except ImportError:
            message = f"a {proxy.url.scheme} proxy needs the package socksio: pip install holdfast[socks]"
            raise ImportError(message) from None
        socks = _TurnsSocksProxy if settings["http2"] else httpcore2.SOCKSProxy
        return socks(url, proxy_auth=proxy.raw_auth, **settings)
    http = _TurnsHttpProxy if settings["http2"] else httpcore2.HTTPProxy
    return http(
        url,
        proxy_auth=proxy.raw_auth,
        proxy_headers=proxy.headers.raw,
        proxy_ssl_context=proxy.ssl_context,
        **settings,
    )


class _TurnsPool(httpcore2.ConnectionPool):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.ConnectionInterface:
        return Turns(super().create_connection(origin))


class _TurnsHttpProxy(httpcore2.HTTPProxy):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.ConnectionInterface:
        return Turns(super().create_connection(origin))


class _TurnsSocksProxy(httpcore2.SOCKSProxy):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.ConnectionInterface:
        return Turns(super().create_connection(origin))
