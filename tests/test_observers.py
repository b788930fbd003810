"""What observers, `metrics()` and the controls show of a client, and what the controls change."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import threading
from typing import Any

import httpx2
import pytest

from holdfast import (
    APITimeoutError,
    CircuitOpenError,
    ClientConfig,
    HoldfastError,
    PoolTimeoutError,
    ResilientClient,
    ServerError,
    get_request_id,
    request_context,
)
from holdfast.core import events
from holdfast.testing import FaultTransport, Step, VirtualClock
from tests.support.wire import Background, config, echo, in_loop, serve, until, wait_until

NOWHERE = "http://service.test"


class Watched:
    """A client, and the events that its observer got."""

    def __init__(self, script: Any, **settings: Any) -> None:
        self.events: list[events.Event] = []
        self.transport = FaultTransport(script)
        self.client = ResilientClient(
            config(NOWHERE, **settings), transport=self.transport, observers=[self.events.append]
        )

    def of(self, kind: type[events.Event]) -> list[Any]:
        return [one for one in self.events if type(one) is kind]

    def names(self) -> list[str]:
        return [type(one).__name__ for one in self.events]


async def settled(*calls: Any) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


# Events


@pytest.mark.parametrize("colour", ["async", "sync"])
def test_the_events_of_a_call_come_in_order(colour: str) -> None:
    watched = Watched([503, 200])
    if colour == "sync":
        watched.client.get("/a", request_id="id-1").result()
    else:
        asyncio.run(watched.client.get("/a", request_id="id-1"))
    assert watched.names() == [
        "AttemptStarted",
        "AttemptFinished",
        "RetryScheduled",
        "AttemptStarted",
        "AttemptFinished",
        "CallFinished",
    ]
    assert {(one.request_id, one.route, one.origin) for one in watched.events} == {("id-1", "GET /a", NOWHERE)}
    first, second = watched.of(events.AttemptFinished)
    assert (first.attempt, first.status, first.outcome) == (1, 503, "unavailable")
    assert (second.attempt, second.status, second.outcome) == (2, 200, "ok")
    (retry,) = watched.of(events.RetryScheduled)
    assert (retry.attempt, retry.delay, retry.cause) == (1, 0.0, "503")
    (finished,) = watched.of(events.CallFinished)
    assert (finished.attempts, finished.status, finished.outcome, finished.error) == (2, 200, "success", False)
    assert finished.seconds >= first.seconds + second.seconds >= 0


def test_every_type_of_event_is_seen() -> None:
    watched = Watched(
        {"/fails": 500, "/*": Step(200, delay=0.01)},
        bulkhead={"max_concurrency": 1},
        rate_limit={"rate": 100.0, "burst": 1},
        cache={"default_ttl": 60.0},
        retry={"max_attempts": 2},
        circuit_breaker={"failure_threshold": 1},
    )

    async def main() -> None:
        await settled(*(watched.client.get(f"/{number}") for number in range(4)))
        await watched.client.get("/0")
        await settled(watched.client.get("/fails"))

    asyncio.run(main())
    every = {cls for cls in vars(events).values() if isinstance(cls, type) and issubclass(cls, events.Event)}
    assert {type(one) for one in watched.events} == every - {events.Event}


def test_events_are_frozen() -> None:
    watched = Watched([200])
    watched.client.get("/").result()
    for event in watched.events:
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.route = "GET /other"  # type: ignore[misc]
        assert hash(event) == hash(dataclasses.replace(event))


def test_waits_for_a_slot_tell_whether_it_was_granted(holdfast_clock: VirtualClock) -> None:
    watched = Watched([Step(200, delay=3.0)], bulkhead={"max_concurrency": 1, "acquisition_timeout": 4.5})
    asyncio.run(settled(*(watched.client.get("/") for _ in range(3))))
    got, missed = watched.of(events.SlotWaited)
    assert (got.granted, got.seconds) == (True, 3.0)
    assert (missed.granted, missed.seconds) == (False, 4.5)
    assert [one.outcome for one in watched.of(events.CallFinished)].count("bulkhead_full") == 1


def test_waits_for_the_rate_limiter_tell_how_long(holdfast_clock: VirtualClock) -> None:
    watched = Watched([200], rate_limit={"rate": 1.0, "period": 20.0, "burst": 1, "max_wait": 30.0})
    asyncio.run(settled(*(watched.client.get("/") for _ in range(3))))
    refused, waited = sorted(watched.of(events.TokenWaited), key=lambda one: one.granted)
    assert (waited.granted, waited.seconds) == (True, 20.0)
    assert (refused.granted, refused.seconds) == (False, 40.0)
    assert [one.outcome for one in watched.of(events.CallFinished)].count("rate_limited") == 1


def test_cached_answers_tell_how_they_came(holdfast_clock: VirtualClock) -> None:
    watched = Watched([Step(200, delay=1.0), 500], cache={"stale_if_error": 60.0}, retry={"max_attempts": 1})

    async def main() -> None:
        await settled(*(watched.client.get("/a", cache_ttl=40.0) for _ in range(2)))
        await watched.client.get("/a", cache_ttl=40.0)
        holdfast_clock.advance(40.0)
        await watched.client.get("/a", cache_ttl=40.0)

    asyncio.run(main())
    assert [one.how for one in watched.of(events.CacheUsed)] == ["shared", "hit", "stale-if-error"]
    assert len(watched.transport.requests) == 2


def test_the_id_of_the_request_being_served_is_in_every_event_of_the_call() -> None:
    watched = Watched([503, 200])
    with request_context("incoming-1"):
        watched.client.get("/").result()
    assert {one.correlation_id for one in watched.events} == {"incoming-1"}
    watched.events.clear()
    watched.client.get("/").result()
    assert {one.correlation_id for one in watched.events} == {""}


# Observers


@in_loop
async def test_an_observer_may_use_the_client() -> None:
    asked: list[str] = []
    client: ResilientClient

    def observer(event: events.Event) -> None:
        if isinstance(event, events.CallFinished) and event.route == "GET /first":
            asked.append(client.circuit_breaker.state)
            asked.append(str(client.metrics().total.calls))
            asked.append(str(client.bulkhead.in_flight))
            client.cache.clear()
            client.circuit_breaker.isolate()
            client.circuit_breaker.close()

    client = ResilientClient(config(NOWHERE), transport=FaultTransport([200]), observers=(observer,))
    await client.get("/first")
    assert asked == ["closed", "1", "0"]


def test_an_observer_may_send_calls_of_its_own() -> None:
    seen: list[str] = []
    client: ResilientClient

    def observer(event: events.Event) -> None:
        if isinstance(event, events.CallFinished):
            seen.append(event.route)
            if event.route == "GET /first":
                client.post("/report").result()

    client = ResilientClient(
        config(NOWHERE, bulkhead={"max_concurrency": 1, "acquisition_timeout": 1.0}),
        transport=FaultTransport([200]),
        observers=(observer,),
    )
    thread = Background(lambda: client.get("/first").result())
    assert thread.outcome(5).status_code == 200
    assert seen == ["GET /first", "POST /report"]


def test_an_observer_that_raises_is_logged_and_harmless(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def broken(event: events.Event) -> None:
        raise ZeroDivisionError("mine")

    client = ResilientClient(
        config(NOWHERE),
        transport=FaultTransport([503, 200]),
        observers=(broken, lambda event: seen.append(type(event).__name__)),
    )
    with caplog.at_level(logging.ERROR, "holdfast"):
        assert client.get("/").result().status_code == 200
    assert len(seen) == 6  # who comes after the broken one is told all the same
    assert len(caplog.records) == 6
    assert "broken" in caplog.records[0].getMessage() and "AttemptStarted" in caplog.records[0].getMessage()
    assert caplog.records[0].exc_info is not None and client.bulkhead.in_flight == 0


def test_a_slow_observer_holds_up_nobody_elses_calls() -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow(event: events.Event) -> None:
        if event.route == "GET /slow" and isinstance(event, events.AttemptStarted):
            inside.set()
            assert leave.wait(10)

    client = ResilientClient(config(NOWHERE), transport=FaultTransport([200]), observers=(slow,))
    held = Background(lambda: client.get("/slow").result())
    assert inside.wait(10)
    other = Background(lambda: client.get("/quick").result())
    assert other.outcome(5).status_code == 200
    leave.set()
    held.outcome(5)


def test_the_garbage_collector_calls_no_observer() -> None:
    busy = threading.Lock()
    seen: list[str] = []

    def observer(event: events.Event) -> None:
        assert busy.acquire(timeout=5), "called from inside of itself"
        seen.append(type(event).__name__)
        busy.release()

    client = ResilientClient(
        config(NOWHERE, bulkhead={"max_concurrency": 1}), transport=FaultTransport([200]), observers=(observer,)
    )
    dropped: Any = client.stream("GET", "/")
    dropped.__enter__()
    with busy:  # as if the collector struck while an observer holds its lock
        client._assembly.runtime.pending.append(events.AttemptStarted("id", "GET /", NOWHERE, 9))
        del dropped
    wait_until(lambda: client.bulkhead.in_flight == 0)
    count = len(seen)
    client.get("/").result()
    assert len(seen) == count + 4  # the one that was left, and three of this call


# Metrics


def test_metrics_count_calls_by_origin_and_outcome() -> None:
    def script(request: httpx2.Request) -> Step:
        return Step({"/ok": 200, "/missing": 404, "/broken": 500}[request.url.path])

    client = ResilientClient(config(NOWHERE), transport=FaultTransport(script))
    assert client.metrics().total.calls == 0 and client.metrics().origins == {}
    before = client.metrics()

    async def main() -> None:
        await settled(*(client.get("/ok") for _ in range(6)), client.get("/missing"), client.get("/broken"))
        await client.get("http://other.test:81/ok")

    asyncio.run(main())
    snapshot = client.metrics()
    total, own = snapshot.total, snapshot.origins[NOWHERE]
    assert (total.calls, total.errors, total.attempts, total.retries) == (9, 2, 11, 2)
    assert (own.calls, snapshot.origins["http://other.test:81"].calls) == (8, 1)
    assert own.error_rate == pytest.approx(2 / 8)
    assert own.statuses == {"2xx": 6, "4xx": 1, "5xx": 1}
    assert own.outcomes == {"success": 6, "rejected": 1, "server_error": 1}
    assert 0 < own.p50 <= own.p95 <= own.p99 <= own.slowest < 5
    assert before.total.calls == 0


def test_metrics_say_which_engine_sends() -> None:
    def engine(name: str, **settings: object) -> str:
        return ResilientClient(config(NOWHERE, engine=name, **settings)).metrics().engine

    assert (engine("httpx2"), engine("native")) == ("httpx2", "native")
    assert engine("native", http2=True) == "httpx2"
    scripted = ResilientClient(config(NOWHERE, engine="native"), transport=FaultTransport([200]))
    assert scripted.metrics().engine == "httpx2"


def test_calls_that_were_stopped_here_are_counted_too() -> None:
    client = ResilientClient(config(NOWHERE), transport=FaultTransport([Step(200, delay=0.2)]))

    async def main() -> None:
        task = asyncio.ensure_future(client.get("/"))
        await until(lambda: client.bulkhead.in_flight == 1)
        task.cancel()
        await asyncio.wait([task])
        await settled(client.get("/", deadline=0.02))
        client.circuit_breaker.isolate()
        await settled(client.get("/"))
        await client.close()
        await settled(client.get("/"))

    asyncio.run(main())
    stats = client.metrics().total
    assert stats.outcomes == {"cancelled": 1, "deadline": 1, "circuit_open": 1, "closed": 1}
    assert stats.attempts == 2 and stats.statuses == {"none": 4}


class Broken(httpx2.Auth):
    def auth_flow(self, request: httpx2.Request) -> Any:
        if request.method == "GET":
            raise LookupError("no credentials here")
        yield request


def test_a_cancelled_call_is_told_of() -> None:
    watched = Watched([Step(200, delay=5.0)])

    async def main() -> None:
        task = asyncio.ensure_future(watched.client.get("/a", request_id="id-1"))
        await until(lambda: watched.client.bulkhead.in_flight == 1)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    (ended,) = watched.of(events.CallFinished)
    assert (ended.request_id, ended.route, ended.outcome, ended.error) == ("id-1", "GET /a", "cancelled", True)
    assert (ended.attempts, ended.status, ended.spent) == (1, 0, False) and 0 < ended.seconds < 5


def test_a_call_whose_auth_raised_is_told_of() -> None:
    watched = Watched([200])
    with pytest.raises(LookupError):
        watched.client.get("/a", auth=Broken()).result()
    (ended,) = watched.of(events.CallFinished)
    assert (ended.outcome, ended.detail, ended.attempts, ended.error) == ("error", "LookupError", 0, True)


# Controls


def test_the_circuit_breaker_shows_its_state_and_when_it_probes(holdfast_clock: VirtualClock) -> None:
    transport = FaultTransport([500, 500, 200])
    settings = config(
        NOWHERE, retry={"max_attempts": 1}, circuit_breaker={"failure_threshold": 2, "recovery_timeout": 60.0}
    )
    client = ResilientClient(settings, transport=transport)
    breaker = client.circuit_breaker
    assert (breaker.state, breaker.retry_after) == ("closed", 0.0)
    for _ in range(2):
        with pytest.raises(ServerError):
            client.get("/").result()
    assert (breaker.state, breaker.retry_after) == ("open", 60.0)
    with pytest.raises(CircuitOpenError, match="Circuit breaker is OPEN") as caught:
        client.get("/").result()
    assert caught.value.retry_after == 60.0
    holdfast_clock.advance(60.0)
    assert (breaker.state, breaker.retry_after) == ("half_open", 0.0)
    assert client.get("/").result().status_code == 200
    assert breaker.state == "closed" and len(transport.requests) == 3


def test_the_circuit_breaker_is_moved_by_hand(holdfast_clock: VirtualClock) -> None:
    watched = Watched([200], circuit_breaker={"recovery_timeout": 10.0})
    breaker = watched.client.circuit_breaker
    breaker.isolate()
    holdfast_clock.advance(20.0)
    assert breaker.state == "isolated" and breaker.retry_after == math.inf
    with pytest.raises(CircuitOpenError, match="until it is closed by hand"):
        watched.client.get("/").result()
    assert not watched.transport.requests
    breaker.close()
    assert breaker.state == "closed"
    watched.client.get("/").result()
    changes = watched.of(events.BreakerChanged)
    assert [(one.origin, one.old, one.new) for one in changes] == [
        (NOWHERE, "closed", "isolated"),
        (NOWHERE, "isolated", "closed"),
    ]


def test_there_is_a_breaker_for_each_origin() -> None:
    client = ResilientClient(config(NOWHERE), transport=FaultTransport([200]))
    other = client.circuit_breaker_of("http://other.test/some/path")
    other.isolate()
    assert client.circuit_breaker.state == "closed"
    assert client.circuit_breaker_of("http://other.test").state == "isolated"
    assert client.get("/").result().status_code == 200
    with pytest.raises(CircuitOpenError):
        client.get("http://other.test/").result()


def test_there_may_be_a_breaker_for_each_key() -> None:
    def key(method: str, path: str) -> str | None:
        return "reports" if path.startswith("/reports") else None

    def script(request: httpx2.Request) -> int:
        return 500 if request.url.path.startswith("/reports") else 200

    settings = config(NOWHERE, retry={"max_attempts": 1}, circuit_breaker={"failure_threshold": 1, "key": key})
    client = ResilientClient(settings, transport=FaultTransport(script))
    with pytest.raises(ServerError):
        client.get("/reports/1").result()
    with pytest.raises(CircuitOpenError):
        client.get("/reports/2").result()
    assert client.get("/pets").result().status_code == 200
    assert client.circuit_breaker.state == "closed"
    reports = client.circuit_breaker_of(NOWHERE, "reports")
    assert reports.state == "open"
    reports.close()
    with pytest.raises(ServerError):
        client.get("/reports/1").result()


def test_without_a_breaker_the_control_says_so() -> None:
    settings = config(NOWHERE, retry={"max_attempts": 1}, circuit_breaker={"enabled": False})
    client = ResilientClient(settings, transport=FaultTransport([500]))
    breaker = client.circuit_breaker
    breaker.isolate()
    breaker.close()
    assert (breaker.state, breaker.retry_after) == ("disabled", 0.0)
    for _ in range(10):
        with pytest.raises(ServerError):
            client.get("/").result()


@pytest.mark.parametrize(("counts", "sent"), [("calls", 9), ("attempts", 3)])
def test_the_breaker_counts_calls_or_attempts(counts: str, sent: int) -> None:
    transport = FaultTransport([500])
    settings = config(NOWHERE, circuit_breaker={"failure_threshold": 3, "counts": counts})
    client = ResilientClient(settings, transport=transport)
    failures: list[type[BaseException]] = []
    while client.circuit_breaker.state == "closed":
        with pytest.raises(HoldfastError) as caught:
            client.get("/").result()
        failures.append(type(caught.value))
    assert len(transport.requests) == sent
    with pytest.raises(CircuitOpenError):
        client.get("/").result()
    assert len(transport.requests) == sent


def test_a_breaker_that_counts_attempts_stops_the_retries_of_the_call_that_opened_it() -> None:
    transport = FaultTransport([500])
    settings = config(
        NOWHERE, retry={"max_attempts": 5}, circuit_breaker={"failure_threshold": 2, "counts": "attempts"}
    )
    client = ResilientClient(settings, transport=transport)
    with pytest.raises(ServerError, match="Not retried: the circuit breaker is open") as caught:
        client.get("/").result()
    assert caught.value.attempts == len(transport.requests) == 2


def test_timeouts_count_for_the_breaker_and_local_limits_do_not() -> None:
    settings = config(
        NOWHERE,
        retry={"max_attempts": 1},
        circuit_breaker={"failure_threshold": 1},
        bulkhead={"max_concurrency": 1, "acquisition_timeout": 0.01},
    )
    client = ResilientClient(settings, transport=FaultTransport([Step(200, delay=0.1), httpx2.ReadTimeout]))

    async def main() -> None:
        _, full = await settled(client.get("/"), client.get("/"))
        assert isinstance(full, PoolTimeoutError) and client.circuit_breaker.state == "closed"
        (late,) = await settled(client.get("/"))
        assert isinstance(late, APITimeoutError)

    asyncio.run(main())
    assert client.circuit_breaker.state == "open"


@in_loop
async def test_the_bulkhead_shows_who_is_inside_and_who_waits() -> None:
    client = ResilientClient(
        config(NOWHERE, bulkhead={"max_concurrency": 2, "max_queue": 3}),
        transport=FaultTransport([Step(200, delay=0.05)]),
    )
    assert (client.bulkhead.in_flight, client.bulkhead.queued) == (0, 0)
    tasks = [asyncio.ensure_future(client.get("/")) for _ in range(6)]
    await until(lambda: client.bulkhead.in_flight == 2)
    assert (client.bulkhead.in_flight, client.bulkhead.queued) == (2, 3)
    ended = await settled(*tasks)
    assert sum(isinstance(one, PoolTimeoutError) for one in ended) == 1
    assert (client.bulkhead.in_flight, client.bulkhead.queued) == (0, 0)


def test_the_cache_is_shown_and_emptied() -> None:
    transport = FaultTransport([Step(200, json={"a": 1})])
    client = ResilientClient(config(NOWHERE + "/v1", cache={"default_ttl": 60.0}), transport=transport)

    def fill() -> None:
        client.get("/pets/1", tags=["pets"]).result()
        client.get("/pets/2", params={"page": 2}).result()
        client.get("/pets/2", tags=["pets", "two"]).result()
        client.get("/owners/1").result()

    fill()
    assert len(client.cache) == 4 and client.cache.bytes > 4 * len(b'{"a":1}')
    fill()
    assert len(transport.requests) == 4
    assert client.cache.invalidate("/pets/2") == 2
    assert client.cache.invalidate("/pets/9") == 0
    fill()
    assert len(transport.requests) == 6
    assert client.cache.invalidate_tag("two") == 1
    assert client.cache.invalidate_tag("pets") == 1
    assert client.cache.invalidate_prefix("/pets") == 1
    assert client.cache.invalidate_prefix("/own") == 1
    assert (len(client.cache), client.cache.bytes) == (0, 0)
    fill()
    assert client.cache.clear() == 4 and len(client.cache) == 0


# Correlation


def test_the_id_and_trace_of_the_request_being_served_travel_on() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with serve(echo) as server, ResilientClient(config(server.url)) as client:
        with request_context("incoming-1", traceparent=trace):
            assert get_request_id() == "incoming-1"
            for _ in range(2):
                client.post("/a").result()
            client.post("/a", headers={"X-Correlation-ID": "mine", "traceparent": "own"}).result()
        client.post("/a").result()
    first, second, given, outside = (one.headers for one in server.requests)
    assert first["x-correlation-id"] == second["x-correlation-id"] == "incoming-1"
    assert first["traceparent"] == trace
    # Two POSTs made for one incoming request are two requests.
    assert len({first["x-request-id"], second["x-request-id"], "incoming-1"}) == 3
    assert first["idempotency-key"] == first["x-request-id"]
    assert (given["x-correlation-id"], given["traceparent"]) == ("mine", "own")
    assert not {"x-correlation-id", "traceparent"} & outside.keys()


@in_loop
async def test_tasks_send_the_ids_of_their_own_context() -> None:
    with serve(echo) as server:
        async with ResilientClient(config(server.url)) as client:

            async def serving(number: int) -> tuple[str, str]:
                with request_context(f"in-{number}"):
                    sent = (await client.get(f"/{number}")).json()
                return sent["target"], sent["headers"]["x-correlation-id"]

            assert await asyncio.gather(*(serving(number) for number in range(5))) == [
                (f"/{number}", f"in-{number}") for number in range(5)
            ]


def test_changing_the_configuration_later_changes_nothing() -> None:
    settings = ClientConfig(base_url=NOWHERE, retry={"min_wait_seconds": 0.0, "max_wait_seconds": 0.0})  # type: ignore[arg-type]
    transport = FaultTransport([500])
    client = ResilientClient(settings, transport=transport)
    settings.retry.max_attempts = 1
    settings.bulkhead.max_concurrency = 1
    with pytest.raises(ServerError):
        client.get("/").result()
    assert len(transport.requests) == 3
