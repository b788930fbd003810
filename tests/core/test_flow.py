"""The flow of one call: what it tells its listeners, how it ends, and what is kept per origin."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.backoff import Backoff
from holdfast.core.breaker import Breaker, BreakerPolicy
from holdfast.core.budget import RetryBudget
from holdfast.core.cache import Cache
from holdfast.core.effects import Flow, Io, Job, Park
from holdfast.core.events import AttemptFinished, AttemptStarted, CallFinished, RetryScheduled
from holdfast.core.flow import Pipeline
from holdfast.core.limiter import Limiter, LimiterPolicy
from holdfast.core.outcome import Kind, Outcome, Reason, Stop
from holdfast.core.ports import Ports
from holdfast.core.retry import RetryPolicy
from holdfast.core.state import MOST_LANES
from tests.support.pipelines import BEGIN, Bench, LostError, Reply, UnsentError

CIRCUIT = BreakerPolicy(failure_threshold=1, recovery_timeout=30.0)


def stop_of(result: Any) -> Stop:
    assert isinstance(result, Stop)
    return result


# What listeners are told


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("verbosity", [1, 2])
def test_a_call_that_succeeds(plain: bool, verbosity: int):
    bench = Bench([(0.5, 201)], verbosity=verbosity)
    assert bench.call(bench.job(plain=plain)).status_code == 201
    attempt = [
        AttemptStarted("id-1", "GET /a", "origin", 1),
        AttemptFinished("id-1", "GET /a", "origin", 1, 201, "ok", 0.5),
    ]
    call = CallFinished("id-1", "GET /a", "origin", 1, 201, "success", 0.5, False, False, "")
    assert bench.events == [*attempt[: 2 * verbosity - 2], call]
    assert bench.records == [("origin", 0.5, "success", 1, 201)]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("verbosity", "told"), [(0, 0), (1, 1), (2, 3)])
def test_only_what_is_wanted_is_told(plain: bool, verbosity: int, told: int):
    bench = Bench([200], verbosity=verbosity)
    bench.call(bench.job(plain=plain))
    assert len(bench.events) == told
    assert len(bench.records) == 1


@pytest.mark.parametrize("plain", [False, True])
def test_a_call_that_fails_is_told_at_any_verbosity(plain: bool):
    bench = Bench([(0.5, 500), (0.25, 404)], verbosity=0)
    stop = stop_of(bench.call(bench.job(plain=plain)))
    assert bench.events == [
        RetryScheduled("id-1", "GET /a", "origin", 1, 1.0, "500"),
        CallFinished("id-1", "GET /a", "origin", 2, 404, "rejected", 1.75, True, False, "a 404 is not retried"),
    ]
    assert bench.records == [("origin", 1.75, "rejected", 2, 404)]
    assert bench.times() == [0.0, 1.5]
    assert (stop.reason, stop.attempts, stop.why, stop.spent) == (Reason.OUTCOME, 2, "a 404 is not retried", False)
    assert stop.outcome is not None
    assert (stop.outcome.status, stop.outcome.attempt, stop.may_have_executed) == (404, 2, True)
    assert stop.job.id == "id-1"


@pytest.mark.parametrize("plain", [False, True])
def test_attempts_that_are_used_up(plain: bool):
    bench = Bench([UnsentError()], verbosity=1 if plain else 2)
    stop = stop_of(bench.call(bench.job(plain=plain)))
    assert (stop.spent, stop.attempts, stop.may_have_executed, stop.retry_after) == (True, 3, False, None)
    assert bench.events[-1] == CallFinished(
        "id-1", "GET /a", "origin", 3, 0, "unsent", 2.0, True, True, "all 3 attempts are used up"
    )
    assert [(event.attempt, event.cause) for event in bench.of(RetryScheduled)] == [
        (1, "UnsentError"),
        (2, "UnsentError"),
    ]
    assert [event.outcome for event in bench.of(AttemptFinished)] == ([] if plain else ["unsent"] * 3)
    assert bench.records == [("origin", 2.0, "unsent", 3, 0)]


def test_what_the_server_told_to_wait_goes_to_the_caller():
    bench = Bench([Reply(429, retry_after=3600.0)])
    stop = stop_of(bench.call())
    assert (stop.retry_after, stop.attempts) == (3600.0, 1)


@pytest.mark.parametrize("plain", [False, True])
def test_a_call_that_is_cancelled(plain: bool):
    bench = Bench([(9.0, 200)])
    call = bench.start(bench.job(plain=plain))
    bench.world.at(BEGIN + 4.0, lambda: bench.world.cancel(call.fiber, GeneratorExit))
    bench.world.run()
    assert isinstance(call.result, GeneratorExit)
    assert bench.events[-1] == CallFinished("id-1", "GET /a", "origin", 1, 0, "cancelled", 4.0, True, False, "")
    assert bench.records == [("origin", 4.0, "cancelled", 1, 0)]
    assert bench.bulkhead.in_flight == 0


def _raises(outcome: Outcome) -> bool:
    raise LookupError(outcome.status)


def test_a_predicate_that_raises_ends_the_call_with_its_error():
    bench = Bench([(2.0, 200)])
    with pytest.raises(LookupError) as caught:
        bench.call(bench.job(retry_if=_raises))
    assert caught.value.args == (200,)
    assert bench.events[-1] == CallFinished("id-1", "GET /a", "origin", 1, 0, "error", 2.0, True, False, "LookupError")
    assert bench.records == [("origin", 2.0, "error", 1, 0)]


# Ends that are no outcome


@pytest.mark.parametrize("plain", [False, True])
def test_the_deadline_in_the_middle_of_an_attempt(plain: bool):
    bench = Bench([(9.0, 200)])
    stop = stop_of(bench.call(bench.job(plain=plain, patience=4.0)))
    assert stop.reason is Reason.DEADLINE
    assert stop.why == "the deadline passed while the attempt was in flight"
    assert (stop.attempts, stop.may_have_executed, stop.outcome, stop.spent) == (1, True, None, False)
    assert bench.records == [("origin", 4.0, "deadline", 1, 0)]
    assert bench.sent == [(BEGIN, "GET /a", {"connect": 4.0, "read": 4.0})]


def test_the_deadline_in_the_middle_of_a_retry():
    bench = Bench([500, (9.0, 200)])
    stop = stop_of(bench.call(bench.job(patience=4.0)))
    assert (stop.reason, stop.attempts) == (Reason.DEADLINE, 2)
    assert stop.outcome is not None
    assert stop.outcome.status == 500
    assert bench.records == [("origin", 4.0, "deadline", 2, 500)]
    assert bench.sent[1] == (BEGIN + 1.0, "GET /a", {"connect": 3.0, "read": 3.0})


def test_a_wait_that_the_deadline_does_not_leave():
    bench = Bench([(2.0, 500)])
    stop = stop_of(bench.call(bench.job(patience=2.5)))
    assert (stop.reason, stop.attempts) == (Reason.OUTCOME, 1)
    assert stop.why == "the deadline leaves no time for the wait of 1 s"


@pytest.mark.parametrize("plain", [False, True])
def test_a_closed_client_sends_nothing(plain: bool):
    bench = Bench([200])
    assert bench.call(bench.job(plain=plain)).status_code == 200
    bench.pipeline.close()
    stop = stop_of(bench.call(bench.job(plain=plain)))
    assert (stop.reason, stop.attempts, stop.outcome) == (Reason.CLOSED, 0, None)
    assert stop.job.id == "id-2"
    assert len(bench.sent) == 1


def test_closing_ends_the_wait_for_the_next_attempt():
    bench = Bench([500])
    call = bench.start(bench.job(wait=100.0))
    bench.world.at(BEGIN + 3.0, bench.pipeline.close)
    bench.world.run()
    stop = stop_of(call.result)
    assert (stop.reason, stop.attempts, stop.why) == (Reason.CLOSED, 1, "the client was closed")
    assert stop.outcome is not None
    assert stop.outcome.status == 500
    assert bench.records[0][1] == 3.0


def test_a_failure_of_what_closing_broke_off_is_no_failure_of_the_server():
    bench = Bench([(2.0, LostError())])
    call = bench.start(bench.job())
    bench.world.at(BEGIN + 1.0, bench.pipeline.close)
    bench.world.run()
    stop = stop_of(call.result)
    assert (stop.reason, stop.attempts, stop.why) == (Reason.CLOSED, 1, "the client was closed")
    assert stop.outcome is not None
    assert stop.outcome.kind is Kind.LOST
    assert not bench.of(RetryScheduled)


def test_an_answer_that_comes_after_closing_is_one():
    bench = Bench([(2.0, 404)])
    call = bench.start(bench.job())
    bench.world.at(BEGIN + 1.0, bench.pipeline.close)
    bench.world.run()
    assert stop_of(call.result).reason is Reason.OUTCOME


def test_an_answer_that_would_be_retried_is_not_after_closing():
    bench = Bench([(2.0, 503)])
    call = bench.start(bench.job())
    bench.world.at(BEGIN + 1.0, bench.pipeline.close)
    bench.world.run()
    stop = stop_of(call.result)
    assert (stop.reason, stop.attempts, bench.of(RetryScheduled)) == (Reason.CLOSED, 1, [])


def test_a_spent_budget_ends_it_with_the_outcome():
    bench = Bench([500], budget=lambda: RetryBudget(0.0, 10.0, 1))
    stop = stop_of(bench.call())
    assert (stop.attempts, stop.reason, stop.spent) == (2, Reason.OUTCOME, False)
    assert "the retry budget of this origin is spent" in stop.why


@pytest.mark.parametrize("plain", [False, True])
def test_every_call_pays_into_the_budget_once(plain: bool):
    bench = Bench([*[200] * 9, 500], budget=lambda: RetryBudget(0.1, 10.0, 0))
    for _ in range(9):
        bench.call(bench.job(plain=plain))
    assert stop_of(bench.call(bench.job(plain=plain))).attempts == 2  # one retry to ten calls
    assert stop_of(bench.call(bench.job(plain=plain))).attempts == 1


def test_a_retry_that_is_not_sent_is_given_back_to_the_budget():
    bench = Bench([500, 500, 200], budget=lambda: RetryBudget(0.0, 10.0, 1))
    call = bench.start(bench.job(wait=5.0))
    bench.world.at(BEGIN + 2.0, lambda: bench.world.cancel(call.fiber, GeneratorExit))
    bench.world.run()
    assert bench.call().status_code == 200


def test_a_call_that_was_not_retried_gives_nothing_back_to_the_budget():
    bench = Bench([500, 200, 404, 500], budget=lambda: RetryBudget(0.0, 1e6, 1))
    bench.call()
    assert stop_of(bench.call()).attempts == 1
    assert stop_of(bench.call()).attempts == 1


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("status", [400, 401, 404, 499])
def test_from_400_on_it_is_no_success(plain: bool, status: int):
    bench = Bench([status])
    stop = stop_of(bench.call(bench.job(plain=plain)))
    assert (stop.reason, stop.attempts, stop.why) == (Reason.OUTCOME, 1, f"a {status} is not retried")


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("status", [200, 299, 300, 399])
def test_below_400_it_is_one(plain: bool, status: int):
    bench = Bench([status])
    assert bench.call(bench.job(plain=plain)).status_code == status


# The circuit breaker


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("count_attempts", [False, True])
def test_an_open_breaker_refuses(plain: bool, count_attempts: bool):
    bench = Bench([500], breaker=CIRCUIT, count_attempts=count_attempts)
    bench.call(bench.job(plain=plain, attempts=1))
    bench.world.run(BEGIN + 10.0)
    stop = stop_of(bench.call(bench.job(plain=plain)))
    assert (stop.reason, stop.attempts, stop.outcome) == (Reason.CIRCUIT_OPEN, 0, None)
    assert (stop.why, stop.retry_after) == ("the circuit breaker is open", 20.0)
    assert bench.records[-1] == ("origin", 0.0, "circuit_open", 0, 0)
    assert len(bench.sent) == 1


@pytest.mark.parametrize("plain", [False, True])
def test_counting_attempts_the_breaker_ends_a_call_with_the_outcome_it_has(plain: bool):
    bench = Bench([500], breaker=CIRCUIT, count_attempts=True)
    stop = stop_of(bench.call(bench.job(plain=plain)))
    assert (stop.reason, stop.attempts, stop.retry_after) == (Reason.OUTCOME, 1, 29.0)
    assert stop.why == "the circuit breaker is open"
    assert stop.outcome is not None
    assert stop.outcome.status == 500


def test_a_breaker_that_others_opened_ends_the_wait_for_the_next_attempt():
    bench = Bench([500], breaker=CIRCUIT)
    call = bench.start(bench.job(wait=4.0))
    bench.start(bench.job(attempts=1), 1.0)
    bench.world.run()
    stop = stop_of(call.result)
    assert (stop.reason, stop.attempts, stop.retry_after) == (Reason.OUTCOME, 1, 27.0)
    assert stop.why == "the circuit breaker is open"


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("count_attempts", [False, True])
def test_successes_of_late_make_a_failure_a_small_part(plain: bool, count_attempts: bool):
    policy = BreakerPolicy(window="time", window_seconds=60.0, minimum_calls=2, failure_rate=0.6)
    bench = Bench([200, 200, 500, 500], breaker=policy, count_attempts=count_attempts)
    for _ in range(3):
        bench.call(bench.job(plain=plain, attempts=1))
    bench.world.run(BEGIN + 50.0)
    assert bench.breakers["origin"].closed
    bench.world.run(BEGIN + 70.0)  # the successes have dropped out
    for _ in range(2):
        bench.call(bench.job(plain=plain, attempts=1))
    assert not bench.breakers["origin"].closed


def test_a_probe_is_not_retried():
    bench = Bench([500], breaker=CIRCUIT)
    bench.call(bench.job(attempts=1))
    bench.world.run(BEGIN + 30.0)
    stop = stop_of(bench.call())
    assert stop.attempts == 1
    assert stop.why == "it was the probe of a half-open circuit breaker, which is not retried"


@pytest.mark.parametrize("status", [200, 404])
def test_a_probe_that_is_answered_closes_the_breaker(status: int):
    bench = Bench([500, (3.0, status)], breaker=CIRCUIT)
    bench.call(bench.job(attempts=1))
    bench.world.run(BEGIN + 30.0)
    bench.call()
    assert bench.breakers["origin"].closed


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("count_attempts", [False, True])
def test_failures_must_follow_each_other(plain: bool, count_attempts: bool):
    bench = Bench([500, 200, 500, 200], breaker=BreakerPolicy(failure_threshold=2), count_attempts=count_attempts)
    for _ in range(4):
        bench.call(bench.job(plain=plain, attempts=1))
    assert bench.breakers["origin"].closed


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("count_attempts", [False, True])
@pytest.mark.parametrize(("seconds", "opens"), [(3.0, True), (1.0, False)])
def test_slow_successes_are_timed_from_their_attempt(plain: bool, count_attempts: bool, seconds: float, opens: bool):
    policy = BreakerPolicy(window="count", window_size=1, minimum_calls=1, slow_call_seconds=2.0, slow_call_rate=1.0)
    bench = Bench([(seconds, 200)], breaker=policy, count_attempts=count_attempts)
    bench.call(bench.job(plain=plain))
    bench.call(bench.job(plain=plain))
    assert bench.breakers["origin"].closed is not opens


@pytest.mark.parametrize("plain", [False, True])
def test_slow_failures_are_timed_too(plain: bool):
    policy = BreakerPolicy(
        failure_threshold=100, window_size=1, minimum_calls=1, slow_call_seconds=2.0, slow_call_rate=1.0
    )
    bench = Bench([(1.0, 500), (3.0, 500)], breaker=policy)
    bench.call(bench.job(plain=plain, attempts=1))
    assert bench.breakers["origin"].closed
    bench.call(bench.job(plain=plain, attempts=1))
    assert not bench.breakers["origin"].closed


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("count_attempts", [False, True])
@pytest.mark.parametrize("error", [LostError(), UnsentError()])
def test_a_lost_connection_is_a_failure(plain: bool, count_attempts: bool, error: Exception):
    bench = Bench([error], breaker=CIRCUIT, count_attempts=count_attempts)
    bench.call(bench.job(plain=plain, attempts=1))
    assert not bench.breakers["origin"].closed


@pytest.mark.parametrize("count_attempts", [False, True])
def test_what_was_not_sent_says_nothing_of_the_server(count_attempts: bool):
    bench = Bench([500, (5.0, 500)], slots=1, breaker=BreakerPolicy(failure_threshold=2), count_attempts=count_attempts)
    bench.call(bench.job(attempts=1))
    bench.start(bench.job(attempts=1))
    waiting = bench.start(bench.job(slot_wait=1.0))
    bench.world.run(BEGIN + 2.0)
    assert stop_of(waiting.result).reason is Reason.BULKHEAD_FULL
    assert bench.breakers["origin"].closed
    bench.world.run()
    assert not bench.breakers["origin"].closed


@pytest.mark.parametrize("count_attempts", [False, True])
def test_a_probe_that_is_cancelled_makes_room_for_another(count_attempts: bool):
    bench = Bench([500, (9.0, 200)], breaker=CIRCUIT, count_attempts=count_attempts)
    bench.call(bench.job(attempts=1))
    bench.world.run(BEGIN + 30.0)
    probe = bench.start(bench.job(), 30.0)
    bench.world.at(BEGIN + 31.0, lambda: bench.world.cancel(probe.fiber, GeneratorExit))
    bench.world.run(BEGIN + 32.0)
    assert isinstance(probe.result, GeneratorExit)
    assert bench.call().status_code == 200


def test_what_closing_broke_off_is_nobodys_failure():
    bench = Bench([(2.0, LostError())], breaker=CIRCUIT)
    bench.start(bench.job())
    bench.world.at(BEGIN + 1.0, bench.pipeline.close)
    bench.world.run()
    assert bench.breakers["origin"].closed


def test_a_finer_key_has_a_breaker_of_its_own():
    bench = Bench([500, 200], breaker=CIRCUIT)
    bench.call(bench.job(attempts=1, circuit="reports"))
    assert stop_of(bench.call(bench.job(circuit="reports"))).reason is Reason.CIRCUIT_OPEN
    assert bench.call(bench.job(circuit="orders")).status_code == 200
    assert bench.call(bench.job()).status_code == 200
    assert set(bench.breakers) == {"origin", "origin reports", "origin orders"}
    reports, origin = bench.breakers["origin reports"], bench.breakers["origin"]
    assert bench.pipeline.breaker("origin", "reports") is reports
    assert bench.pipeline.breaker("origin") is origin
    assert bench.pipeline.breaker("origin", "bills") is bench.breakers["origin bills"]


def test_the_finer_keys_of_an_origin_are_bounded():
    bench = Bench([500], breaker=CIRCUIT, max_states=2)
    for circuit in ("a", "b", "a", "c"):
        bench.call(bench.job(attempts=1, circuit=circuit))
    assert set(bench.pipeline.states["origin"].circuits) == {"b", "c"}


def test_without_breakers_there_are_none():
    bench = Bench([200], breaker=None)
    assert bench.pipeline.breaker("origin") is None
    assert bench.pipeline.breaker("origin", "reports") is None
    assert bench.call(bench.job(circuit="reports")).status_code == 200
    assert bench.call(bench.job(plain=True)).status_code == 200


def test_a_breaker_asked_for_is_that_of_the_next_call():
    bench = Bench([200], breaker=CIRCUIT)
    breaker = bench.pipeline.breaker("origin")
    assert breaker is not None
    breaker.isolate(BEGIN)
    assert stop_of(bench.call()).reason is Reason.CIRCUIT_OPEN


# Streams


def test_a_stream_keeps_its_slot_and_the_breakers_verdict_to_its_end():
    bench = Bench([200], breaker=CIRCUIT)
    job = bench.job(stream=True)
    assert bench.call(job).status_code == 200
    assert bench.bulkhead.in_flight == 1
    bench.world.run(BEGIN + 4.0)
    job.on_end(Kind.LOST)
    assert bench.bulkhead.in_flight == 0
    assert bench.breakers["origin"].retry_after(BEGIN + 10.0) == 24.0


@pytest.mark.parametrize(("seconds", "opens"), [(1.0, False), (3.0, True)])
def test_a_stream_is_timed_to_its_end(seconds: float, opens: bool):
    policy = BreakerPolicy(window="count", window_size=1, minimum_calls=1, slow_call_seconds=2.0, slow_call_rate=1.0)
    bench = Bench([200], breaker=policy)
    job = bench.job(stream=True)
    bench.call(job)
    bench.world.run(BEGIN + seconds)
    job.on_end(Kind.OK)
    assert bench.breakers["origin"].closed is not opens


@pytest.mark.parametrize("count_attempts", [False, True])
def test_the_head_of_a_stream_ends_the_probing(count_attempts: bool):
    bench = Bench([500, (1.0, 200)], breaker=CIRCUIT, count_attempts=count_attempts)
    bench.call(bench.job(attempts=1))
    bench.world.run(BEGIN + 30.0)
    job = bench.job(stream=True)
    bench.call(job)
    breaker = bench.breakers["origin"]
    assert breaker.closed
    job.on_end(Kind.LOST)
    assert not breaker.closed


def test_the_quick_head_of_a_stream_is_a_good_probe():
    policy = BreakerPolicy(failure_threshold=1, slow_call_seconds=2.0, slow_call_rate=1.0)
    bench = Bench([500, (1.0, 200)], breaker=policy)
    bench.call(bench.job(attempts=1))
    bench.world.run(BEGIN + 30.0)
    assert bench.call(bench.job(stream=True)).status_code == 200
    assert bench.breakers["origin"].closed


def test_the_slow_head_of_a_stream_is_a_failed_probe():
    policy = BreakerPolicy(failure_threshold=1, slow_call_seconds=2.0, slow_call_rate=1.0)
    bench = Bench([500, (3.0, 200)], breaker=policy)
    bench.call(bench.job(attempts=1))
    bench.world.run(BEGIN + 30.0)
    job = bench.job(stream=True)
    assert bench.call(job).status_code == 200
    assert bench.breakers["origin"].retry_after(bench.world.now) == 30.0
    job.on_end(Kind.OK)
    assert bench.breakers["origin"].retry_after(bench.world.now) == 30.0


def test_with_a_second_probe_to_come_the_end_of_the_stream_is_none():
    bench = Bench([500, 200], breaker=BreakerPolicy(failure_threshold=1, half_open_probes=2))
    bench.call(bench.job(attempts=1))
    bench.world.run(BEGIN + 30.0)
    job = bench.job(stream=True)
    assert bench.call(job).status_code == 200
    breaker = bench.breakers["origin"]
    assert breaker.state(bench.world.now) == "half_open"
    job.on_end(Kind.LOST)
    assert breaker.state(bench.world.now) == "half_open"
    bench.call()
    assert breaker.closed


def test_a_stream_that_fails_with_its_head_is_read_and_retried():
    bench = Bench([503, 200])
    job = bench.job(stream=True)
    assert bench.call(job).status_code == 200
    assert [reply.status_code for reply in bench.loaded] == [503]
    assert bench.discarded == []
    assert bench.bulkhead.in_flight == 1


def test_a_stream_that_the_predicate_sends_back_is_closed():
    bench = Bench([202, 200])
    job = bench.job(stream=True, retry_if=lambda outcome: outcome.status == 202 or None)
    assert bench.call(job).status_code == 200
    assert [reply.status_code for reply in bench.discarded] == [202]
    assert bench.bulkhead.in_flight == 1
    job.on_end(None)
    assert bench.bulkhead.in_flight == 0


def test_the_head_of_a_stream_that_is_sent_back_is_a_success():
    """Counting attempts, it stands between two failures, which do not follow each other then."""
    bench = Bench([500, 202, 500], breaker=BreakerPolicy(failure_threshold=2), count_attempts=True)
    job = bench.job(stream=True, retry_if=lambda outcome: outcome.status == 202 or None)
    assert stop_of(bench.call(job)).attempts == 3
    assert bench.breakers["origin"].closed


def test_the_body_of_a_streamed_error_is_read_before_the_deadline():
    bench = Bench([500])
    flow = bench.pipeline.call(bench.job(stream=True, patience=7.0))
    assert isinstance(flow.send(None), Job)
    reading = flow.send(Reply(500))
    assert isinstance(reading, Io)
    assert reading.deadline == BEGIN + 7.0


# The caller's predicate


def test_a_success_that_is_never_good_enough_is_returned_in_the_end():
    bench = Bench([Reply(202, "first"), Reply(202, "second"), Reply(202, "third")])
    result = bench.call(bench.job(retry_if=lambda outcome: outcome.status == 202))
    assert (result.text, len(bench.sent)) == ("third", 3)
    assert bench.records == [("origin", 2.0, "success", 3, 202)]


def test_a_success_without_a_retry_in_time_is_returned():
    bench = Bench([Reply(202, "first")], breaker=CIRCUIT)
    call = bench.start(bench.job(retry_if=lambda outcome: True, wait=4.0))
    bench.start(bench.job(attempts=1, retry_if=lambda outcome: None), 1.0)
    bench.world.at(BEGIN + 2.0, lambda: bench.breakers["origin"].isolate(BEGIN + 2.0))
    bench.world.run()
    assert call.result.text == "first"


def test_a_success_that_waits_while_the_client_is_closed_is_not_returned():
    bench = Bench([202])
    call = bench.start(bench.job(retry_if=lambda outcome: True, wait=4.0))
    bench.world.at(BEGIN + 2.0, bench.pipeline.close)
    bench.world.run()
    assert stop_of(call.result).reason is Reason.CLOSED


def test_no_opinion_leaves_it_to_the_table():
    bench = Bench([500, 200])
    assert bench.call(bench.job(retry_if=lambda outcome: None)).status_code == 200
    assert len(bench.sent) == 2


def test_a_predicate_can_forbid_a_retry():
    bench = Bench([500, 200])
    stop = stop_of(bench.call(bench.job(retry_if=lambda outcome: False)))
    assert (stop.attempts, stop.why) == (1, "retry_if decided against it")


def test_decorrelated_waits_grow_from_one_another():
    bench = Bench([500])
    job = bench.job()
    job.plan.retry = RetryPolicy(3, Backoff("exponential", 1.0, 60.0, 2.0, "decorrelated"))
    bench.call(job)
    assert bench.times() == [0.0, 2.0, 5.5]


def test_a_body_that_cannot_be_sent_again():
    bench = Bench([500, 200])
    assert stop_of(bench.call(bench.job(replayable=False))).attempts == 1


@pytest.mark.parametrize(("keyed", "attempts"), [(True, 2), (False, 1)])
def test_a_post_that_was_lost_needs_a_key(keyed: bool, attempts: int):
    bench = Bench([LostError(), 404])
    stop = stop_of(bench.call(bench.job("POST", keyed=keyed)))
    assert (stop.attempts, stop.may_have_executed) == (attempts, True)


# Credentials


class Token:
    """Credentials that are renewed as often as told."""

    def __init__(self, renewals: int) -> None:
        self.renewals = renewals
        self.applied = 0
        self.asked: list[int] = []

    def apply(self, job: Job) -> Flow[None]:
        self.applied += 1
        yield Io(lambda _: None)

    def retry(self, job: Job, reply: Reply) -> Flow[bool]:
        self.asked.append(reply.status_code)
        yield Park(BEGIN + len(self.asked))
        return reply.status_code == 401 and len(self.asked) <= self.renewals


@pytest.mark.parametrize("count_attempts", [False, True])
def test_renewed_credentials_belong_to_the_same_attempt(count_attempts: bool):
    bench = Bench([401, 401, 200], breaker=CIRCUIT, count_attempts=count_attempts)
    auth = Token(2)
    job = bench.job(auth=auth)
    assert bench.call(job).status_code == 200
    assert (job.attempts, auth.applied, auth.asked) == (1, 1, [401, 401, 200])
    assert bench.times() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("count_attempts", [False, True])
def test_each_attempt_has_credentials_made(count_attempts: bool):
    bench = Bench([500, 200], breaker=BreakerPolicy(), count_attempts=count_attempts)
    auth = Token(0)
    assert bench.call(bench.job(auth=auth)).status_code == 200
    assert (auth.applied, len(bench.sent)) == (2, 2)


def test_credentials_are_not_asked_about_a_lost_connection():
    bench = Bench([UnsentError()])
    auth = Token(1)
    assert stop_of(bench.call(bench.job(auth=auth, attempts=1))).attempts == 1
    assert auth.asked == []


@pytest.mark.parametrize("count_attempts", [False, True])
def test_a_retry_with_credentials_that_gets_no_token_ends_with_the_outcome_it_has(count_attempts: bool):
    policy = LimiterPolicy(rate=1.0, period=100.0)
    bench = Bench([500], breaker=BreakerPolicy(), count_attempts=count_attempts, limiter=policy)
    stop = stop_of(bench.call(bench.job(auth=Token(0))))
    assert (stop.reason, stop.attempts, stop.retry_after) == (Reason.OUTCOME, 1, 98.0)


def test_a_retry_whose_renewed_credentials_get_no_token_ends_with_the_outcome_before():
    bench = Bench([500, 401], limiter=LimiterPolicy(rate=1.0, burst=2, period=100.0))
    stop = stop_of(bench.call(bench.job(auth=Token(2))))
    assert (stop.reason, stop.attempts) == (Reason.OUTCOME, 2)
    assert stop.outcome is not None
    assert stop.outcome.status == 500


def test_the_stream_before_renewed_credentials_is_closed():
    bench = Bench([302, 200])

    class Anew(Token):
        def retry(self, job: Job, reply: Reply) -> Flow[bool]:
            yield Io(lambda _: None)
            return reply.status_code == 302

    assert bench.call(bench.job(auth=Anew(1), stream=True)).status_code == 200
    assert [reply.status_code for reply in bench.discarded] == [302]
    assert bench.bulkhead.in_flight == 1


# The limiter's feedback


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("watched", [False, True])
def test_ten_successes_raise_an_adaptive_rate(plain: bool, watched: bool):
    policy = LimiterPolicy(rate=100.0, adaptive=True)
    bench = Bench([200], limiter=policy)
    asks: dict[str, Any] = {"retry_if": lambda outcome: None} if watched else {}
    for _ in range(10):
        bench.call(bench.job(plain=plain and not watched, **asks))
    assert bench.pipeline.states["origin"].limiter.rate == pytest.approx(110.0)


@pytest.mark.parametrize("status", [404, 500])
def test_failures_do_not_raise_it(status: int):
    bench = Bench([status], limiter=LimiterPolicy(rate=100.0, adaptive=True), breaker=None)
    for _ in range(10):
        bench.call(bench.job(attempts=1))
    assert bench.pipeline.states["origin"].limiter.rate == 100.0


def test_a_429_holds_everybody_up_for_as_long_as_told():
    bench = Bench([Reply(429, retry_after=5.0), 200])
    assert stop_of(bench.call(bench.job(attempts=1))).attempts == 1
    assert bench.call().status_code == 200
    assert bench.times() == [0.0, 5.0]


@pytest.mark.parametrize("plain", [False, True])
def test_a_limiter_with_nothing_to_say_falls_asleep_again(plain: bool):
    bench = Bench([Reply(200, pace=(1, 5.0)), 200])
    bench.call(bench.job(plain=plain))
    limiter = bench.pipeline.states["origin"].limiter
    assert not limiter.idle
    bench.world.run(BEGIN + 6.0)
    bench.call(bench.job(plain=plain))
    assert limiter.idle


# Lanes of the limiter


@pytest.mark.parametrize("watched", [False, True])
def test_a_lane_has_a_limiter_of_its_own(watched: bool):
    asks: dict[str, Any] = {"retry_if": lambda outcome: None} if watched else {}
    policy = LimiterPolicy(rate=100.0, adaptive=True)
    bench = Bench([Reply(429, retry_after=50.0), 200], limiter=policy)
    assert stop_of(bench.call(bench.job(attempts=1, lane="writes", **asks))).attempts == 1
    for _ in range(10):
        bench.call(bench.job(lane="reads", **asks))
    assert bench.call(bench.job(**asks)).status_code == 200
    assert bench.times() == [0.0] * 12  # nobody was held up by the 429 but the one lane
    of = bench.pipeline.limiter
    assert [of("origin", lane).rate for lane in ("writes", "reads", None)] == [50.0, pytest.approx(110.0), 100.0]
    assert [of("origin", lane).refusals for lane in ("writes", "reads", None)] == [1, 0, 0]
    assert bench.call(bench.job(lane="writes", token_wait=60.0, **asks)).status_code == 200
    assert bench.times()[-1] == 50.0


def test_the_429s_of_attempts_in_flight_together_halve_the_rate_once():
    bench = Bench([(1.0, 429)], limiter=LimiterPolicy(rate=100.0, adaptive=True))
    for _ in range(5):
        bench.start(bench.job(attempts=1))
    bench.world.run()
    assert bench.pipeline.limiter("origin").rate == 50.0


def test_the_servers_pace_is_that_of_the_lane():
    bench = Bench([Reply(200, pace=(0, 5.0)), 200])
    bench.call(bench.job(lane="writes"))
    bench.call(bench.job())
    bench.call(bench.job(lane="writes"))
    assert bench.times() == [0.0, 0.0, 5.0]


def test_a_token_of_a_lane_goes_back_to_it():
    bench = Bench([(4.0, 200)], slots=1, limiter=LimiterPolicy(rate=1.0, burst=2, period=100.0))
    bench.start(bench.job())
    waiting = bench.start(bench.job(lane="writes"), at=1.0)
    bench.world.at(BEGIN + 2.0, lambda: bench.world.cancel(waiting.fiber, GeneratorExit))
    bench.world.run()
    writes = bench.pipeline.limiter("origin", "writes")
    assert [writes.reserve(bench.world.now, 0.0) for _ in range(3)] == [0.0, 0.0, None]


def test_the_lanes_of_an_origin_are_bounded():
    bench = Bench([200])
    for number in range(MOST_LANES + 1):
        bench.pipeline.limiter("origin", f"{number}")
    assert len(bench.pipeline.states["origin"].lanes) == MOST_LANES
    assert "0" not in bench.pipeline.states["origin"].lanes


def test_after_a_fork_nobody_waits_in_a_lane():
    bench = Bench([200], limiter=LimiterPolicy(rate=1.0, period=100.0))
    bench.call(bench.job(lane="writes"))
    assert bench.pipeline.limiter("origin", "writes").retry_after(bench.world.now) == 100.0
    bench.pipeline.reset()
    assert bench.pipeline.limiter("origin", "writes").retry_after(bench.world.now) == 0.0


# Nobody listens


def test_without_listeners_nobody_is_told():
    loud = Bench([200, 500], verbosity=2)
    of = loud.pipeline.ports
    ports = Ports(of.now, of.rand, of.classify, of.pace, of.follow, of.load, of.discard, of.path, of.freeze, of.thaw)
    assert ports.verbosity() == 0
    loud.pipeline = Pipeline(ports, bulkhead=loud.bulkhead, limiter=lambda: Limiter(LimiterPolicy()))
    assert loud.call().status_code == 200
    assert stop_of(loud.call(loud.job(attempts=1))).attempts == 1
    assert (loud.events, loud.records) == ([], [])


@pytest.mark.parametrize("plain", [False, True])
def test_by_default_the_pace_is_kept_and_calls_are_counted(plain: bool):
    bench = Bench([Reply(500, pace=(1, 8.0)), 200])
    breaker = Breaker(CIRCUIT)
    bench.pipeline = Pipeline(
        bench.pipeline.ports,
        bulkhead=bench.bulkhead,
        limiter=lambda: Limiter(LimiterPolicy()),
        breaker=lambda key: breaker,
    )
    assert bench.call(bench.job(plain=plain)).status_code == 200  # the 500 alone does not open the breaker
    bench.call(bench.job(plain=plain))
    assert bench.times() == [0.0, 1.0, 8.0]


# State per origin


def test_the_oldest_origin_is_forgotten_first():
    bench = Bench([200], max_states=2)
    for key in ("a", "b", "c"):
        bench.call(bench.job(key=key))
    assert list(bench.pipeline.states) == ["b", "c"]


def test_after_a_fork_nothing_is_in_flight():
    bench = Bench([500, (100.0, 200)], slots=1, limiter=LimiterPolicy(rate=1.0), breaker=CIRCUIT, cache=Cache())
    bench.call(bench.job(attempts=1, circuit="finer"))
    bench.call(bench.job("POST", attempts=1))
    bench.world.run(bench.world.now + 30.0)
    bench.start(bench.job(circuit="finer", cached=60.0), bench.world.now - BEGIN)  # a probe
    bench.start(bench.job(circuit="finer", cached=60.0), bench.world.now - BEGIN)  # waits for the answer to it
    bench.world.run(bench.world.now + 1.0)
    assert bench.bulkhead.in_flight == 1
    assert bench.pipeline.states["origin"].circuits["finer"].enter(bench.world.now) == -1
    bench.pipeline.reset()
    assert bench.bulkhead.in_flight == 0
    assert bench.pipeline.states["origin"].circuits["finer"].enter(bench.world.now) >= 0
    assert bench.pipeline.states["origin"].limiter.retry_after(bench.world.now) == 0.0
    assert bench.pipeline.cache is not None
    assert not bench.pipeline.cache._cache.flights


def test_a_fork_is_no_matter_without_breakers_and_cache():
    bench = Bench([200], breaker=None)
    bench.call()
    bench.pipeline.reset()
    assert bench.call().status_code == 200
