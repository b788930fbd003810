"""Deadlines in sync use hold for every read, write, handshake and connection, on whatever way the bytes take."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from holdfast import APITimeoutError, DeadlineExceededError, HoldfastError, ResilientClient
from holdfast.exceptions import APIConnectionError
from holdfast.http.deadlines import left, limit, within
from tests.support import tunnels
from tests.support.http2_peers import Talk, serve_http2_by
from tests.support.tunnels import Peer, deaf, serve_streams, silent, socks5
from tests.support.wire import CHUNKED, Handler, Received, answer, chunk, config, echo, serve, wait_until
from tests.support.wire_extras import Authority, authority

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("each_engine")]

DEADLINE = 0.25
PROMPT = 3.0  # seconds; what is not cut takes more than ten
PAUSE = 0.05


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def made_h2(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("h2"), alpn=("h2",))


# Ways that the bytes take


@dataclass
class Place:
    """Where a client is sent, how it gets there, and who counts the connections."""

    url: str
    counters: list[Any]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def open_connections(self) -> int:
        return sum(one.open_connections for one in self.counters)


@contextmanager
def plain(handler: Handler, made: Authority) -> Iterator[Place]:
    with serve(handler) as server:
        yield Place(server.url, [server])


@contextmanager
def tls(handler: Handler, made: Authority) -> Iterator[Place]:
    with serve(handler, tls=made.server) as server:
        yield Place(server.url, [server], {"verify_ssl": made.ca})


@contextmanager
def proxied(handler: Handler, made: Authority, *, outer: bool, inner: bool) -> Iterator[Place]:
    with (
        serve_streams(tunnels.http, tls=made.server if outer else None) as proxy,
        serve(handler, tls=made.server if inner else None) as server,
    ):
        yield Place(
            server.url,
            [proxy, server],
            {"proxy": f"{'https' if outer else 'http'}://127.0.0.1:{proxy.port}", "verify_ssl": made.ca},
        )


@contextmanager
def socks(handler: Handler, made: Authority, *, inner: bool, login: str = "") -> Iterator[Place]:
    with serve_streams(socks5) as proxy, serve(handler, tls=made.server if inner else None) as server:
        settings = {"proxy": f"socks5://{login}127.0.0.1:{proxy.port}", "verify_ssl": made.ca}
        yield Place(server.url, [proxy, server], settings)


Way = Callable[[Handler, Authority], AbstractContextManager[Place]]
WAYS: dict[str, Way] = {
    "plain": plain,
    "TLS": tls,
    "HTTP proxy": lambda handler, made: proxied(handler, made, outer=False, inner=False),
    "HTTP proxy, tunnel": lambda handler, made: proxied(handler, made, outer=False, inner=True),
    "HTTPS proxy": lambda handler, made: proxied(handler, made, outer=True, inner=False),
    "HTTPS proxy, tunnel": lambda handler, made: proxied(handler, made, outer=True, inner=True),
    "SOCKS": lambda handler, made: socks(handler, made, inner=False),
    "SOCKS with a password, TLS": lambda handler, made: socks(handler, made, inner=True, login="jo:pw@"),
}


@pytest.fixture
def way(request: pytest.FixtureRequest, made: Authority, monkeypatch: pytest.MonkeyPatch) -> Way:
    # httpx2 verifies a proxy by the system's certificates, whatever those for the servers are.
    monkeypatch.setenv("SSL_CERT_FILE", made.ca)
    return WAYS[request.param]


def late(place: Place, call: Callable[[ResilientClient], Any], **settings: Any) -> DeadlineExceededError:
    """What a call ends with that has to be cut, at once and with nothing left behind."""
    client = ResilientClient(config(place.url, **{"deadline": DEADLINE, **place.settings, **settings}))
    with client:
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError) as caught:
            call(client)
        assert time.monotonic() - began < PROMPT
        assert client.bulkhead.in_flight == 0
        wait_until(lambda: not place.open_connections)
    return caught.value


# What a server does


async def says_nothing(request: Received, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def trickles_its_head(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    await drip(writer, b"x")


async def trickles_its_body(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await drip(writer, b"x")


async def trickles_chunks(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED)
    await drip(writer, chunk(b"x"))


async def hints_for_ever(request: Received, writer: asyncio.StreamWriter) -> None:
    await drip(writer, b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        await asyncio.sleep(PAUSE)
        writer.write(data)
        await writer.drain()


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_the_way_leads_there(way: Way, made: Authority) -> None:
    with way(echo, made) as place, ResilientClient(config(place.url, **place.settings)) as client:
        for _ in range(2):
            assert client.put("/x", content=b"some" * 50_000).result().json()["body"] == "some" * 50_000


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("handler", [says_nothing, trickles_its_head, trickles_its_body, hints_for_ever])
def test_the_deadline_cuts_what_every_timeout_lets_through(way: Way, handler: Handler, made: Authority) -> None:
    with way(handler, made) as place:
        error = late(place, lambda client: client.get("/x").result())
    assert error.attempts == 1


def test_a_chunked_body_is_cut(made: Authority) -> None:
    with plain(trickles_chunks, made) as place:
        assert late(place, lambda client: client.post("/x").result()).may_have_executed


def test_without_a_deadline_a_trickled_body_is_read_to_its_end() -> None:
    async def slow(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(PAUSE)
            writer.write(b"x")

    with serve(slow) as server, ResilientClient(config(server.url, deadline=None, timeout={"read": 2.0})) as client:
        assert client.get("/x").result().content == b"xxxxx"


def test_the_timeout_of_an_attempt_still_counts() -> None:
    with serve(says_nothing) as server:
        settings = config(server.url, timeout={"read": 0.1}, retry={"max_attempts": 2})
        with ResilientClient(settings) as client, pytest.raises(APITimeoutError) as caught:
            client.get("/x").result()
    assert not isinstance(caught.value, DeadlineExceededError)
    assert isinstance(caught.value, httpx2.ReadTimeout)
    assert caught.value.attempts == 2


def test_the_deadline_is_that_of_the_whole_call() -> None:
    answers = iter([503, 503])

    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        status = next(answers, None)
        await (drip(writer, b"HTTP/1.1 103 -\r\n\r\n") if status is None else asyncio.sleep(0))
        writer.write(answer(status or 200))

    with serve(handler) as server:
        place = Place(server.url, [server])
        error = late(place, lambda client: client.get("/x").result(), deadline=0.4)
        assert isinstance(error.last_error, HoldfastError) and error.last_error.status_code == 503
        assert error.attempts == 3


# Before there is a request


def peer_place(peer: Peer, url: str, **settings: Any) -> Place:
    return Place(url, [peer], settings)


def test_a_tls_handshake_is_cut() -> None:
    with serve_streams(silent) as peer:
        error = late(peer_place(peer, f"https://127.0.0.1:{peer.port}"), lambda client: client.post("/x").result())
    assert not error.may_have_executed


def test_a_tls_handshake_inside_of_tls_is_cut(made: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", made.ca)
    with serve_streams(tunnels.http, tls=made.server) as proxy, serve_streams(silent) as peer:
        place = Place(f"https://127.0.0.1:{peer.port}", [proxy, peer], {"proxy": f"https://127.0.0.1:{proxy.port}"})
        assert not late(place, lambda client: client.post("/x").result()).may_have_executed


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", ["http", "https", "socks5"])
def test_a_silent_proxy_is_cut(proxy: str, scheme: str) -> None:
    with serve_streams(silent) as peer:
        settings = {"proxy": f"{proxy}://127.0.0.1:{peer.port}"}
        late(peer_place(peer, f"{scheme}://service.test", **settings), lambda client: client.get("/x").result())


def test_a_socks_proxy_that_refuses_leaves_no_connection() -> None:
    with serve_streams(socks5) as peer:
        settings = config("http://127.0.0.1:1", proxy=f"socks5://127.0.0.1:{peer.port}", retry={"max_attempts": 1})
        with ResilientClient(settings) as client:
            with pytest.raises(APIConnectionError) as caught:
                client.get("/x").result()
            assert isinstance(caught.value, httpx2.ProxyError)
            assert not caught.value.may_have_executed
            wait_until(lambda: not peer.open_connections)


def test_connecting_is_cut_over_all_addresses_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full:
        # A backlog that is full lets no more connections in, and says nothing.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        filling = [socket.socket() for _ in range(3)]
        try:
            for one in filling:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            looked_up = socket.getaddrinfo
            monkeypatch.setattr(
                socket,
                "getaddrinfo",
                lambda host, *args, **named: (
                    looked_up("127.0.0.1" if host == "many.test" else host, *args, **named)
                    + (looked_up("127.0.0.2", *args, **named) * 20 if host == "many.test" else [])
                ),
            )
            place = Place(f"http://many.test:{port}", [])
            error = late(place, lambda client: client.post("/x").result(), timeout={"connect": 20.0})
            assert not error.may_have_executed
        finally:
            for one in filling:
                one.close()


def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(echo) as server:
        looked_up = socket.getaddrinfo

        def two(host: Any, *args: Any, **named: Any) -> Any:
            if host != "two.test":
                return looked_up(host, *args, **named)
            return looked_up("127.0.0.2", *args, **named) + looked_up("127.0.0.1", *args, **named)

        monkeypatch.setattr(socket, "getaddrinfo", two)
        with ResilientClient(config(f"http://two.test:{server.port}", retry={"max_attempts": 1})) as client:
            assert client.get("/x").result().json()["headers"]["host"] == f"two.test:{server.port}"


def test_a_name_that_does_not_exist_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **named: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = ResilientClient(config("http://nowhere.test", retry={"max_attempts": 1}))
    with client, pytest.raises(APIConnectionError, match="Name or service not known") as caught:
        client.post("/x").result()
    assert isinstance(caught.value, httpx2.ConnectError)
    assert not caught.value.may_have_executed


# Sending


@pytest.mark.parametrize("body", ["bytes", "iterator"])
def test_a_server_that_takes_nothing_is_cut(body: str) -> None:
    content: Any = b"x" * 50_000_000 if body == "bytes" else (b"x" * 100_000 for _ in range(1000))
    with serve_streams(deaf) as peer:
        client = ResilientClient(config(f"http://127.0.0.1:{peer.port}", deadline=DEADLINE))
        began = time.monotonic()
        with client, pytest.raises(DeadlineExceededError):
            client.post("/x", content=content).result()
        assert time.monotonic() - began < PROMPT


def test_a_server_that_takes_little_at_a_time_is_cut() -> None:
    async def sips(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(200_000):
            await asyncio.sleep(0.005)  # a tenth of what it would have to be to take all of it in time

    with serve_streams(sips) as peer:
        place = peer_place(peer, f"http://127.0.0.1:{peer.port}")
        late(place, lambda client: client.post("/x", content=b"x" * 100_000_000).result())


# HTTP/2


async def h2_says_nothing(talk: Talk) -> None:
    await asyncio.sleep(30)


async def h2_trickles(talk: Talk) -> None:
    talk.head()
    while not talk.gone:
        talk.data(b"x")
        await asyncio.sleep(PAUSE)


async def h2_hints_for_ever(talk: Talk) -> None:
    while not talk.gone:
        talk.head(("link", "</style.css>"), status=103)
        await asyncio.sleep(PAUSE)


@pytest.mark.parametrize("behaviour", [h2_says_nothing, h2_trickles, h2_hints_for_ever])
def test_http2_is_cut(behaviour: Any, made_h2: Authority) -> None:
    with serve_http2_by(behaviour, made_h2.server) as peer:
        late(
            Place(peer.url, [peer], {"http2": True, "verify_ssl": made_h2.ca}), lambda client: client.get("/x").result()
        )


def test_an_upload_over_http2_that_gets_no_window_is_cut(made_h2: Authority) -> None:
    with serve_http2_by(h2_says_nothing, made_h2.server) as peer:
        place = Place(peer.url, [peer], {"http2": True, "verify_ssl": made_h2.ca})
        late(place, lambda client: client.post("/x", content=b"x" * 1_000_000).result())


# Streams


def read_a_stream(client: ResilientClient, **options: Any) -> bytes:
    with client.stream("GET", "/x", **options) as response:
        return b"".join(response.iter_bytes())


@pytest.mark.parametrize("way", ["plain", "TLS", "HTTPS proxy, tunnel"], indirect=True)
def test_a_deadline_on_a_stream_cuts_its_body(way: Way, made: Authority) -> None:
    async def stops(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(b"first"))
        await asyncio.sleep(30)

    with way(stops, made) as place:
        late(place, lambda client: read_a_stream(client, deadline=DEADLINE), deadline=None)


def test_a_deadline_on_a_stream_cuts_what_gives_nothing_to_the_reader(made: Authority) -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(b"first") + b"5;extension=")
        await drip(writer, b"x")

    with plain(handler, made) as place:
        late(place, lambda client: read_a_stream(client, deadline=DEADLINE), deadline=None)


def test_the_clients_deadline_ends_with_the_head_also_behind_a_redirect() -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        if request.path == "/x":
            await asyncio.sleep(0.15)
            writer.write(answer(302, b"", {"Location": "/y"}))
            return
        writer.write(CHUNKED)
        for _ in range(2):
            await asyncio.sleep(0.4)
            writer.write(chunk(b"."))
        writer.write(b"0\r\n\r\n")

    with serve(handler) as server, ResilientClient(config(server.url, deadline=0.35)) as client:
        assert read_a_stream(client) == b".."


def test_the_explanation_of_a_streamed_error_is_cut(made: Authority) -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n")
        await drip(writer, b"x")

    with serve(handler) as server, ResilientClient(config(server.url, deadline=DEADLINE)) as client:
        began = time.monotonic()
        with pytest.raises(HoldfastError):
            read_a_stream(client)
        assert time.monotonic() - began < PROMPT
        wait_until(lambda: not server.open_connections)


# Redirects


def test_each_hop_has_what_is_left(made: Authority) -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        if request.path == "/x":
            await asyncio.sleep(0.15)
            # Not kept: on a busy machine the deadline may pass between the two.
            writer.write(answer(302, b"", {"Location": "/y", "Connection": "close"}))
            writer.close()
            return
        await drip(writer, b"HTTP/1.1 103 -\r\n\r\n")

    with plain(handler, made) as place:
        late(place, lambda client: client.get("/x").result())


def test_a_handed_in_transport_is_given_what_is_left_for_each_hop() -> None:
    given: list[dict[str, float | None]] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        given.append(dict(request.extensions["timeout"]))
        if request.url.path == "/y":
            return httpx2.Response(200)
        time.sleep(0.2)
        return httpx2.Response(302, headers={"Location": "/y"})

    settings = config("http://service.test", deadline=2.0, timeout={"connect": 9.0, "read": None, "pool": 0.5})
    with ResilientClient(settings, transport=httpx2.MockTransport(respond)) as client:
        client.get("/x").result()
    first, second = given
    assert first["pool"] == second["pool"] == 0.5
    for name in ("connect", "read", "write"):
        seconds = first[name], second[name]
        assert seconds[0] is not None and seconds[1] is not None
        assert seconds[0] <= 2.0
        assert seconds[1] <= seconds[0] - 0.15


# The thread's time


def test_outside_of_a_limit_timeouts_are_as_they_are() -> None:
    assert within(5.0) == 5.0
    assert within(None) is None
    assert left() == float("inf")


def test_a_limit_cuts_timeouts() -> None:
    with limit(2.0):
        assert within(1.0) == 1.0
        cut, unlimited = within(5.0), within(None)
        assert cut is not None and 1.0 < cut <= 2.0
        assert unlimited is not None and 1.0 < unlimited <= 2.0
    assert within(5.0) == 5.0


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_limit_that_has_passed_leaves_nothing(seconds: float) -> None:
    with limit(seconds), pytest.raises(TimeoutError, match="deadline"):
        within(5.0)


def test_the_innermost_limit_counts() -> None:
    with limit(-1.0):
        with limit(float("inf")):
            assert within(5.0) == 5.0
        with pytest.raises(TimeoutError):
            within(5.0)


def test_a_call_inside_of_another_one_has_its_own_time() -> None:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        if request.path == "/source":
            await asyncio.sleep(0.4)
        writer.write(answer(200, request.path))

    with serve(handler) as server, ResilientClient(config(server.url)) as client:

        def body() -> Iterator[bytes]:
            yield client.get("/source", deadline=5.0).result().content

        with pytest.raises(DeadlineExceededError):
            client.post("/sink", content=body(), headers={"Content-Length": "7"}, deadline=0.2).result()
        paths = [one.path for one in server.requests]
        assert "/source" in paths
