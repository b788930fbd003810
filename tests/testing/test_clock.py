"""Real clients on a virtual clock: the waits are those of the production code, and nobody sleeps."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from holdfast import (
    BulkheadConfig,
    CacheConfig,
    CircuitBreakerConfig,
    CircuitOpenError,
    ClientClosedError,
    ClientConfig,
    DeadlineExceededError,
    PoolTimeoutError,
    RateLimitConfig,
    ResilientClient,
    RetryConfig,
    ServiceUnavailableError,
)
from holdfast.http import assembly
from holdfast.testing import FaultTransport, Step, VirtualClock
from tests.support.colours import Colour
from tests.support.wire import answer, serve

URL = "https://api.example.com"
STEADY = RetryConfig(jitter=False)
"""Waits of 1 s, 2 s, 4 s."""


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync")
    yield user
    user.close()


@pytest.fixture(autouse=True)
def nobody_sleeps() -> Iterator[None]:
    """The waits of these tests are hours; a fraction of them in real time would be noticed."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 20


def client_for(script: Any, **settings: Any) -> ResilientClient:
    config = ClientConfig(base_url=URL, **{"retry": STEADY, **settings})
    return ResilientClient(config, transport=FaultTransport(script))


# Waits


def test_retries_wait_on_the_clock(colour: Colour, holdfast_clock: VirtualClock):
    with client_for([503, 503, 200]) as client:
        assert colour(client.get("/")).status_code == 200
    assert holdfast_clock.elapsed == 3.0
    assert holdfast_clock.waits == (1.0, 2.0)


def test_nothing_happens_without_waiting(colour: Colour, holdfast_clock: VirtualClock):
    with client_for([200]) as client:
        colour(client.get("/"))
    assert (holdfast_clock.elapsed, holdfast_clock.waits) == (0.0, ())


def test_retry_after_is_waited_for(colour: Colour, holdfast_clock: VirtualClock):
    with client_for([Step(429, headers={"Retry-After": "57"}), 200]) as client:
        colour(client.get("/"))
    assert holdfast_clock.waits == (57.0,)


def test_the_rate_limiter_waits_on_the_clock(colour: Colour, holdfast_clock: VirtualClock):
    limit = RateLimitConfig(rate=6, period=60.0, burst=2)
    with client_for([200], rate_limit=limit) as client:
        for _ in range(4):
            colour(client.get("/"))
    assert holdfast_clock.waits == (10.0, 10.0)


def test_jitter_is_the_same_in_every_run(colour: Colour):
    def waits(seed: int) -> tuple[float, ...]:
        with VirtualClock(seed) as clock, client_for([503, 503, 200], retry=RetryConfig()) as client:
            colour(client.get("/"))
        return clock.waits

    first = waits(7)
    assert len(first) == 2 and first == waits(7) != waits(8)


# Deadlines and latencies


def test_a_slow_answer_takes_no_time(colour: Colour, holdfast_clock: VirtualClock):
    with client_for([Step(delay=14.5)]) as client:
        assert colour(client.get("/")).status_code == 200
    assert holdfast_clock.elapsed == 14.5
    assert holdfast_clock.waits == ()


def test_the_deadline_cuts_an_attempt(colour: Colour, holdfast_clock: VirtualClock):
    with client_for([Step(delay=10.0)]) as client:
        colour.error(client.get("/", deadline=4.0), DeadlineExceededError)
    # Sync attempts are cut by their timeouts, which real time has shortened a little by then.
    assert holdfast_clock.elapsed == pytest.approx(4.0, abs=0.1)


def test_the_deadline_cuts_what_never_answers(holdfast_clock: VirtualClock):
    async def main() -> None:
        with pytest.raises(DeadlineExceededError):
            await client.get("/", deadline=4.0, timeout=None)

    with client_for([Step(delay=float("inf"))]) as client:
        asyncio.run(main())
    assert holdfast_clock.elapsed == 4.0


