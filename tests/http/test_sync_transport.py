"""The transport of sync use: what code that was written for `httpx2.HTTPTransport` relies on."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest

from holdfast import ResilientClient
from holdfast.http.engines import sync_transport
from holdfast.http.engines.sync_network import Backend, Sending
from holdfast.http.engines.sync_transport import SyncTransport
from holdfast.http.engines.wire import MOST_HEAD_BYTES, HeadTooLarge
from tests.support.tunnels import Peer, serve_streams
from tests.support.wire import Background, Received, answer, config, echo, scripted, serve, wait_until
from tests.support.wire_extras import authority

pytestmark = pytest.mark.loopback

LIMITS = httpx2.Limits(max_connections=10)


def transport(**settings: Any) -> SyncTransport:
    return SyncTransport(ssl.create_default_context(), limits=LIMITS, **settings)


# Exceptions


def errors() -> list[type[Exception]]:
    public = (getattr(httpcore2, name) for name in httpcore2.__all__)
    found = [one for one in public if isinstance(one, type) and issubclass(one, Exception)]
    assert len(found) > 10
    return [*found, ValueError]


class Raising:
    """A pool, and a body, that raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.status, self.stream = 200, self
        self.headers: list[tuple[bytes, bytes]] = []
        self.extensions: dict[str, Any] = {}

    def handle_request(self, request: object) -> Any:
        raise self._error

    def __iter__(self) -> Any:
        yield b"first"
        raise self._error

    def close(self) -> None:
        """There is nothing to close."""


class Answering(Raising):
    def handle_request(self, request: object) -> Any:
        return self


def raised(sender: Any, pool: Any, *, read: bool) -> Exception:
    sender._pool = pool
    request = httpx2.Request("GET", "http://service.test/")
    if not read:
        with pytest.raises(Exception) as caught:  # which one is what this tells
            sender.handle_request(request)
        return caught.value
    response = sender.handle_request(request)
    chunks = iter(response.stream)
    assert next(chunks) == b"first"
    with pytest.raises(Exception) as caught:  # the same
        next(chunks)
    return caught.value


@pytest.mark.parametrize("read", [False, True], ids=["head", "body"])
@pytest.mark.parametrize("kind", errors())
def test_exceptions_are_those_of_httpx2s_own_transport(kind: type[Exception], read: bool) -> None:
    def pool() -> Raising:
        return (Answering if read else Raising)(kind("what happened"))

    theirs = raised(httpx2.HTTPTransport(trust_env=False), pool(), read=read)
    ours = raised(transport(), pool(), read=read)
    assert type(ours) is type(theirs)
    assert str(ours) == str(theirs) == "what happened"
    assert type(ours.__cause__) is type(theirs.__cause__)


# Responses


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_response_tells_what_it_tells_otherwise(secure: bool, tmp_path: Path) -> None:
    made = authority(tmp_path)
    context = ssl.create_default_context(cafile=made.ca)
    body = b"HTTP/1.1 201 Made By Hand\r\nContent-Length: 2\r\nX-One: a\r\nx-one: b\r\n\r\nok"
    with serve(scripted(body), tls=made.server if secure else None) as server:
        ours = SyncTransport(context, limits=LIMITS)
        theirs = httpx2.HTTPTransport(verify=context, trust_env=False)
        seen = []
        for sender in (theirs, ours):
            with httpx2.Client(transport=sender) as client, client.stream("GET", f"{server.url}/x") as response:
                stream = response.extensions["network_stream"]
                tls = stream.get_extra_info("ssl_object")
                seen.append(
                    (
                        response.status_code,
                        response.http_version,
                        response.reason_phrase,
                        response.headers.raw,
                        sorted(response.extensions),
                        stream.get_extra_info("server_addr"),
                        stream.get_extra_info("client_addr")[0],
                        stream.get_extra_info("is_readable"),
                        stream.get_extra_info("socket").fileno() > 0,
                        stream.get_extra_info("unheard of"),
                        (tls.version(), tls.selected_alpn_protocol(), tls.getpeercert()) if tls else None,
                        response.read(),
                    )
                )
        assert seen[0] == seen[1]
        assert seen[1][2] == "Made By Hand"


