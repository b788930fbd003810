"""Closing a client wakes the threads that wait for a server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import ClientClosedError, ResilientClient
from tests.support import tunnels
from tests.support.http2_peers import Talk, serve_http2_by
from tests.support.tunnels import deaf, serve_streams, silent
from tests.support.wire import CHUNKED, Background, Received, answer, chunk, config, serve, wait_until
from tests.support.wire_extras import Authority, authority

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("each_engine")]

PROMPT = 3.0  # seconds; the timeouts that would end the calls otherwise are five times as long


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"))


def closed_under(client: ResilientClient, call: Callable[[], Any], begun: Callable[[], object]) -> ClientClosedError:
    """What a call on another thread ends with when the client is closed."""
    waiting = Background(call)
    wait_until(begun)
    time.sleep(0.05)  # now it waits for the server
    client.close().result()
    with pytest.raises(ClientClosedError) as caught:
        waiting.outcome(PROMPT)
    assert client.bulkhead.in_flight == 0
    return caught.value


async def says_nothing(request: Received, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def half_a_head(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")
    await asyncio.sleep(30)


async def half_a_body(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    await asyncio.sleep(30)


async def until_the_end(request: Received, writer: asyncio.StreamWriter) -> None:
    """A body that ends with the connection: what is there when it is cut looks whole."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await asyncio.sleep(30)


HANDLERS = [says_nothing, half_a_head, half_a_body, until_the_end]


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_call_in_flight_ends_at_once(handler: Any, secure: bool, method: str, made: Authority) -> None:
    with serve(handler, tls=made.server if secure else None) as server:
        client = ResilientClient(config(server.url, verify_ssl=made.ca if secure else True))
        error = closed_under(client, lambda: client.request(method, "/x").result(), lambda: server.requests)
        assert error.attempts == 1
        assert error.may_have_executed
        wait_until(lambda: not server.open_connections)


@pytest.mark.parametrize("secure", [False, True], ids=["forwarded", "in a tunnel"])
def test_a_call_through_a_tls_proxy_ends_at_once(
    secure: bool, made: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", made.ca)
    with (
        serve_streams(tunnels.http, tls=made.server) as proxy,
        serve(half_a_body, tls=made.server if secure else None) as server,
    ):
        settings = config(server.url, verify_ssl=made.ca, proxy=f"https://127.0.0.1:{proxy.port}")
        client = ResilientClient(settings)
        closed_under(client, lambda: client.get("/x").result(), lambda: server.requests)
        wait_until(lambda: not proxy.open_connections)


def test_a_call_over_http2_ends_at_once(tmp_path: Any) -> None:
    async def nothing(talk: Talk) -> None:
        await asyncio.sleep(30)

    made = authority(tmp_path, alpn=("h2",))
    with serve_http2_by(nothing, made.server) as peer:
        client = ResilientClient(config(peer.url, verify_ssl=made.ca, http2=True))
        closed_under(client, lambda: client.get("/x").result(), lambda: peer.paths)
        wait_until(lambda: not peer.open_connections)


def test_a_tls_handshake_ends_at_once() -> None:
    with serve_streams(silent) as peer:
        client = ResilientClient(config(f"https://127.0.0.1:{peer.port}"))
        error = closed_under(client, lambda: client.post("/x").result(), lambda: peer.open_connections)
        assert not error.may_have_executed
        wait_until(lambda: not peer.open_connections)


def test_a_request_that_is_being_sent_ends_at_once() -> None:
    with serve_streams(deaf) as peer:
        client = ResilientClient(config(f"http://127.0.0.1:{peer.port}"))
        body = b"x" * 50_000_000
        closed_under(client, lambda: client.post("/x", content=body).result(), lambda: peer.open_connections)


def test_many_calls_end_at_once() -> None:
    with serve(says_nothing) as server:
        client = ResilientClient(config(server.url, bulkhead={"max_concurrency": 5}))
        waiting = [Background(lambda: client.get("/x").result()) for _ in range(8)]
        wait_until(lambda: len(server.requests) == 5)
        client.close().result()
        for one in waiting:
            with pytest.raises(ClientClosedError):
                one.outcome(PROMPT)
        assert client.bulkhead.in_flight == 0


def test_a_stream_ends_at_once() -> None:
    begun = threading.Event()

    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(b"first"))
        await asyncio.sleep(30)

    with serve(handler) as server:
        client = ResilientClient(config(server.url))

        def read() -> None:
            with client.stream("GET", "/x") as response:
                for _ in response.iter_bytes():
                    begun.set()

        closed_under(client, read, begun.is_set)


def test_nothing_is_sent_again_after_it() -> None:
    with serve(says_nothing) as server:
        client = ResilientClient(config(server.url, retry={"max_attempts": 5}))
        closed_under(client, lambda: client.get("/x").result(), lambda: server.requests)
        time.sleep(0.1)
        assert len(server.requests) == 1
        with pytest.raises(ClientClosedError):
            client.get("/x").result()


def test_idle_connections_are_closed() -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, "ok"))

    with serve(handler) as server:
        client = ResilientClient(config(server.url))
        client.get("/x").result()
        assert server.open_connections == 1
        client.close().result()
        wait_until(lambda: not server.open_connections)


def test_closing_from_a_loop_wakes_threads_too() -> None:
    with serve(says_nothing) as server:
        client = ResilientClient(config(server.url))
        waiting = Background(lambda: client.get("/x").result())
        wait_until(lambda: server.requests)

        async def close() -> None:
            await client.close()

        asyncio.run(close())
        with pytest.raises(ClientClosedError):
            waiting.outcome(PROMPT)
