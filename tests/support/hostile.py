"""Endpoints by which somebody might have a server call what it must not, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from holdfast.servers.outbound.addresses import Address

PUBLIC = "93.184.216.34"


@dataclass(frozen=True)
class Hostile:
    """One of them.

    Attributes:
        what: it is, in a few words.
        endpoint: to be registered. `{port}` is that of a canary on 127.0.0.1, which nothing may connect to; `{other}`
            that of a service, which may be called where private addresses are allowed.
        expect: part of the refusal.
        private: whether private addresses are allowed.
        at: where it has to be refused at the latest.
        lookups: what names resolve to, one look-up after the other; the last one stays. Nothing: they do not resolve.
        redirect: status and Location with which the service answers.
    """

    what: str
    endpoint: str
    expect: str
    private: bool = False
    at: Literal["registration", "call"] = "registration"
    lookups: tuple[tuple[str, ...], ...] = ()
    redirect: tuple[int, str] | None = None

    def filled(self, port: int, other: int) -> str:
        return self.endpoint.format(port=port, other=other)


@dataclass
class Names:
    """A resolver of names that the table makes up."""

    lookups: Sequence[tuple[str, ...]] = ()
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> list[Address]:
        self.asked.append(host)
        if not self.lookups:
            raise OSError(f"{host}: no such name")
        found = self.lookups[min(len(self.asked), len(self.lookups)) - 1]
        return [ip_address(one) for one in found]


NOTATION = "not written as four decimal numbers"
LOOPBACK = "loopback"
METADATA = "metadata"

HOSTILE = (
    # Loopback and private addresses, where they are not allowed
    Hostile("loopback", "http://127.0.0.1:{port}", LOOPBACK),
    Hostile("another loopback address", "http://127.8.9.10:{port}", LOOPBACK),
    Hostile("loopback, IPv6", "http://[::1]:{port}", LOOPBACK),
    Hostile("localhost", "http://localhost:{port}", LOOPBACK),
    Hostile("a name below localhost", "http://metadata.localhost:{port}", LOOPBACK),
    Hostile("localhost with a final dot", "http://LOCALHOST.:{port}", LOOPBACK),
    Hostile("private, 10/8", "http://10.0.0.1", "private"),
    Hostile("private, 172.16/12", "http://172.31.255.254", "private"),
    Hostile("private, 192.168/16", "https://192.168.1.1", "private"),
    Hostile("carrier-grade NAT", "http://100.64.0.1", "carrier-grade NAT"),
    Hostile("unique local", "http://[fd12:3456::1]", "unique local"),
    # The same, written differently: allowed or not
    Hostile("one decimal number", "http://2130706433:{port}", NOTATION, private=True),
    Hostile("one hexadecimal number", "http://0x7f000001:{port}", NOTATION, private=True),
    Hostile("one octal number", "http://017700000001:{port}", NOTATION, private=True),
    Hostile("octal parts", "http://0177.0.0.1:{port}", "no URL", private=True),
    Hostile("hexadecimal parts", "http://0x7f.0x0.0x0.0x1:{port}", NOTATION, private=True),
    Hostile("short form, two parts", "http://127.1:{port}", NOTATION, private=True),
    Hostile("short form, one part", "http://0:{port}", NOTATION, private=True),
    Hostile("a final dot", "http://127.0.0.1.:{port}", NOTATION, private=True),
    Hostile("fullwidth digits", "http://１２７.0.0.1:{port}", "no URL", private=True),  # noqa: RUF001 - meant so
    Hostile("ideographic full stops", "http://127。0。0。1:{port}", NOTATION, private=True),
    Hostile("percent-encoded host", "http://%31%32%37.0.0.1:{port}", "no host that can be called", private=True),
    # IPv4 in IPv6
    Hostile("IPv4-mapped", "http://[::ffff:127.0.0.1]:{port}", "IPv4-mapped"),
    Hostile("IPv4-mapped, hexadecimal", "http://[::ffff:7f00:1]:{port}", "IPv4-mapped"),
    Hostile("IPv4-compatible", "http://[::127.0.0.1]:{port}", "IPv4-compatible"),
    Hostile("NAT64", "http://[64:ff9b::10.0.0.1]", "NAT64"),
    Hostile("6to4", "http://[2002:a00:1::1]", "6to4"),
    Hostile("Teredo, the client", "http://[2001:0:808:808::80ff:fffe]", "Teredo"),
    Hostile("ISATAP", "http://[2a00::5efe:127.0.0.1]", "ISATAP"),
    # What is never allowed
    Hostile("metadata of AWS, Azure, Google", "http://169.254.169.254/latest/meta-data", METADATA, private=True),
    Hostile("metadata, IPv4-mapped", "http://[::ffff:169.254.169.254]", METADATA, private=True),
    Hostile("metadata, NAT64", "http://[64:ff9b::a9fe:a9fe]", METADATA, private=True),
    Hostile("metadata of AWS, IPv6", "http://[fd00:ec2::254]", METADATA, private=True),
    Hostile("metadata of Alibaba, in carrier-grade NAT", "http://100.100.100.200", METADATA, private=True),
    Hostile("metadata of Oracle", "http://192.0.0.192", METADATA, private=True),
    Hostile("metadata of Azure, a public address", "http://168.63.129.16", METADATA, private=True),
    Hostile("metadata by name", "http://metadata.google.internal", METADATA, private=True),
    Hostile("metadata by name, another case and a dot", "http://Metadata.Google.Internal.", METADATA, private=True),
    Hostile("link-local", "http://169.254.1.1", "link-local", private=True),
    Hostile("link-local, IPv6", "http://[fe80::1]", "link-local", private=True),
    Hostile("an address with a zone", "http://[fe80::1%25eth0]", "no host that can be called", private=True),
    Hostile("unspecified", "http://0.0.0.0:{port}", "unspecified", private=True),
    Hostile("unspecified, IPv6", "http://[::]:{port}", "unspecified", private=True),
    Hostile("this network", "http://0.1.2.3", "unspecified", private=True),
    Hostile("multicast", "http://224.0.0.1", "multicast", private=True),
    Hostile("broadcast", "http://255.255.255.255", "broadcast", private=True),
    Hostile("reserved", "http://240.0.0.1", "reserved", private=True),
    # URLs that two readers may read differently, or that are none
    Hostile("user name", f"http://{PUBLIC}@127.0.0.1:{{port}}", "no user name", private=True),
    Hostile("user name and backslash", "http://example.com\\@127.0.0.1:{port}", "no user name", private=True),
    Hostile("backslash", "http://127.0.0.1:{port}\\.example.com", "no host that can be called", private=True),
    Hostile("query", "http://127.0.0.1:{port}/?a=", "no query", private=True),
    Hostile("fragment", "http://127.0.0.1:{port}/#", "no fragment", private=True),
    Hostile("dot segments", "http://127.0.0.1:{port}/api/%2e%2E/admin", "'.' or '..'", private=True),
    Hostile("another scheme", "gopher://127.0.0.1:{port}", "begins with http", private=True),
    Hostile("a file", "file:///etc/passwd", "begins with http", private=True),
    Hostile("a line break", "http://127.0.0.1:{port}/\r\nX-Evil: 1", "percent-encoded", private=True),
    Hostile("port 0", "http://127.0.0.1:0", "does not exist", private=True),
    # Names
    Hostile("resolves to loopback", "http://evil.test:{port}", LOOPBACK, lookups=(("127.0.0.1",),)),
    Hostile("resolves to private", "http://evil.test", "private", lookups=(("10.0.0.7",),)),
    Hostile("resolves to metadata", "http://evil.test", METADATA, private=True, lookups=(("169.254.169.254",),)),
    Hostile("resolves to public and loopback", "http://evil.test:{port}", LOOPBACK, lookups=((PUBLIC, "127.0.0.1"),)),
    Hostile("resolves to IPv4-mapped", "http://evil.test:{port}", LOOPBACK, lookups=(("::ffff:127.0.0.1",),)),
    # Found only when it is called
    Hostile(
        "rebound to loopback between check and call",
        "http://evil.test:{port}",
        LOOPBACK,
        at="call",
        lookups=((PUBLIC,), ("127.0.0.1",)),
    ),
    Hostile(
        "rebound to metadata between check and call",
        "https://evil.test",
        METADATA,
        private=True,
        at="call",
        lookups=((PUBLIC,), ("169.254.169.254",)),
    ),
    Hostile("unknown when registered, loopback later", "http://evil.test:{port}", LOOPBACK, at="call"),
    *(
        Hostile(
            f"{status} to {where}",
            "http://127.0.0.1:{other}",
            expect,
            private=True,
            at="call",
            redirect=(status, location),
        )
        for status, where, location, expect in (
            (302, "another port", "http://127.0.0.1:{port}/", "not the origin"),
            (303, "another host name", "http://localhost:{other}/", "not the origin"),
            (307, "metadata", "http://169.254.169.254/latest", "another origin"),
            (308, "another scheme", "https://127.0.0.1:{port}/", "another origin"),
            (302, "metadata", "http://169.254.169.254/latest", "not the origin"),
            (302, "a file", "file:///etc/passwd", "redirect was not followed"),
            (301, "a host without scheme", "//127.0.0.1:{port}/", "not the origin"),
        )
    ),
)

UNKNOWN_FIRST = "unknown when registered, loopback later"
"""The one whose name begins to resolve between the two."""