def test_a_connection_can_be_upgraded() -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")
        writer.write((await request.reader.readexactly(4)).upper())
        await asyncio.sleep(30)

    with serve(handler) as server, httpx2.Client(transport=transport()) as client:
        headers = {"Connection": "upgrade", "Upgrade": "echo"}
        with client.stream("GET", server.url, headers=headers) as response:
            stream = response.extensions["network_stream"]
            assert stream.read(5) == b"hello"
            stream.write(b"ping", timeout=1.0)
            assert stream.read(4, timeout=1.0) == b"PING"
            with pytest.raises(httpcore2.ReadTimeout):
                stream.read(4, timeout=0.05)
            with pytest.raises(httpcore2.ReadTimeout):
                stream.read(4, timeout=0.05)


# Connections


def test_connections_are_kept_and_replaced_when_the_server_closes_them() -> None:
    with serve(echo) as server, ResilientClient(config(server.url)) as client:
        for _ in range(5):
            client.get("/x").result()
        assert server.connections == 1

    async def closes(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, "ok"))
        await writer.drain()
        writer.close()

    with serve(closes) as server, ResilientClient(config(server.url)) as client:
        for _ in range(3):
            assert client.post("/x").result().text == "ok"
            wait_until(lambda: not server.open_connections)
        assert server.connections == 3


def test_idle_connections_expire() -> None:
    with serve(echo) as server, ResilientClient(config(server.url, keepalive_expiry=0.0)) as client:
        for _ in range(3):
            client.get("/x").result()
        assert server.connections == 3


@pytest.mark.parametrize(("kept", "left"), [(None, 4), (1, 1), (0, 0)])
def test_no_more_idle_connections_are_kept_than_wanted(kept: int | None, left: int) -> None:
    arrived: list[Received] = []

    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        arrived.append(request)
        while len(arrived) < 4:  # so that all four are open at once
            await asyncio.sleep(0.001)
        writer.write(answer(200, "ok"))
        await writer.drain()

    with serve(handler) as server, ResilientClient(config(server.url, max_keepalive_connections=kept)) as client:
        with ThreadPoolExecutor(4) as pool:
            for one in [pool.submit(client.get("/x").result) for _ in range(4)]:
                assert one.result().status_code == 200
        wait_until(lambda: server.open_connections == left)
        assert server.connections == 4


def test_a_unix_socket(tmp_path: Path) -> None:
    async def handler(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(200, "by socket"))

    path = tmp_path / "socket"
    with serve_streams(handler, path=path), httpx2.Client(transport=transport(uds=str(path))) as client:
        assert client.get("http://service.test/x").text == "by socket"


def test_a_local_address() -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, writer.get_extra_info("peername")[0]))

    with serve(handler) as server, httpx2.Client(transport=transport(local_address="127.0.0.9")) as client:
        assert client.get(server.url).text == "127.0.0.9"


def test_a_closed_backend_makes_no_connections() -> None:
    backend = Backend()
    backend.interrupt()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with pytest.raises(httpcore2.ConnectError, match="closed"):
            backend.connect_tcp("127.0.0.1", listening.getsockname()[1], timeout=5.0)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.recv(1) == b"", "the connection that was made meanwhile is closed"


def test_a_stream_that_nobody_uses_is_let_go_of() -> None:
    backend = Backend()
    with serve(echo) as server:
        stream = backend.connect_tcp("127.0.0.1", server.port, timeout=5.0)
        gone = weakref.ref(stream)
        stream.close()
        del stream
        gc.collect()
        assert gone() is None


def test_the_connection_of_a_request_that_fails_is_closed_though_the_error_lives() -> None:
    once = {"max_attempts": 1}
    with serve(scripted(b"garbage\r\n\r\n")) as server, ResilientClient(config(server.url, retry=once)) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            client.get("/x").result()
        wait_until(lambda: not server.open_connections)


