"""`client.stream()`: what it holds while it is open, and what becomes of it in the end."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any

import httpx2
import pytest

from holdfast import (
    APIConnectionError,
    APITimeoutError,
    ClientClosedError,
    DeadlineExceededError,
    HoldfastError,
    NotFoundError,
    PoolTimeoutError,
    ResilientClient,
    ResponseError,
    ServerError,
)
from holdfast.testing import FaultTransport, Step
from tests.support.wire import (
    CHUNKED,
    END,
    Background,
    Received,
    answer,
    chunk,
    config,
    in_loop,
    scripted,
    serve,
    until,
    wait_until,
)

NOWHERE = "http://service.test"

pytestmark = pytest.mark.loopback
FOUR = CHUNKED + b"".join(chunk(part) for part in (b"one", b"two", b"three", b"four")) + END


class Gate:
    """Sends a head and a chunk, and the rest when it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        if request.path == "/plain":
            writer.write(answer(200, "plain"))
            return
        writer.write(CHUNKED + chunk(b"first"))
        while not self._open.is_set():
            await asyncio.sleep(0.005)
        writer.write(chunk(b"last") + END)


def trickle(pause: float, chunks: int = 100) -> Any:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for _ in range(chunks):
            await asyncio.sleep(pause)
            writer.write(chunk(b"."))
            await writer.drain()
        writer.write(END)

    return handler


# The slot


@in_loop
async def test_the_slot_is_held_until_the_stream_is_closed() -> None:
    gate = Gate()
    with serve(gate) as server:
        settings = config(server.url, bulkhead={"max_concurrency": 1, "acquisition_timeout": 0.05})
        async with ResilientClient(settings) as client:
            async with client.stream("GET", "/") as response:
                assert response.status_code == 200 and client.bulkhead.in_flight == 1
                with pytest.raises(PoolTimeoutError):
                    await client.get("/plain")
                gate.open()
                assert [part async for part in response.aiter_bytes()] == [b"first", b"last"]
            assert client.bulkhead.in_flight == 0
            assert (await client.get("/plain")).text == "plain"
        assert server.connections == 1  # read to its end, the connection is used again


def test_the_slot_is_held_until_the_stream_is_closed_in_sync_code() -> None:
    gate = Gate()
    with serve(gate) as server:
        settings = config(server.url, bulkhead={"max_concurrency": 1, "acquisition_timeout": 0.05})
        with ResilientClient(settings) as client:
            with client.stream("GET", "/") as response:
                assert response.status_code == 200 and client.bulkhead.in_flight == 1
                with pytest.raises(PoolTimeoutError):
                    client.get("/plain").result()
                gate.open()
                assert list(response.iter_bytes()) == [b"first", b"last"]
            assert client.bulkhead.in_flight == 0
            assert client.get("/plain").result().text == "plain"
        assert server.connections == 1


@in_loop
async def test_leaving_early_gives_back_slot_and_connection() -> None:
    with serve(Gate()) as server:
        settings = config(server.url, bulkhead={"max_concurrency": 1, "acquisition_timeout": 1.0})
        async with ResilientClient(settings) as client:
            for _ in range(3):
                async with client.stream("GET", "/") as response:
                    async for part in response.aiter_bytes():
                        assert part == b"first"
                        break
                assert client.bulkhead.in_flight == 0
            with pytest.raises(ZeroDivisionError):
                async with client.stream("GET", "/"):
                    raise ZeroDivisionError
            assert client.bulkhead.in_flight == 0
            assert (await client.get("/plain")).text == "plain"
            await until(lambda: server.open_connections == 1)


def test_leaving_early_gives_back_slot_and_connection_in_sync_code() -> None:
    with serve(Gate()) as server:
        settings = config(server.url, bulkhead={"max_concurrency": 1, "acquisition_timeout": 1.0})
        with ResilientClient(settings) as client:
            for _ in range(3):
                with client.stream("GET", "/") as response:
                    assert next(response.iter_bytes()) == b"first"
                assert client.bulkhead.in_flight == 0
            with pytest.raises(ZeroDivisionError), client.stream("GET", "/"):
                raise ZeroDivisionError
            assert client.get("/plain").result().text == "plain"
            wait_until(lambda: server.open_connections == 1)


@in_loop
async def test_cancelling_while_the_body_is_read_gives_everything_back() -> None:
    with serve(Gate()) as server:
        async with ResilientClient(config(server.url, bulkhead={"max_concurrency": 1})) as client:
            reading = asyncio.Event()

            async def read() -> None:
                async with client.stream("GET", "/") as response:
                    async for _ in response.aiter_bytes():
                        reading.set()

            task = asyncio.create_task(read())
            await reading.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client.bulkhead.in_flight == 0 and client.circuit_breaker.state == "closed"
            await until(lambda: server.open_connections == 0)


