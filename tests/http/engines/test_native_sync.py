"""The native engine in sync use, on real sockets: its connections, which threads get them, and what is left of them."""

from __future__ import annotations

import asyncio
import gc
import linecache
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, Self

import httpx2
import pytest

from holdfast import HoldfastError, ResilientClient, ServiceUnavailableError
from holdfast.core.effects import Job
from holdfast.http.bodies import OneShotBody
from holdfast.http.deadlines import limit
from holdfast.http.engines import dialing_sync, native_sync_exchange, native_sync_pool, readiness
from holdfast.http.engines.base import EngineError, Sent
from holdfast.http.engines.h1_request import NotOurs
from holdfast.http.engines.native_sync import SyncNativeEngine
from holdfast.http.engines.native_sync_connection import Connection
from holdfast.http.engines.native_sync_pool import Pool
from tests.support import jobs, wire
from tests.support.http2_peers import Talk, serve_http2_by
from tests.support.jobs import ElsewhereSync
from tests.support.loopback import Loopback, answer, chunked
from tests.support.tunnels import Peer, deaf, serve_streams, silent
from tests.support.wire import Background, Received, echo, serve, wait_until
from tests.support.wire_extras import Authority, authority

pytestmark = pytest.mark.loopback


def config(url: str, **settings: Any) -> Any:
    return wire.config(url, **{"engine": "native", "retry": {"max_attempts": 1}, **settings})


def job(url: str, **more: Any) -> Job:
    return jobs.job(url, sync=True, **more)


@contextmanager
def engine(**limits: Any) -> Iterator[SyncNativeEngine]:
    settings: dict[str, Any] = {"max_connections": 2, "max_keepalive_connections": 2, "keepalive_expiry": 5.0, **limits}
    elsewhere = settings.pop("elsewhere", ElsewhereSync())
    given = {name: settings.pop(name, None) for name in ("uds", "local_address")}
    context = settings.pop("context", None) or httpx2.create_ssl_context()
    made = SyncNativeEngine(context, httpx2.Limits(**settings), None, lambda: elsewhere, **given)
    try:
        yield made
    finally:
        made.close()


def pool_of(made: SyncNativeEngine) -> Pool:
    return made._pool


def at_rest(made: SyncNativeEngine) -> bool:
    """Whether nothing is held for a request: every connection there is waits for the next one."""
    pool = pool_of(made)
    idle = [one for origin in pool._origins.values() for one in origin.idle]
    return (
        not pool._opening
        and not pool._waiters
        and not pool._lock.locked()
        and set(idle) == set(pool._idle) == pool._connections
        and len(idle) == len(set(idle))
        and not any(one.ended or one._busy for one in idle)
    )


def failure(made: SyncNativeEngine, one: Job) -> EngineError:
    with pytest.raises(EngineError) as caught:
        made.send(one)
    return caught.value


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"), alpn=("h2", "http/1.1"))


# Connections and who gets them


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_what_comes_unasked_on_an_idle_connection_ends_it(secure: bool, made: Authority) -> None:
    async def unasked(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.answer(200, "asked"))
        await writer.drain()
        if request.path == "/bad":
            await asyncio.sleep(0.05)
            writer.write(wire.answer(200, "EVIL"))

    with (
        serve(unasked, tls=made.server if secure else None) as server,
        ResilientClient(config(server.url, verify_ssl=made.ca)) as client,
    ):
        assert client.get("/bad").result().text == "asked"
        time.sleep(0.2)
        assert client.get("/good").result().text == "asked"
        assert client.get("/good").result().text == "asked"
        assert server.connections == 2


def test_the_connection_that_was_used_last_is_used_next() -> None:
    async def named(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1 if request.path == "/slow" else 0)
        writer.write(wire.answer(200, str(writer.get_extra_info("peername")[1])))

    with serve(named) as server, engine() as made:
        slow = Background(lambda: made.send(job(f"{server.url}/slow")))
        wait_until(lambda: server.in_flight)
        quick = made.send(job(f"{server.url}/"))
        assert slow.outcome().text != quick.text
        assert made.send(job(f"{server.url}/")).text == slow.outcome().text
        assert server.connections == 2


