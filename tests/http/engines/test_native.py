"""The native engine on real sockets: its connections, who gets them, and what is left when something goes wrong."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast import ClientConfig, HoldfastError, ResilientClient, ServiceUnavailableError
from holdfast.http.bodies import OneShotBody
from holdfast.http.engines import native_async
from holdfast.http.engines.base import EngineError, Sent
from holdfast.http.engines.native_async import AsyncNativeEngine
from holdfast.http.engines.native_pool import Pool
from tests.support import wire
from tests.support.colours import Colour
from tests.support.http2_peers import Talk, serve_http2_by
from tests.support.jobs import Elsewhere, job
from tests.support.loopback import Loopback, answer, raw
from tests.support.smuggling import CUT_OFF, REFUSED, Shape
from tests.support.wire import Received, in_loop, serve, until
from tests.support.wire_extras import Authority, authority

pytestmark = pytest.mark.loopback


def config(url: str, **settings: Any) -> ClientConfig:
    return wire.config(url, **{"engine": "native", "retry": {"max_attempts": 1}, **settings})


@asynccontextmanager
async def engine(**limits: Any) -> AsyncIterator[AsyncNativeEngine]:
    settings: dict[str, Any] = {"max_connections": 2, "max_keepalive_connections": 2, "keepalive_expiry": 5.0, **limits}
    elsewhere = settings.pop("elsewhere", Elsewhere())
    uds = settings.pop("uds", None)
    context = settings.pop("context", None) or httpx2.create_ssl_context()
    made = AsyncNativeEngine(context, httpx2.Limits(**settings), None, lambda: elsewhere, uds=uds)
    try:
        yield made
    finally:
        await made.aclose()


def pool_of(made: AsyncNativeEngine) -> Pool:
    assert made._pool is not None
    return made._pool


Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Conversation) -> AsyncIterator[str]:
    """The URL of a server of one's own, whose connections are closed at the end."""
    talks: set[asyncio.Task[Any]] = set()

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(tracked, "127.0.0.1", 0, limit=1024)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for task in talks:
        task.cancel()
    await asyncio.gather(*talks, return_exceptions=True)
    await asyncio.sleep(0.01)


def open_sockets() -> int:
    return sum(1 for one in Path("/proc/self/fd").iterdir() if one.is_symlink() and "socket" in str(one.readlink()))


# Desynchronisation


@pytest.fixture(params=["async", "sync"])
def native(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync", engine="native")
    yield user
    user.close()


ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}


@pytest.mark.parametrize("shape", REFUSED, ids=lambda shape: shape.name)
def test_what_could_be_read_in_two_ways_is_refused_and_the_next_call_is_right(native: Colour, shape: Shape):
    with Loopback() as server:
        server.on("/bad", raw(shape.data, end="keep")).on("/good", answer(200, b"right"))
        client = native.client(server.url, **ONCE)
        assert native.error(client.post("/bad"), HoldfastError).may_have_executed
        assert native(client.get("/good")).text == "right"
        assert server.connections == 2


@pytest.mark.parametrize("shape", CUT_OFF, ids=lambda shape: shape.name)
def test_what_follows_a_response_is_never_the_answer_to_another_request(native: Colour, shape: Shape):
    with Loopback() as server:
        server.on("/bad", raw(shape.data, end="keep")).on("/good", answer(200, b"right"))
        client = native.client(server.url, **ONCE)
        assert native(client.get("/bad")).content == shape.body
        assert native(client.get("/good")).text == "right"
        assert server.connections == 2


@in_loop
async def test_what_comes_unasked_on_an_idle_connection_ends_it() -> None:
    async def unasked(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.answer(200, "asked"))
        await writer.drain()
        if request.path == "/bad":
            await asyncio.sleep(0.05)
            writer.write(wire.answer(200, "EVIL"))

    with serve(unasked) as server:
        async with ResilientClient(config(server.url)) as client:
            assert (await client.get("/bad")).text == "asked"
            await asyncio.sleep(0.2)
            assert (await client.get("/good")).text == "asked"
            assert server.connections == 2


# Connections and who gets them


@in_loop
async def test_the_connection_that_was_used_last_is_used_next() -> None:
    async def named(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05 if request.path == "/slow" else 0)
        writer.write(wire.answer(200, str(writer.get_extra_info("peername")[1])))

    with serve(named) as server:
        async with engine() as made:
            slow, quick = await asyncio.gather(made.send(job(f"{server.url}/slow")), made.send(job(f"{server.url}/")))
            assert slow.text != quick.text
            assert (await made.send(job(f"{server.url}/"))).text == slow.text
            assert server.connections == 2