@in_loop
async def test_a_stream_that_is_dropped_unclosed_gives_back_slot_and_connection() -> None:
    with serve(Gate()) as server:
        settings = config(server.url, bulkhead={"max_concurrency": 1, "acquisition_timeout": 2.0})
        async with ResilientClient(settings) as client:
            for _ in range(3):
                dropped: Any = client.stream("GET", "/")
                response: Any = await dropped.__aenter__()
                assert response.status_code == 200 and client.bulkhead.in_flight == 1
                del dropped, response
                gc.collect()
                assert client.bulkhead.in_flight == 0
                await until(lambda: server.open_connections == 0)
            assert (await client.get("/plain", timeout=2)).text == "plain"


@in_loop
async def test_a_stream_that_is_dropped_half_read_gives_back_slot_and_connection() -> None:
    with serve(Gate()) as server:
        settings = config(server.url, bulkhead={"max_concurrency": 1, "acquisition_timeout": 2.0})
        async with ResilientClient(settings) as client:
            dropped: Any = client.stream("GET", "/")
            response: Any = await dropped.__aenter__()
            parts: Any = response.aiter_bytes()
            assert await anext(parts) == b"first"
            del dropped, response, parts
            gc.collect()
            await until(lambda: client.bulkhead.in_flight == 0)
            await until(lambda: server.open_connections == 0)
            assert (await client.get("/plain", timeout=2)).text == "plain"


def test_a_stream_that_is_dropped_unclosed_gives_back_slot_and_connection_in_sync_code() -> None:
    with serve(Gate()) as server:
        settings = config(server.url, bulkhead={"max_concurrency": 1, "acquisition_timeout": 2.0})
        with ResilientClient(settings) as client:
            for _ in range(3):
                dropped: Any = client.stream("GET", "/")
                response: Any = dropped.__enter__()
                assert response.status_code == 200 and client.bulkhead.in_flight == 1
                del dropped, response
                gc.collect()
                assert client.bulkhead.in_flight == 0
            assert client.get("/plain", timeout=2).result().text == "plain"
            wait_until(lambda: server.open_connections == 1)


@in_loop
async def test_a_stream_that_was_not_entered_warns_and_sends_nothing() -> None:
    transport = FaultTransport([200])
    async with ResilientClient(config(NOWHERE), transport=transport) as client:
        with pytest.warns(RuntimeWarning, match="never sent"):
            client.stream("GET", "/")
        assert not transport.requests


# What breaks it


def broken_body(how: str) -> Any:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        if how == "truncated":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        elif how == "chunks":
            writer.write(CHUNKED + chunk(b"one"))
        else:
            writer.write(CHUNKED + chunk(b"one"))
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.transport.abort()
        await writer.drain()
        writer.close()

    return handler


@pytest.mark.parametrize("how", ["truncated", "chunks", "reset"])
@pytest.mark.parametrize("colour", ["async", "sync"])
def test_a_body_that_breaks_is_a_typed_error_and_counts_for_the_breaker(how: str, colour: str) -> None:
    with serve(broken_body(how)) as server:
        client = ResilientClient(config(server.url, circuit_breaker={"failure_threshold": 2}))

        def attempt() -> None:
            with client.stream("GET", "/") as response:
                response.read()

        async def attempt_async() -> None:
            async with client.stream("GET", "/") as response:
                async for _ in response.aiter_bytes():
                    pass

        async def main() -> None:
            async with client:
                for _ in range(2):
                    await check(attempt_async())

        async def check(attempting: Any) -> None:
            with pytest.raises((APIConnectionError, ResponseError)) as caught:
                await attempting
            verify(caught.value)

        def verify(error: HoldfastError) -> None:
            assert isinstance(error, httpx2.TransportError) and error.may_have_executed
            assert error.attempts == 1 and "part of the body was handed out already" in str(error)

        if colour == "sync":
            with client:
                for _ in range(2):
                    with pytest.raises((APIConnectionError, ResponseError)) as caught:
                        attempt()
                    verify(caught.value)
        else:
            asyncio.run(main())
        assert client.circuit_breaker.state == "open"
        assert client.bulkhead.in_flight == 0
        assert len(server.requests) == 2