def test_who_comes_first_is_served_first() -> None:
    order: list[str] = []

    async def noted(request: Received, writer: asyncio.StreamWriter) -> None:
        order.append(request.path)
        await asyncio.sleep(0.01)
        writer.write(wire.answer(200))

    gate = threading.Event()

    async def held(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.get_running_loop().run_in_executor(None, gate.wait)
        await noted(request, writer)

    with serve(held) as server, serve(noted) as other, engine(max_connections=1) as made:
        waiting = []
        for number in range(7):
            url = f"{(server, other)[number % 3 == 2].url}/{number}"
            waiting.append(Background(lambda url=url: made.send(job(url))))  # type: ignore[misc]
            wait_until(lambda number=number: server.in_flight and len(pool_of(made)._waiters) == number)  # type: ignore[misc]
        gate.set()
        for one in waiting:
            assert one.outcome().status_code == 200
        assert order == [f"/{number}" for number in range(7)]
        assert server.peak == other.peak == 1
        assert {one.path for one in other.requests} == {"/2", "/5"}  # nothing went to the wrong one
        assert at_rest(made)


def test_no_more_are_opened_than_allowed_and_idle_ones_elsewhere_make_room() -> None:
    with serve(echo) as one, serve(echo) as two, engine() as made, ThreadPoolExecutor(6) as threads:
        for url in (one.url, two.url, one.url, two.url):
            list(threads.map(made.send, [job(f"{url}/") for _ in range(12)]))
            wait_until(lambda: one.open_connections + two.open_connections <= 2)
        assert one.peak <= 2 and two.peak <= 2
        assert at_rest(made)


def test_many_threads_never_get_each_others_answers() -> None:
    with serve(echo) as server, engine(max_connections=4, max_keepalive_connections=3) as made:

        def ask(number: int) -> None:
            for turn in range(40):
                target = f"/{number}-{turn}"
                closes = [(b"Connection", b"close")] if turn % 13 == 0 else []
                body = b"" if turn % 3 else b"%d" % number * 40_000
                response = made.send(job(server.url + target, method="PUT", body=body, headers=closes))
                assert response.json()["target"] == target
                assert response.json()["body"] == body.decode()

        with ThreadPoolExecutor(16) as threads:
            list(threads.map(ask, range(16)))
        assert len(server.requests) == 16 * 40
        assert server.peak <= 4
        assert at_rest(made)


def test_whoever_waits_too_long_gets_none_and_leaves_no_trace() -> None:
    gate = threading.Event()

    async def held(request: Received, writer: asyncio.StreamWriter) -> None:
        while not gate.is_set():
            await asyncio.sleep(0.005)
        writer.write(wire.answer(200))

    with serve(held) as server, engine(max_connections=1) as made:
        first = Background(lambda: made.send(job(f"{server.url}/")))
        wait_until(lambda: server.in_flight)
        for error in (failure(made, job(f"{server.url}/", pool=0.05)), late(made, job(f"{server.url}/", pool=None))):
            assert (error.sent, error.phase, error.timed_out) == (Sent.NO, "pool", True)
            assert isinstance(error.cause, httpx2.PoolTimeout)
        gate.set()
        first.outcome()
        assert at_rest(made) and len(server.requests) == 1


def late(made: SyncNativeEngine, one: Job, seconds: float = 0.5) -> EngineError:
    """How it fails when the calling thread has so much time."""
    with limit(seconds):
        return failure(made, one)


def test_what_was_handed_on_and_is_closed_by_then_is_replaced_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "usable", lambda self: False)  # as if the server had closed it just then
    with serve(echo) as server, engine(max_connections=1) as made, ThreadPoolExecutor(5) as threads:
        answers = list(threads.map(made.send, [job(f"{server.url}/", method="POST") for _ in range(5)]))
        assert [one.status_code for one in answers] == [200] * 5
        assert (server.peak, server.connections) == (1, 5)
        assert at_rest(made)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_connection_that_the_server_has_closed_is_not_used(secure: bool, made: Authority) -> None:
    async def once(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.answer(200))
        await writer.drain()
        writer.close()

    with (
        serve(once, tls=made.server if secure else None) as server,
        ResilientClient(config(server.url, verify_ssl=made.ca)) as client,
    ):
        for number in range(5):
            assert client.post("/").result().status_code == 200
            wait_until(lambda: not server.open_connections)
            assert server.connections == number + 1


