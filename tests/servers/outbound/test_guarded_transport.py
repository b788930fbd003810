"""The transport connects to the addresses that were judged, in the name of the endpoint."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator

import httpx2
import pytest
import trustme

from holdfast.servers.outbound.addresses import AddressPolicy
from holdfast.servers.outbound.guard import Endpoint, Guard
from holdfast.servers.outbound.guarded_transport import (
    ATTEMPTS,
    Attempts,
    ForbiddenConnectionError,
    GuardedTransport,
)
from tests.support.hostile import Names
from tests.support.loopback import answer

pytestmark = pytest.mark.loopback

TRUSTING = ssl.create_default_context()


def sent(endpoint: str, names: Names, *paths: str, tls: ssl.SSLContext = TRUSTING) -> list[httpx2.Response]:
    """The answers to requests of one client."""

    async def main() -> list[httpx2.Response]:
        guard = Guard(AddressPolicy(private=True), names)
        transport = GuardedTransport(Endpoint.parse(endpoint), guard, tls)
        async with httpx2.AsyncClient(transport=transport, timeout=5) as client:
            return [await client.get(path if "//" in path else endpoint + path) for path in paths]

    return asyncio.run(main())


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_name_goes_into_the_host_header_and_the_address_is_connected_to(peer):
    (got,) = sent(f"http://text.test:{peer.port}", Names([("127.0.0.1",)]), "/a?b=c")
    assert got.status_code == 200 and str(got.url) == f"http://text.test:{peer.port}/a?b=c"
    assert peer.last.get("Host") == f"text.test:{peer.port}" and peer.last.target == "/a?b=c"


def test_every_request_is_judged_anew_and_connections_are_kept(peer):
    names = Names([("127.0.0.1",), ("127.0.0.1",), ("127.0.0.1", "169.254.169.254")])
    url = f"http://text.test:{peer.port}"
    assert [got.status_code for got in sent(url, names, "/1", "/2")] == [200, 200]
    assert peer.connections == 1
    names.asked.clear()
    with pytest.raises(ForbiddenConnectionError, match=r"169\.254\.169\.254 is a metadata address"):
        sent(url, names, "/1", "/2", "/3")
    assert [one.target for one in peer.seen] == ["/1", "/2", "/1", "/2"]


def test_the_next_address_is_tried_where_one_does_not_connect(peer):
    (got,) = sent(f"http://text.test:{peer.port}", Names([("127.0.0.9", "127.0.0.1")]), "/")
    # Something listens on 127.0.0.1 only.
    assert got.status_code == 200 and len(peer.seen) == 1
    with pytest.raises(httpx2.ConnectError):
        sent(f"http://text.test:{closed_port()}", Names([("127.0.0.8", "127.0.0.9")]), "/")


def test_a_name_that_does_not_resolve_is_a_connection_that_failed(peer):
    with pytest.raises(httpx2.ConnectError, match=r"text\.test does not resolve"):
        sent(f"http://text.test:{peer.port}", Names(), "/")


def test_only_the_origin_of_the_endpoint_is_asked(peer):
    own = f"http://127.0.0.1:{peer.port}"
    for other in (f"http://localhost:{peer.port}/", f"https://127.0.0.1:{peer.port}/", "http://127.0.0.1/"):
        with pytest.raises(ForbiddenConnectionError, match="not the origin"):
            sent(own, Names([("127.0.0.1",)]), other)
    assert peer.connections == 0


def test_no_proxy_of_the_environment_is_used(peer, monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    assert sent(f"http://text.test:{peer.port}", Names([("127.0.0.1",)]), "/")[0].status_code == 200


def test_it_counts_what_it_sends(peer):
    attempts = Attempts()

    async def main() -> None:
        guard = Guard(AddressPolicy(private=True), Names([("127.0.0.1",), ("0.0.0.0",)]))
        transport = GuardedTransport(Endpoint.parse(f"http://text.test:{peer.port}"), guard, TRUSTING)
        async with httpx2.AsyncClient(transport=transport) as client:
            await client.get(f"http://text.test:{peer.port}", extensions={ATTEMPTS: attempts})
            with pytest.raises(ForbiddenConnectionError):
                await client.get(f"http://text.test:{peer.port}", extensions={ATTEMPTS: attempts})

    asyncio.run(main())
    assert attempts.sent == 1


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(authority: trustme.CA) -> Iterator[tuple[int, list[str | None]]]:
    """A TLS server with a certificate for text.test: its port, and the names that clients asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("text.test").configure_cert(context)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    ready: list[int] = []

    import threading

    started, stopping = threading.Event(), threading.Event()

    async def serve() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(200, b"ok").pieces[0])
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
        ready.append(server.sockets[0].getsockname()[1])
        started.set()
        while not stopping.is_set():
            await asyncio.sleep(0.02)
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(30)
    yield ready[0], asked
    stopping.set()
    thread.join(30)


def test_certificates_are_checked_against_the_name(authority, secured):
    port, asked = secured
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    (got,) = sent(f"https://text.test:{port}", Names([("127.0.0.1",)]), "/", tls=trusting)
    assert got.text == "ok" and asked == ["text.test"]
    with pytest.raises(httpx2.ConnectError, match=r"(?i)hostname mismatch|not valid for"):
        sent(f"https://other.test:{port}", Names([("127.0.0.1",)]), "/", tls=trusting)
    with pytest.raises(httpx2.ConnectError, match=r"(?i)verify failed"):
        sent(f"https://text.test:{port}", Names([("127.0.0.1",)]), "/")
    assert asked == ["text.test", "other.test", "text.test"]