@in_loop
async def test_a_good_stream_counts_as_success_only_when_it_has_ended() -> None:
    with serve(scripted(answer(500), answer(500), FOUR, answer(500), answer(500))) as server:
        settings = config(server.url, circuit_breaker={"failure_threshold": 3}, retry={"max_attempts": 1})
        async with ResilientClient(settings) as client:
            for _ in range(2):
                with pytest.raises(ServerError):
                    await client.get("/")
            async with client.stream("GET", "/") as response:
                await response.aread()
            for _ in range(2):
                with pytest.raises(ServerError):
                    await client.get("/")
            assert client.circuit_breaker.state == "closed"
            with pytest.raises(ServerError):
                await client.get("/")
            assert client.circuit_breaker.state == "open"


@in_loop
async def test_broken_content_coding_is_a_typed_error() -> None:
    garbage = answer(200, b"this is not gzip", {"Content-Encoding": "gzip"})
    with serve(scripted(garbage)) as server:
        async with ResilientClient(config(server.url)) as client:
            with pytest.raises(ResponseError) as caught:
                async with client.stream("GET", "/") as response:
                    await response.aread()
            assert isinstance(caught.value, httpx2.DecodingError)
            assert client.bulkhead.in_flight == 0


def test_broken_content_coding_is_a_typed_error_in_sync_code() -> None:
    garbage = answer(200, b"this is not gzip", {"Content-Encoding": "gzip"})
    with serve(scripted(garbage)) as server, ResilientClient(config(server.url)) as client:
        with pytest.raises(ResponseError), client.stream("GET", "/") as response:
            response.read()
        assert client.bulkhead.in_flight == 0


@in_loop
async def test_a_silent_body_runs_into_the_read_timeout() -> None:
    with serve(Gate()) as server:
        async with ResilientClient(config(server.url, timeout={"read": 0.2})) as client:
            with pytest.raises(APITimeoutError) as caught:
                async with client.stream("GET", "/") as response:
                    await response.aread()
            assert isinstance(caught.value, httpx2.ReadTimeout) and isinstance(caught.value, TimeoutError)
            assert client.bulkhead.in_flight == 0


@in_loop
async def test_closing_the_client_ends_an_open_stream() -> None:
    with serve(Gate()) as server:
        client = ResilientClient(config(server.url))
        reading = asyncio.Event()

        async def read() -> None:
            async with client.stream("GET", "/") as response:
                async for _ in response.aiter_bytes():
                    reading.set()

        task = asyncio.create_task(read())
        await reading.wait()
        await client.close()
        with pytest.raises(ClientClosedError):
            await task
        assert client.bulkhead.in_flight == 0


# The deadline


@in_loop
async def test_the_clients_deadline_ends_at_the_head() -> None:
    with serve(trickle(0.2, chunks=4)) as server:
        client = ResilientClient(config(server.url, deadline=0.35))  # longer than each pause, shorter than the body
        async with client, client.stream("GET", "/") as response:
            assert await response.aread() == b"...."


@in_loop
async def test_a_pause_in_the_body_may_be_longer_than_what_the_deadline_left() -> None:
    with serve(trickle(0.4, chunks=2)) as server:
        client = ResilientClient(config(server.url, deadline=0.2))
        async with client, client.stream("GET", "/") as response:
            assert await response.aread() == b".."


def test_the_clients_deadline_ends_at_the_head_in_sync_code() -> None:
    with serve(trickle(0.4, chunks=2)) as server:
        client = ResilientClient(config(server.url, deadline=0.2))
        with client, client.stream("GET", "/") as response:
            assert response.read() == b".."


@in_loop
async def test_a_deadline_on_the_call_holds_for_the_body() -> None:
    with serve(trickle(0.05)) as server:
        async with ResilientClient(config(server.url)) as client:
            began = time.monotonic()
            with pytest.raises(DeadlineExceededError, match=r"deadline of 0\.3 s"):
                async with client.stream("GET", "/", deadline=0.3) as response:
                    await response.aread()
            assert 0.2 < time.monotonic() - began < 2.0
            assert client.bulkhead.in_flight == 0
            assert client.circuit_breaker.state == "closed"


def test_a_deadline_on_the_call_holds_for_the_body_in_sync_code() -> None:
    with serve(trickle(0.05)) as server, ResilientClient(config(server.url)) as client:
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError), client.stream("GET", "/", deadline=0.3) as response:
            response.read()
        assert 0.2 < time.monotonic() - began < 2.0
        assert client.bulkhead.in_flight == 0