@in_loop
async def test_who_comes_first_is_served_first() -> None:
    order: list[str] = []

    async def noted(request: Received, writer: asyncio.StreamWriter) -> None:
        order.append(request.path)
        await asyncio.sleep(0.01)
        writer.write(wire.answer(200))

    with serve(noted) as server, serve(noted) as other:
        async with engine(max_connections=1) as made:
            urls = [f"{(server, other)[number % 3 == 2].url}/{number}" for number in range(7)]
            await asyncio.gather(*(made.send(job(url)) for url in urls))
            assert order == [f"/{number}" for number in range(7)]
            assert server.peak == other.peak == 1
            assert {one.path for one in other.requests} == {"/2", "/5"}  # nothing went to the wrong one


@in_loop
async def test_no_more_are_opened_than_allowed_and_idle_ones_elsewhere_make_room() -> None:
    with serve(wire.echo) as one, serve(wire.echo) as two:
        async with engine(max_connections=2) as made:
            for url in (one.url, two.url, one.url, two.url):
                await asyncio.gather(*(made.send(job(f"{url}/")) for _ in range(6)))
                await until(lambda: one.open_connections + two.open_connections <= 2)
            assert one.peak <= 2 and two.peak <= 2


@in_loop
async def test_whoever_waits_too_long_gets_none_and_leaves_no_trace() -> None:
    async def slow(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(wire.answer(200))

    with serve(slow) as server:
        async with engine(max_connections=1) as made:
            first = asyncio.create_task(made.send(job(f"{server.url}/")))
            await until(lambda: server.in_flight == 1)
            with pytest.raises(EngineError) as caught:
                await made.send(job(f"{server.url}/", pool=0.05))
            assert (caught.value.sent, caught.value.phase, caught.value.timed_out) == (Sent.NO, "pool", True)
            assert isinstance(caught.value.cause, httpx2.PoolTimeout)
            await first
            assert not pool_of(made)._waiters and len(server.requests) == 1


@in_loop
async def test_a_place_given_to_one_who_is_cancelled_goes_to_the_next() -> None:
    gate = asyncio.Event()

    async def held(request: Received, writer: asyncio.StreamWriter) -> None:
        while not gate.is_set():
            await asyncio.sleep(0.01)
        writer.write(wire.answer(200))

    with serve(held) as server:
        async with engine(max_connections=1) as made:
            first = asyncio.create_task(made.send(job(f"{server.url}/1")))
            await until(lambda: server.in_flight == 1)
            waiting = [asyncio.create_task(made.send(job(f"{server.url}/{number}"))) for number in (2, 3, 4)]
            await asyncio.sleep(0)
            waiting[1].cancel()
            # Cancelled in the very tick in which the connection is handed over.
            first.add_done_callback(lambda _: waiting[0].cancel())
            gate.set()
            await asyncio.gather(first, *waiting, return_exceptions=True)
            assert waiting[2].result().status_code == 200
            assert pool_of(made)._opening == 0
            assert len(pool_of(made)._connections) <= 1


@in_loop
async def test_at_whatever_step_it_is_cancelled_nothing_is_left() -> None:
    async def paced(request: Received, writer: asyncio.StreamWriter) -> None:
        head, body = wire.answer(200, "x" * 20).split(b"\r\n\r\n")
        for piece in (head, b"\r\n\r\n", body[:10], body[10:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)

    with serve(paced) as server:
        async with engine() as made:
            for steps in range(40):
                body = b"" if steps % 2 else b"y" * 300_000
                task = asyncio.create_task(made.send(job(f"{server.url}/", method="PUT", body=body)))
                for _ in range(steps):
                    await asyncio.sleep(0 if steps < 25 else 0.0005)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                pool = pool_of(made) if made._pool else None
                if pool is not None:
                    assert pool._opening == 0 and not pool._waiters
                    assert all(one.assembly is None for one in pool._connections)
            response = await made.send(job(f"{server.url}/"))
            assert response.text == "x" * 20
        await until(lambda: not server.open_connections)


@in_loop
async def test_a_connection_that_the_server_has_closed_is_not_used() -> None:
    async def once(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.answer(200))
        await writer.drain()
        writer.close()

    with serve(once) as server:
        async with engine() as made:
            for _ in range(5):
                assert (await made.send(job(f"{server.url}/", method="POST"))).status_code == 200
                time.sleep(0.02)  # the loop sees nothing of the end meanwhile
            assert server.connections == 5


@in_loop
async def test_nothing_is_sent_on_a_connection_to_a_name_that_is_not_there() -> None:
    async with engine() as made:
        for host in ("no-such-host.invalid", f"{'x' * 70}.invalid"):
            with pytest.raises(EngineError) as caught:
                await made.send(job(f"http://{host}/"))
            assert (caught.value.sent, caught.value.phase) == (Sent.NO, "connect")
            assert isinstance(caught.value.cause, httpx2.ConnectError)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        with pytest.raises(EngineError) as caught:
            await made.send(job(f"http://127.0.0.1:{port}/"))
        assert caught.value.sent is Sent.NO
        assert pool_of(made)._opening == 0


@in_loop
async def test_both_families_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(wire.echo) as server:
        loop = asyncio.get_running_loop()

        async def both(host: str, port: int, **_: Any) -> list[Any]:
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 9, 0, 0)),
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("100::1", port, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
            ]

        monkeypatch.setattr(loop, "getaddrinfo", both)
        before = open_sockets()
        async with engine() as made:
            response = await made.send(job(f"http://twofold.example:{server.port}/"))
            assert response.status_code == 200
        await until(lambda: open_sockets() <= before)


