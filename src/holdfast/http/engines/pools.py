"""What the transports of both colours have in common: their pools of connections, exceptions and requests.

They stand on the public pools of httpcore2, which take a network backend; httpx2's own transports pass none on.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpcore2
import httpx2

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

Pool = TypeVar("Pool")


def translated(error: Exception) -> Exception:
    """The exception of httpx2 for one of httpcore2; any other one as it is."""
    for theirs, ours in _ERRORS:
        if isinstance(error, theirs):
            return ours(str(error))
    return error


def core_request(request: httpx2.Request) -> httpcore2.Request:
    """A request of httpx2 as one of httpcore2, with the same stream and the same extensions."""
    url = request.url
    return httpcore2.Request(
        method=request.method,
        url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


@dataclass(frozen=True)
class Pools(Generic[Pool]):
    """The classes of pools of one colour: without a proxy, through an HTTP proxy, and through a SOCKS proxy."""

    direct: Callable[..., Pool]
    http: Callable[..., Pool]
    socks: Callable[..., Pool]

    def made(
        self,
        backend: object,
        ssl_context: ssl.SSLContext,
        *,
        http2: bool,
        limits: httpx2.Limits,
        proxy: httpx2.Proxy | None,
        uds: str | None,
        local_address: str | None,
    ) -> Pool:
        """A pool whose connections are made by `backend`; otherwise see `SyncTransport`.

        Raises:
            ImportError: the proxy speaks SOCKS, and the package for that is missing.
        """
        settings: dict[str, Any] = {
            "ssl_context": ssl_context,
            "max_connections": limits.max_connections,
            "max_keepalive_connections": limits.max_keepalive_connections,
            "keepalive_expiry": limits.keepalive_expiry,
            "http2": http2,
            "network_backend": backend,
        }
        if proxy is None:
            return self.direct(uds=uds, local_address=local_address, **settings)
        url = httpcore2.URL(
            scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
        )
        if proxy.url.scheme in ("socks5", "socks5h"):
            try:
                import socksio  # noqa: F401
            except ImportError:
                message = f"a {proxy.url.scheme} proxy needs the package socksio: pip install holdfast[socks]"
                raise ImportError(message) from None
            return self.socks(url, proxy_auth=proxy.raw_auth, **settings)
        return self.http(
            url,
            proxy_auth=proxy.raw_auth,
            proxy_headers=proxy.headers.raw,
            proxy_ssl_context=proxy.ssl_context,
            **settings,
        )