def test_the_deadline_cuts_a_transport_that_knows_no_timeouts(holdfast_clock: VirtualClock):
    async def slowly(request: httpx2.Request) -> httpx2.Response:
        await holdfast_clock.sleep(3600.0)
        return httpx2.Response(200)

    async def main() -> None:
        config = ClientConfig(base_url=URL)
        async with ResilientClient(config, transport=httpx2.MockTransport(slowly)) as client:
            with pytest.raises(DeadlineExceededError):
                await client.get("/", deadline=300.0)

    asyncio.run(main())
    assert 300.0 <= holdfast_clock.elapsed < 310.0


def test_a_retry_that_does_not_fit_is_not_waited_for(colour: Colour, holdfast_clock: VirtualClock):
    with client_for([503]) as client:
        colour.error(client.get("/", deadline=2.5), ServiceUnavailableError)
    assert holdfast_clock.waits == (1.0,)


def test_the_deadline_of_a_stream_passes_on_the_clock(colour: Colour, holdfast_clock: VirtualClock):
    with client_for([Step(content=b"abc")]) as client:
        stream = client.stream("GET", "/", deadline=60.0)
        assert colour.streamed(stream) == b"abc"


# State that time changes


def test_a_breaker_opens_recovers_and_closes(colour: Colour, holdfast_clock: VirtualClock):
    breaker = CircuitBreakerConfig(failure_threshold=1, recovery_timeout=600.0)
    with client_for([500, 500, 500, 200], circuit_breaker=breaker) as client:
        colour.error(client.get("/"))
        colour.error(client.get("/"), CircuitOpenError)
        assert client.circuit_breaker.retry_after == 600.0
        holdfast_clock.advance(599.0)
        assert (client.circuit_breaker.state, client.circuit_breaker.retry_after) == ("open", 1.0)
        holdfast_clock.advance(1.0)
        assert client.circuit_breaker.state == "half_open"
        assert colour(client.get("/")).status_code == 200
        assert client.circuit_breaker.state == "closed"


def test_cached_answers_grow_old(colour: Colour, holdfast_clock: VirtualClock):
    with client_for([200], cache=CacheConfig(default_ttl=3600.0)) as client:
        transport = client._assembly.connections._transport
        assert isinstance(transport, FaultTransport)
        colour(client.get("/"))
        holdfast_clock.advance(3599.0)
        colour(client.get("/"))
        assert len(transport.requests) == 1
        holdfast_clock.advance(2.0)
        colour(client.get("/"))
        assert len(transport.requests) == 2


def test_a_refresh_in_the_background_does_not_move_the_clock(holdfast_clock: VirtualClock):
    cache = CacheConfig(default_ttl=10.0, stale_while_revalidate=600.0)
    script = [Step(json=1), 503, 503, Step(json=2)]
    with client_for(script, cache=cache) as client:
        assert client.get("/").result().json() == 1
        holdfast_clock.advance(11.0)
        assert client.get("/").result().json() == 1
        # The refresh waits for its retries, and for a call in the foreground to let time pass.
        assert holdfast_clock.elapsed == 11.0
        holdfast_clock.sleep_sync(5.0)
        assert holdfast_clock.elapsed == 16.0
        assert client.get("/").result().json() == 2


def test_a_refresh_in_the_background_of_a_loop(holdfast_clock: VirtualClock):
    cache = CacheConfig(default_ttl=10.0, stale_while_revalidate=600.0)

    async def main() -> None:
        async with client_for([Step(json=1), 503, Step(json=2)], cache=cache) as client:
            await client.get("/")
            holdfast_clock.advance(11.0)
            assert (await client.get("/")).json() == 1
            await asyncio.sleep(0.01)
            assert holdfast_clock.elapsed == 11.0
            await holdfast_clock.sleep(5.0)
            assert (await client.get("/")).json() == 2

    asyncio.run(main())


# Several at once


