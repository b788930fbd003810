"""The guard against server-side request forgery: which endpoints may be registered, and what may be connected to.

Whoever registers an endpoint makes this server send requests there, with this server's place in the network. So an
endpoint is looked at twice: when it is registered, for a clear answer, and on every connection, for the address that is
really connected to: by then a name may resolve to another one.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote

import httpx2

from holdfast.servers.outbound.addresses import Address, AddressPolicy

__all__ = ["Endpoint", "ForbiddenEndpointError", "Guard", "Resolver", "resolve"]

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Finds the addresses of a name (and port). Raises OSError where there are none."""

MAX_ENDPOINT = 2_000
"""Characters."""

RESOLVE_SECONDS = 3.0
"""How long a registration waits for a name to resolve. One that does not is judged when it is called."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(?i:https?)://([^/?#]*)")
_PORT = re.compile(r":(\d*)$")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_PATH = re.compile(r"[!-~]*")

_METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.aws.internal",
        "metadata.azure.com",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "metadata.tencentyun.com",
    }
)


class ForbiddenEndpointError(Exception):
    """An endpoint that may not be called; the message says why, and for people."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is.

    Attributes:
        scheme: `http` or `https`.
        host: name in ASCII and lower case, or address without brackets.
        port: given, or the scheme's own.
        address: the host, if it is an address.
    """

    scheme: str
    host: str
    port: int
    address: Address | None

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """The endpoint in a URL.

        It is stricter than a browser: what two readers might read differently is refused.

        Raises:
            ForbiddenEndpointError: it can be no endpoint; says what is wrong with it.
        """
        authority = _authority(text)
        try:
            url = httpx2.URL(text)
        except (httpx2.InvalidURL, ValueError, TypeError) as error:
            raise ForbiddenEndpointError(f"is no URL: {error}") from error
        host = url.raw_host.decode("ascii")
        port = _port(authority, url.scheme)
        if authority.startswith("["):
            return cls(url.scheme, host, port, _ipv6(host))
        return cls(url.scheme, host, port, _name_or_ipv4(host, authority))


class Guard:
    """Judges endpoints.

    Args:
        policy: which addresses are allowed.
        resolver: how names become addresses.
    """

    def __init__(self, policy: AddressPolicy, resolver: Resolver | None = None) -> None:
        self._policy = policy
        self._resolve = resolver or resolve

    async def check(self, text: str) -> None:
        """Returns if an endpoint may be registered. A name that does not resolve (now) may be.

        Raises:
            ForbiddenEndpointError: it may not.
        """
        endpoint = Endpoint.parse(text)
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                await self.addresses(endpoint)
        except OSError:
            # It does not resolve, or not in time: TimeoutError is one of these.
            return

    async def addresses(self, endpoint: Endpoint) -> list[Address]:
        """The addresses of an endpoint, in the order in which they are to be tried; at least one.

        Raises:
            ForbiddenEndpointError: one of them is forbidden. Which one a connection would get is not left to chance.
            OSError: the name does not resolve.
        """
        host = endpoint.host
        if endpoint.address is not None:
            objection = self._policy.objection(endpoint.address)
            if objection is not None:
                raise ForbiddenEndpointError(f"may not be called: {objection}")
            return [endpoint.address]
        self._judge_name(host)
        found = list(dict.fromkeys(await self._resolve(host, endpoint.port)))
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            objection = self._policy.objection(address)
            if objection is not None:
                raise ForbiddenEndpointError(f"may not be called: {host} has a forbidden address: {objection}")
        return found

    def _judge_name(self, host: str) -> None:
        name = host.rstrip(".")
        if name in _METADATA_NAMES:
            raise ForbiddenEndpointError(f"may not be called: {name} is the name of a metadata service")
        # They always are loopback (RFC 6761, section 6.3).
        if (name == "localhost" or name.endswith(".localhost")) and not self._policy.private:
            objection = self._policy.objection(IPv4Address("127.0.0.1"))
            raise ForbiddenEndpointError(f"may not be called: {name} is this host: {objection}")


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a name, by the system's resolver.

    Raises:
        OSError: there are none.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError as error:
        raise OSError(f"{host} is no name: {error}") from error
    return [ip_address(address[0]) for _, _, _, _, address in found]


def _authority(text: str) -> str:
    """What stands between `//` and the path.

    Raises:
        ForbiddenEndpointError: the text is no URL of an endpoint, whatever that is.
    """
    if len(text) > MAX_ENDPOINT:
        raise ForbiddenEndpointError(f"has {len(text)} characters, and may have {MAX_ENDPOINT}")
    match = _AUTHORITY.match(text)
    if match is None:
        raise ForbiddenEndpointError("must be an absolute URL that begins with http:// or https://")
    authority, rest = match[1], text[match.end() :]
    if "@" in authority:
        raise ForbiddenEndpointError("must have no user name or password in it")
    if "?" in rest:
        raise ForbiddenEndpointError("must have no query: the name of an action is appended to it")
    if "#" in rest:
        raise ForbiddenEndpointError("must have no fragment: the name of an action is appended to it")
    if not authority or any(character in "\\%" or character <= " " for character in authority):
        raise ForbiddenEndpointError("has no host that can be called")
    if not _PATH.fullmatch(rest) or "\\" in rest:
        raise ForbiddenEndpointError("has characters in its path that must be percent-encoded")
    if any(segment in {".", ".."} for segment in unquote(rest).split("/")):
        raise ForbiddenEndpointError("must have no '.' or '..' in its path")
    return authority


def _port(authority: str, scheme: str) -> int:
    tail = authority.rpartition("]")[2] if authority.startswith("[") else authority
    if ":" not in tail:
        return _DEFAULT_PORTS[scheme]
    match = _PORT.search(tail)
    if match is None or tail.count(":") > 1 or not match[1].isascii() or not match[1].isdecimal():
        raise ForbiddenEndpointError("has a port that is no number")
    if len(match[1]) > 5 or not 1 <= int(match[1]) <= 65535:
        raise ForbiddenEndpointError(f"has a port, {match[1][:20]}, that does not exist: there are 1 to 65535")
    return int(match[1])


def _ipv6(host: str) -> IPv6Address:
    if "%" in host:
        raise ForbiddenEndpointError("has an address with a zone, which is link-local")
    try:
        return IPv6Address(host)
    except ValueError as error:
        raise ForbiddenEndpointError(f"has no valid IPv6 address: {error}") from error


def _name_or_ipv4(host: str, authority: str) -> IPv4Address | None:
    """The address, or None for a name.

    Raises:
        ForbiddenEndpointError: it is neither, or an address written in an unusual way (decimal, octal, hexadecimal,
            short, in other digits): such are only used to hide one.
    """
    name = host.removesuffix(".")
    labels = name.split(".")
    # "Ends in a number", as the URL Standard has it: resolvers take such names for addresses.
    if _NUMBER.fullmatch(labels[-1]):
        try:
            address = IPv4Address(name)
        except ValueError:
            address = None
        if address is None or not authority.startswith(str(address)) or host != name:
            raise ForbiddenEndpointError(
                f"has an address, {host[:100]!r}, that is not written as four decimal numbers, like 192.0.2.1"
            )
        return address
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ForbiddenEndpointError(f"has a host, {host[:100]!r}, that is no valid name")
    return None