def test_nothing_is_sent_on_a_connection_to_a_name_that_is_not_there() -> None:
    with engine() as made:
        for host in ("no-such-host.invalid", f"{'x' * 70}.invalid"):
            error = failure(made, job(f"http://{host}/"))
            assert (error.sent, error.phase) == (Sent.NO, "connect")
            assert isinstance(error.cause, httpx2.ConnectError)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        error = failure(made, job(f"http://127.0.0.1:{port}/"))
        assert error.sent is Sent.NO and "refused" in str(error)
        assert at_rest(made)


def found(*places: tuple[Any, ...]) -> Callable[..., list[Any]]:
    """What `socket.getaddrinfo` finds from now on for what is no address."""
    looked_up = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **named: Any) -> list[Any]:
        if str(host).endswith(".example"):
            if named.get("flags"):
                raise socket.gaierror(socket.EAI_NONAME, "it is a name")
            families = {2: socket.AF_INET, 4: socket.AF_INET6}
            return [(families[len(place)], socket.SOCK_STREAM, 6, "", place) for place in places]
        return list(looked_up(host, *args, **named))

    return look_up


def open_sockets() -> int:
    return sum(1 for one in Path("/proc/self/fd").iterdir() if one.is_symlink() and "socket" in str(one.readlink()))


