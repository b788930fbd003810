"""The transport of async use: what code that was written for `httpx2.AsyncHTTPTransport` relies on, and more."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpcore2
import httpx2
import pytest

from holdfast import DeadlineExceededError, ResilientClient
from holdfast.http.engines.async_network import Backend
from holdfast.http.engines.async_transport import AsyncTransport
from holdfast.http.engines.interrupted import never_sent
from holdfast.http.engines.wire import MOST_HEAD_BYTES
from tests.support import tunnels
from tests.support.faulty_peers import Peer as Faulty
from tests.support.faulty_peers import mute
from tests.support.tunnels import Peer, serve_streams, silent, socks5
from tests.support.wire import (
    CHUNKED,
    Received,
    answer,
    chunk,
    config,
    echo,
    in_loop,
    scripted,
    serve,
    until,
)
from tests.support.wire_extras import Authority, authority

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("each_engine")]

CONTEXT = ssl.create_default_context()
LIMITS = httpx2.Limits(max_connections=10)
ONCE = {"max_attempts": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"))


def transport(**settings: Any) -> AsyncTransport:
    return AsyncTransport(CONTEXT, limits=LIMITS, **settings)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


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

    async def handle_async_request(self, request: object) -> Any:
        raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"first"
        raise self._error


class Answering(Raising):
    async def handle_async_request(self, request: object) -> Any:
        return self


async def raised(sender: Any, pool: Any, *, read: bool) -> Exception:
    sender._pool = pool
    request = httpx2.Request("GET", "http://service.test/")
    if not read:
        with pytest.raises(Exception) as caught:  # which one is what this tells
            await sender.handle_async_request(request)
        return caught.value
    response = await sender.handle_async_request(request)
    chunks = response.stream.__aiter__()
    assert await anext(chunks) == b"first"
    with pytest.raises(Exception) as caught:  # the same
        await anext(chunks)
    return caught.value


@pytest.mark.parametrize("read", [False, True], ids=["head", "body"])
@pytest.mark.parametrize("kind", errors())
@in_loop
async def test_exceptions_are_those_of_httpx2s_own_transport(kind: type[Exception], read: bool) -> None:
    def pool() -> Raising:
        return (Answering if read else Raising)(kind("what happened"))

    theirs = await raised(httpx2.AsyncHTTPTransport(trust_env=False), pool(), read=read)
    ours = await raised(transport(), pool(), read=read)
    assert type(ours) is type(theirs)
    assert str(ours) == str(theirs) == "what happened"
    assert type(ours.__cause__) is type(theirs.__cause__)


# Responses


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@in_loop
async def test_a_response_tells_what_it_tells_otherwise(secure: bool, made: Authority) -> None:
    context = ssl.create_default_context(cafile=made.ca)
    body = b"HTTP/1.1 201 Made By Hand\r\nContent-Length: 2\r\nX-One: a\r\nx-one: b\r\n\r\nok"
    with serve(scripted(body), tls=made.server if secure else None) as server:
        seen = []
        for sender in (
            httpx2.AsyncHTTPTransport(verify=context, trust_env=False),
            AsyncTransport(context, limits=LIMITS),
        ):
            async with (
                httpx2.AsyncClient(transport=sender) as client,
                client.stream("GET", f"{server.url}/x") as response,
            ):
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
                        await response.aread(),
                    )
                )
        assert seen[0] == seen[1]
        assert seen[1][2] == "Made By Hand"


@in_loop
async def test_a_connection_can_be_upgraded_and_then_carries_what_it_likes() -> None:
    much = 3 * MOST_HEAD_BYTES

    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")
        assert await request.reader.readexactly(4) == b"ping"
        writer.write(b"p" * much)
        await asyncio.sleep(30)

    with serve(handler) as server:
        async with httpx2.AsyncClient(transport=transport()) as client:
            headers = {"Connection": "upgrade", "Upgrade": "echo"}
            async with client.stream("GET", server.url, headers=headers) as response:
                stream = response.extensions["network_stream"]
                assert await stream.read(5) == b"hello"
                await stream.write(b"ping", timeout=1.0)
                received = 0
                while received < much:
                    received += len(await stream.read(65_536, timeout=5.0))
                with pytest.raises(httpcore2.ReadTimeout):
                    await stream.read(4, timeout=0.05)


# Connections


@in_loop
async def test_connections_are_kept_and_replaced_when_the_server_closes_them() -> None:
    with serve(echo) as server:
        async with ResilientClient(config(server.url)) as client:
            for _ in range(5):
                await client.get("/x")
            assert server.connections == 1

    async def closes(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, "ok"))
        await writer.drain()
        writer.close()

    with serve(closes) as server:
        async with ResilientClient(config(server.url)) as client:
            for _ in range(3):
                assert (await client.post("/x")).text == "ok"
                await until(lambda: not server.open_connections)
            assert server.connections == 3


@in_loop
async def test_idle_connections_expire() -> None:
    with serve(echo) as server:
        async with ResilientClient(config(server.url, keepalive_expiry=0.0)) as client:
            for _ in range(3):
                await client.get("/x")
            assert server.connections == 3


@in_loop
@pytest.mark.parametrize(("kept", "left"), [(None, 4), (1, 1), (0, 0)])
async def test_no_more_idle_connections_are_kept_than_wanted(kept: int | None, left: int) -> None:
    arrived: list[Received] = []

    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        arrived.append(request)
        while len(arrived) < 4:  # so that all four are open at once
            await asyncio.sleep(0.001)
        writer.write(answer(200, "ok"))
        await writer.drain()

    with serve(handler) as server:
        async with ResilientClient(config(server.url, max_keepalive_connections=kept)) as client:
            await asyncio.gather(*(client.get("/x") for _ in range(4)))
            await until(lambda: server.open_connections == left)
            assert server.connections == 4


@in_loop
async def test_a_unix_socket(tmp_path: Path) -> None:
    async def handler(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(200, "by socket"))

    path = tmp_path / "socket"
    with serve_streams(handler, path=path) as peer:
        async with httpx2.AsyncClient(transport=transport(uds=str(path))) as client:
            for _ in range(2):
                assert (await client.get("http://service.test/x")).text == "by socket"
        assert peer.connections == 1


@in_loop
async def test_a_local_address() -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, writer.get_extra_info("peername")[0]))

    with serve(handler) as server:
        async with httpx2.AsyncClient(transport=transport(local_address="127.0.0.9")) as client:
            assert (await client.get(server.url)).text == "127.0.0.9"


@in_loop
async def test_closing_ends_the_requests_in_flight() -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    with serve(handler) as server:
        sender = transport()
        request = asyncio.create_task(sender.handle_async_request(httpx2.Request("GET", server.url)))
        await until(lambda: server.in_flight)
        await sender.aclose()
        with pytest.raises(httpx2.ReadError):
            await asyncio.wait_for(request, 5.0)
        await until(lambda: not server.open_connections)


@in_loop
async def test_a_closed_backend_makes_no_connections() -> None:
    backend = Backend()
    backend.close()
    with serve_streams(silent) as peer:
        with pytest.raises(httpcore2.ConnectError, match="closed"):
            await backend.connect_tcp("127.0.0.1", peer.port, timeout=5.0)
        await until(lambda: peer.connections)
        await until(lambda: not peer.open_connections)


@in_loop
async def test_closing_a_connection_ends_its_tls_handshake() -> None:
    with serve_streams(silent) as peer:
        stream = await Backend().connect_tcp("127.0.0.1", peer.port, timeout=5.0)
        handshake = asyncio.create_task(stream.start_tls(ssl.create_default_context(), "localhost", 5.0))
        await asyncio.sleep(0.05)
        await stream.aclose()
        with pytest.raises(httpcore2.ConnectError):
            await asyncio.wait_for(handshake, 3.0)


# Cancelling


def _connected(peer: Faulty, before: int) -> bool:
    return peer.connections > before


@pytest.mark.parametrize(
    ("scheme", "proxy"), [("https", None), ("http", "http"), ("https", "http"), ("http", "socks5"), ("https", "socks5")]
)
@pytest.mark.parametrize("by", ["cancel", "anyio", "deadline"])
@in_loop
async def test_what_is_cancelled_while_it_connects_leaves_no_socket(scheme: str, proxy: str | None, by: str) -> None:
    with Faulty(mute) as peer:
        url = f"{scheme}://127.0.0.1:{peer.port}"
        settings = {"proxy": f"{proxy}://127.0.0.1:{peer.port}"} if proxy else {}
        async with ResilientClient(config(url, max_connections=1, **settings)) as client:
            before = open_files()
            for number in range(3):
                if by == "deadline":
                    with pytest.raises(DeadlineExceededError):
                        await client.get("/x", deadline=0.1)
                elif by == "anyio":
                    with anyio.move_on_after(0.1) as scope:
                        await client.get("/x")
                    assert scope.cancelled_caught
                else:
                    task = asyncio.create_task(client.get("/x"))
                    await until(partial(_connected, peer, number))
                    await asyncio.sleep(0.02)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                await until(lambda: not peer.open)
            assert peer.connections == 3, "the one connection of the pool was free again"
            await until(lambda: open_files() <= before)


@in_loop
async def test_what_is_cancelled_while_it_waits_for_tcp_leaves_no_socket() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        try:
            async with ResilientClient(config(url, max_connections=1)) as client:
                before = open_files()
                for _ in range(3):
                    with pytest.raises(DeadlineExceededError) as caught:
                        await client.post("/x", deadline=0.1)
                    assert not caught.value.may_have_executed
                await until(lambda: open_files() == before)
        finally:
            for one in waiting:
                one.close()


# What a deadline tells


@pytest.mark.parametrize("own", [True, False], ids=["ours", "handed in"])
@in_loop
async def test_waiting_for_a_connection_of_the_pool_sends_nothing(own: bool) -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    limits = httpx2.Limits(max_connections=1)
    async with httpx2.AsyncClient(trust_env=False, limits=limits, timeout=None) as theirs:
        with serve(handler) as server:
            settings: dict[str, Any] = {"timeout": {"pool": None, "read": None}, "max_connections": 1, "retry": ONCE}
            handed: Any = {} if own else {"http_client": theirs}
            async with ResilientClient(config(server.url, **settings), **handed) as client:
                first = asyncio.create_task(client.post("/x", deadline=0.6))
                await until(lambda: server.in_flight)
                with pytest.raises(DeadlineExceededError) as caught:
                    await client.post("/x", deadline=0.1)
                assert not caught.value.may_have_executed
                with pytest.raises(DeadlineExceededError) as caught:
                    await first
                assert caught.value.may_have_executed, "that one was sent"
            assert len(server.requests) == 1


@in_loop
async def test_a_post_that_led_elsewhere_was_executed_though_what_came_after_was_not_sent() -> None:
    with (
        Faulty(mute) as elsewhere,
        serve(scripted(answer(303, b"", {"Location": f"https://127.0.0.1:{elsewhere.port}/y"}))) as server,
    ):
        async with ResilientClient(config(server.url)) as client:
            with pytest.raises(DeadlineExceededError) as caught:
                await client.post("/x", deadline=0.3)
        assert (len(server.requests), elsewhere.connections) == (1, 1)
    assert caught.value.may_have_executed


@in_loop
async def test_what_does_not_tell_proves_nothing() -> None:
    async def waits(request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(30)
        return httpx2.Response(200)

    settings = config("http://service.test")
    async with ResilientClient(settings, transport=httpx2.MockTransport(waits)) as client:
        with pytest.raises(DeadlineExceededError) as caught:
            await client.post("/x", deadline=0.1)
    assert caught.value.may_have_executed
    assert not never_sent(asyncio.CancelledError())


@in_loop
async def test_a_request_that_failed_was_sent_though_it_is_cancelled_while_it_cleans_up() -> None:
    async def closes(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.close()

    with serve(closes) as server:
        async with httpcore2.AsyncConnectionPool() as pool:
            cleaning = asyncio.Event()
            close = pool._close_connections

            async def slowly(closing: Any) -> None:
                if server.requests:
                    cleaning.set()
                    await asyncio.sleep(30)
                await close(closing)

            pool._close_connections = slowly  # type: ignore[method-assign]
            task = asyncio.create_task(pool.request("GET", server.url))
            await cleaning.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert not never_sent(caught.value)
            pool._close_connections = close  # type: ignore[method-assign]


@in_loop
async def test_an_earlier_error_is_not_taken_for_the_requests_own() -> None:
    task = asyncio.current_task()
    assert task is not None
    one = httpx2.Limits(max_connections=1)
    with serve(scripted(b"garbage\r\n\r\n")) as garbage, serve(echo) as server:
        async with httpcore2.AsyncConnectionPool() as pool, AsyncTransport(CONTEXT, limits=one) as sender:
            request = httpx2.Request("GET", server.url)
            held = await sender.handle_async_request(request)
            try:
                await pool.request("GET", garbage.url)
                raise AssertionError("it was garbage")
            except httpcore2.RemoteProtocolError:
                asyncio.get_running_loop().call_later(0.1, task.cancel)
                with pytest.raises(asyncio.CancelledError) as caught:
                    await sender.handle_async_request(request)
                task.uncancel()
            await held.aclose()
    assert isinstance(caught.value.__context__, httpcore2.RemoteProtocolError)
    assert never_sent(caught.value)


# TLS, and proxies


WAYS = [(proxy, outer, inner) for proxy in ("http", "socks5") for outer in (False, True) for inner in (False, True)]


@pytest.mark.parametrize(("proxy", "outer", "inner"), [way for way in WAYS if way[0] == "http" or not way[1]])
@in_loop
async def test_through_a_proxy(
    proxy: str, outer: bool, inner: bool, made: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # httpx2 verifies a proxy by the system's certificates, whatever those for the servers are.
    monkeypatch.setenv("SSL_CERT_FILE", made.ca)
    with (
        serve(echo, tls=made.server if inner else None) as server,
        serve_streams(tunnels.http if proxy == "http" else socks5, tls=made.server if outer else None) as between,
    ):
        scheme = "https" if outer else proxy
        login = "jo:pw@" if proxy == "socks5" else ""
        settings = {"proxy": f"{scheme}://{login}127.0.0.1:{between.port}", "verify_ssl": made.ca}
        async with ResilientClient(config(server.url, **settings)) as client:
            for _ in range(3):
                assert (await client.get("/x")).json()["method"] == "GET"
        assert (server.connections, between.connections) == (1, 1)
        assert between.logins == ([("jo", "pw")] if login else [])
        await until(lambda: not between.open_connections)


def test_a_proxy_that_is_refused_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ImportError, match=r"socks5 .* pip install holdfast\[socks\]"):
        transport(proxy=httpx2.Proxy("socks5://127.0.0.1:1"))


@pytest.mark.parametrize("proxy", ["http", "socks5"])
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
def test_a_proxied_connection_that_fails_does_not_stay_in_the_pool(sync: bool, proxy: str, made: Authority) -> None:
    handler = tunnels.http if proxy == "http" else socks5
    with serve(echo, tls=made.server) as unknown, serve(echo) as server, serve_streams(handler) as between:
        settings = {"proxy": f"{proxy}://127.0.0.1:{between.port}", "max_connections": 1, "timeout": {"pool": 3.0}}
        client = ResilientClient(config(server.url, retry=ONCE, **settings))

        async def in_turn() -> None:
            async with client:
                with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await client.get(f"{unknown.url}/x")
                assert (await client.get("/x")).status_code == 200

        if sync:
            with client:
                with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    client.get(f"{unknown.url}/x").result()
                assert client.get("/x").result().status_code == 200
        else:
            asyncio.run(in_turn())


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
@in_loop
async def test_proxies_of_the_environment_are_used(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with serve(scripted(answer(200, "proxied"))) as proxy, serve(scripted(answer(200, "direct"))) as server:
        monkeypatch.setenv(variable, proxy.url)
        elsewhere = f"http://localhost:{server.port}"

        async def fetched(**settings: Any) -> str:
            async with ResilientClient(config(elsewhere, **settings)) as client:
                return (await client.get("/x")).text

        assert await fetched(trust_env=True) == "proxied"
        assert await fetched(trust_env=False) == "direct"
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert await fetched(trust_env=True) == "direct"
        assert await fetched(trust_env=True, proxy=proxy.url) == "proxied"
        assert proxy.requests[0].target == f"{elsewhere}/x"


# Heads


@in_loop
async def test_informational_responses_without_end_are_given_up_on() -> None:
    async def flood(request: Received, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 100)
            await writer.drain()

    with serve(flood) as server:
        async with ResilientClient(config(server.url, deadline=None, retry=ONCE)) as client:
            with pytest.raises(httpx2.RemoteProtocolError, match="informational responses") as caught:
                await client.post("/x")
            assert caught.value.may_have_executed  # type: ignore[attr-defined]
            await until(lambda: not server.open_connections)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@in_loop
async def test_a_head_may_be_large_but_not_too_large(secure: bool, made: Authority) -> None:
    hints = b"HTTP/1.1 103 -\r\nX: " + b"x" * 60_000 + b"\r\n\r\n"
    most = (MOST_HEAD_BYTES // len(hints)) - 1
    end = b"HTTP/1.1 200 OK\r\nX: " + b"y" * 30_000 + b"\r\nContent-Length: 2\r\n\r\nok"
    with serve(scripted(hints * most + end), tls=made.server if secure else None) as server:
        async with ResilientClient(config(server.url, verify_ssl=made.ca)) as client:
            for _ in range(3):  # what the one before took does not count
                response = await client.get("/x")
                assert (response.text, len(response.headers["x"])) == ("ok", 30_000)
            assert server.connections == 1


@in_loop
async def test_the_body_does_not_count_as_head() -> None:
    async def slowly(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for _ in range(30):
            writer.write(chunk(b"x" * 100_000))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    with serve(slowly) as server:
        async with ResilientClient(config(server.url)) as client:
            for _ in range(2):
                assert len((await client.get("/x")).content) == 3_000_000
            assert server.connections == 1