def test_calls_of_a_loop_share_the_clock(holdfast_clock: VirtualClock):
    ends: list[tuple[int, float]] = []

    async def main() -> None:
        async with client_for(lambda request: Step(delay=float(request.url.path[1:]))) as client:

            async def one(seconds: int) -> None:
                await client.get(f"/{seconds}")
                ends.append((seconds, holdfast_clock.elapsed))

            await asyncio.gather(*map(one, [9, 3, 12, 3]))

    asyncio.run(main())
    assert ends == [(3, 3.0), (3, 3.0), (9, 9.0), (12, 12.0)]


def test_calls_on_threads_share_the_clock(holdfast_clock: VirtualClock):
    everybody = threading.Barrier(4)

    with client_for(lambda request: Step(delay=float(request.url.path[1:]))) as client:

        def one(seconds: int) -> tuple[int, float]:
            with holdfast_clock.party(threading.get_ident()):
                everybody.wait()
                client.get(f"/{seconds}").result()
                return seconds, holdfast_clock.elapsed

        with ThreadPoolExecutor(4) as pool:
            ends = list(pool.map(one, [9, 3, 12, 3]))
    assert ends == [(9, 9.0), (3, 3.0), (12, 12.0), (3, 3.0)]


def test_waiting_for_a_slot_ends_when_one_is_free(holdfast_clock: VirtualClock):
    async def main() -> None:
        bulkhead = BulkheadConfig(max_concurrency=1, acquisition_timeout=5.0)
        async with client_for([Step(delay=4.0)], bulkhead=bulkhead) as client:
            results = await asyncio.gather(*(client.get("/") for _ in range(3)), return_exceptions=True)
            assert [type(one) for one in results] == [httpx2.Response, httpx2.Response, PoolTimeoutError]

    asyncio.run(main())
    assert holdfast_clock.waits == (4.0, 5.0)


def test_threads_that_wait_for_a_slot_go_on_when_one_is_free(holdfast_clock: VirtualClock):
    everybody = threading.Barrier(3)
    bulkhead = BulkheadConfig(max_concurrency=1, acquisition_timeout=600.0)

    with client_for([Step(delay=14.0)], bulkhead=bulkhead) as client:

        def one(number: int) -> float:
            with holdfast_clock.party(threading.get_ident()):
                everybody.wait()
                client.get("/").result()
                return holdfast_clock.elapsed

        with ThreadPoolExecutor(3) as pool:
            ends = sorted(pool.map(one, range(3)))
    assert ends == [14.0, 28.0, 42.0]
    assert sorted(holdfast_clock.waits) == [14.0, 28.0]


def test_what_a_call_is_awaited_with_goes_first(holdfast_clock: VirtualClock):
    """Between two calls of a task time stands still, though others wait."""
    seen: list[float] = []

    async def main() -> None:
        async with client_for(lambda request: Step(delay=50.0) if request.url.path == "/slow" else 200) as client:
            slow = asyncio.create_task(client.get("/slow", timeout=None))
            for _ in range(5):
                await client.get("/")
                await asyncio.sleep(0)
                seen.append(holdfast_clock.elapsed)
            await slow

    asyncio.run(main())
    assert seen == [0.0] * 5
    assert holdfast_clock.elapsed == 50.0