async def echoed(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)


def test_closing_a_connection_wakes_the_thread_that_reads_from_it() -> None:
    with serve_streams(echoed) as peer:
        stream = Backend().connect_tcp("127.0.0.1", peer.port, timeout=5.0)
        reading = Background(lambda: stream.read(10, timeout=20.0))
        time.sleep(0.1)
        stream.close()
        with pytest.raises(httpcore2.ReadError, match="closed by another thread"):
            reading.outcome(3.0)
        wait_until(lambda: not peer.open_connections)
        with pytest.raises(httpcore2.WriteError, match="closed"):
            stream.write(b"x")
        stream.close()


def test_what_is_read_for_a_head_is_counted_from_the_last_write() -> None:
    with serve_streams(echoed) as peer:
        stream = Backend().connect_tcp("127.0.0.1", peer.port, timeout=5.0)
        with Sending(10):
            for _ in range(3):
                stream.write(b"12345678")
                assert stream.read(100, timeout=5.0) == b"12345678"
            stream.write(b"12345678901")
            with pytest.raises(HeadTooLarge):
                stream.read(100, timeout=5.0)
        stream.close()


# TLS, and proxies


def test_a_proxy_that_is_refused_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ImportError, match=r"socks5 .* pip install holdfast\[socks\]"):
        transport(proxy=httpx2.Proxy("socks5://127.0.0.1:1"))


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_proxies_of_the_environment_are_used(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with serve(scripted(answer(200, "proxied"))) as proxy, serve(scripted(answer(200, "direct"))) as server:
        monkeypatch.setenv(variable, proxy.url)
        elsewhere = f"http://localhost:{server.port}"

        def fetched(**settings: Any) -> str:
            with ResilientClient(config(elsewhere, **settings)) as client:
                return client.get("/x").result().text

        assert fetched(trust_env=True) == "proxied"
        assert fetched(trust_env=False) == "direct"
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert fetched(trust_env=True) == "direct"
        assert fetched(trust_env=True, proxy=proxy.url) == "proxied"
        assert proxy.requests[0].target == f"{elsewhere}/x"


# Heads


def test_informational_responses_without_end_are_given_up_on() -> None:
    async def flood(request: Received, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 100)
            await writer.drain()

    with serve(flood) as server:
        settings = config(server.url, deadline=None, retry={"max_attempts": 1})
        with (
            ResilientClient(settings) as client,
            pytest.raises(httpx2.RemoteProtocolError, match=r"256 KiB|more than 200") as caught,
        ):
            client.post("/x").result()
        assert caught.value.may_have_executed  # type: ignore[attr-defined]


def test_a_head_may_be_large_but_not_too_large() -> None:
    hints = b"HTTP/1.1 103 -\r\nX: " + b"x" * 60_000 + b"\r\n\r\n"
    most = (MOST_HEAD_BYTES // len(hints)) - 1
    end = b"HTTP/1.1 200 OK\r\nX: " + b"y" * 30_000 + b"\r\nContent-Length: 2\r\n\r\nok"
    with serve(scripted(hints * most + end)) as server, ResilientClient(config(server.url)) as client:
        for _ in range(3):  # what the one before took does not count
            response = client.get("/x").result()
            assert (response.text, len(response.headers["x"])) == ("ok", 30_000)
        assert server.connections == 1


def test_the_body_does_not_count_as_head() -> None:
    with serve(scripted(answer(200, b"x" * 3_000_000))) as server, ResilientClient(config(server.url)) as client:
        assert len(client.get("/x").result().content) == 3_000_000


def test_the_bound_over_http2_is_above_what_a_server_may_send_unasked() -> None:
    windows = 2**24 + 65_535  # those of the connection, as httpcore2 opens them
    assert windows < sync_transport._MOST_HTTP2_BYTES
