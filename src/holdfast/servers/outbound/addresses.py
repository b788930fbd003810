"""Which IP addresses a registered service may have.

Sources: IANA's special-purpose address registries (RFC 6890), and the documentation of the clouds for where they serve
metadata, that is: credentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

__all__ = ["Address", "AddressPolicy", "embedded"]

Address = IPv4Address | IPv6Address

_METADATA = {
    IPv4Address("169.254.169.254"): "AWS, Azure, Google Cloud and others",
    IPv4Address("169.254.170.2"): "AWS ECS",
    IPv4Address("169.254.170.23"): "AWS EKS",
    IPv4Address("100.100.100.200"): "Alibaba Cloud",
    IPv4Address("192.0.0.192"): "Oracle Cloud",
    IPv4Address("168.63.129.16"): "Azure",
    IPv6Address("fd00:ec2::254"): "AWS",
    IPv6Address("fd00:ec2::23"): "AWS EKS",
    IPv6Address("fd20:ce::254"): "Google Cloud",
    IPv6Address("fd00:42::42"): "Scaleway",
}

_NEVER = {
    "0.0.0.0/8": "unspecified",
    "169.254.0.0/16": "link-local",
    "192.0.0.0/24": "reserved for protocols",
    "192.0.2.0/24": "reserved for documentation",
    "192.88.99.0/24": "reserved",
    "198.51.100.0/24": "reserved for documentation",
    "203.0.113.0/24": "reserved for documentation",
    "224.0.0.0/4": "multicast",
    "255.255.255.255/32": "broadcast",
    "240.0.0.0/4": "reserved",
    "::/128": "unspecified",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local, which is deprecated",
    "ff00::/8": "multicast",
    "2001:db8::/32": "reserved for documentation",
    "3fff::/20": "reserved for documentation",
}

_ONLY_IF_PRIVATE = {
    "127.0.0.0/8": "loopback",
    "10.0.0.0/8": "private",
    "172.16.0.0/12": "private",
    "192.168.0.0/16": "private",
    "100.64.0.0/10": "carrier-grade NAT",
    "198.18.0.0/15": "reserved for benchmarks",
    "::1/128": "loopback",
    "fc00::/7": "unique local",
    # How long the prefix is, and so where the IPv4 address is, is everybody's own business (RFC 8215).
    "64:ff9b:1::/48": "NAT64 of local use",
}

_GLOBAL_IPV6 = IPv6Network("2000::/3")
_PROTOCOLS_IPV6 = IPv6Network("2001::/23")

# Where an IPv6 address has an IPv4 address in it: the network, and by how many bits it is followed.
_EMBEDDING = (
    (IPv6Network("::ffff:0:0/96"), 0, "IPv4-mapped"),
    (IPv6Network("::ffff:0:0:0/96"), 0, "IPv4-translated"),
    (IPv6Network("64:ff9b::/96"), 0, "NAT64"),
    (IPv6Network("64:ff9b:1::/48"), 0, "NAT64"),
    (IPv6Network("2002::/16"), 80, "6to4"),
)
_COMPATIBLE = IPv6Network("::/96")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_LOW = 0xFFFF_FFFF


def _networks(table: dict[str, str]) -> tuple[tuple[IPv4Network | IPv6Network, str], ...]:
    return tuple((ip_network(text), what) for text, what in table.items())


_NEVER_NETWORKS = _networks(_NEVER)
_PRIVATE_NETWORKS = _networks(_ONLY_IF_PRIVATE)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be connected to.

    Attributes:
        private: whether loopback, private, carrier-grade NAT and unique local addresses may be.
        setting: name of the variable that decides this, for objections.
    """

    private: bool
    setting: str = "INTEGRATION_ALLOW_PRIVATE_ADDRESSES"

    def objection(self, address: Address) -> str | None:
        """Why the address may not be connected to; None if it may.

        An IPv6 address that has an IPv4 address in it is judged as that: a gateway or the system itself may send what
        is meant for one to the other.
        """
        for how, inner in embedded(address):
            found = self._judge(inner)
            if found is not None:
                return f"{address} is {inner} ({how}), and that is {found}"
        found = self._judge(address)
        return None if found is None else f"{address} is {found}"

    def _judge(self, address: Address) -> str | None:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            return "an address with a zone"
        if address in _METADATA:
            return f"a metadata address ({_METADATA[address]})"
        for network, what in _NEVER_NETWORKS:
            if address in network:
                return what
        for network, what in _PRIVATE_NETWORKS:
            if address in network:
                return None if self.private else f"{what}, which {self.setting} does not allow"
        if isinstance(address, IPv6Address) and not any(True for _ in embedded(address)):
            if address not in _GLOBAL_IPV6:
                return "reserved"
            if address in _PROTOCOLS_IPV6:
                return "reserved for protocols"
        return None


def embedded(address: Address) -> list[tuple[str, IPv4Address]]:
    """The IPv4 addresses in an IPv6 address, and how they got there.

    RFC 4291, section 2.5.5 (mapped, compatible), RFC 2765 (translated), RFC 6052 and 8215 (NAT64), RFC 3056 (6to4),
    RFC 4380, section 4 (Teredo: the server's, and the client's inverted), RFC 5214, section 6.1 (ISATAP).
    """
    if isinstance(address, IPv4Address):
        return []
    number = int(address)
    for network, shift, how in _EMBEDDING:
        if address in network:
            return [(how, IPv4Address(number >> shift & _LOW))]
    if address in _TEREDO:
        server, client = IPv4Address(number >> 64 & _LOW), IPv4Address(~number & _LOW)
        return [("Teredo", server), ("Teredo", client)]
    if address in _COMPATIBLE and number > 1:
        return [("IPv4-compatible", IPv4Address(number))]
    if number >> 32 & _LOW in _ISATAP:
        return [("ISATAP", IPv4Address(number & _LOW))]
    return []