@in_loop
async def test_a_unix_socket(tmp_path: Path) -> None:
    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(wire.answer(200, "from a file"))
        await writer.drain()
        writer.close()

    path = str(tmp_path / "socket")
    server = await asyncio.start_unix_server(answered, path)
    async with server, engine(uds=path) as made:
        assert (await made.send(job("http://example.com/"))).text == "from a file"


# TLS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"), alpn=("h2", "http/1.1"))


@in_loop
async def test_tls_is_spoken_and_checked(made: Authority) -> None:
    with serve(wire.echo, tls=made.server) as server:
        async with ResilientClient(config(server.url, verify_ssl=made.ca)) as client:
            responses = [await client.get("/x") for _ in range(3)]
            response = responses[-1]
            assert {one.http_version for one in responses} == {"HTTP/1.1"}
            network = response.extensions["network_stream"]
            assert network.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            assert server.connections == 1
        async with ResilientClient(config(server.url)) as client:
            with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                await client.post("/x")
            assert not caught.value.may_have_executed  # type: ignore[attr-defined]


@in_loop
async def test_where_the_server_chooses_http2_others_serve_it(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = authority(tmp_path_factory.mktemp("h2"), alpn=("h2",))

    async def talk(one: Talk) -> None:
        one.answer(b"two")

    context = httpx2.create_ssl_context()
    context.load_verify_locations(only.ca)
    context.set_alpn_protocols(["h2"])
    # As if another client that offers HTTP/2 had come in between.
    monkeypatch.setattr(type(context), "set_alpn_protocols", lambda *_: None)
    elsewhere = Elsewhere()
    with serve_http2_by(talk, only.server) as peer:
        async with engine(context=context, elsewhere=elsewhere) as made:
            for number in (1, 2):
                assert (await made.send(job(f"{peer.url}/"))).status_code == 299
                assert len(elsewhere.jobs) == number
            assert not pool_of(made)._connections and pool_of(made)._opening == 0
    assert elsewhere.closed


@in_loop
async def test_an_error_tells_what_was_asked() -> None:
    async with engine() as made:
        with pytest.raises(EngineError) as caught:
            await made.send(job("http://no-such-host.invalid/x", method="PUT", body=b"abc"))
        cause = caught.value.cause
        assert isinstance(cause, httpx2.RequestError)
        assert (cause.request.method, cause.request.url.path) == ("PUT", "/x")


@in_loop
async def test_a_body_that_can_be_sent_once_is_not_used_up_by_finding_out_who_sends_it() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"

    with Loopback() as server:
        async with engine() as made:
            body = OneShotBody(pieces())
            chunked = [(b"Transfer-Encoding", b"chunked")]
            first = job(f"{server.url}/", method="PUT", body=body, headers=chunked)
            assert (await made.send(first)).status_code == 200
            with pytest.raises(EngineError, match="sent already") as caught:
                await made.send(job(f"{server.url}/", method="PUT", body=body, headers=chunked))
            assert caught.value.sent is Sent.NO
            assert (await made.send(job(f"{server.url}/"))).status_code == 200
        assert server.connections == 1


# What is left to others


@pytest.mark.parametrize(
    "more",
    [
        {"extensions": {"trace": print}},
        {"headers": [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]},
        {"method": "CONNECT"},
    ],
    ids=["extensions", "upgrade", "tunnel"],
)
def test_what_it_cannot_do_others_do(more: dict[str, Any]):
    async def main() -> None:
        elsewhere = Elsewhere()
        async with engine(elsewhere=elsewhere) as made:
            assert (await made.send(job("http://127.0.0.1:9/", **more))).status_code == 299
            assert len(elsewhere.jobs) == 1

    asyncio.run(main())


@in_loop
async def test_a_replaced_request_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def replaced(self: httpx2.AsyncClient, method: str, url: Any, **_: Any) -> httpx2.Response:
        return httpx2.Response(299, text=f"{method} {url}", request=httpx2.Request(method, url))

    with serve(wire.echo) as server:
        async with ResilientClient(config(server.url)) as client:
            assert (await client.get("/x")).status_code == 200
            with monkeypatch.context() as patched:
                patched.setattr(httpx2.AsyncClient, "request", replaced)
                assert (await client.get("/x")).text == f"GET {server.url}/x"
            assert (await client.get("/x")).status_code == 200
            assert len(server.requests) == 2


# Both ways


@in_loop
async def test_a_large_body_goes_out_with_back_pressure_and_comes_back() -> None:
    whole = os.urandom(3_000_000)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(whole), 10_000):
            yield whole[at : at + 10_000]

    with Loopback() as server:
        server.routes["/x"] = lambda seen: answer(200, seen.body)
        async with ResilientClient(config(server.url)) as client:
            assert (await client.post("/x", content=whole)).content == whole
            assert (await client.post("/x", content=pieces())).content == whole
            assert server.connections == 1