@in_loop
async def test_the_deadline_holds_for_the_head() -> None:
    async def silent(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    with serve(silent) as server:
        async with ResilientClient(config(server.url, deadline=0.2)) as client:
            with pytest.raises(DeadlineExceededError):
                async with client.stream("GET", "/"):
                    pytest.fail("there is no head")
            assert client.bulkhead.in_flight == 0


# Before the head


@in_loop
async def test_error_statuses_raise_with_their_body() -> None:
    with serve(scripted(answer(404, '{"detail": "no such pet"}', {"Content-Type": "application/json"}))) as server:
        async with ResilientClient(config(server.url)) as client:
            with pytest.raises(NotFoundError, match="no such pet") as caught:
                async with client.stream("GET", "/"):
                    pytest.fail("an error status is raised on entering")
            assert caught.value.response is not None
            assert caught.value.response.json() == {"detail": "no such pet"}
            assert client.bulkhead.in_flight == 0


def test_error_statuses_raise_with_their_body_in_sync_code() -> None:
    with serve(scripted(answer(404, "gone"))) as server, ResilientClient(config(server.url)) as client:
        with pytest.raises(NotFoundError) as caught, client.stream("GET", "/"):
            pytest.fail("an error status is raised on entering")
        assert caught.value.response is not None and caught.value.response.text == "gone"
        assert client.bulkhead.in_flight == 0


@in_loop
async def test_failures_before_the_head_are_retried() -> None:
    with serve(scripted(answer(503, "busy"), answer(500), FOUR)) as server:
        async with ResilientClient(config(server.url, bulkhead={"max_concurrency": 1})) as client:
            async with client.stream("GET", "/") as response:
                assert await response.aread() == b"onetwothreefour"
            assert client.bulkhead.in_flight == 0
        assert len(server.requests) == 3 and len(set(server.ids())) == 1


def test_failures_before_the_head_are_retried_in_sync_code() -> None:
    with serve(scripted(answer(503, "busy"), answer(500), FOUR)) as server:
        with ResilientClient(config(server.url, bulkhead={"max_concurrency": 1})) as client:
            with client.stream("GET", "/") as response:
                assert response.read() == b"onetwothreefour"
            assert client.bulkhead.in_flight == 0
        assert len(server.requests) == 3


@in_loop
async def test_lines_text_and_a_request_body_stream_too() -> None:
    async def lines(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(request.body + b"\nb") + chunk(b"b\nccc") + END)

    with serve(lines) as server:
        client = ResilientClient(config(server.url))
        async with client, client.stream("POST", "/", content=b"a", headers={"X-A": "1"}) as response:
            assert [line async for line in response.aiter_lines()] == ["a", "bb", "ccc"]
        assert server.requests[0].headers["x-a"] == "1"


@in_loop
async def test_a_stream_has_no_size_limit() -> None:
    with serve(scripted(answer(200, b"x" * 10_000))) as server:
        async with ResilientClient(config(server.url, max_response_bytes=100)) as client:
            with pytest.raises(ResponseError, match="max_response_bytes"):
                await client.get("/")
            async with client.stream("GET", "/") as response:
                assert len(await response.aread()) == 10_000


# In memory


@pytest.mark.parametrize("step", [Step(200, content=b"in memory"), Step(200, json={"in": "memory"})])
@in_loop
async def test_a_response_in_memory_is_a_stream_too(step: Step) -> None:
    async with ResilientClient(config(NOWHERE), transport=FaultTransport([step])) as client:
        async with client.stream("GET", "/") as response:
            assert client.bulkhead.in_flight == 1
            whole = b"".join([part async for part in response.aiter_bytes()])
            assert whole == (step.content or b'{"in":"memory"}')
        assert client.bulkhead.in_flight == 0


def test_a_response_in_memory_is_a_stream_in_sync_code() -> None:
    transport = FaultTransport([Step(200, content=b"in memory")])
    with ResilientClient(config(NOWHERE), transport=transport) as client:
        with client.stream("GET", "/") as response:
            assert b"".join(response.iter_bytes()) == b"in memory"
        assert client.bulkhead.in_flight == 0


def test_streams_of_many_threads_share_the_slots() -> None:
    with serve(scripted(FOUR)) as server:
        settings = config(server.url, bulkhead={"max_concurrency": 2})
        with ResilientClient(settings) as client:

            def run() -> int:
                total = 0
                for _ in range(20):
                    with client.stream("GET", "/") as response:
                        total += len(response.read())
                return total

            threads = [Background(run) for _ in range(6)]
            assert [thread.outcome() for thread in threads] == [15 * 20] * 6
            assert client.bulkhead.in_flight == 0
        assert server.connections <= 2 and server.peak <= 2