def test_both_families_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(echo) as server, engine() as made:
        places = (("::1", 9, 0, 0), ("100::1", server.port, 0, 0), ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", found(*places))
        before = open_sockets()
        assert made.send(job(f"http://twofold.example:{server.port}/")).status_code == 200
        made.close()
        wait_until(lambda: open_sockets() <= before)


@contextmanager
def full() -> Iterator[int]:
    """The port of a server that lets nobody in, and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        filling = [socket.socket() for _ in range(3)]
        for one in filling:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        try:
            yield listening.getsockname()[1]
        finally:
            for one in filling:
                one.close()


def test_an_address_that_hesitates_does_not_hold_up_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing_sync, "HEAD_START", 0.01)
    with serve(echo) as server, full() as port, engine() as made:
        monkeypatch.setattr(socket, "getaddrinfo", found(("127.0.0.1", port), ("127.0.0.1", server.port)))
        before = open_sockets()
        began = time.monotonic()
        assert made.send(job("http://slow.example/")).status_code == 200
        assert time.monotonic() - began < 5.0
        made.close()
        wait_until(lambda: open_sockets() <= before)


def test_why_no_address_took_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(socket, "getaddrinfo", found(("127.0.0.1", port), ("127.0.0.2", port)))
    with engine() as made:
        error = failure(made, job("http://gone.example/"))
        assert (error.sent, str(error)) == (Sent.NO, "no address took the connection: [Errno 111] Connection refused")
        monkeypatch.setattr(socket, "getaddrinfo", found())
        assert "has no address" in str(failure(made, job("http://empty.example/")))


def test_connecting_is_cut_by_its_timeout_and_by_closing() -> None:
    with full() as port, engine() as made:
        error = failure(made, job(f"http://127.0.0.1:{port}/", connect=0.05))
        assert (error.sent, error.phase, error.timed_out) == (Sent.NO, "connect", True)
        assert isinstance(error.cause, httpx2.ConnectTimeout)
        assert isinstance(late(made, job(f"http://127.0.0.1:{port}/", connect=None)).cause, httpx2.ConnectTimeout)
        assert at_rest(made)
        waiting = Background(lambda: made.send(job(f"http://127.0.0.1:{port}/", connect=None)))
        wait_until(lambda: pool_of(made)._opening)
        time.sleep(0.05)
        made.close()
        with pytest.raises(EngineError, match="the client was closed") as caught:
            waiting.outcome(3.0)
        assert caught.value.sent is Sent.NO


def test_nothing_is_sent_when_there_is_no_time_left() -> None:
    with serve(echo) as server, engine() as made:
        made.send(job(f"{server.url}/"))
        error = late(made, job(f"{server.url}/"), -1.0)
        assert (error.sent, error.timed_out) == (Sent.NO, True)
        assert len(server.requests) == 1


def test_a_unix_socket(tmp_path: Path) -> None:
    async def answered(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(wire.answer(200, "from a file"))

    path = tmp_path / "socket"
    with serve_streams(answered, path=path), engine(uds=str(path)) as made:
        assert made.send(job("http://example.com/")).text == "from a file"
    with engine(uds=str(tmp_path / "none")) as made:
        assert failure(made, job("http://example.com/")).sent is Sent.NO


def test_a_local_address() -> None:
    async def named(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.answer(200, writer.get_extra_info("peername")[0]))

    with serve(named) as server, engine(local_address="127.0.0.9") as made:
        assert made.send(job(f"{server.url}/")).text == "127.0.0.9"
    with serve(named) as server, engine(local_address="192.0.2.1") as made:
        assert failure(made, job(f"{server.url}/")).sent is Sent.NO


# TLS


def test_tls_is_spoken_and_checked(made: Authority) -> None:
    with serve(echo, tls=made.server) as server:
        with ResilientClient(config(server.url, verify_ssl=made.ca)) as client:
            responses = [client.get("/x").result() for _ in range(3)]
            network = responses[-1].extensions["network_stream"]
            assert {one.http_version for one in responses} == {"HTTP/1.1"}
            assert network.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            assert server.connections == 1
            whole = "some" * 100_000
            assert client.put("/x", content=whole).result().json()["body"] == whole
        with ResilientClient(config(server.url)) as client:
            with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                client.post("/x").result()
            assert not caught.value.may_have_executed  # type: ignore[attr-defined]


def test_where_the_server_chooses_http2_others_serve_it(
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
    elsewhere = ElsewhereSync()
    with serve_http2_by(talk, only.server) as peer, engine(context=context, elsewhere=elsewhere) as made:
        for number in (1, 2):
            assert made.send(job(f"{peer.url}/")).status_code == 299
            assert len(elsewhere.jobs) == number
        with pytest.raises(NotOurs):
            made._heads.of(job(f"{peer.url}/"))  # no connection is made any more to find that out
        assert not pool_of(made)._connections and at_rest(made)
    assert elsewhere.closed


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
def test_what_it_cannot_do_others_do(more: dict[str, Any]) -> None:
    elsewhere = ElsewhereSync()
    with engine(elsewhere=elsewhere) as made:
        assert made.send(job("http://127.0.0.1:9/", **more)).status_code == 299
        assert len(elsewhere.jobs) == 1


def test_a_replaced_request_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    def replaced(self: httpx2.Client, method: str, url: Any, **_: Any) -> httpx2.Response:
        return httpx2.Response(299, text=f"{method} {url}", request=httpx2.Request(method, url))

    with serve(echo) as server, ResilientClient(config(server.url)) as client:
        assert client.get("/x").result().status_code == 200
        with monkeypatch.context() as patched:
            patched.setattr(httpx2.Client, "request", replaced)
            assert client.get("/x").result().text == f"GET {server.url}/x"
        assert client.get("/x").result().status_code == 200
        assert len(server.requests) == 2


def test_an_error_tells_what_was_asked() -> None:
    with engine() as made:
        cause = failure(made, job("http://no-such-host.invalid/x", method="PUT", body=b"abc")).cause
        assert isinstance(cause, httpx2.RequestError)
        assert (cause.request.method, cause.request.url.path) == ("PUT", "/x")


def test_a_body_that_can_be_sent_once_is_not_used_up_by_finding_out_who_sends_it() -> None:
    with Loopback() as server, engine() as made:
        body = OneShotBody(iter([b"abc"]))
        named: dict[str, Any] = {"method": "PUT", "headers": [(b"Transfer-Encoding", b"chunked")]}
        assert made.send(job(f"{server.url}/", body=body, **named)).status_code == 200
        error = failure(made, job(f"{server.url}/", body=body, **named))
        assert error.sent is Sent.NO and "sent already" in str(error)
        assert made.send(job(f"{server.url}/")).status_code == 200
        assert server.connections == 1


# Both ways


def test_a_large_body_goes_out_and_comes_back() -> None:
    whole = os.urandom(3_000_000)
    with Loopback() as server:
        server.routes["/x"] = lambda seen: answer(200, seen.body)
        with ResilientClient(config(server.url)) as client:
            pieces = (whole[at : at + 10_000] for at in range(0, len(whole), 10_000))
            assert client.post("/x", content=whole).result().content == whole
            assert client.post("/x", content=pieces).result().content == whole
            assert server.connections == 1


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_server_that_answers_while_it_reads_does_not_make_both_wait(
    secure: bool, stream: bool, made: Authority
) -> None:
    async def echoes(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        while length:
            data = await reader.read(65_536)
            length -= len(data)
            writer.write(data)
            await writer.drain()  # takes no more before we have read
        await reader.read()

    whole = os.urandom(8_000_000)
    with serve_streams(echoes, tls=made.server if secure else None) as peer:
        url = f"{'https' if secure else 'http'}://127.0.0.1:{peer.port}"
        with ResilientClient(config(url, verify_ssl=made.ca, timeout={"write": 0.5 if stream else 5.0})) as client:
            if not stream:
                assert client.post("/x", content=whole).result().content == whole
                return
            # Nobody can read yet what comes while the body goes out, so that at some time it stops.
            with pytest.raises(HoldfastError) as caught, client.stream("POST", "/x", content=whole * 8):
                pass
            assert isinstance(caught.value, httpx2.WriteTimeout)
            with client.stream("POST", "/x", content=whole[:200_000]) as response:
                assert response.read() == whole[:200_000]


def test_it_works_where_there_is_no_poll(monkeypatch: pytest.MonkeyPatch, made: Authority) -> None:
    monkeypatch.setattr(readiness, "_HAS_POLL", False)
    whole = "some" * 200_000
    for secure in (False, True):
        with (
            serve(echo, tls=made.server if secure else None) as server,
            ResilientClient(config(server.url, verify_ssl=made.ca)) as client,
        ):
            for _ in range(2):
                assert client.put("/x", content=whole.encode()).result().json()["body"] == whole
            assert server.connections == 1
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with engine() as engine_made:
        assert failure(engine_made, job(f"http://127.0.0.1:{port}/")).phase == "connect"


def test_who_does_not_read_is_not_sent_more_than_a_little() -> None:
    sent = 0

    async def endless(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    with serve(endless) as server, ResilientClient(config(server.url, deadline=None)) as client:
        with client.stream("GET", "/x") as response:
            last = -1
            while last != sent:
                last = sent
                time.sleep(0.2)
            assert sent < 32_000_000
            left = sent + 1_000_000
            for chunk in response.iter_raw():
                left -= len(chunk)
                if left < 0:
                    break
        wait_until(lambda: not server.open_connections)


def test_a_body_waits_until_the_server_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    arrived: list[bytes] = []

    async def asked(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"PUT /no" in head:
            writer.write(b"HTTP/1.1 417 No\r\nContent-Length: 3\r\n\r\n")
            await asyncio.sleep(0.4)
            writer.write(b"no!")
            arrived.append(await reader.read())
            return
        assert not reader._buffer  # type: ignore[attr-defined]
        if b"PUT /yes" in head:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        arrived.append(await reader.readexactly(3))
        writer.write(wire.answer(200, "ok", {"Connection": "close"}))

    expecting = {"Expect": "100-continue"}
    with serve_streams(asked) as peer, ResilientClient(config(f"http://127.0.0.1:{peer.port}")) as client:
        assert client.put("/yes", content=b"abc", headers=expecting).result().text == "ok"
        monkeypatch.setattr(native_sync_exchange, "PATIENCE", 0.2)
        assert client.put("/silent", content=b"abc", headers=expecting).result().text == "ok"
        with pytest.raises(HoldfastError) as caught:
            client.put("/no", content=b"abc", headers=expecting).result()
        assert caught.value.status_code == 417 and caught.value.response is not None
        assert caught.value.response.text == "no!"
        wait_until(lambda: not peer.open_connections)
        assert arrived == [b"abc", b"abc", b""]


@pytest.mark.parametrize("hangs_up", [False, True])
def test_an_early_answer_ends_the_sending(hangs_up: bool) -> None:
    async def early(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(wire.answer(413, "too much"))
        await writer.drain()
        while not hangs_up and await reader.read(100_000):
            pass

    with serve_streams(early) as peer, ResilientClient(config(f"http://127.0.0.1:{peer.port}")) as client:
        for content in (b"x" * 20_000_000, (b"x" * 50_000 for _ in range(10_000_000))):
            with pytest.raises(HoldfastError) as caught:
                client.put("/x", content=content).result()
            assert caught.value.status_code == 413 or hangs_up  # or a reset has overtaken the answer
            wait_until(lambda: not peer.open_connections)


@pytest.mark.parametrize("length", [b"2", b"4"])
def test_a_stream_that_is_not_as_long_as_it_said_is_not_sent_as_if(length: bytes) -> None:
    class Three:
        replayable = False

        def stream(self, *, sync: bool) -> Any:
            return iter([b"abc"])

    with Loopback() as server, engine() as made:
        error = failure(made, job(f"{server.url}/", method="PUT", body=Three(), headers=[(b"Content-Length", length)]))
        assert error.phase == "build" and isinstance(error.cause, httpx2.LocalProtocolError)
        assert not pool_of(made)._connections


def test_statuses_outrank_what_became_of_their_explanation() -> None:
    async def broken(request: Received, writer: asyncio.StreamWriter) -> None:
        coded = "Content-Encoding: gzip\r\n" if request.path == "/coded" else ""
        writer.write(f"HTTP/1.1 503 No\r\n{coded}Content-Length: 9\r\n\r\nhalf".encode())
        await writer.drain()
        writer.close()

    with serve(broken) as server, ResilientClient(config(server.url)) as client:
        for path in ("/plain", "/coded"):
            with pytest.raises(ServiceUnavailableError) as caught:
                client.get(path).result()
            assert caught.value.response is not None and caught.value.response.content == b""


# Time


def test_each_timeout_is_kept() -> None:
    async def stops(request: Received, writer: asyncio.StreamWriter) -> None:
        if request.path == "/half":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await asyncio.sleep(60)

    with serve(stops) as server, engine() as made:
        for path, phase in (("/", "head"), ("/half", "body")):
            for error in (failure(made, job(f"{server.url}{path}", read=0.1)), late(made, job(f"{server.url}{path}"))):
                assert (error.phase, error.timed_out, error.sent) == (phase, True, Sent.MAYBE)
                assert isinstance(error.cause, httpx2.ReadTimeout)
        response = made.send(job(f"{server.url}/half", read=0.05, stream=True))
        with pytest.raises(httpx2.ReadTimeout):
            response.read()
        assert at_rest(made)
        wait_until(lambda: not server.open_connections)


def test_a_server_that_takes_nothing_runs_into_the_write_timeout() -> None:
    with serve_streams(deaf) as peer, engine() as made:
        named: dict[str, Any] = {"method": "PUT", "body": b"x" * 50_000_000}
        url = f"http://127.0.0.1:{peer.port}/"
        for error in (failure(made, job(url, write=0.1, **named)), late(made, job(url, **named), 0.2)):
            assert (error.phase, error.sent, error.timed_out) == ("write", Sent.MAYBE, True)
            assert isinstance(error.cause, httpx2.WriteTimeout)
        assert not pool_of(made)._connections


def test_a_handshake_that_does_not_end_is_cut() -> None:
    with serve_streams(silent) as peer, engine() as made:
        error = failure(made, job(f"https://127.0.0.1:{peer.port}/", connect=0.1))
        assert (error.sent, error.phase, error.timed_out) == (Sent.NO, "connect", True)
        wait_until(lambda: not peer.open_connections)


def test_idle_connections_are_closed_by_the_next_call() -> None:
    with serve(echo) as server, serve(echo) as other, engine(keepalive_expiry=0.05) as made:
        made.send(job(f"{server.url}/"))
        assert server.open_connections == 1
        time.sleep(0.06)
        made.send(job(f"{other.url}/"))
        wait_until(lambda: not server.open_connections)
        time.sleep(0.06)
        made.send(job(f"{other.url}/"))
        assert other.connections == 2
        assert at_rest(made)


# What nobody closes


def test_a_stream_that_is_dropped_gives_its_place_back() -> None:
    with Loopback(default=chunked(200, [b"a", b"b"], complete=False)) as server, engine(max_connections=1) as made:
        for number in (1, 2, 3):
            response = made.send(job(f"{server.url}/", stream=True))
            assert next(iter(response.stream)) in (b"a", b"ab")  # type: ignore[arg-type]
            del response
            gc.collect()
            assert server.connections == number


def test_a_stream_closed_by_another_thread_wakes_the_one_that_reads() -> None:
    with Loopback(default=chunked(200, [b"a"], complete=False)) as server, engine() as made:
        response = made.send(job(f"{server.url}/", stream=True))
        reading = Background(lambda: list(response.stream))  # type: ignore[arg-type]
        time.sleep(0.1)
        response.close()
        with pytest.raises(httpx2.ReadError, match="closed"):
            reading.outcome(3.0)
        assert at_rest(made) and not pool_of(made)._connections


def test_what_is_known_of_origins_is_bounded() -> None:
    with serve(echo) as server, engine() as made:
        for number in range(3000):
            made._heads.of(job(f"http://host-{number}.example/"))
        assert len(made._heads._known) <= 1024
        assert len(pool_of(made)._origins) <= 1024
        one = job(f"{server.url}/")
        for _ in range(2):  # also when its origin is forgotten while it is being asked
            made._heads.of(one)
            pool_of(made)._origins.clear()
            made.send(one)
            assert at_rest(made)
        assert server.connections <= 2


# Whole programs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_has_connections_of_its_own_and_leaves_the_parents_alone() -> None:
    with serve(echo) as server, ResilientClient(config(server.url)) as client:
        assert client.get("/parent").result().status_code == 200
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if client.get("/child").result().status_code == 200 else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert client.get("/parent").result().status_code == 200
        assert server.connections == 2
        assert sorted(one.path for one in server.requests) == ["/child", "/parent", "/parent"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_in_the_middle_of_a_response_cannot_read_what_is_the_parents() -> None:
    with Loopback(default=chunked(200, [b"a" * 10], complete=False)) as server, engine() as made:
        made.send(job(f"{server.url}/", stream=True)).close()
        response = made.send(job(f"{server.url}/", stream=True))
        chunks = iter(response.stream)  # type: ignore[arg-type]
        assert next(chunks)
        made._pool._lock.acquire()  # as another thread might at that time
        child = os.fork()
        if not child:
            code = 1
            try:
                try:
                    next(chunks)
                except httpx2.ReadError:
                    response.close()
                    code = 0 if failure(made, job(f"{server.url}/")).sent is Sent.NO else 2
            finally:
                os._exit(code)
        made._pool._lock.release()
        assert os.waitpid(child, 0)[1] == 0
        network = response.extensions["network_stream"]
        assert network.get_extra_info("is_readable") is False  # the child has not shut it down
        response.close()


# Ctrl-C


class Interrupt:
    """Raises KeyboardInterrupt at one of the lines that the engine's own code runs through."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.where = ""

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, event: str, arg: object) -> Any:
        name = frame.f_code.co_filename
        ours = "native_sync" in name or "dialing_sync" in name or "readiness" in name
        return self._line if ours and frame.f_code.co_name not in ("__del__", "<genexpr>") else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        # Leaving a lock passes the line of its beginning again. No signal is handled there before it has been released.
        if event == "line" and "._lock:" not in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
            if not self.left:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                sys.settrace(None)
                raise KeyboardInterrupt
            self.left -= 1
        return self._line


