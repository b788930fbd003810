"""`ResilientClient` from its making to its closing, and what can be put below it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import httpx2
import pytest

from holdfast import ClientClosedError, RateLimitError, ResilientClient, ServerError, create_resilient_client
from holdfast.testing import FaultTransport, Step
from tests.support.wire import Background, Received, answer, config, echo, in_loop, scripted, serve, until, wait_until
from tests.support.wire_extras import authority, forward, serve_http2

COLOURS = ["async", "sync"]
NOWHERE = "http://service.test"

pytestmark = pytest.mark.loopback


def fetch(client: ResilientClient, colour: str, path: str = "/", **options: Any) -> httpx2.Response:
    """One GET by a client that is closed afterwards, from async or sync code."""
    if colour == "sync":
        with client:
            return client.get(path, **options).result()

    async def main() -> httpx2.Response:
        async with client:
            return await client.get(path, **options)

    return asyncio.run(main())


async def silent(request: Received, writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.sleep(60)


# Life


@in_loop
async def test_async_with_sends_and_closes() -> None:
    with serve(echo) as server:
        async with ResilientClient(config(server.url)) as client:
            assert (await client.get("/a")).json()["target"] == "/a"
            assert "(open)" in repr(client)
        assert client.is_closed
        assert "(closed)" in repr(client)
        await until(lambda: server.open_connections == 0)


def test_with_sends_and_closes() -> None:
    with serve(echo) as server:
        with ResilientClient(config(server.url)) as client:
            assert client.get("/a").result().json()["target"] == "/a"
        assert client.is_closed
        wait_until(lambda: server.open_connections == 0)


@in_loop
async def test_one_client_is_used_from_async_and_sync_code_at_once() -> None:
    with serve(echo) as server:
        async with ResilientClient(config(server.url)) as client:
            shared = await asyncio.gather(asyncio.to_thread(lambda: client.get("/sync").result()), client.get("/async"))
            assert [one.json()["target"] for one in shared] == ["/sync", "/async"]
        await until(lambda: server.open_connections == 0)


@in_loop
async def test_closing_twice_is_safe_and_a_closed_client_says_so() -> None:
    client = ResilientClient(config(NOWHERE), transport=FaultTransport([200]))
    await client.close()
    await client.close()
    await client.aclose()
    with pytest.raises(ClientClosedError, match="Nothing was sent") as caught:
        await client.get("/")
    assert caught.value.attempts == 0 and not caught.value.may_have_executed
    with pytest.raises(ClientClosedError):
        async with client.stream("GET", "/"):
            pass
    with pytest.raises(ClientClosedError):
        await client._ensure_initialized()
    with pytest.raises(ClientClosedError):
        async with client:
            pass


def test_closing_twice_is_safe_in_sync_code() -> None:
    client = ResilientClient(config(NOWHERE), transport=FaultTransport([200]))
    client.close().result()
    client.close().result()
    with pytest.raises(ClientClosedError):
        client.get("/").result()
    with pytest.raises(RuntimeError):  # what a closed httpx2 client raises
        client.get("/").result()
    with pytest.raises(ClientClosedError), client:
        pass


@in_loop
async def test_closing_ends_calls_that_are_in_flight() -> None:
    with serve(silent) as server:
        client = ResilientClient(config(server.url))
        tasks = [asyncio.ensure_future(client.get("/")) for _ in range(3)]
        await until(lambda: server.in_flight == 3)
        began = time.monotonic()
        await client.close()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert time.monotonic() - began < 5
        assert [type(error) for error in ended] == [ClientClosedError] * 3
        for error in ended:
            assert isinstance(error, ClientClosedError)
            assert error.attempts == 1 and "Nothing was sent" not in str(error)
            assert isinstance(error.__cause__, httpx2.RequestError)
        assert client.bulkhead.in_flight == 0
        await until(lambda: server.open_connections == 0)


def test_closing_ends_calls_of_other_threads() -> None:
    with serve(silent) as server:
        client = ResilientClient(config(server.url, timeout={"read": 0.5}))
        thread = Background(lambda: client.get("/").result())
        wait_until(lambda: server.in_flight == 1)
        client.close().result()
        # Closing a socket does not wake the thread that reads from it: the read timeout does, at the latest.
        with pytest.raises(ClientClosedError):
            thread.outcome(10)
        assert client.bulkhead.in_flight == 0


def test_closing_from_sync_code_ends_calls_on_a_loop_in_another_thread() -> None:
    with serve(silent) as server:
        client = ResilientClient(config(server.url))

        async def main() -> None:
            await client.get("/")

        thread = Background(lambda: asyncio.run(main()))
        wait_until(lambda: server.in_flight == 1)
        client.close().result()
        with pytest.raises(ClientClosedError):
            thread.outcome(10)
        assert client.bulkhead.in_flight == 0


@in_loop
async def test_closing_ends_calls_that_wait_for_a_slot() -> None:
    with serve(silent) as server:
        client = ResilientClient(config(server.url, bulkhead={"max_concurrency": 1}))
        tasks = [asyncio.ensure_future(client.get("/")) for _ in range(4)]
        await until(lambda: server.in_flight == 1)
        assert client.bulkhead.queued == 3
        await client.close()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in ended] == [ClientClosedError] * 4
        assert sorted(error.attempts for error in ended if isinstance(error, ClientClosedError)) == [0, 0, 0, 1]
        assert len(server.requests) == 1
        assert (client.bulkhead.in_flight, client.bulkhead.queued) == (0, 0)


def test_closing_ends_threads_that_wait_for_a_slot() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold(request: httpx2.Request) -> Step:
        inside.set()
        assert leave.wait(10)
        return Step(200)

    client = ResilientClient(config(NOWHERE, bulkhead={"max_concurrency": 1}), transport=FaultTransport(hold))
    first = Background(lambda: client.get("/").result())
    assert inside.wait(10)
    others = [Background(lambda: client.get("/").result()) for _ in range(3)]
    wait_until(lambda: client.bulkhead.queued == 3)
    client.close().result()
    for other in others:
        with pytest.raises(ClientClosedError, match="Nothing was sent"):
            other.outcome(5)
    leave.set()
    assert first.outcome().status_code == 200  # its answer was on the way already
    assert client.bulkhead.in_flight == 0


@in_loop
async def test_closing_ends_calls_that_back_off() -> None:
    transport = FaultTransport([500])
    settings = config(NOWHERE, retry={"min_wait_seconds": 60.0, "max_wait_seconds": 60.0})
    client = ResilientClient(settings, transport=transport)
    task = asyncio.ensure_future(client.get("/"))
    await until(lambda: transport.requests)
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(ClientClosedError) as caught:
        await task
    assert caught.value.attempts == 1 and caught.value.may_have_executed
    assert client.bulkhead.in_flight == 0


def test_closing_ends_threads_that_back_off() -> None:
    transport = FaultTransport([500])
    settings = config(NOWHERE, retry={"min_wait_seconds": 60.0, "max_wait_seconds": 60.0})
    client = ResilientClient(settings, transport=transport)
    thread = Background(lambda: client.get("/").result())
    wait_until(lambda: len(transport.requests) == 1 and client.bulkhead.in_flight == 0)
    client.close().result()
    with pytest.raises(ClientClosedError):
        thread.outcome(5)


@in_loop
async def test_closing_ends_calls_that_wait_for_the_rate_limiter() -> None:
    client = ResilientClient(
        config(NOWHERE, rate_limit={"rate": 1.0, "period": 20.0, "burst": 1}), transport=FaultTransport([200])
    )
    await client.get("/")
    task = asyncio.ensure_future(client.get("/"))
    await asyncio.sleep(0.01)
    await client.close()
    with pytest.raises(ClientClosedError, match="Nothing was sent"):
        await task


@in_loop
async def test_ensure_initialized_makes_the_pool_that_the_first_call_uses() -> None:
    client = ResilientClient(config(NOWHERE), transport=FaultTransport([200]))
    await client._ensure_initialized()
    driver = client._assembly.connections.driver(asyncio.get_running_loop())
    await client._ensure_initialized()
    await client.get("/")
    assert client._assembly.connections.driver(asyncio.get_running_loop()) is driver
    await client.close()


@pytest.mark.parametrize("colour", COLOURS)
def test_create_resilient_client_takes_what_the_class_takes(colour: str) -> None:
    seen: list[str] = []
    client = create_resilient_client(
        config(NOWHERE),
        transport=FaultTransport([200]),
        observers=[lambda event: seen.append(type(event).__name__)],
    )
    assert type(client) is ResilientClient
    assert fetch(client, colour).status_code == 200
    assert client.is_closed
    assert seen == ["AttemptStarted", "AttemptFinished", "CallFinished"]
    other = create_resilient_client(config(NOWHERE), http_client=httpx2.Client())
    assert not other.is_closed
    other.close().result()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"http_client": httpx2.Client(), "transport": FaultTransport([200])}, "http_client and transport"),
        ({"http_client": object()}, "http_client must be an httpx2.AsyncClient or httpx2.Client, not object"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ResilientClient(config(NOWHERE), **arguments)
    with pytest.raises(TypeError, match=r"config must be a holdfast\.ClientConfig, not dict"):
        ResilientClient({"base_url": NOWHERE})  # type: ignore[arg-type]


# Views


def test_the_rate_limiter_can_be_looked_at() -> None:
    limit = {
        "rate": 10.0,
        "period": 60.0,
        "adaptive": True,
        "key": lambda method, _: method if method == "POST" else None,
    }
    settings = config(NOWHERE, rate_limit=limit, retry={"max_attempts": 1})
    script: dict[str, Step | int] = {"POST /": Step(429, headers={"Retry-After": "30"}), "GET /": 200}
    with ResilientClient(settings, transport=FaultTransport(script)) as client:
        with pytest.raises(RateLimitError):
            client.post("/").result()
        assert client.get("/").result().status_code == 200
        own, posts = client.rate_limiter, client.rate_limiter_of(NOWHERE, "POST")
        assert (own.rate, own.retry_after, own.refusals) == (10.0, 0.0, 0)
        assert (posts.rate, posts.refusals) == (5.0, 1) and 29.0 < posts.retry_after <= 30.0
    assert ResilientClient(config(NOWHERE)).rate_limiter.rate is None


def test_the_cache_can_be_looked_at() -> None:
    settings = config(NOWHERE, cache={"max_entries": 1})
    with ResilientClient(settings, transport=FaultTransport(200)) as client:
        for path in ("/a", "/a", "/b"):
            client.get(path, cache_ttl=60.0).result()
        cache = client.cache
        assert (len(cache), cache.hits, cache.misses, cache.evictions) == (1, 1, 2, 1)


@in_loop
async def test_a_view_shares_state_and_closing() -> None:
    transport = FaultTransport([500])
    settings = config(NOWHERE, circuit_breaker={"failure_threshold": 2}, retry={"max_attempts": 1})
    client = ResilientClient(settings, transport=transport)
    view = client.with_options(headers={"X-Tenant": "acme"}, deadline=5)
    assert type(view) is ResilientClient and view is not client
    for one in (client, view):
        with pytest.raises(ServerError):
            await one.get("/")
    assert client.circuit_breaker.state == view.circuit_breaker.state == "open"
    assert client.metrics() == view.metrics() and view.metrics().total.calls == 2
    assert [request.headers.get("x-tenant") for request in transport.requests] == [None, "acme"]
    await view.close()
    assert client.is_closed and view.is_closed
    with pytest.raises(ClientClosedError):
        await client.get("/")


@in_loop
async def test_options_of_views_add_up_and_those_of_the_call_win() -> None:
    transport = FaultTransport([200])
    async with ResilientClient(config(NOWHERE), transport=transport) as client:
        view = client.with_options(headers={"A": "1", "B": "1"}, request_id="view")
        nested = view.with_options(headers={"b": "2"}, timeout=3)
        await nested.get("/", headers={"C": "3"}, request_id="call")
        await view.get("/")
        await client.get("/")
    first, second, third = transport.requests
    assert (first.headers["a"], first.headers["b"], first.headers["c"]) == ("1", "2", "3")
    assert first.headers["x-request-id"] == "call" and first.extensions["timeout"]["read"] == 3
    assert (second.headers["b"], second.headers["x-request-id"]) == ("1", "view")
    assert second.extensions["timeout"]["read"] == 15.0
    assert "a" not in third.headers and third.headers["x-request-id"] != "view"


def test_a_view_refuses_a_wrong_option_when_it_is_made() -> None:
    client = ResilientClient(config(NOWHERE), transport=FaultTransport([200]))
    with pytest.raises(TypeError, match="unknown option 'dedline'"):
        client.with_options(dedline=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="deadline"):
        client.with_options(deadline=0)


def test_a_view_of_a_subclass_is_of_that_class() -> None:
    class Mine(ResilientClient):
        def msg(self) -> int:
            return self.get("/msg").result().status_code

    with Mine(config(NOWHERE), transport=FaultTransport([200])) as client:
        assert client.with_options(deadline=1).msg() == 200


# What is handed in


def fetch_with(given: dict[str, Any], base_url: str, colour: str, path: str) -> httpx2.Response:
    """One GET with an httpx2 client made so, which must be open afterwards."""
    if colour == "sync":
        with httpx2.Client(**given) as mine:
            with ResilientClient(config(base_url), http_client=mine) as client:
                response = client.get(path).result()
            assert not mine.is_closed
            return response

    async def main() -> httpx2.Response:
        async with httpx2.AsyncClient(**given) as mine:
            async with ResilientClient(config(base_url), http_client=mine) as client:
                response = await client.get(path)
            assert not mine.is_closed
            return response

    return asyncio.run(main())


@pytest.mark.parametrize("colour", COLOURS)
def test_a_handed_in_client_gives_headers_cookies_auth_and_params(colour: str) -> None:
    given: dict[str, Any] = {
        "headers": {"X-Team": "blue"},
        "cookies": {"session": "s3cret"},
        "auth": ("jo", "pw"),
        "params": {"tenant": "7"},
        "trust_env": False,
    }
    with serve(echo) as server:
        response = fetch_with(given, server.url, colour, "/a?x=1").json()
    assert response["target"] in ("/a?x=1&tenant=7", "/a?tenant=7&x=1")
    headers = response["headers"]
    assert headers["x-team"] == "blue" and headers["cookie"] == "session=s3cret"
    assert headers["authorization"] == "Basic am86cHc="


@pytest.mark.parametrize("colour", COLOURS)
def test_nothing_of_a_handed_in_client_goes_to_another_origin(colour: str) -> None:
    given: dict[str, Any] = {
        "headers": {"X-Team": "blue"},
        "cookies": {"session": "s3cret"},
        "auth": ("jo", "pw"),
        "params": {"tenant": "7"},
        "trust_env": False,
    }
    with serve(echo) as server, serve(echo) as other:
        response = fetch_with(given, server.url, colour, f"{other.url}/a").json()
    assert response["target"] == "/a"
    assert not {"x-team", "cookie", "authorization"} & response["headers"].keys()


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("handed_in", [False, True])
def test_cookies_that_a_server_sets_come_back_to_it(colour: str, handed_in: bool) -> None:
    with serve(scripted(answer(200, "", {"Set-Cookie": "seen=1; Path=/"}))) as server:
        if colour == "sync":
            with httpx2.Client(trust_env=False) as sync_client:
                client = ResilientClient(config(server.url), http_client=sync_client if handed_in else None)
                client.get("/").result()
                client.get("/").result()
                assert client.cookies["seen"] == "1"
                client.close().result()
        else:

            async def main() -> None:
                async with httpx2.AsyncClient(trust_env=False) as async_client:
                    mine = async_client if handed_in else None
                    async with ResilientClient(config(server.url), http_client=mine) as client:
                        await client.get("/")
                        await client.get("/")
                        assert client.cookies["seen"] == "1"

            asyncio.run(main())
        assert [request.headers.get("cookie") for request in server.requests] == [None, "seen=1"]


def test_the_other_colour_of_a_handed_in_client_says_why_not() -> None:
    sync_client, async_client = httpx2.Client(), httpx2.AsyncClient()
    client = ResilientClient(config(NOWHERE), http_client=sync_client)
    with pytest.raises(RuntimeError, match=r"http_client is an httpx2\.Client: use \.result\(\)"):
        fetch(client, "async")
    client = ResilientClient(config(NOWHERE), http_client=async_client)
    with pytest.raises(RuntimeError, match=r"http_client is an httpx2\.AsyncClient: use await"):
        fetch(client, "sync")
    assert client.bulkhead.in_flight == 0
    sync_client.close()
    asyncio.run(async_client.aclose())


def test_the_other_colour_of_a_handed_in_transport_says_why_not() -> None:
    class Sync(httpx2.BaseTransport):
        pass

    class Async(httpx2.AsyncBaseTransport):
        pass

    with pytest.raises(RuntimeError, match=r"transport is a sync one: use \.result\(\)"):
        fetch(ResilientClient(config(NOWHERE), transport=Sync()), "async")
    with pytest.raises(RuntimeError, match="transport is an async one: use await"):
        fetch(ResilientClient(config(NOWHERE), transport=Async()), "sync")


class Closable(FaultTransport):
    """Counts how often it is closed."""

    def __init__(self) -> None:
        super().__init__([200])
        self.closed: list[str] = []

    async def aclose(self) -> None:
        self.closed.append("async")

    def close(self) -> None:
        self.closed.append("sync")


@pytest.mark.parametrize("colour", COLOURS)
def test_a_handed_in_transport_is_closed_with_the_client(colour: str) -> None:
    transport = Closable()
    fetch(ResilientClient(config(NOWHERE), transport=transport), colour)
    assert transport.closed == [colour]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_handed_in_transport_is_closed_even_if_nothing_was_sent(colour: str) -> None:
    transport = Closable()
    client = ResilientClient(config(NOWHERE), transport=transport)
    if colour == "sync":
        client.close().result()
    else:
        asyncio.run(client.close())
    assert transport.closed == [colour]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_handed_in_client_with_a_replaced_request_is_honoured(colour: str) -> None:
    calls: list[tuple[str, str]] = []

    class Async(httpx2.AsyncClient):
        async def request(self, method: str, url: Any, **named: Any) -> httpx2.Response:
            calls.append((method, str(url)))
            return httpx2.Response(
                203, json={"id": named["headers"]["x-request-id"]}, request=httpx2.Request("GET", url)
            )

    class Sync(httpx2.Client):
        def request(self, method: str, url: Any, **named: Any) -> httpx2.Response:
            calls.append((method, str(url)))
            return httpx2.Response(
                203, json={"id": named["headers"]["x-request-id"]}, request=httpx2.Request("GET", url)
            )

    mine: Any = Sync() if colour == "sync" else Async()
    response = fetch(ResilientClient(config(NOWHERE), http_client=mine), colour, "/a", request_id="mine")
    assert (response.status_code, response.json()) == (203, {"id": "mine"})
    assert calls == [("GET", f"{NOWHERE}/a")]
    if colour == "sync":
        mine.close()
    else:
        asyncio.run(mine.aclose())


@pytest.mark.parametrize("colour", COLOURS)
def test_a_patched_request_of_httpx2_is_honoured_with_retries(colour: str) -> None:
    cls = httpx2.Client if colour == "sync" else httpx2.AsyncClient
    answers = [httpx2.ConnectError("down"), httpx2.Response(503), httpx2.Response(200, text="up")]
    with mock.patch.object(cls, "request", side_effect=answers) as patched:
        response = fetch(ResilientClient(config(NOWHERE)), colour, "/a")
    assert response.text == "up"
    assert [call.args for call in patched.call_args_list] == [("GET", f"{NOWHERE}/a")] * 3


@in_loop
async def test_a_request_patched_on_one_object_is_honoured() -> None:
    async with httpx2.AsyncClient() as mine, ResilientClient(config(NOWHERE), http_client=mine) as client:
        with mock.patch.object(mine, "request", return_value=httpx2.Response(200, text="patched")) as patched:
            assert (await client.post("/a", json={"b": 1})).text == "patched"
        assert patched.call_args.kwargs["content"] == b'{"b":1}'
        assert patched.call_args.kwargs["headers"]["content-type"] == "application/json"


@in_loop
async def test_event_hooks_of_a_handed_in_client_run() -> None:
    seen: list[str] = []

    async def hook(request: httpx2.Request) -> None:
        seen.append(str(request.url))

    mine = httpx2.AsyncClient(transport=FaultTransport([500, 200]), event_hooks={"request": [hook]})
    async with mine, ResilientClient(config(NOWHERE), http_client=mine) as client:
        await client.get("/a")
    assert seen == [f"{NOWHERE}/a"] * 2


# The connection


@pytest.mark.parametrize("colour", COLOURS)
def test_a_proxy_forwards_plain_requests_and_tunnels_tls(colour: str, tmp_path: Path) -> None:
    made = authority(tmp_path)
    with serve(forward) as proxy, serve(echo) as plain, serve(echo, tls=made.server) as secure:
        through = f"http://jo:pw@127.0.0.1:{proxy.port}"
        response = fetch(ResilientClient(config(plain.url, proxy=through)), colour, "/plain").json()
        assert response["headers"]["via"] == "1.1 loopback" and response["target"] == "/plain"
        settings = config(secure.url, proxy=through, verify_ssl=made.ca)
        assert fetch(ResilientClient(settings), colour, "/tls").json()["target"] == "/tls"
        first, second = proxy.requests
        assert (first.method, first.target) == ("GET", f"{plain.url}/plain")
        assert (second.method, second.target) == ("CONNECT", f"127.0.0.1:{secure.port}")
        assert {one.headers["proxy-authorization"] for one in (first, second)} == {"Basic am86cHc="}
        assert all("proxy-authorization" not in one.headers for one in (*plain.requests, *secure.requests))


@pytest.mark.parametrize("colour", COLOURS)
def test_a_client_certificate_is_shown(colour: str, tmp_path: Path) -> None:
    made = authority(tmp_path, wants_client=True)
    with serve(echo, tls=made.server) as server:
        settings = config(server.url, verify_ssl=made.ca, cert=(made.cert, made.key))
        assert fetch(ResilientClient(settings), colour).status_code == 200
        shown = server.certificates[0]
        assert shown is not None and ("email", "client@example.com") in shown["subjectAltName"]
        server.requests.clear()
        without = config(server.url, verify_ssl=made.ca, retry={"max_attempts": 1})
        with pytest.raises(httpx2.TransportError):
            fetch(ResilientClient(without), colour)
        assert not server.requests


@pytest.mark.parametrize("colour", COLOURS)
def test_an_unknown_authority_is_refused_before_anything_is_sent(colour: str, tmp_path: Path) -> None:
    made = authority(tmp_path)
    with serve(echo, tls=made.server) as server:
        with pytest.raises(httpx2.ConnectError) as caught:
            fetch(ResilientClient(config(server.url)), colour)
        assert caught.value.may_have_executed is False  # type: ignore[attr-defined]
        assert not server.requests


@in_loop
async def test_http2_shares_one_connection(tmp_path: Path) -> None:
    made = authority(tmp_path, alpn=("h2",))
    with serve_http2(made.server, together=5) as server:
        async with ResilientClient(config(server.url, verify_ssl=made.ca, http2=True)) as client:
            responses = await asyncio.gather(*(client.get(f"/{number}") for number in range(5)))
        assert [one.text for one in responses] == [f"/{number}" for number in range(5)]
        assert {one.http_version for one in responses} == {"HTTP/2"}
        assert server.connections == 1 and server.peak == 5


def test_http2_in_sync_code(tmp_path: Path) -> None:
    made = authority(tmp_path, alpn=("h2",))
    with serve_http2(made.server) as server:
        response = fetch(ResilientClient(config(server.url, verify_ssl=made.ca, http2=True)), "sync", "/a")
        assert (response.text, response.http_version) == ("/a", "HTTP/2")


def test_the_pool_is_as_large_as_the_bulkhead() -> None:
    with serve(silent_then_ok()) as server:

        async def main() -> None:
            async with ResilientClient(config(server.url, bulkhead={"max_concurrency": 3})) as client:
                await asyncio.gather(*(client.get("/") for _ in range(9)))

        asyncio.run(main())
        assert server.peak == 3 and server.connections == 3


def silent_then_ok() -> Any:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(answer(200, "ok"))

    return handler


# Lint


def test_findings_are_logged_once_as_warnings(caplog: pytest.LogCaptureFixture) -> None:
    settings = config(NOWHERE, max_connections=1, logging={"level": "WARNING", "logger_name": "lint.once"})
    with caplog.at_level(logging.DEBUG), ResilientClient(settings, transport=FaultTransport([200])) as client:
        client.with_options(deadline=3).get("/").result()
        client.get("/").result()
    records = [record for record in caplog.records if record.name == "lint.once"]
    assert [record.levelname for record in records] == ["WARNING"]
    assert "pool has 1 connections for 50 calls" in records[0].getMessage()


def test_a_sync_transport_is_named_by_lint(caplog: pytest.LogCaptureFixture) -> None:
    class Sync(httpx2.BaseTransport):
        pass

    settings = config(NOWHERE, logging={"level": "WARNING", "logger_name": "lint.transport"})
    ResilientClient(settings, transport=Sync())
    ResilientClient(settings)
    messages = [record.getMessage() for record in caplog.records if record.name == "lint.transport"]
    assert len(messages) == 1 and "No deadline can cut a read of a handed-in transport" in messages[0]


def test_the_same_findings_are_not_logged_below_the_level(caplog: pytest.LogCaptureFixture) -> None:
    settings = config(NOWHERE, max_connections=1, logging={"level": "ERROR", "logger_name": "lint.quiet"})
    logging.getLogger("lint.quiet").setLevel(logging.DEBUG)
    ResilientClient(settings)
    assert not [record for record in caplog.records if record.name == "lint.quiet"]