def test_a_task_that_is_cancelled_while_it_waits_leaves_the_others_alone(holdfast_clock: VirtualClock):
    async def main() -> None:
        async with client_for([503, 503, 200]) as client:
            first = asyncio.create_task(client.get("/"))
            second = asyncio.create_task(client.get("/"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            first.cancel()
            assert (await second).status_code == 200

    asyncio.run(main())
    assert holdfast_clock.elapsed == 1.0


def test_a_loop_and_threads_at_once(holdfast_clock: VirtualClock):
    with client_for([503, 503, 503, 503, 200]) as client:

        async def main() -> None:
            thread = asyncio.to_thread(lambda: client.get("/a").result())
            responses = await asyncio.gather(client.get("/b"), thread)
            assert [one.status_code for one in responses] == [200, 200]

        asyncio.run(main())
    assert holdfast_clock.elapsed >= 3.0


def test_sleeping_lets_calls_in_flight_go_on(holdfast_clock: VirtualClock):
    async def main() -> None:
        async with client_for([503, 503, 200]) as client:
            call = asyncio.create_task(client.get("/"))
            await holdfast_clock.sleep(2.0)
            assert not call.done()
            await holdfast_clock.sleep(2.0)
            assert call.done()
            assert (await call).status_code == 200

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_time_does_not_run_backwards(holdfast_clock: VirtualClock, seconds: float):
    with pytest.raises(ValueError, match="advanced by 0 or more seconds"):
        holdfast_clock.advance(seconds)


# Real time


@pytest.mark.loopback
def test_real_requests_take_their_time_and_their_retries_none(colour: Colour):
    asked: list[float] = []

    async def slowly(request: Any, writer: Any) -> None:
        asked.append(time.monotonic())
        await asyncio.sleep(0.05)
        writer.write(answer(503 if len(asked) < 3 else 200))

    with serve(slowly) as server, VirtualClock() as clock:
        client = ResilientClient(ClientConfig(base_url=server.url, retry=RetryConfig(jitter=False), trust_env=False))
        assert colour(client.get("/")).status_code == 200
        colour(client.close())
    assert clock.waits == (1.0, 2.0)
    assert clock.elapsed >= 3.15


@pytest.mark.loopback
def test_a_deadline_cuts_a_real_request_in_real_time():
    async def silent(request: Any, writer: Any) -> None:
        await asyncio.sleep(60)

    async def main(url: str) -> None:
        async with ResilientClient(ClientConfig(base_url=url, trust_env=False)) as client:
            with pytest.raises(DeadlineExceededError):
                await client.get("/", deadline=0.2)

    with serve(silent) as server, VirtualClock() as clock:
        asyncio.run(main(server.url))
    assert 0.2 <= clock.elapsed < 10


def test_nobody_waits_longer_than_in_reality(colour: Colour, holdfast_clock: VirtualClock):
    """Somebody is busy with something that the clock does not know, and time passes as it does."""
    quick = RetryConfig(min_wait_seconds=0.05, jitter=False)
    with client_for([503, 200], retry=quick) as client, holdfast_clock.party("somebody"):
        assert colour(client.get("/")).status_code == 200
    assert holdfast_clock.waits == (0.05,)


# Which clients


def test_clients_made_before_and_after_live_in_real_time():
    before = client_for([200])
    real = assembly.Assembly
    with VirtualClock(), client_for([200]) as within:
        assert assembly.Assembly is not real
    after = client_for([200])
    assert assembly.Assembly is real
    times = [one._assembly.runtime.now for one in (before, within, after)]
    assert times[0] is times[2] is time.monotonic is not times[1]


def test_the_innermost_clock_counts(colour: Colour):
    with VirtualClock() as outer:
        with VirtualClock() as inner, client_for([503, 200]) as client:
            colour(client.get("/"))
        with client_for([503, 503, 200]) as client:
            colour(client.get("/"))
    assert (outer.elapsed, inner.elapsed) == (3.0, 1.0)


def test_a_view_of_a_client_lives_by_its_clock(colour: Colour, holdfast_clock: VirtualClock):
    with client_for([503, 200]) as client:
        colour(client.with_options(headers={"X-Team": "a"}).get("/"))
    assert holdfast_clock.waits == (1.0,)


def test_a_closed_client_wakes_those_who_wait(holdfast_clock: VirtualClock):
    client = client_for([503])

    async def main() -> None:
        call = asyncio.create_task(client.get("/"))
        for _ in range(3):
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ClientClosedError):
            await call

    asyncio.run(main())
    assert holdfast_clock.elapsed == 0.0


def test_it_tells_the_time(holdfast_clock: VirtualClock):
    holdfast_clock.advance(90.5)
    assert repr(holdfast_clock) == "<VirtualClock at 90.5 s>"


def test_every_test_has_a_clock_of_its_own(holdfast_clock: VirtualClock):
    assert holdfast_clock.elapsed == 0.0
