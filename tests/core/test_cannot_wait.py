"""A driver may refuse to wait for others: the call ends at once, says why, and leaves no trace in any queue."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.cache import Cache
from holdfast.core.effects import CannotWait, Job, Park, Sleeper
from holdfast.core.limiter import LimiterPolicy
from holdfast.core.outcome import Reason, Stop
from tests.support.pipelines import BEGIN, Bench, Started

WHY = "not on this thread"


def refused(bench: Bench, started: Started, at: float) -> Any:
    """What comes of refusing, at a time, the wait that a call is in; everything else ends after it."""
    bench.world.run(BEGIN + at)
    assert not started.fiber.done, "it does not wait"
    bench.world.cancel(started.fiber, CannotWait(WHY))
    result = started.result
    bench.world.run()
    return result


def test_for_a_slot():
    bench = Bench([(5.0, 200)], slots=1)
    first, second = bench.start(bench.job()), bench.start(job := bench.job(), at=1.0)
    stop = refused(bench, second, at=2.0)
    assert (stop.job, stop.reason, stop.outcome, stop.attempts) == (job, Reason.CANNOT_WAIT, None, 0)
    assert stop.why == f"no slot of the bulkhead is free: {WHY}"
    assert first.result.status_code == 200
    assert (bench.bulkhead.in_flight, bench.bulkhead.queued, len(bench.sent)) == (0, 0, 1)


def test_for_a_slot_after_an_attempt():
    bench = Bench([500, (5.0, 200)], slots=1)
    again = bench.start(bench.job())
    bench.start(bench.job(), at=0.5)
    stop = refused(bench, again, at=2.0)
    assert stop.outcome is not None
    assert (stop.outcome.status, stop.attempts) == (500, 1)
    assert stop.why == f"no slot of the bulkhead is free: {WHY}"


def test_for_a_token():
    bench = Bench([200], limiter=LimiterPolicy(rate=1.0, period=10.0))
    bench.start(bench.job())
    second = bench.start(job := bench.job(), at=1.0)
    third = bench.start(bench.job(), at=3.0)
    stop = refused(bench, second, at=2.0)
    assert (stop.job, stop.reason, stop.outcome) == (job, Reason.CANNOT_WAIT, None)
    assert stop.why == f"the rate limit gives no token before 9 s: {WHY}"
    assert stop.retry_after == pytest.approx(9.0)
    assert third.result.status_code == 200
    assert bench.times() == pytest.approx([0.0, 10.0]), "its token goes to the next one"


def test_for_a_token_after_an_attempt():
    bench = Bench([500], limiter=LimiterPolicy(rate=1.0, period=10.0))
    stop = refused(bench, bench.start(bench.job()), at=2.0)
    assert stop.outcome is not None
    assert (stop.outcome.status, stop.attempts) == (500, 1)
    assert stop.why == f"the rate limit gives no token before 9 s: {WHY}"


def test_for_the_same_request():
    cache = Cache()
    bench = Bench([(5.0, 200)], cache=cache)
    first = bench.start(bench.job(cached=60.0))
    second = bench.start(job := bench.job(cached=60.0), at=1.0)
    stop = refused(bench, second, at=2.0)
    assert (stop.job, stop.reason, stop.outcome) == (job, Reason.CANNOT_WAIT, None)
    assert stop.why == f"the same request is in flight already: {WHY}"
    assert isinstance(stop, Stop)
    assert first.result.status_code == 200
    assert (cache.flights, len(bench.sent)) == (0, 1)


def test_what_nobody_else_ends_is_waited_for():
    """By its waiter a driver knows whether others have to end a wait."""
    bench = Bench([500], limiter=LimiterPolicy(rate=1.0, period=10.0))

    def parked(job: Job) -> Park:
        flow = bench.pipeline.call(job)
        effect = next(flow)
        if isinstance(effect, Job):
            effect = flow.send(type("Answer", (), {"status_code": 503, "retry_after": None, "pace": None})())
        assert isinstance(effect, Park)
        flow.close()
        return effect

    assert isinstance(parked(bench.job()).waiter, Sleeper), "between two attempts"
    waiter = parked(bench.job()).waiter
    assert waiter is not None
    assert not isinstance(waiter, Sleeper), "for a token"