@in_loop
async def test_who_does_not_read_is_not_sent_more_than_a_little() -> None:
    sent = 0

    async def endless(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    with serve(endless) as server:
        async with ResilientClient(config(server.url, deadline=None)) as client:
            async with client.stream("GET", "/x") as response:
                last = -1
                while last != sent:
                    last = sent
                    await asyncio.sleep(0.2)
                assert sent < 32_000_000
                left = sent + 1_000_000
                async for chunk in response.aiter_raw():
                    left -= len(chunk)
                    if left < 0:
                        break
            await until(lambda: not server.open_connections)


@in_loop
async def test_a_body_waits_until_the_server_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    arrived: list[bytes] = []

    async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        arrived.append(head)
        if b"PUT /no" in head:
            writer.write(b"HTTP/1.1 417 No\r\nContent-Length: 3\r\n\r\n")
            await asyncio.sleep(0.4)
            writer.write(b"no!")
        else:
            assert not reader._buffer  # type: ignore[attr-defined]
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            arrived.append(await reader.readexactly(3))
            writer.write(wire.answer(200, "ok", {"Connection": "close"}))
        await writer.drain()
        arrived.append(await reader.read())

    expecting = {"Expect": "100-continue"}
    async with listening(asked) as url, ResilientClient(config(url)) as client:
        assert (await client.put("/yes", content=b"abc", headers=expecting)).text == "ok"
        assert arrived[1] == b"abc"
        monkeypatch.setattr(native_async, "PATIENCE", 0.2)
        with pytest.raises(HoldfastError) as caught:
            await client.put("/no", content=b"abc", headers=expecting)
        assert caught.value.status_code == 417 and caught.value.response is not None
        assert caught.value.response.text == "no!"
        await until(lambda: arrived[-1] == b"" and len(arrived) == 5)


@in_loop
async def test_an_early_answer_ends_the_sending() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(wire.answer(413, "too much"))
        await writer.drain()
        while await reader.read(100_000):
            pass

    async def without_end() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 50_000
            await asyncio.sleep(0)

    async with listening(early) as url, ResilientClient(config(url)) as client:
        with pytest.raises(HoldfastError) as caught:
            await client.put("/x", content=without_end())
        assert caught.value.status_code == 413


@pytest.mark.parametrize("length", [b"2", b"4"])
@in_loop
async def test_a_stream_that_is_not_as_long_as_it_said_is_not_sent_as_if(length: bytes) -> None:
    class Three:
        replayable = False

        def stream(self, *, sync: bool) -> Any:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"abc"

            return pieces()

    with Loopback() as server:
        async with engine() as made:
            with pytest.raises(EngineError) as caught:
                await made.send(
                    job(f"{server.url}/", method="PUT", body=Three(), headers=[(b"Content-Length", length)])
                )
            assert caught.value.phase == "build" and isinstance(caught.value.cause, httpx2.LocalProtocolError)
            assert not pool_of(made)._connections


# Time


@in_loop
async def test_each_timeout_is_kept_by_the_one_timer() -> None:
    async def silent(request: Received, writer: asyncio.StreamWriter) -> None:
        if request.path == "/half":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await asyncio.sleep(60)

    with serve(silent) as server:
        async with engine() as made:
            for path, phase in (("/", "head"), ("/half", "body")):
                with pytest.raises(EngineError) as caught:
                    await made.send(job(f"{server.url}{path}", read=0.05))
                assert (caught.value.phase, caught.value.timed_out, caught.value.sent) == (phase, True, Sent.MAYBE)
                assert isinstance(caught.value.cause, httpx2.ReadTimeout)
            response = await made.send(job(f"{server.url}/half", read=0.05, stream=True))
            with pytest.raises(httpx2.ReadTimeout):
                await response.aread()
            await until(lambda: not server.open_connections)


@in_loop
async def test_a_server_that_takes_nothing_runs_into_the_write_timeout() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with listening(deaf) as url, engine() as made:
        with pytest.raises(EngineError) as caught:
            await made.send(job(f"{url}/", method="PUT", body=b"x" * 50_000_000, write=0.1))
        assert isinstance(caught.value.cause, httpx2.WriteTimeout) and caught.value.timed_out
        assert not pool_of(made)._connections


@in_loop
async def test_idle_connections_are_closed_in_time_without_any_call() -> None:
    with serve(wire.echo) as server:
        async with engine(keepalive_expiry=0.05) as made:
            await made.send(job(f"{server.url}/"))
            assert server.open_connections == 1
            await until(lambda: not server.open_connections)
            assert not pool_of(made)._connections and pool_of(made)._timer is None


# Whole programs


def test_a_second_loop_has_connections_of_its_own():
    async def main() -> None:
        for _ in range(2):
            assert (await client.get("/x")).status_code == 200
        driver = client._assembly.connections.last
        assert driver is not None
        await driver.engine.aclose()

    with serve(wire.echo) as server:
        client = ResilientClient(config(server.url))
        for number in (1, 2, 3):
            asyncio.run(main())
            assert server.connections == number
        gc.collect()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_has_connections_of_its_own_and_leaves_the_parents_alone():
    async def main() -> None:
        async with ResilientClient(config(server.url)) as client:
            assert (await client.get("/parent")).status_code == 200
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                code = 1
                try:
                    asyncio.events._set_running_loop(None)
                    code = asyncio.new_event_loop().run_until_complete(in_child(client))
                finally:
                    os._exit(code)
            os.close(writing)
            os.close(reading)
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                await asyncio.sleep(0.01)
            assert (await client.get("/parent")).status_code == 200

    async def in_child(client: ResilientClient) -> int:
        return 0 if (await client.get("/child")).status_code == 200 else 1

    with serve(wire.echo) as server:
        asyncio.run(main())
        assert server.connections == 2
        assert sorted(one.path for one in server.requests) == ["/child", "/parent", "/parent"]


@in_loop
async def test_statuses_outrank_what_became_of_their_explanation() -> None:
    async def broken(request: Received, writer: asyncio.StreamWriter) -> None:
        coded = "Content-Encoding: gzip\r\n" if request.path == "/coded" else ""
        writer.write(f"HTTP/1.1 503 No\r\n{coded}Content-Length: 9\r\n\r\nhalf".encode())
        await writer.drain()
        writer.close()

    with serve(broken) as server:
        async with ResilientClient(config(server.url)) as client:
            for path in ("/plain", "/coded"):
                with pytest.raises(ServiceUnavailableError) as caught:
                    await client.get(path)
                assert caught.value.response is not None and caught.value.response.content == b""


def test_what_is_known_of_origins_is_bounded():
    async def main() -> None:
        async with engine() as made:
            for number in range(3000):
                made._heads.of(job(f"http://host-{number}.example/"))
            assert len(made._heads._known) <= 1024
            assert len(pool_of(made)._origins) <= 1024

    asyncio.run(main())
