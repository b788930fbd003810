"""One attempt: tokens, slots, the time that is left, and what listeners are told of the waits."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.effects import Job
from holdfast.core.events import AttemptFinished, RetryScheduled, SlotWaited, TokenWaited
from holdfast.core.limiter import LimiterPolicy
from holdfast.core.outcome import Kind, Reason, Stop
from tests.support.pipelines import BEGIN, Bench, Reply, UnsentError

ONE_A_SECOND = LimiterPolicy(rate=1.0)


def stop_of(result: Any) -> Stop:
    assert isinstance(result, Stop)
    return result


both = pytest.mark.parametrize("plain", [False, True])


def details(plain: bool) -> int:
    """A verbosity: who wants to hear of attempts keeps calls from the short way."""
    return 1 if plain else 2


# Slots


@both
def test_a_slot_that_comes_in_time(plain: bool):
    bench = Bench([(5.0, 200), 201], slots=1, verbosity=details(plain))
    bench.start(bench.job(plain=plain))
    second = bench.start(bench.job(plain=plain, slot_wait=5.5), 1.0)
    bench.world.run()
    assert second.result.status_code == 201
    assert bench.times() == [0.0, 5.0]
    assert bench.of(SlotWaited) == ([] if plain else [SlotWaited("id-2", "GET /a", "origin", 4.0, True)])
    assert [event.seconds for event in bench.of(AttemptFinished)] == ([] if plain else [5.0, 0.0])
    assert bench.bulkhead.in_flight == 0


@both
def test_a_slot_that_does_not(plain: bool):
    bench = Bench([(9.0, 200)], slots=1, verbosity=details(plain))
    bench.start(bench.job(plain=plain))
    second = bench.start(bench.job(plain=plain, slot_wait=5.0), 1.0)
    bench.world.run()
    stop = stop_of(second.result)
    assert (stop.reason, stop.attempts, stop.outcome) == (Reason.BULKHEAD_FULL, 0, None)
    assert stop.why == "no slot of the bulkhead was free within 5 s"
    assert (stop.may_have_executed, stop.job.id) == (False, "id-2")
    assert bench.of(SlotWaited) == ([] if plain else [SlotWaited("id-2", "GET /a", "origin", 5.0, False)])
    assert bench.records[0] == ("origin", 5.0, "bulkhead_full", 0, 0)
    assert (bench.bulkhead.in_flight, bench.bulkhead.queued) == (0, 0)


def test_a_deadline_before_the_slot():
    bench = Bench([(9.0, 200)], slots=1)
    bench.start(bench.job())
    second = bench.start(bench.job(slot_wait=5.0, patience=3.0), 1.0)
    bench.world.run()
    stop = stop_of(second.result)
    assert (stop.reason, stop.why) == (Reason.DEADLINE, "the deadline passed while waiting for a slot")
    assert bench.records[0][1] == 3.0


def test_a_wait_that_ends_with_the_deadline_is_one_for_a_slot():
    bench = Bench([(9.0, 200)], slots=1)
    bench.start(bench.job())
    second = bench.start(bench.job(slot_wait=3.0, patience=3.0), 1.0)
    bench.world.run()
    assert stop_of(second.result).reason is Reason.BULKHEAD_FULL


@both
def test_a_queue_that_is_full(plain: bool):
    bench = Bench([(9.0, 200)], slots=1, max_queue=1)
    calls = [bench.start(bench.job(plain=plain)) for _ in range(3)]
    bench.world.run()
    stop = stop_of(calls[2].result)
    assert (stop.reason, stop.why) == (Reason.BULKHEAD_FULL, "the queue of the bulkhead is full")
    assert calls[1].result.status_code == 200


def test_a_slot_in_the_moment_of_the_deadline_is_given_back():
    bench = Bench([(4.0, 200)], slots=1, limiter=LimiterPolicy(rate=1.0, burst=2, period=100.0))
    bench.start(bench.job())
    late = bench.start(bench.job(patience=4.0))
    bench.world.run()
    stop = stop_of(late.result)
    assert (stop.reason, stop.why) == (Reason.DEADLINE, "the deadline passed before the attempt was sent")
    assert stop.attempts == 0
    assert bench.bulkhead.in_flight == 0
    assert bench.pipeline.states["origin"].limiter.retry_after(bench.world.now) == 0.0


def test_without_a_slot_in_time_the_token_goes_back():
    bench = Bench([(9.0, 200)], slots=1, limiter=LimiterPolicy(rate=1.0, burst=2, period=100.0))
    bench.start(bench.job())
    bench.start(bench.job(slot_wait=2.0))
    bench.world.run()
    assert bench.pipeline.states["origin"].limiter.retry_after(bench.world.now) == 0.0


def test_who_gives_up_waiting_for_a_slot_takes_no_token_along():
    bench = Bench([(9.0, 200)], slots=1, limiter=LimiterPolicy(rate=1.0, burst=2, period=100.0))
    bench.start(bench.job())
    waiting = bench.start(bench.job())
    bench.world.at(BEGIN + 2.0, lambda: bench.world.cancel(waiting.fiber, GeneratorExit))
    bench.world.run(BEGIN + 3.0)
    assert isinstance(waiting.result, GeneratorExit)
    assert bench.pipeline.states["origin"].limiter.retry_after(bench.world.now) == 0.0
    assert bench.bulkhead.queued == 0


def test_who_gives_up_waiting_for_a_slot_needs_no_token():
    bench = Bench([(9.0, 200)], slots=1)
    bench.start(bench.job())
    waiting = bench.start(bench.job())
    bench.world.at(BEGIN + 2.0, lambda: bench.world.cancel(waiting.fiber, GeneratorExit))
    bench.world.run()
    assert isinstance(waiting.result, GeneratorExit)
    assert bench.bulkhead.in_flight == 0


def test_who_took_no_token_gives_none_back():
    """The limiter slept when it came, and was woken by an answer while it waited for its slot."""
    bench = Bench([(5.0, Reply(200, pace=(1, 60.0))), (60.0, 200)], slots=1)
    bench.start(bench.job())
    bench.start(bench.job(slot_wait=50.0))
    bench.start(bench.job(slot_wait=6.0))  # gives up at 6.0
    bench.start(bench.job(slot_wait=50.0), 5.5)  # has the one token there is
    bench.world.run(BEGIN + 5.9)
    limiter = bench.pipeline.states["origin"].limiter
    assert limiter.retry_after(BEGIN + 5.9) == pytest.approx(59.1)
    bench.world.run(BEGIN + 6.1)
    assert limiter.retry_after(BEGIN + 6.1) == pytest.approx(58.9)


def test_who_gives_up_waiting_for_a_token_leaves_it():
    bench = Bench([200], limiter=LimiterPolicy(rate=1.0, period=100.0))
    bench.start(bench.job())
    waiting = bench.start(bench.job(token_wait=200.0))
    bench.world.at(BEGIN + 2.0, lambda: bench.world.cancel(waiting.fiber, GeneratorExit))
    bench.world.run(BEGIN + 3.0)
    assert isinstance(waiting.result, GeneratorExit)
    assert bench.pipeline.states["origin"].limiter.retry_after(bench.world.now) == 97.0


def test_a_retry_that_finds_the_queue_full_ends_with_the_outcome_it_has():
    bench = Bench([500, (60.0, 200)], slots=1, max_queue=0)
    first = bench.start(bench.job())
    bench.start(bench.job(), 0.5)
    bench.world.run()
    stop = stop_of(first.result)
    assert (stop.reason, stop.attempts) == (Reason.OUTCOME, 1)
    assert stop.why == "the queue of the bulkhead is full"


@pytest.mark.parametrize("count_attempts", [False, True])
def test_a_retry_without_a_slot_ends_with_the_outcome_it_has(count_attempts: bool):
    bench = Bench([500, (60.0, 200)], slots=1, count_attempts=count_attempts)
    first = bench.start(bench.job(slot_wait=5.0))
    bench.start(bench.job(), 0.5)
    bench.world.run()
    stop = stop_of(first.result)
    assert (stop.reason, stop.attempts) == (Reason.OUTCOME, 1)
    assert stop.why == "no slot of the bulkhead was free within 5 s"
    assert stop.outcome is not None
    assert stop.outcome.status == 500


@both
def test_closing_wakes_who_waits_for_a_slot(plain: bool):
    bench = Bench([(9.0, 200)], slots=1, verbosity=details(plain))
    bench.start(bench.job(plain=plain))
    second = bench.start(bench.job(plain=plain), 1.0)
    bench.world.at(BEGIN + 2.0, bench.pipeline.close)
    bench.world.run()
    stop = stop_of(second.result)
    assert (stop.reason, stop.attempts, stop.why) == (Reason.CLOSED, 0, "the client was closed")
    assert bench.of(SlotWaited) == ([] if plain else [SlotWaited("id-2", "GET /a", "origin", 1.0, False)])


# Tokens


@both
def test_a_token_that_comes_in_time(plain: bool):
    bench = Bench([200], limiter=ONE_A_SECOND, verbosity=details(plain))
    bench.start(bench.job(plain=plain))
    bench.start(bench.job(plain=plain, token_wait=1.5), 0.25)
    bench.world.run()
    assert bench.times() == [0.0, 1.0]
    assert bench.of(TokenWaited) == ([] if plain else [TokenWaited("id-2", "GET /a", "origin", 0.75, True)])
    assert [event.seconds for event in bench.of(AttemptFinished)] == ([] if plain else [0.0, 0.0])


@both
def test_a_token_that_does_not(plain: bool):
    bench = Bench([200], limiter=ONE_A_SECOND, verbosity=details(plain))
    bench.start(bench.job(plain=plain))
    second = bench.start(bench.job(plain=plain, token_wait=0.5), 0.25)
    bench.world.run()
    stop = stop_of(second.result)
    assert (stop.reason, stop.attempts, stop.retry_after) == (Reason.RATE_LIMITED, 0, 0.75)
    assert stop.why == "the rate limit gives no token before 0.75 s; at most 0.5 s are waited"
    assert stop.job.id == "id-2"
    assert bench.of(TokenWaited) == ([] if plain else [TokenWaited("id-2", "GET /a", "origin", 0.75, False)])
    assert bench.records[1] == ("origin", 0.0, "rate_limited", 0, 0)


def test_a_deadline_before_the_token():
    bench = Bench([200], limiter=ONE_A_SECOND)
    bench.start(bench.job())
    second = bench.start(bench.job(patience=0.5), 0.25)
    bench.world.run()
    stop = stop_of(second.result)
    assert (stop.reason, stop.retry_after) == (Reason.DEADLINE, 0.75)
    assert stop.why == "the deadline leaves 0.5 s; the rate limit gives no token before 0.75 s"


def test_a_limit_that_is_shorter_than_the_deadline_is_what_stops_it():
    bench = Bench([200], limiter=ONE_A_SECOND)
    bench.start(bench.job())
    second = bench.start(bench.job(token_wait=0.25, patience=0.5), 0.25)
    bench.world.run()
    assert stop_of(second.result).reason is Reason.RATE_LIMITED


def test_a_wait_that_ends_with_the_deadline_is_one_for_a_token():
    bench = Bench([200], limiter=ONE_A_SECOND)
    bench.start(bench.job())
    second = bench.start(bench.job(token_wait=0.5, patience=0.5), 0.25)
    bench.world.run()
    assert stop_of(second.result).reason is Reason.RATE_LIMITED


def test_a_retry_that_gets_no_token_before_its_deadline_ends_with_the_outcome_it_has():
    bench = Bench([500], limiter=LimiterPolicy(rate=1.0, period=100.0))
    stop = stop_of(bench.call(bench.job(patience=5.0)))
    assert (stop.reason, stop.attempts) == (Reason.OUTCOME, 1)
    assert stop.why == "the deadline leaves 4 s; the rate limit gives no token before 99 s"


def test_a_retry_that_gets_no_slot_before_its_deadline_ends_with_the_outcome_it_has():
    bench = Bench([500, (60.0, 200)], slots=1)
    first = bench.start(bench.job(patience=5.0))
    bench.start(bench.job(), 0.5)
    bench.world.run()
    stop = stop_of(first.result)
    assert (stop.reason, stop.attempts) == (Reason.OUTCOME, 1)
    assert stop.why == "the deadline passed while waiting for a slot"


def test_a_retry_whose_slot_comes_with_its_deadline_ends_with_the_outcome_it_has():
    bench = Bench([500, (3.5, 200)], slots=1)
    first = bench.start(bench.job(patience=4.0))
    bench.start(bench.job(), 0.5)
    bench.world.run()
    stop = stop_of(first.result)
    assert (stop.reason, stop.attempts) == (Reason.OUTCOME, 1)
    assert stop.why == "the deadline passed before the attempt was sent"


def test_closing_while_a_retry_waits_keeps_the_outcome_it_has():
    tokens = Bench([500], limiter=LimiterPolicy(rate=1.0, period=20.0))
    waits_for_a_token = tokens.start(tokens.job())
    slots = Bench([500, (60.0, 200)], slots=1)
    waits_for_a_slot = slots.start(slots.job())
    slots.start(slots.job(), 0.5)
    for bench, call in ((tokens, waits_for_a_token), (slots, waits_for_a_slot)):
        bench.world.at(BEGIN + 2.0, bench.pipeline.close)
        bench.world.run(BEGIN + 3.0)
        stop = stop_of(call.result)
        assert (stop.reason, stop.attempts) == (Reason.CLOSED, 1)
        assert stop.outcome is not None
        assert stop.outcome.status == 500


def test_nobody_is_remembered_after_a_wait():
    bench = Bench([500])
    bench.call()
    assert len(bench.of(RetryScheduled)) == 2
    assert not bench.pipeline._attempt._sleepers


def test_a_retry_without_a_token_ends_with_the_outcome_it_has():
    bench = Bench([500], limiter=LimiterPolicy(rate=1.0, period=100.0))
    stop = stop_of(bench.call(bench.job(token_wait=5.0)))
    assert (stop.reason, stop.attempts, stop.retry_after) == (Reason.OUTCOME, 1, 99.0)
    assert stop.outcome is not None
    assert stop.outcome.status == 500


@both
def test_closing_wakes_who_waits_for_a_token_and_it_goes_back(plain: bool):
    bench = Bench([200], limiter=LimiterPolicy(rate=1.0, period=10.0))
    bench.start(bench.job(plain=plain))
    second = bench.start(bench.job(plain=plain))
    bench.world.at(BEGIN + 2.0, bench.pipeline.close)
    bench.world.run(BEGIN + 2.0)
    stop = stop_of(second.result)
    assert (stop.reason, stop.attempts, stop.why) == (Reason.CLOSED, 0, "the client was closed")
    assert bench.of(TokenWaited) == []
    assert bench.pipeline.states["origin"].limiter.retry_after(bench.world.now) == 8.0


# The time that is left


@both
def test_timeouts_are_cut_to_what_is_left(plain: bool):
    bench = Bench([200])
    bench.call(bench.job(plain=plain, patience=7.0))
    bench.call(bench.job(plain=plain, patience=10.0))
    assert [timeouts for _, _, timeouts in bench.sent] == [
        {"connect": 5.0, "read": 7.0},
        {"connect": 5.0, "read": 10.0},
    ]


def test_who_asked_for_it_is_told_before_each_attempt():
    bench = Bench([500, 200])
    told: list[tuple[str, int, float]] = []
    job = bench.job(patience=7.0, announce=lambda job, left: told.append((job.id, job.attempts, left)))
    bench.call(job)
    assert told == [("id-1", 1, 7.0), ("id-1", 2, 6.0)]


@both
def test_an_announcement_is_not_left_out(plain: bool):
    """`plain` promises that there is none; a slot that is not free takes the long way."""
    bench = Bench([(2.0, 500), 200], slots=1)
    bench.start(bench.job(plain=plain, attempts=1))
    bench.start(bench.job(plain=plain, patience=20.0), 1.0)
    bench.world.run()
    assert bench.times() == [0.0, 2.0]
    assert bench.bulkhead.in_flight == 0


# Replies


@both
@pytest.mark.parametrize("follow", [False, True])
def test_redirects_are_followed_within_the_attempt(plain: bool, follow: bool):
    bench = Bench([302, 200], slots=1, verbosity=0)
    result = bench.call(bench.job(plain=plain, follow=follow))
    assert result.status_code == (200 if follow else 302)
    assert [route for _, route, _ in bench.sent] == ["GET /a", "hop of GET /a"][: 2 if follow else 1]
    assert bench.records[-1][3] == 1
    assert bench.bulkhead.in_flight == 0


@pytest.mark.parametrize(("status", "loaded"), [(200, 0), (302, 0), (400, 1)])
def test_the_body_of_a_streamed_error_is_read(status: int, loaded: int):
    bench = Bench([status])
    job = bench.job(stream=True, attempts=1)
    bench.call(job)
    assert len(bench.loaded) == loaded
    assert bench.bulkhead.in_flight == 1 - loaded
    if job.on_end is not None:
        job.on_end(Kind.OK)
        job.on_end(Kind.OK)
    assert bench.bulkhead.in_flight == 0


def test_a_stream_that_has_no_head_keeps_no_slot():
    bench = Bench([UnsentError()])
    assert isinstance(bench.call(bench.job(stream=True, attempts=1)), Stop)
    assert bench.bulkhead.in_flight == 0


def test_a_stream_ends_once():
    bench = Bench([200], slots=2)
    first, second = bench.job(stream=True), bench.job(stream=True)
    bench.call(first)
    bench.call(second)
    first.on_end(Kind.OK)
    first.on_end(Kind.OK)
    assert bench.bulkhead.in_flight == 1


def test_the_body_of_an_error_that_is_no_stream_is_there():
    bench = Bench([400])
    bench.call()
    assert bench.loaded == []


@both
@pytest.mark.parametrize(("pacing", "second"), [(True, 8.0), (False, 0.0)])
def test_the_pace_that_the_server_asks_for_is_kept(plain: bool, pacing: bool, second: float):
    bench = Bench([Reply(200, pace=(0, 8.0)), 200], pacing=pacing)
    bench.call(bench.job(plain=plain))
    bench.call(bench.job(plain=plain))
    assert bench.times() == [0.0, second]


@both
def test_those_who_wait_are_spread_over_the_windows_that_the_server_tells_of(plain: bool):
    bench = Bench([Reply(200, pace=(0, 8.0, 1, 10.0)), 200])
    bench.call(bench.job(plain=plain))
    for _ in range(2):
        bench.start(bench.job(plain=plain))
    bench.world.run()
    assert bench.times() == [0.0, 8.0, 18.0]


def test_where_nothing_was_answered_no_pace_is_looked_for():
    bench = Bench([(1.0, ConnectionError())])
    assert stop_of(bench.call(bench.job(attempts=1))).reason is Reason.DEADLINE


def test_closed_while_credentials_are_made():
    bench = Bench([200])

    class Closing:
        def apply(self, job: Job) -> Any:
            bench.pipeline.close()
            yield from ()

    stop = stop_of(bench.call(bench.job(auth=Closing())))
    assert (stop.reason, stop.attempts, stop.why) == (Reason.CLOSED, 0, "the client was closed")
    assert (bench.sent, stop.job.id) == ([], "id-1")


def test_closed_while_the_credentials_of_a_retry_are_made():
    bench = Bench([500])

    class Closing:
        def apply(self, job: Job) -> Any:
            if job.attempts:
                bench.pipeline.close()
            yield from ()

        def retry(self, job: Job, reply: Any) -> Any:
            yield from ()
            return False

    stop = stop_of(bench.call(bench.job(auth=Closing())))
    assert (stop.reason, stop.attempts) == (Reason.CLOSED, 1)
    assert stop.outcome is not None
    assert stop.outcome.status == 500


def test_after_a_fork_nobody_is_woken_by_closing():
    bench = Bench([500])
    call = bench.start(bench.job(wait=20.0))
    bench.world.run(BEGIN + 1.0)
    bench.pipeline.reset()
    bench.pipeline.close()
    bench.world.run(BEGIN + 2.0)
    assert not call.fiber.done
