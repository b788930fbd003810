"""Which addresses and endpoints are allowed: all that hypothesis thinks of."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast import ClientConfig
from holdfast.servers.integration.settings import Settings
from holdfast.servers.outbound.addresses import AddressPolicy, embedded
from holdfast.servers.outbound.guard import Endpoint, ForbiddenEndpointError, Guard
from tests.support.hostile import PUBLIC, Names

PRODUCTION, DEVELOPMENT = AddressPolicy(private=False), AddressPolicy(private=True)
V4 = st.ip_addresses(v=4) | st.ip_addresses(v=4, network="169.254.0.0/16") | st.ip_addresses(v=4, network="0.0.0.0/8")
V6 = st.ip_addresses(v=6) | st.ip_addresses(v=6, network="::/64") | st.ip_addresses(v=6, network="2001::/16")


@given(V4 | V6)
@example(ip_address("8.8.8.8"))
@example(ip_address("2001:4860:4860::8888"))
def test_what_is_allowed_is_public_as_python_sees_it(address):
    if PRODUCTION.objection(address) is None and not embedded(address):
        assert address.is_global and not address.is_multicast
    # What is allowed in production is allowed in development, and what never is, never is.
    if DEVELOPMENT.objection(address) is not None:
        assert PRODUCTION.objection(address) is not None
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        assert DEVELOPMENT.objection(address) is not None


@given(V4)
def test_an_ipv4_address_in_an_ipv6_address_is_judged_as_that(address):
    number = int(address)
    carriers = [
        int(IPv6Address("::ffff:0:0")) + number,
        int(IPv6Address("64:ff9b::")) + number,
        int(IPv6Address("2002::")) + (number << 80),
        int(IPv6Address("2001:0:808:808::")) + (number ^ 0xFFFF_FFFF),
    ]
    for policy in (PRODUCTION, DEVELOPMENT):
        objection = policy.objection(address)
        for carrier in map(IPv6Address, carriers):
            assert address in [inner for _, inner in embedded(carrier)]
            found = policy.objection(carrier)
            assert (found is None) == (objection is None)
            assert found is None or str(address) in found


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2a00:1450::1"])
def test_public_addresses_are_allowed(address):
    assert PRODUCTION.objection(ip_address(address)) is None


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.0.1", "100.64.0.1", "::1", "fd00::1", "64:ff9b:1:7f00:0:100:808:808"],
)
def test_private_addresses_are_allowed_where_they_may_be(address):
    assert DEVELOPMENT.objection(ip_address(address)) is None
    assert "INTEGRATION_ALLOW_PRIVATE_ADDRESSES" in (PRODUCTION.objection(ip_address(address)) or "")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://text-extraction-service:8000/api", "text-extraction-service", 8000),
        ("https://example.com", "example.com", 443),
        ("HTTP://EXAMPLE.com./a/", "example.com.", 80),
        ("http://bücher.example/", "xn--bcher-kva.example", 80),
        ("http://a_b.example:65535", "a_b.example", 65535),
        ("http://8.8.8.8:1/a%20b;c=d", "8.8.8.8", 1),
        ("http://[2001:4860:4860::8888]:443/", "2001:4860:4860::8888", 443),
        ("http://1a.example", "1a.example", 80),
    ],
)
def test_endpoints_of_all_kinds_are_accepted(text, host, port):
    endpoint = Endpoint.parse(text)
    assert (endpoint.host, endpoint.port) == (host, port)
    asyncio.run(Guard(PRODUCTION, Names([(PUBLIC, "2606:2800:220:1::1")])).check(text))


URLS = st.from_regex(r"https?://[\[\]a-z0-9:.%@_-]{1,20}(/[!-~]{0,12})?", fullmatch=True) | st.text(max_size=40)


@given(URLS)
@example("http://a/%2e%2e")
@example("http://a/b%2f..%2fc")
def test_what_is_accepted_can_be_called(text):
    try:
        endpoint = Endpoint.parse(text)
    except ForbiddenEndpointError:
        return
    config = ClientConfig(base_url=text)
    assert config.base_url == text
    assert endpoint.address is None or isinstance(endpoint.address, IPv4Address | IPv6Address)


def test_a_name_that_does_not_resolve_is_judged_later():
    asyncio.run(Guard(PRODUCTION, Names()).check("http://nowhere.test"))

    async def never(host: str, port: int):
        await asyncio.sleep(60)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await Guard(PRODUCTION, never).check("http://slow.test")
        assert loop.time() - began < 30

    from holdfast.servers.outbound import guard

    patched = pytest.MonkeyPatch()
    patched.setattr(guard, "RESOLVE_SECONDS", 0.05)
    try:
        asyncio.run(main())
    finally:
        patched.undo()


def test_the_flag_is_on_unless_in_production(monkeypatch):
    for environment, flag, allowed in [
        ("", None, True),
        ("development", None, True),
        ("production", None, False),
        (" Production ", None, False),
        ("production", "true", True),
        ("", "false", False),
    ]:
        monkeypatch.setenv("ENVIRONMENT", environment)
        monkeypatch.delenv("INTEGRATION_ALLOW_PRIVATE_ADDRESSES", raising=False)
        if flag is not None:
            monkeypatch.setenv("INTEGRATION_ALLOW_PRIVATE_ADDRESSES", flag)
        assert Settings().private_allowed is allowed, (environment, flag)
