"""HTTP/2 under asyncio: requests share connections, until one of them goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast import DeadlineExceededError, PoolTimeoutError, ResilientClient, ResponseError
from tests.support import tunnels
from tests.support.faulty_peers import Peer as Faulty
from tests.support.faulty_peers import mute
from tests.support.http2_peers import Http2Peer, Talk, echo_path, serve_http2_by
from tests.support.tunnels import serve_streams, socks5
from tests.support.wire import config, echo, in_loop, serve, until
from tests.support.wire_extras import Authority, authority

pytestmark = pytest.mark.loopback

ONCE = {"max_attempts": 1}
LIMIT = 50_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"), alpn=("h2",))


def client_for(peer: Http2Peer, made: Authority, **settings: Any) -> ResilientClient:
    return ResilientClient(config(peer.url, verify_ssl=made.ca, http2=True, **{"retry": ONCE, **settings}))


async def as_told(talk: Talk) -> None:
    """Answers with the path, after the time that is in it; ``/never`` not at all, ``/endless`` without end."""
    what = talk.path.strip("/")
    if what == "endless":
        talk.head()
        while not talk.gone and talk.h2.local_flow_control_window(talk.stream) > 16_000:
            talk.data(b"x" * 16_000)
            await asyncio.sleep(0)
        return
    await asyncio.sleep(30 if what == "never" else float(what or 0.0))
    talk.answer(talk.path.encode())


@in_loop
async def test_requests_share_a_connection(made: Authority) -> None:
    with serve_http2_by(as_told, made.server) as peer:
        async with client_for(peer, made) as client:
            await client.get("/0")
            answers = await asyncio.gather(*(client.get("/0.2") for _ in range(8)))
        assert [one.text for one in answers] == ["/0.2"] * 8
        assert {one.http_version for one in answers} == {"HTTP/2"}
        assert peer.connections == 1
        assert peer.peak == 8


async def too_large(client: ResilientClient) -> None:
    with pytest.raises(ResponseError, match="max_response_bytes"):
        await client.get("/endless")


async def left_early(client: ResilientClient) -> None:
    async with client.stream("GET", "/endless") as response:
        async for _ in response.aiter_bytes():
            break


async def late(client: ResilientClient) -> None:
    with pytest.raises(DeadlineExceededError) as caught:
        await client.get("/never", deadline=0.1)
    assert caught.value.may_have_executed


async def cancelled(client: ResilientClient) -> None:
    task = asyncio.create_task(client.get("/never"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("proxy", [None, "http", "socks5"])
@pytest.mark.parametrize("goes_wrong", [too_large, left_early, late, cancelled])
@in_loop
async def test_after_a_request_went_wrong_the_others_end_well_and_new_ones_go_elsewhere(
    goes_wrong: Any, proxy: str | None, made: Authority
) -> None:
    with (
        serve_http2_by(as_told, made.server) as peer,
        serve_streams(tunnels.http if proxy == "http" else socks5) as between,
    ):
        settings = {"proxy": f"{proxy}://127.0.0.1:{between.port}"} if proxy else {}
        async with client_for(peer, made, max_response_bytes=LIMIT, **settings) as client:
            await client.get("/0")
            patient = asyncio.create_task(client.post("/1"))
            await until(lambda: peer.in_flight)
            await goes_wrong(client)
            assert peer.connections == 1
            assert (await client.get("/0")).text == "/0"
            assert peer.connections == 2
            assert (await patient).text == "/1"
            await until(lambda: peer.open_connections == 1)
            await client.get("/0")
            assert peer.connections == 2, "the new one is kept"


@in_loop
async def test_a_connection_that_takes_no_more_requests_counts_as_long_as_it_is_open(made: Authority) -> None:
    with serve_http2_by(as_told, made.server) as peer:
        async with client_for(peer, made, max_connections=1, timeout={"pool": 0.1}) as client:
            patient = asyncio.create_task(client.post("/1"))
            await until(lambda: peer.in_flight)
            await late(client)
            with pytest.raises(PoolTimeoutError):
                await client.get("/0")
            assert (await patient).text == "/1"
            assert (await client.get("/0")).text == "/0"
            assert peer.connections == 2


@in_loop
async def test_bodies_that_are_cut_do_not_use_up_what_may_be_received(made: Authority) -> None:
    async def large(talk: Talk) -> None:
        if talk.path == "/x":
            talk.answer(b"ok")
            return
        talk.head()
        for _ in range(60):
            talk.data(b"x" * 16_000)

    with serve_http2_by(large, made.server) as peer:
        async with client_for(peer, made, max_response_bytes=LIMIT, deadline=10.0) as client:
            for _ in range(25):  # more than the 16 MiB for which httpcore2 opens the window of a connection
                with pytest.raises(ResponseError):
                    await client.get("/large")
            assert (await client.get("/x")).text == "ok"


@in_loop
async def test_a_stream_that_the_server_resets_harms_no_connection(made: Authority) -> None:
    async def refuses(talk: Talk) -> None:
        if len(peer.paths) % 2:
            talk.h2.reset_stream(talk.stream, error_code=7)  # REFUSED_STREAM
            talk.flush()
        else:
            talk.answer(b"ok")

    with serve_http2_by(refuses, made.server) as peer:
        async with client_for(peer, made, retry={"max_attempts": 3}) as client:
            for _ in range(3):
                assert (await client.post("/x")).text == "ok"
        assert (peer.connections, len(peer.paths)) == (1, 6)


@in_loop
async def test_a_server_that_goes_away_is_left(made: Authority) -> None:
    async def goes(talk: Talk) -> None:
        talk.answer(b"ok")
        talk.go_away(hang_up=False)

    with serve_http2_by(goes, made.server) as peer:
        async with client_for(peer, made, retry={"max_attempts": 3}) as client:
            for _ in range(3):
                assert (await client.get("/x")).text == "ok"
            await until(lambda: peer.open_connections <= 1)


@in_loop
async def test_an_idle_connection_that_was_hung_up_is_not_used(made: Authority) -> None:
    async def leaves(talk: Talk) -> None:
        talk.answer(talk.path.encode())
        (transport,) = peer.transports
        asyncio.get_running_loop().call_later(0.05, transport.abort)

    with serve_http2_by(leaves, made.server) as peer:
        async with client_for(peer, made) as client:
            for number in range(1, 4):
                assert (await client.post(f"/{number}")).text == f"/{number}"
                await until(lambda: not peer.open_connections)
                assert peer.connections == number


@in_loop
async def test_all_who_wait_for_one_connection_have_sent_nothing() -> None:
    with Faulty(mute) as peer:
        url = f"https://127.0.0.1:{peer.port}"
        async with ResilientClient(config(url, http2=True)) as client:
            calls = [client.post("/x", deadline=0.2) for _ in range(5)]
            failures = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in failures] == [DeadlineExceededError] * 5
        assert not any(one.may_have_executed for one in failures if isinstance(one, DeadlineExceededError))


@in_loop
async def test_who_waits_for_a_connection_goes_on_when_the_one_who_makes_it_is_cancelled(made: Authority) -> None:
    async def first_is_slow(peer: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if peer.connections == 1:
            await asyncio.sleep(30)
        await tunnels.http(peer, reader, writer)

    with serve_http2_by(echo_path, made.server) as peer, serve_streams(first_is_slow) as proxy:
        async with client_for(peer, made, proxy=f"http://127.0.0.1:{proxy.port}", max_connections=1) as client:
            first = asyncio.create_task(client.get("/first"))
            await until(lambda: proxy.connections)
            second = asyncio.create_task(client.get("/second"))
            await asyncio.sleep(0.05)
            first.cancel()
            assert (await second).text == "/second"
            with pytest.raises(asyncio.CancelledError):
                await first
            assert (await client.get("/third")).text == "/third"


@in_loop
async def test_a_server_without_http2_is_spoken_to_in_http_1(made: Authority, tmp_path: Any) -> None:
    plain = authority(tmp_path)
    with serve(echo, tls=plain.server) as server:
        async with ResilientClient(config(server.url, verify_ssl=plain.ca, http2=True)) as client:
            answers = await asyncio.gather(*(client.get("/x") for _ in range(5)))
            assert {one.http_version for one in answers} == {"HTTP/1.1"}
            for _ in range(5):
                await client.get("/x")
        assert server.connections <= 5
