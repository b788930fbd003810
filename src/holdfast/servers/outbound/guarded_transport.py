"""The transport that all calls of services go through: it connects to nothing that the guard forbids."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import httpx2

from holdfast.servers.outbound.guard import Endpoint, ForbiddenEndpointError, Guard

if TYPE_CHECKING:
    from holdfast.servers.outbound.addresses import Address

__all__ = ["ATTEMPTS", "Attempts", "ForbiddenConnectionError", "GuardedTransport"]

ATTEMPTS = "holdfast.attempts"
"""Extension of a request: an `Attempts` that counts it."""

CONNECT_SECONDS = 10.0
"""For a look-up of a name, where a request has no timeout for connecting."""


class ForbiddenConnectionError(httpx2.UnsupportedProtocol):
    """The guard refuses a request; nothing was sent. A `ResilientClient` does not repeat it."""


class Attempts:
    """Counts requests.

    Attributes:
        sent: how many there were.
    """

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = 0


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests to the origin of one endpoint, and to no other.

    It resolves the name for every request, has the guard judge all addresses, and connects to one of these addresses,
    not to the name: there is no second look-up that could have another result. Certificates are checked against the
    name, and the `Host` header names it. Proxies of the environment are not used.

    Args:
        endpoint: whose origin it is.
        guard: judges.
        tls: what certificates are checked with.
        limits: of the connections.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        guard: Guard,
        tls: ssl.SSLContext,
        limits: httpx2.Limits | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._guard = guard
        # One origin has one name, so the pool, which goes by addresses, never shares a connection between two.
        self._inner = httpx2.AsyncHTTPTransport(
            verify=tls, trust_env=False, limits=httpx2.Limits() if limits is None else limits
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends a request to the first address that can be connected to.

        Raises:
            ForbiddenConnectionError: another origin, or a forbidden address; nothing was sent.
            httpx2.TransportError: no response.
        """
        self._check_origin(request)
        addresses = await self._addresses(request)
        attempts = request.extensions.get(ATTEMPTS)
        if isinstance(attempts, Attempts):
            attempts.sent += 1
        last: httpx2.TransportError | None = None
        for address in addresses:
            try:
                return await self._inner.handle_async_request(self._addressed(request, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                # Nothing was sent, so the next address is no repetition.
                last = error
        if last is None:
            raise httpx2.ConnectError(f"{self._endpoint.host} has no address")
        raise last

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._inner.aclose()

    def _check_origin(self, request: httpx2.Request) -> None:
        url, endpoint = request.url, self._endpoint
        port = url.port or (443 if url.scheme == "https" else 80)
        if (url.scheme, url.raw_host.decode("ascii"), port) != (endpoint.scheme, endpoint.host, endpoint.port):
            there = f"{url.scheme}://{url.host}:{port}"
            own = f"{endpoint.scheme}://{endpoint.host}:{endpoint.port}"
            raise ForbiddenConnectionError(f"{there} is not the origin of the endpoint, {own}")

    async def _addresses(self, request: httpx2.Request) -> list[Address]:
        seconds = (request.extensions.get("timeout") or {}).get("connect") or CONNECT_SECONDS
        host = self._endpoint.host
        try:
            async with asyncio.timeout(seconds):
                return await self._guard.addresses(self._endpoint)
        except ForbiddenEndpointError as error:
            raise ForbiddenConnectionError(f"the endpoint {error}") from error
        except TimeoutError as error:
            raise httpx2.ConnectTimeout(f"the name {host} did not resolve within {seconds:g} s") from error
        except OSError as error:
            raise httpx2.ConnectError(f"the name {host} does not resolve: {error}") from error

    def _addressed(self, request: httpx2.Request, address: Address) -> httpx2.Request:
        host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        extensions = dict(request.extensions)
        if self._endpoint.scheme == "https":
            extensions["sni_hostname"] = self._endpoint.host.removesuffix(".")
        return httpx2.Request(
            request.method,
            request.url.copy_with(host=host),
            # They have `Host` in them, with the name.
            headers=request.headers,
            stream=request.stream,
            extensions=extensions,
        )