CASES: dict[str, Callable[[SyncNativeEngine, str], object]] = {
    "get": lambda made, url: made.send(job(f"{url}/")),
    "put": lambda made, url: made.send(job(f"{url}/", method="PUT", body=b"x" * 200_000)),
    "stream": lambda made, url: made.send(job(f"{url}/", stream=True)).read(),
    "dropped": lambda made, url: made.send(job(f"{url}/endless", stream=True)).close(),
    "close": lambda made, url: made.send(job(f"{url}/close")),
    "broken": lambda made, url: _failing(made, url),
}


def _failing(made: SyncNativeEngine, url: str) -> None:
    with suppress(EngineError):
        made.send(job(f"{url}/broken"))


@pytest.mark.parametrize("warm", [False, True], ids=["new", "kept"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a socket that nobody has got yet
def test_at_whatever_line_it_is_interrupted_nothing_is_left(case: str, warm: bool) -> None:
    with Loopback(default=answer(200, b"fine")) as server, ThreadPoolExecutor(1) as apart:
        server.on("/close", answer(200, b"bye", ("Connection", "close"), end="close"))
        server.on("/endless", chunked(200, [b"a"], complete=False))
        server.on("/broken", answer(200, b"short", ("Content-Length", "9"), end="close"))
        # In a thread that ends with the test: an exception that comes from tracing in a handler leaves the handled one
        # behind, and everything that is raised in the same thread afterwards has it for its context.
        where = apart.submit(_interrupted_everywhere, CASES[case], server.url, warm=warm).result()
        assert len(where) > 50


def _interrupted_everywhere(act: Callable[[SyncNativeEngine, str], object], url: str, *, warm: bool) -> set[str]:
    """At which lines that was."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made once: that takes longer than the rest
    where = set()
    for at in range(100_000):
        with engine(max_connections=1, context=context) as made:
            if warm:
                made.send(job(f"{url}/"))
            interrupt = Interrupt(at)
            interrupted = False
            try:
                with interrupt:
                    act(made, url)
            except KeyboardInterrupt:
                interrupted = True
            assert interrupted == bool(interrupt.where)
            where.add(interrupt.where)
            # The only place there is was given back.
            assert made.send(job(f"{url}/", pool=5.0)).content == b"fine", interrupt.where
            assert at_rest(made), interrupt.where
        if not interrupted:
            break
    return where


def test_one_in_the_queue_can_be_interrupted() -> None:
    gate = threading.Event()

    async def held(request: Received, writer: asyncio.StreamWriter) -> None:
        while not gate.is_set():
            await asyncio.sleep(0.005)
        writer.write(wire.answer(200))

    class Gate:
        """A lock at which somebody is interrupted, before or after it was opened."""

        def __init__(self, *, after: bool) -> None:
            self._lock = threading.Lock()
            self._after = after
            self._taken = False

        def acquire(self, timeout: float = -1) -> bool:
            if self._taken:
                if self._after:
                    gate.set()
                    self._lock.acquire(timeout=5.0)
                raise KeyboardInterrupt
            self._taken = True
            return self._lock.acquire()

        def release(self) -> None:
            self._lock.release()

    for after in (False, True):
        gate.clear()
        with serve(held) as server, engine(max_connections=1) as made:
            first = Background(lambda: made.send(job(f"{server.url}/1")))
            wait_until(lambda: server.in_flight)
            with pytest.MonkeyPatch.context() as patched:
                gates = SimpleNamespace(Lock=partial(Gate, after=after), TIMEOUT_MAX=threading.TIMEOUT_MAX)
                patched.setattr(native_sync_pool, "threading", gates)
                with pytest.raises(KeyboardInterrupt):
                    made.send(job(f"{server.url}/2"))
            gate.set()
            assert first.outcome().status_code == 200
            assert made.send(job(f"{server.url}/3")).status_code == 200
            assert at_rest(made)
