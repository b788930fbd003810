"""The discrete-event driver: repeatable, and fast enough for a thousand clients."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from holdfast.config import ClientConfig
from holdfast.core.effects import FOREVER, Failed, Flow, Io, Job, Park, Spawn, Waiter
from holdfast.core.events import CallFinished, Event
from holdfast.core.outcome import Stop
from holdfast.testing import VirtualClient, VirtualTime
from tests.support.storm import BUDGETED, GUARDED, NAIVE, URL, storm


def _nobody(job: Job) -> tuple[float, Any]:
    raise AssertionError("nothing is sent here")


# The clock


def test_time_passes_only_from_event_to_event():
    world = VirtualTime()
    seen: list[tuple[str, float]] = []
    world.at(5.0, lambda: seen.append(("b", world.now)))
    world.after(2.0, lambda: seen.append(("a", world.now)))
    world.at(5.0, lambda: seen.append(("c", world.now)))
    world.run(until=4.0)
    assert (seen, world.clock()) == ([("a", 2.0)], 4.0)
    world.run()
    assert (seen, world.now) == ([("a", 2.0), ("b", 5.0), ("c", 5.0)], 5.0)


def test_a_wait_ends_once_by_waking_or_by_time():
    world = VirtualTime()
    waiter = Waiter()

    def waits() -> Flow[list[Any]]:
        first = yield Park(10.0, waiter)
        at = world.now
        second = yield Park(20.0, Waiter())
        return [first, at, second, world.now]

    fiber = world.start(waits(), _nobody)

    def wakes() -> None:
        assert waiter.wake("x")

    world.at(3.0, wakes)
    world.run()
    # The end of the first wait, planned for 10, is stale and wakes nobody out of the second.
    assert fiber.result == [True, 3.0, False, 20.0]


def test_waking_one_that_has_gone_on_offers_it_to_the_next():
    world = VirtualTime()
    waiter = Waiter()

    def waits() -> Flow[bool]:
        return bool((yield Park(1.0, waiter)))

    fiber = world.start(waits(), _nobody)
    world.run()
    assert fiber.result is False
    assert not waiter.wake("late")


def test_a_child_is_waited_for_and_cancelled():
    world = VirtualTime()
    ended: list[str] = []

    def sleeps(seconds: float) -> Flow[str]:
        try:
            yield Park(world.now + seconds)
        finally:
            ended.append(f"{seconds:g} at {world.now:g}")
        return "slept"

    def parent() -> Flow[list[Any]]:
        short = yield Spawn(sleeps(1.0))
        long = yield Spawn(sleeps(9.0))
        yield Park(FOREVER, short)
        long.cancel()
        return [short.value, long.woken]

    fiber = world.start(parent(), _nobody)
    world.run()
    assert fiber.result == ["slept", True]
    assert ended == ["1 at 1", "9 at 1"]


def test_what_an_operation_raises_is_a_reply():
    def asks() -> Flow[Any]:
        return (yield Io(int, "x"))

    world = VirtualTime()
    fiber = world.start(asks(), _nobody)
    world.run()
    assert isinstance(fiber.result, Failed)
    assert isinstance(fiber.result.error, ValueError)


# The client


def test_observers_are_told():
    world = VirtualTime()
    seen: list[Event] = []
    client = VirtualClient(world, ClientConfig(base_url=URL), [503, 200], (seen.append,))
    client.start("GET", "/")
    world.run()
    assert [event.attempts for event in seen if isinstance(event, CallFinished)] == [2]


def test_the_error_is_what_the_caller_would_see():
    world = VirtualTime()
    client = VirtualClient(world, ClientConfig(base_url=URL), [404])
    fiber = client.start("GET", "/")
    world.run()
    assert isinstance(fiber.result, Stop)
    assert isinstance(client.error(fiber), httpx2.HTTPStatusError)


def test_a_wrong_option_is_refused_at_the_start():
    client = VirtualClient(VirtualTime(), ClientConfig(base_url=URL), [200])
    with pytest.raises(TypeError, match="patience"):
        client.start("GET", "/", patience=3)


# Many clients, as in benchmarks/storm.py

CLIENTS, CALLS = 40, 100


def test_the_same_seed_gives_the_same_counts():
    first = storm(10, CALLS, GUARDED, seed=7)
    assert first == storm(10, CALLS, GUARDED, seed=7)
    assert first != storm(10, CALLS, GUARDED, seed=8)


def test_budget_and_breaker_bound_the_load_of_an_outage():
    naive, budgeted, guarded = (storm(CLIENTS, CALLS, config) for config in (NAIVE, BUDGETED, GUARDED))
    assert naive.load() > 4.0
    # What the budget allows: one retry for five calls, and one in ten seconds in any case.
    assert 1.0 < budgeted.load() < 1.3
    # Five calls until it opens, then one probe in ten seconds.
    assert guarded.load() < 0.2
    assert guarded.outcomes["CIRCUIT_OPEN"] > guarded.outcomes["OUTCOME"] > 0
    for seen in (naive, budgeted, guarded):
        assert seen.outcomes.total() == seen.calls.total() == CLIENTS * CALLS


def test_a_thousand_clients_are_no_matter():
    seen = storm(1000, 4, GUARDED)
    assert seen.outcomes.total() == 4000
