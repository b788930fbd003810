"""HTTP/2 in sync use: threads do not share connections, and so do not wait for each other."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast import APITimeoutError, DeadlineExceededError, ResilientClient, ResponseError
from tests.support import tunnels
from tests.support.http2_peers import Behaviour, Http2Peer, Talk, echo_path, serve_http2_by
from tests.support.tunnels import serve_streams, socks5
from tests.support.wire import Background, config, echo, serve, wait_until
from tests.support.wire_extras import Authority, authority

pytestmark = pytest.mark.loopback

ONCE = {"max_attempts": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"), alpn=("h2",))


def client_for(peer: Http2Peer, made: Authority, **settings: Any) -> ResilientClient:
    return ResilientClient(config(peer.url, verify_ssl=made.ca, http2=True, **{"retry": ONCE, **settings}))


async def as_told(talk: Talk) -> None:
    """Answers with the path, after the time that is in it; ``/never`` not at all."""
    what = talk.path.strip("/")
    await asyncio.sleep(30 if what == "never" else float(what))
    talk.answer(talk.path.encode())


def test_requests_one_after_the_other_use_one_connection(made: Authority) -> None:
    with serve_http2_by(echo_path, made.server) as peer, client_for(peer, made) as client:
        answers = [client.get(f"/{number}").result() for number in range(5)]
        assert [one.text for one in answers] == [f"/{number}" for number in range(5)]
        assert {one.http_version for one in answers} == {"HTTP/2"}
        assert peer.connections == 1


def test_threads_use_connections_of_their_own_and_give_them_back(made: Authority) -> None:
    with serve_http2_by(as_told, made.server) as peer, client_for(peer, made) as client:
        for _ in range(3):
            waiting = [Background(lambda: client.get("/0.2").result()) for _ in range(4)]
            assert [one.outcome().text for one in waiting] == ["/0.2"] * 4
        assert peer.peak == 4
        assert peer.connections == 4


def test_more_threads_than_connections_take_turns(made: Authority) -> None:
    with serve_http2_by(as_told, made.server) as peer:
        with client_for(peer, made, bulkhead={"max_concurrency": 8}, max_connections=2) as client:
            waiting = [Background(lambda: client.get("/0.05").result()) for _ in range(8)]
            assert [one.outcome().text for one in waiting] == ["/0.05"] * 8
        assert peer.peak <= 2
        assert peer.connections == 2


def test_the_deadline_of_one_holds_while_another_waits(made: Authority) -> None:
    with serve_http2_by(as_told, made.server) as peer, client_for(peer, made) as client:
        patient = Background(lambda: client.get("/4", deadline=20.0).result())
        wait_until(lambda: peer.in_flight)
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            client.get("/never", deadline=0.2).result()
        assert time.monotonic() - began < 3.0
        assert patient.outcome().text == "/4"


@pytest.mark.parametrize("option", ["deadline", "timeout"])
def test_running_out_of_time_harms_no_other_request(option: str, made: Authority) -> None:
    with serve_http2_by(as_told, made.server) as peer, client_for(peer, made) as client:
        patient = Background(lambda: client.post("/0.8").result())
        wait_until(lambda: peer.in_flight)
        with pytest.raises((DeadlineExceededError, APITimeoutError)):
            options: dict[str, Any] = {option: 0.2}
            client.get("/never", **options).result()
        assert patient.outcome().text == "/0.8"


def test_a_connection_that_is_not_made_yet_is_not_waited_for(made: Authority) -> None:
    slowly = threading.Event()

    async def first_is_slow(peer: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if peer.connections == 1:
            while not slowly.is_set():
                await asyncio.sleep(0.01)
        await tunnels.http(peer, reader, writer)

    with (
        serve_http2_by(echo_path, made.server) as peer,
        serve_streams(first_is_slow) as proxy,
        client_for(peer, made, proxy=f"http://127.0.0.1:{proxy.port}") as client,
    ):
        waiting = Background(lambda: client.get("/first").result())
        wait_until(lambda: proxy.connections)
        assert client.get("/second", deadline=5.0).result().text == "/second"
        slowly.set()
        assert waiting.outcome().text == "/first"


def closes_after(behaviour: Behaviour, made: Authority, error: type[Exception], **settings: Any) -> None:
    """A request that fails; the next one comes on another connection."""
    first = True

    async def once(talk: Talk) -> None:
        nonlocal first
        was, first = first, False
        await (behaviour(talk) if was else echo_path(talk))

    with serve_http2_by(once, made.server) as peer, client_for(peer, made, **settings) as client:
        with pytest.raises(error):
            client.get("/x").result()
        wait_until(lambda: not peer.open_connections)
        assert client.get("/y").result().text == "/y"
        assert peer.connections == 2


def test_what_is_too_large_closes_its_connection(made: Authority) -> None:
    async def large(talk: Talk) -> None:
        talk.head()
        for _ in range(20):
            talk.data(b"x" * 1000)
        await asyncio.sleep(30)

    closes_after(large, made, ResponseError, max_response_bytes=10_000)


def test_what_is_late_closes_its_connection(made: Authority) -> None:
    async def trickle(talk: Talk) -> None:
        talk.head()
        while not talk.gone:
            talk.data(b"x")
            await asyncio.sleep(0.05)

    closes_after(trickle, made, DeadlineExceededError, deadline=0.25)


def test_a_stream_that_is_left_closes_its_connection(made: Authority) -> None:
    async def endless(talk: Talk) -> None:
        talk.head()
        while not talk.gone:
            talk.data(b"x" * 100)
            await asyncio.sleep(0.01)

    with serve_http2_by(endless, made.server) as peer, client_for(peer, made) as client:
        with client.stream("GET", "/x") as response:
            assert next(response.iter_raw())
        wait_until(lambda: not peer.open_connections)
        assert client.bulkhead.in_flight == 0


def test_a_stream_that_is_read_keeps_its_connection(made: Authority) -> None:
    with serve_http2_by(echo_path, made.server) as peer, client_for(peer, made) as client:
        for _ in range(2):
            with client.stream("GET", "/x") as response:
                assert response.read() == b"/x"
        assert peer.connections == 1


def test_answers_without_a_body_keep_their_connection(made: Authority) -> None:
    async def empty(talk: Talk) -> None:
        talk.head(status=204, end=True)

    with serve_http2_by(empty, made.server) as peer, client_for(peer, made) as client:
        assert [client.delete("/x").result().status_code for _ in range(3)] == [204] * 3
        assert peer.connections == 1


@pytest.mark.parametrize("hang_up", [False, True])
def test_a_server_that_went_away_is_connected_to_again(hang_up: bool, made: Authority) -> None:
    async def leaves(talk: Talk) -> None:
        talk.answer(talk.path.encode())
        talk.go_away(hang_up=hang_up)

    with serve_http2_by(leaves, made.server) as peer, client_for(peer, made) as client:
        for number in range(3):
            # A POST without a key: it would not be repeated if the server might have taken it.
            assert client.post(f"/{number}").result().text == f"/{number}"
            time.sleep(0.1)
        assert peer.connections == 3


def test_a_refused_stream_was_not_executed(made: Authority) -> None:
    async def refuses(talk: Talk) -> None:
        if len(peer.paths) == 1:
            talk.h2.reset_stream(talk.stream, 7)
            talk.flush()
        else:
            talk.answer(b"ok")

    with serve_http2_by(refuses, made.server) as peer, client_for(peer, made, retry={"max_attempts": 2}) as client:
        assert client.post("/x").result().text == "ok"


def test_a_server_without_http2_is_spoken_to_in_the_older_way(tmp_path: Path) -> None:
    made = authority(tmp_path)
    with serve(echo, tls=made.server) as server:
        with ResilientClient(config(server.url, verify_ssl=made.ca, http2=True)) as client:
            answers = [client.get("/x").result() for _ in range(3)]
        assert {one.http_version for one in answers} == {"HTTP/1.1"}
        assert server.connections == 1


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_proxies_carry_it(kind: str, made: Authority) -> None:
    with (
        serve_http2_by(echo_path, made.server) as peer,
        serve_streams(tunnels.http if kind == "http" else socks5) as proxy,
        client_for(peer, made, proxy=f"{kind}://127.0.0.1:{proxy.port}") as client,
    ):
        answers = [client.get(f"/{number}").result() for number in range(3)]
        assert [one.text for one in answers] == ["/0", "/1", "/2"]
        assert {one.http_version for one in answers} == {"HTTP/2"}
        assert (proxy.connections, peer.connections) == (1, 1)


def test_what_the_response_tells_of_its_connection_is_kept(made: Authority) -> None:
    with serve_http2_by(echo_path, made.server) as peer, client_for(peer, made) as client:
        extensions = client.get("/x").result().extensions
        assert extensions["http_version"] == b"HTTP/2"
        assert extensions["stream_id"] == 1
        tls = extensions["network_stream"].get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "h2"


def test_an_error_of_the_server_is_not_taken_for_a_request_that_cannot_be_sent(made: Authority) -> None:
    async def too_many(talk: Talk) -> None:
        stream = talk.stream.to_bytes(4, "big")
        talk.raw(b"\0\0\0\x01\0" + stream)
        for _ in range(200):
            talk.raw(b"\0\0\0\x09\0" + stream)
        await asyncio.sleep(30)

    with serve_http2_by(too_many, made.server) as peer, client_for(peer, made) as client:
        with pytest.raises(httpx2.RemoteProtocolError, match="continuation") as caught:
            client.post("/x").result()
        assert caught.value.may_have_executed  # type: ignore[attr-defined]
