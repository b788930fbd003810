"""The rate limiter: reservations against the bound of a token bucket, and what the server asks for."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.core.limiter import Limiter, LimiterPolicy

INF = math.inf
ROUNDING = 1e-5  # a microsecond's worth of tokens, and then some


def limiter_of(rate: float | None = None, burst: int | None = None, **more: Any) -> Limiter:
    return Limiter(LimiterPolicy(rate=rate, burst=burst, **more))


def waits(limiter: Limiter, number: int, now: float = 0.0) -> list[float | None]:
    return [limiter.reserve(now, INF) for _ in range(number)]


def is_idle(limiter: Limiter) -> bool:
    return limiter.idle


def exceeds(sends: list[float], rate: float, burst: float, returned: int = 0) -> tuple[float, float] | None:
    """An interval with more than rate x t + burst sends; tokens that were given back may be sent besides."""
    ordered = sorted(sends)
    for first, start in enumerate(ordered):
        for last in range(first, len(ordered)):
            if last - first + 1 > rate * (ordered[last] - start) + burst + returned + ROUNDING:
                return start, ordered[last]
    return None


# No limit


def test_without_a_rate_nobody_waits():
    limiter = limiter_of()
    assert is_idle(limiter)
    assert limiter.rate is None
    assert waits(limiter, 1000) == [0.0] * 1000
    assert limiter.retry_after(0.0) == 0.0


def test_with_a_rate_there_is_always_something_to_ask():
    limiter = limiter_of(10.0)
    assert not is_idle(limiter)
    limiter.succeeded(5.0)
    assert not is_idle(limiter)


# The bucket


def test_a_full_bucket_gives_its_burst_at_once_and_then_one_at_a_time():
    limiter = limiter_of(2.0, burst=3)
    assert waits(limiter, 6) == pytest.approx([0.0, 0.0, 0.0, 0.5, 1.0, 1.5])
    assert limiter.retry_after(0.0) == pytest.approx(2.0)


@pytest.mark.parametrize(("rate", "burst"), [(1.0, 1), (5.0, 5), (0.25, 1), (2.5, 2)])
def test_the_burst_is_as_large_as_the_rate_and_at_least_one(rate, burst):
    assert waits(limiter_of(rate), burst + 1)[:burst] == [0.0] * burst
    assert limiter_of(rate).reserve(0.0, 0.0) == 0.0
    assert waits(limiter_of(rate), burst + 1)[burst] != 0.0


def test_the_rate_is_per_period():
    limiter = limiter_of(6.0, burst=1, period=60.0)
    assert waits(limiter, 3) == pytest.approx([0.0, 10.0, 20.0])
    assert limiter.retry_after(25.0) == pytest.approx(5.0)


def test_tokens_flow_in_with_time():
    limiter = limiter_of(2.0, burst=2)
    assert waits(limiter, 2) == [0.0, 0.0]
    assert limiter.retry_after(0.25) == pytest.approx(0.25)
    assert waits(limiter, 2, now=0.5) == pytest.approx([0.0, 0.5])


def test_no_more_tokens_than_the_bucket_holds():
    limiter = limiter_of(10.0, burst=2)
    assert waits(limiter, 3, now=1e6) == pytest.approx([0.0, 0.0, 0.1])
    assert waits(limiter, 3, now=2e6) == pytest.approx([0.0, 0.0, 0.1])


def test_who_would_wait_too_long_takes_nothing():
    limiter = limiter_of(1.0, burst=1)
    assert limiter.reserve(0.0, 0.0) == 0.0
    for _ in range(10):
        assert limiter.reserve(0.0, 0.9) is None
    assert limiter.reserve(0.0, 1.0) == pytest.approx(1.0)
    assert limiter.retry_after(0.0) == pytest.approx(2.0)


def test_time_that_runs_backwards_is_no_source_of_tokens():
    limiter = limiter_of(1.0, burst=1)
    assert limiter.reserve(10.0, 0.0) == 0.0
    assert limiter.retry_after(9.0) == pytest.approx(2.0)
    assert limiter.retry_after(10.0) == pytest.approx(1.0)


@given(st.floats(0.0, 1e6), st.sampled_from([0.3, 1.0, 7.0, 999.0]), st.integers(1, 4), st.integers(1, 30))
def test_who_comes_back_when_told_to_need_not_wait_any_more(now, rate, burst, taken):
    """Rounding must not send somebody round and round who never waits, but asks when there will be a token."""
    limiter = limiter_of(rate, burst)
    waits(limiter, taken, now)
    assert limiter.reserve(now + limiter.retry_after(now), 0.0) == 0.0


# Giving back


def test_an_abandoned_reservation_is_for_the_next_one():
    limiter = limiter_of(1.0, burst=1)
    assert waits(limiter, 3) == pytest.approx([0.0, 1.0, 2.0])
    limiter.give_back(0.5)
    assert limiter.reserve(0.5, INF) == pytest.approx(1.5)


def test_all_of_a_queue_that_is_abandoned_comes_back():
    limiter = limiter_of(1.0, burst=2)
    waits(limiter, 50)
    for _ in range(48):
        limiter.give_back(0.0)
    assert limiter.retry_after(0.0) == pytest.approx(1.0)


def test_a_token_that_was_not_used_is_there_at_once():
    limiter = limiter_of(1.0, burst=1)
    assert limiter.reserve(0.0, 0.0) == 0.0
    limiter.give_back(0.0)
    assert limiter.reserve(0.0, 0.0) == 0.0


def test_giving_back_does_not_fill_the_bucket_beyond_its_burst():
    limiter = limiter_of(1.0, burst=2)
    assert limiter.reserve(0.0, 0.0) == 0.0
    limiter.give_back(100.0)
    limiter.give_back(100.0)
    assert waits(limiter, 3, now=100.0) == pytest.approx([0.0, 0.0, 1.0])


def test_giving_back_counts_the_time_that_has_passed():
    limiter = limiter_of(1.0, burst=1)
    waits(limiter, 4)
    limiter.give_back(1.5)
    assert limiter.retry_after(1.5) == pytest.approx(1.5)


# 429


def test_a_429_that_tells_a_time_holds_everybody_up():
    limiter = limiter_of()
    limiter.throttled(5.0, 10.0)
    assert not is_idle(limiter)
    assert waits(limiter, 3, now=12.0) == [3.0, 3.0, 3.0]
    assert limiter.reserve(12.0, 2.9) is None
    assert limiter.reserve(15.0, 0.0) == 0.0


def test_a_429_that_tells_nothing_holds_nobody_up():
    limiter = limiter_of()
    limiter.throttled(None, 10.0)
    assert is_idle(limiter)
    assert limiter.retry_after(10.0) == 0.0


def test_a_server_cannot_hold_up_for_longer_than_the_longest_pace():
    limiter = limiter_of(max_pace=60.0)
    limiter.throttled(3600.0, 0.0)
    assert limiter.retry_after(0.0) == 60.0
    limiter.throttled(INF, 1.0)
    assert limiter.retry_after(1.0) == 60.0


def test_the_later_of_two_429s_counts():
    limiter = limiter_of()
    limiter.throttled(30.0, 0.0)
    limiter.throttled(5.0, 1.0)
    assert limiter.retry_after(1.0) == 29.0


def test_the_limiter_is_idle_again_after_the_time_it_was_told():
    limiter = limiter_of()
    limiter.throttled(5.0, 0.0)
    limiter.succeeded(4.9)
    assert not is_idle(limiter)
    limiter.succeeded(5.0)
    assert is_idle(limiter)


def test_those_who_wait_for_a_429_to_pass_are_then_spaced_by_the_rate():
    """Tokens that flow in while nothing may be sent are not saved for all who wait."""
    limiter = limiter_of(1.0, burst=1)
    limiter.throttled(10.0, 0.0)
    sends = [second + (limiter.reserve(second, INF) or 0.0) for second in range(8)]
    assert sends == pytest.approx([10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0])


def test_who_gives_up_waiting_for_a_429_to_pass_loses_no_token():
    limiter = limiter_of(1.0, burst=2)
    limiter.throttled(10.0, 0.0)
    waits(limiter, 5)
    for _ in range(5):
        limiter.give_back(3.0)
    assert waits(limiter, 3, now=4.0) == pytest.approx([6.0, 6.0, 7.0])


def test_those_who_were_told_a_time_before_a_429_are_not_told_another():
    limiter = limiter_of(1.0, burst=1)
    assert waits(limiter, 4) == pytest.approx([0.0, 1.0, 2.0, 3.0])
    limiter.throttled(2.0, 0.0)
    assert limiter.reserve(0.0, INF) == pytest.approx(4.0)


# Headers


def test_the_server_says_how_many_are_left():
    limiter = limiter_of()
    limiter.paced(2, 10.0, 0.0)
    assert not is_idle(limiter)
    assert waits(limiter, 4, now=1.0) == [0.0, 0.0, 9.0, 9.0]
    assert limiter.reserve(1.0, 8.0) is None


def test_after_the_reset_it_is_open_again():
    limiter = limiter_of()
    limiter.paced(0, 10.0, 0.0)
    assert limiter.retry_after(9.0) == 1.0
    assert waits(limiter, 100, now=10.0) == [0.0] * 100


def test_the_limiter_is_idle_again_after_the_reset():
    limiter = limiter_of()
    limiter.paced(50, 10.0, 0.0)
    limiter.succeeded(9.9)
    assert not is_idle(limiter)
    limiter.succeeded(10.0)
    assert is_idle(limiter)


def test_many_who_wait_for_a_reset_leave_nothing_behind():
    limiter = limiter_of()
    limiter.paced(1, 10.0, 0.0)
    waits(limiter, 100)
    limiter.paced(3, 10.0, 11.0)
    assert waits(limiter, 4, now=11.0) == [0.0, 0.0, 0.0, 10.0]


def test_a_reset_is_waited_for_no_longer_than_the_longest_pace():
    limiter = limiter_of(max_pace=5.0)
    limiter.paced(0, 3600.0, 0.0)
    assert limiter.retry_after(0.0) == 5.0


def test_the_later_of_reset_and_429_counts():
    limiter = limiter_of()
    limiter.paced(0, 10.0, 0.0)
    limiter.throttled(4.0, 0.0)
    assert limiter.retry_after(0.0) == 10.0
    limiter.throttled(20.0, 0.0)
    assert limiter.retry_after(0.0) == 20.0


@pytest.mark.parametrize("reset", [0.0, -1.0])
def test_a_reset_that_has_passed_paces_nobody(reset):
    limiter = limiter_of()
    limiter.paced(0, reset, 0.0)
    assert is_idle(limiter)
    assert limiter.retry_after(0.0) == 0.0


@pytest.mark.parametrize("more", [{"pace": False}, {"max_pace": 0.0}])
def test_headers_need_not_be_heeded(more):
    limiter = limiter_of(**more)
    limiter.paced(0, 10.0, 0.0)
    assert is_idle(limiter)
    assert limiter.retry_after(0.0) == 0.0


def test_no_pace_at_all_is_no_wait_for_a_429_either():
    limiter = limiter_of(max_pace=0.0)
    limiter.throttled(5.0, 0.0)
    assert is_idle(limiter)
    assert limiter.retry_after(0.0) == 0.0


def test_less_than_nothing_is_nothing():
    limiter = limiter_of()
    limiter.paced(-7, 10.0, 0.0)
    assert limiter.reserve(0.0, INF) == 10.0
    limiter.give_back(0.0)
    assert limiter.retry_after(0.0) == 10.0


def test_answers_of_one_window_may_overtake_each_other():
    limiter = limiter_of()
    limiter.paced(3, 10.0, 0.0)
    limiter.paced(8, 10.0, 0.1)
    assert waits(limiter, 4, now=0.1)[:3] == [0.0] * 3
    assert limiter.retry_after(0.1) > 9.0


def test_sends_that_the_server_has_not_counted_yet_stay_counted():
    limiter = limiter_of()
    limiter.paced(3, 10.0, 0.0)
    waits(limiter, 2, now=0.1)
    limiter.paced(3, 10.0, 0.2)
    assert waits(limiter, 2, now=0.2)[0] == 0.0
    assert limiter.retry_after(0.2) > 9.0


def test_sends_of_others_use_up_what_was_left():
    limiter = limiter_of()
    limiter.paced(10, 10.0, 0.0)
    limiter.paced(1, 10.0, 0.2)
    assert waits(limiter, 2, now=0.2) == pytest.approx([0.0, 9.8])


@pytest.mark.parametrize("order", [(9.4, 9.9), (9.9, 9.4)])
def test_the_earlier_of_two_ends_of_one_window_holds(order):
    """Resets are told in whole seconds, mostly rounded up: the end moves by less than one of them."""
    limiter = limiter_of()
    for reset in order:
        limiter.paced(0, reset, 0.0)
    assert limiter.retry_after(0.0) == pytest.approx(9.4)


def test_an_end_that_is_much_earlier_is_that_of_something_else():
    limiter = limiter_of()
    limiter.paced(0, 10.0, 0.0)
    limiter.paced(0, 5.0, 1.0)
    assert limiter.retry_after(1.0) == pytest.approx(9.0)


@pytest.mark.parametrize("late", [0.0, 0.2, 1.0])
def test_from_a_server_that_rounds_down_the_later_end_holds(late):
    limiter = limiter_of()
    limiter.paced(0, 1.0, 0.0)
    limiter.throttled(None, 1.0 + late)
    limiter.paced(0, 9.4, 2.0)
    limiter.paced(0, 9.9, 2.0)
    assert limiter.retry_after(2.0) == pytest.approx(9.9)
    limiter.paced(0, 9.4, 2.0)
    assert limiter.retry_after(2.0) == pytest.approx(9.9)


@pytest.mark.parametrize("late", [0.5, 2.5])
def test_a_429_at_another_time_says_nothing_of_rounding(late):
    limiter = limiter_of()
    limiter.paced(0, 1.0, 0.0)
    limiter.throttled(None, late)
    limiter.paced(0, 9.9, 3.0)
    limiter.paced(0, 9.4, 3.0)
    assert limiter.retry_after(3.0) == pytest.approx(9.4)


@pytest.mark.parametrize("window", [5.0, 0.0])
def test_those_who_wait_are_spread_over_the_windows_to_come(window):
    limiter = limiter_of()
    limiter.paced(3, 5.0, -1.0, 3, window)
    limiter.paced(1, 2.0, 0.0, 3, window)
    assert waits(limiter, 8) == [0.0, 4.0, 4.0, 4.0, 9.0, 9.0, 9.0, 14.0]
    assert limiter.reserve(0.0, 13.9) is None


def test_without_a_window_the_time_to_the_reset_is_taken_for_one():
    limiter = limiter_of()
    limiter.paced(0, 0.5, 0.0, 2)
    assert waits(limiter, 5) == [0.5, 0.5, 1.0, 1.0, 1.5]


def test_at_the_very_end_of_a_window_it_is_over():
    limiter = limiter_of()
    limiter.paced(0, 5.0, 0.0, 2, 5.0)
    waits(limiter, 3)
    assert limiter.reserve(5.0, 0.0) == 0.0


def test_those_who_are_spread_already_count_when_the_next_window_begins():
    limiter = limiter_of()
    limiter.paced(0, 2.0, 0.0, 2, 10.0)
    assert waits(limiter, 5) == [2.0, 2.0, 12.0, 12.0, 22.0]
    limiter.paced(1, 10.0, 2.1, 2, 10.0)
    assert limiter.retry_after(2.1) == pytest.approx(20.0)


def test_who_gives_up_leaves_a_place_in_a_window_to_come():
    limiter = limiter_of()
    limiter.paced(0, 2.0, 0.0, 2, 10.0)
    assert waits(limiter, 4) == [2.0, 2.0, 12.0, 12.0]
    limiter.give_back(0.0)
    assert waits(limiter, 2) == [12.0, 22.0]


@given(st.integers(1, 5), st.integers(0, 5), st.integers(1, 40), st.floats(0.5, 59.0), st.floats(0.0, 1.0))
def test_no_window_gets_more_than_the_server_takes_in_one(quota, remaining, asking, window, into):
    limiter = limiter_of()
    remaining = min(remaining, quota)
    reset = window * (1.0 - into) + 0.01
    limiter.paced(remaining, reset, 0.0, quota, window)
    sends = [limiter.reserve(0.0, INF) or 0.0 for _ in range(asking)]
    assert sends == sorted(sends) and sum(send < reset - 1e-6 for send in sends) <= remaining
    later = sends[remaining:]
    assert all(end - start >= window - 1e-6 for start, end in zip(later, later[quota:], strict=False))


def test_a_window_that_moves_on_is_a_new_one_before_long():
    limiter = limiter_of()
    limiter.paced(1, 10.0, 0.0)
    waits(limiter, 1)
    limiter.paced(4, 10.0, 0.9)
    assert limiter.retry_after(0.9) > 0.0
    limiter.paced(4, 10.0, 1.5)
    assert waits(limiter, 5, now=1.5) == [0.0, 0.0, 0.0, 0.0, 10.0]


def test_the_next_window_is_a_new_one():
    limiter = limiter_of()
    limiter.paced(0, 2.0, 0.0)
    limiter.paced(5, 10.0, 1.9)
    assert waits(limiter, 6, now=1.9) == [0.0] * 5 + [10.0]


def test_those_who_wait_already_count_in_the_window_they_will_be_sent_in():
    limiter = limiter_of()
    limiter.paced(0, 5.0, 0.0)
    assert waits(limiter, 3) == [5.0] * 3
    limiter.paced(4, 60.0, 4.0)
    assert waits(limiter, 2, now=4.0) == [0.0, 60.0]


def test_those_who_wait_for_a_token_count_as_well():
    limiter = limiter_of(1.0, burst=1)
    waits(limiter, 4)
    limiter.paced(4, 60.0, 0.0)
    assert waits(limiter, 2) == pytest.approx([4.0, 60.0])


def test_those_who_have_been_sent_do_not_count_any_more():
    limiter = limiter_of(1.0, burst=1)
    waits(limiter, 4)
    limiter.paced(2, 60.0, 3.0)
    assert waits(limiter, 3, now=5.0) == pytest.approx([0.0, 1.0, 58.0])


def test_a_permission_that_was_not_used_is_given_back():
    limiter = limiter_of()
    limiter.paced(1, 10.0, 0.0)
    assert limiter.reserve(0.0, 0.0) == 0.0
    limiter.give_back(1.0)
    assert waits(limiter, 2, now=1.0) == [0.0, 9.0]


def test_who_gives_up_waiting_for_a_reset_takes_nothing_along():
    limiter = limiter_of()
    limiter.paced(1, 10.0, 0.0)
    assert waits(limiter, 6) == [0.0] + [10.0] * 5
    for _ in range(6):
        limiter.give_back(0.0)
    assert waits(limiter, 2) == [0.0, 10.0]


def test_who_gives_up_waiting_for_a_reset_leaves_the_bucket_as_it_was():
    limiter = limiter_of(2.0, burst=3)
    assert waits(limiter, 2) == [0.0, 0.0]
    limiter.paced(1, 10.0, 0.0)
    assert waits(limiter, 4)[0] == 0.0
    for _ in range(4):
        limiter.give_back(0.0)
    assert waits(limiter, 2, now=0.5) == [0.0, 9.5]


def test_those_who_still_wait_for_a_reset_are_not_forgotten_when_others_give_up():
    limiter = limiter_of(2.0, burst=1)
    limiter.paced(0, 10.0, 0.0)
    assert waits(limiter, 4) == pytest.approx([10.0, 10.5, 11.0, 11.5])
    for _ in range(3):
        limiter.give_back(1.0)
    assert limiter.retry_after(2.0) == pytest.approx(8.5)


def test_a_permission_of_an_earlier_window_adds_nothing_to_this_one():
    limiter = limiter_of()
    limiter.paced(5, 2.0, 0.0)
    assert limiter.reserve(0.0, 0.0) == 0.0
    limiter.paced(0, 10.0, 5.0)
    limiter.give_back(5.0)
    assert limiter.retry_after(5.0) == 10.0


def test_a_token_from_before_the_server_told_adds_nothing_to_what_it_told():
    limiter = limiter_of(10.0)
    assert limiter.reserve(0.0, 0.0) == 0.0
    limiter.paced(0, 10.0, 0.0)
    limiter.give_back(0.0)
    assert limiter.retry_after(0.0) == 10.0


def test_no_more_is_given_back_than_was_taken():
    limiter = limiter_of()
    limiter.paced(1, 10.0, 0.0)
    limiter.give_back(0.0)
    assert waits(limiter, 2) == [0.0, 10.0]
    for _ in range(3):
        limiter.give_back(0.0)
    assert waits(limiter, 3) == [0.0, 10.0, 10.0]


def test_those_who_wait_and_give_up_leave_their_place_in_the_window_to_come():
    limiter = limiter_of()
    limiter.paced(0, 5.0, 0.0)
    waits(limiter, 3)
    limiter.paced(4, 60.0, 4.0)
    for _ in range(3):
        limiter.give_back(4.0)
    assert waits(limiter, 5, now=4.0) == [0.0] * 4 + [60.0]


def test_a_window_after_the_last_one_owes_nothing_to_it_however_short():
    limiter = limiter_of()
    limiter.paced(0, 10.0, 0.0)
    limiter.paced(3, 0.5, 10.0)
    assert waits(limiter, 4, now=10.0) == [0.0, 0.0, 0.0, 0.5]


def test_nobody_passes_by_those_who_wait_for_a_reset_to_take_a_token():
    limiter = limiter_of(1.0, burst=5)
    limiter.paced(0, 10.0, 0.0)
    assert waits(limiter, 2) == [10.0, 10.0]
    limiter.paced(5, 60.0, 5.0)
    assert waits(limiter, 2, now=5.0) == [5.0, 5.0]


def test_those_who_were_sent_are_forgotten():
    limiter = limiter_of(1.0, burst=1)
    for tenths in range(1000):
        limiter.reserve(tenths / 10.0, 2.0)
    assert limiter.reserve(100.0, INF)
    assert len(limiter._booked) <= 4


# The adaptive rate


def adaptive(**more: Any) -> Limiter:
    return limiter_of(10.0, adaptive=True, **more)


def test_the_rate_rises_by_a_tenth_after_ten_successes():
    limiter = adaptive()
    for _ in range(9):
        limiter.succeeded(0.0)
    assert limiter.rate == 10.0
    limiter.succeeded(0.0)
    assert limiter.rate == pytest.approx(11.0)
    for _ in range(9):
        limiter.succeeded(0.0)
    assert limiter.rate == pytest.approx(11.0)
    limiter.succeeded(0.0)
    assert limiter.rate == pytest.approx(12.1)


@pytest.mark.parametrize("retry_after", [None, 3.0])
def test_a_429_halves_the_rate(retry_after):
    limiter = adaptive()
    limiter.throttled(retry_after, 0.0)
    assert limiter.rate == 5.0


def test_a_429_starts_the_counting_of_successes_anew():
    limiter = adaptive()
    for _ in range(9):
        limiter.succeeded(0.0)
    limiter.throttled(None, 0.0)
    for _ in range(9):
        limiter.succeeded(0.0)
    assert limiter.rate == 5.0
    limiter.succeeded(0.0)
    assert limiter.rate == pytest.approx(5.5)


def test_the_steps_can_be_chosen():
    limiter = adaptive(step_up=2.0, step_down=0.1, min_rate=0.1)
    for _ in range(10):
        limiter.succeeded(0.0)
    assert limiter.rate == 20.0
    limiter.throttled(None, 0.0)
    assert limiter.rate == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("more", "lowest", "highest"), [({}, 1.0, 100.0), ({"min_rate": 4.0, "max_rate": 10.5}, 4.0, 10.5)]
)
def test_the_rate_stays_between_its_bounds(more, lowest, highest):
    limiter = adaptive(**more)
    for _ in range(50):
        limiter.throttled(None, 0.0)
    assert limiter.rate == lowest
    for _ in range(1000):
        limiter.succeeded(0.0)
    assert limiter.rate == highest


def test_a_fixed_rate_is_not_moved():
    limiter = limiter_of(10.0)
    limiter.throttled(None, 0.0)
    for _ in range(50):
        limiter.succeeded(0.0)
    assert limiter.rate == 10.0


def test_no_rate_cannot_be_adapted():
    limiter = limiter_of(adaptive=True)
    limiter.throttled(None, 0.0)
    for _ in range(50):
        limiter.succeeded(0.0)
    assert limiter.rate is None
    assert is_idle(limiter)


def test_the_new_rate_is_what_tokens_flow_in_by():
    limiter = adaptive(burst=1)
    limiter.throttled(None, 0.0)
    assert waits(limiter, 3) == pytest.approx([0.0, 0.2, 0.4])


def test_tokens_of_before_flow_in_by_the_rate_of_before():
    limiter = adaptive(burst=10)
    waits(limiter, 10, now=100.0)
    limiter.throttled(None, 100.5)
    assert waits(limiter, 6, now=100.5)[:5] == [0.0] * 5
    assert limiter.retry_after(100.5) == pytest.approx(0.4)


def test_slowing_down_does_not_fill_the_bucket():
    limiter = adaptive(burst=10)
    waits(limiter, 10)
    limiter.throttled(None, 0.0)
    assert limiter.retry_after(0.0) == pytest.approx(0.2)


@pytest.mark.parametrize("faster", [True, False])
def test_those_who_wait_keep_their_time_and_the_next_one_comes_after_them(faster):
    limiter = adaptive(burst=1, step_up=2.0)
    assert waits(limiter, 21)[-1] == pytest.approx(2.0)
    if faster:
        for _ in range(10):
            limiter.succeeded(0.0)
        assert waits(limiter, 2) == pytest.approx([2.05, 2.1])
    else:
        limiter.throttled(None, 0.0)
        assert waits(limiter, 2) == pytest.approx([2.2, 2.4])


def test_those_who_give_up_after_a_change_of_the_rate_leave_no_more_than_a_token():
    limiter = adaptive(burst=1)
    waits(limiter, 21)
    limiter.throttled(None, 0.0)
    limiter.give_back(0.0)
    assert limiter.retry_after(0.0) == pytest.approx(2.0)


def test_a_change_of_the_rate_while_others_wait_for_a_429_to_pass_leaves_the_bucket_full():
    limiter = adaptive(burst=10)
    limiter.throttled(5.0, 0.0)
    assert waits(limiter, 1) == [5.0]
    limiter.throttled(None, 0.0)
    assert waits(limiter, 10) == pytest.approx([5.0] * 9 + [5.4])


@given(st.lists(st.sampled_from(["429", "ok", "ok", "ok"]), max_size=300))
def test_the_rate_is_what_the_answers_make_of_it(answers):
    limiter, rate, streak = adaptive(min_rate=3.0, max_rate=25.0), 10.0, 0
    for answer in answers:
        if answer == "429":
            limiter.throttled(None, 0.0)
            rate, streak = max(rate * 0.5, 3.0), 0
        else:
            limiter.succeeded(0.0)
            streak += 1
            if streak == 10:
                rate, streak = min(rate * 1.1, 25.0), 0
        assert limiter.rate == pytest.approx(rate)


# Forking


def test_the_429s_of_one_overload_halve_the_rate_once():
    limiter = adaptive()
    for _ in range(5):
        limiter.throttled(None, 3.0, sent=2.0)
    assert limiter.rate == 5.0
    limiter.throttled(None, 3.1, sent=2.9)
    assert limiter.rate == 5.0
    limiter.throttled(None, 3.5, sent=3.0)
    assert limiter.rate == 2.5
    assert limiter.refusals == 7


def test_those_who_were_told_when_to_send_by_the_rate_of_before_do_not_halve_it_again():
    limiter = adaptive(burst=1)
    assert waits(limiter, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    limiter.throttled(None, 0.05, sent=0.0)
    assert limiter.rate == 5.0
    limiter.throttled(None, 0.25, sent=0.2)
    assert limiter.rate == 5.0
    limiter.throttled(None, 0.35, sent=0.3)
    assert limiter.rate == 2.5


def test_those_who_have_been_sent_when_the_rate_drops_are_not_waited_for():
    limiter = adaptive(burst=1)
    waits(limiter, 4)
    limiter.throttled(None, 9.0, sent=8.0)
    limiter.throttled(None, 9.2, sent=9.1)
    assert limiter.rate == 2.5


def test_a_429_of_an_overload_that_is_known_starts_the_counting_of_successes_anew():
    limiter = adaptive()
    limiter.throttled(None, 1.0, sent=0.5)
    for _ in range(9):
        limiter.succeeded(2.0)
    limiter.throttled(None, 2.0, sent=0.5)
    for _ in range(9):
        limiter.succeeded(2.0)
    assert limiter.rate == 5.0
    limiter.succeeded(2.0)
    assert limiter.rate == pytest.approx(5.5)


@pytest.mark.parametrize(("quota", "window", "rate"), [(12, 1.0, 12.0), (120, 10.0, 12.0), (5, 1.0, 10.0)])
def test_the_rate_does_not_rise_above_what_the_server_takes(quota: int, window: float, rate: float):
    limiter = adaptive()
    limiter.paced(quota, window, 0.0, quota, window)
    for _ in range(100):
        limiter.succeeded(0.0)
    assert limiter.rate == pytest.approx(rate)


def test_a_limit_that_the_server_takes_back_does_not_bind_any_more():
    limiter = adaptive()
    limiter.paced(5, 1.0, 0.0, 5, 1.0)
    limiter.paced(100, 1.0, 0.0, 100, 1.0)
    for _ in range(10):
        limiter.succeeded(0.0)
    assert limiter.rate == pytest.approx(11.0)


@pytest.mark.parametrize("told", [(0, 0.0), (5, 0.0), (0, 1.0)])
def test_a_server_that_does_not_tell_what_it_takes_binds_no_rate(told: tuple[int, float]):
    limiter = adaptive()
    limiter.paced(3, 1.0, 0.0, *told)
    for _ in range(10):
        limiter.succeeded(0.0)
    assert limiter.rate == pytest.approx(11.0)


def test_a_bucket_as_large_as_the_rate_shrinks_with_it():
    limiter = adaptive()
    assert waits(limiter, 2) == [0.0, 0.0]
    limiter.throttled(None, 0.0)
    assert waits(limiter, 6) == pytest.approx([0.0] * 5 + [0.2])


def test_a_bucket_that_shrinks_takes_no_more_than_it_has():
    limiter = adaptive()
    waits(limiter, 8)
    limiter.throttled(None, 0.0)
    assert waits(limiter, 3) == pytest.approx([0.0, 0.0, 0.2])


def test_a_bucket_that_grows_again_is_not_filled_by_that():
    limiter = adaptive(step_up=2.0)
    limiter.throttled(None, 0.0)
    waits(limiter, 5)
    for _ in range(10):
        limiter.succeeded(0.0)
    assert limiter.rate == 10.0
    assert waits(limiter, 2) == pytest.approx([0.1, 0.2])
    assert [limiter.reserve(60.0, 0.0) for _ in range(11)] == [0.0] * 10 + [None]


def test_a_bucket_does_not_grow_beyond_the_rate_that_was_set():
    limiter = adaptive(step_up=2.0)
    for _ in range(10):
        limiter.succeeded(0.0)
    assert limiter.rate == 20.0
    assert [limiter.reserve(60.0, 0.0) for _ in range(11)] == [0.0] * 10 + [None]


def test_reset_forgets_the_tokens_that_are_held():
    limiter = limiter_of(1.0, burst=2)
    waits(limiter, 20, now=5.0)
    limiter.reset()
    assert waits(limiter, 3, now=5.0) == pytest.approx([0.0, 0.0, 1.0])


def test_reset_leaves_the_bucket_full_from_the_first_second_on():
    limiter = limiter_of(1.0, burst=2)
    waits(limiter, 2, now=0.5)
    limiter.reset()
    assert waits(limiter, 3, now=0.5) == pytest.approx([0.0, 0.0, 1.0])


def test_reset_forgets_who_waits_but_not_what_the_server_said():
    limiter = limiter_of()
    limiter.paced(1, 10.0, 0.0)
    waits(limiter, 2)
    limiter.reset()
    assert limiter.retry_after(0.0) == 10.0
    for _ in range(2):
        limiter.give_back(0.0)
    assert limiter.retry_after(0.0) == 10.0
    limiter.paced(2, 30.0, 5.0)
    assert waits(limiter, 3, now=5.0) == [0.0, 0.0, 30.0]


def test_reset_lets_nobody_wait_for_the_parents_turn():
    limiter = limiter_of(1.0, burst=2)
    limiter.paced(0, 10.0, 0.0)
    waits(limiter, 3)
    limiter.reset()
    limiter.paced(5, 60.0, 2.0)
    assert waits(limiter, 3, now=2.0) == pytest.approx([0.0, 0.0, 1.0])


# Properties

rates = st.sampled_from([0.5, 1.0, 3.0, 10.0])
bursts = st.sampled_from([None, 1, 2, 5])
steps = st.sampled_from([0.0, 0.05, 0.3, 1.0, 2.5, 12.0])
asks = st.tuples(st.just("reserve"), st.integers(1, 6), st.sampled_from([0.0, 0.5, 3.0, INF]))
told = st.tuples(st.just("paced"), st.integers(0, 4), st.sampled_from([0.2, 1.0, 5.0, 100.0]))
slowed = st.tuples(st.just("429"), st.just(0), st.sampled_from([0.0, 0.4, 3.0, 100.0]))
plans = st.lists(st.tuples(steps, asks | asks | asks | told | slowed), max_size=40)


@given(rates, bursts, plans)
@example(1.0, 1, [(0.0, ("429", 0, 5.0))] + [(1.0, ("reserve", 1, INF))] * 4)
def test_never_more_than_the_rate_and_the_burst_in_any_interval(rate, burst, plan):
    """Whatever the server asks for meanwhile; and those who came first are first."""
    limiter = limiter_of(rate, burst, max_pace=20.0)
    now = 100.0
    sends: list[float] = []
    for step, (what, number, seconds) in plan:
        now += step
        if what == "paced":
            limiter.paced(number, seconds, now)
        elif what == "429":
            limiter.throttled(seconds, now)
        else:
            for _ in range(number):
                wait = limiter.reserve(now, seconds)
                if wait is not None:
                    assert 0.0 <= wait <= seconds
                    sends.append(now + wait)
    assert exceeds(sends, rate, burst or max(rate, 1.0)) is None
    assert all(earlier <= later + ROUNDING for earlier, later in pairwise(sends))


@given(rates, bursts, st.lists(st.tuples(steps, st.integers(1, 6)), max_size=30))
def test_nobody_waits_longer_than_the_rate_asks_for(rate, burst, plan):
    """Each would be one too many in some interval, were it sent any earlier."""
    limiter = limiter_of(rate, burst)
    size = burst or max(rate, 1.0)
    now = 100.0
    sends: list[float] = []
    for step, number in plan:
        now += step
        for _ in range(number):
            told_before = limiter.retry_after(now)
            wait = limiter.reserve(now, INF)
            assert wait == told_before
            if wait:
                earlier = now + wait - 0.01 / rate
                assert exceeds([*sends, max(earlier, now)], rate, size) or sends[-1] > earlier
            sends.append(now + (wait or 0.0))
    assert exceeds(sends, rate, size) is None


@given(rates, bursts, plans, st.integers(1, 8), st.sampled_from([0.0, 0.05, 1.0, 4.0]))
@example(0.5, None, [(0.0, ("paced", 1, 0.2))], 2, 0.0)
@example(0.5, None, [(0.0, ("paced", 2, 0.2))], 3, 0.0)
@example(0.5, None, [(0.0, ("paced", 0, 20.0)), (0.0, ("reserve", 2, INF)), (3.0, ("paced", 3, 20.0))], 2, 0.0)
def test_abandoned_reservations_lose_nothing(rate, burst, plan, number, later):
    """Two limiters with the same past: who waited and gave up at one of them leaves it like the other."""
    one, other = limiter_of(rate, burst), limiter_of(rate, burst)
    now = 100.0
    for step, (what, count, seconds) in plan:
        now += step
        for limiter in (one, other):
            if what == "paced":
                limiter.paced(count, seconds, now)
            elif what == "429":
                limiter.throttled(seconds, now)
            else:
                waits(limiter, count, now)
    # Not longer than the queue is: a reservation whose time has come was sent, and not abandoned.
    later = min(later, 0.9 * one.retry_after(now))
    waits(one, number, now)
    for _ in range(number):
        one.give_back(now + later)
    assert one.retry_after(now + later) == pytest.approx(other.retry_after(now + later), abs=1e-6)


class Sending(RuleBasedStateMachine):
    """Callers reserve, wait, send or give up, and the server tells what it likes."""

    @initialize(rate=st.none() | rates, burst=bursts, adaptive=st.booleans())
    def build(self, rate: float | None, burst: int | None, adaptive: bool) -> None:
        self.policy = LimiterPolicy(
            rate=rate, burst=burst, adaptive=adaptive, min_rate=0.5 if rate else None, max_rate=10.0, max_pace=8.0
        )
        self.limiter = Limiter(self.policy)
        self.now = 50.0
        self.waiting: list[float] = []  # times at which they may send
        self.ready: list[float] = []  # may send, and have not
        self.sends: list[float] = []
        self.returned = 0
        self.blocked = 0.0
        self.allowance, self.window_end = 0, 0.0  # what the server allowed when it told last

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 4.0, 9.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.ready += [time for time in self.waiting if time <= self.now]
        self.waiting = [time for time in self.waiting if time > self.now]

    @rule(number=st.integers(1, 4), most=st.sampled_from([0.0, 1.0, 8.0, INF]))
    def reserve(self, number: int, most: float) -> None:
        for _ in range(number):
            told_before = self.limiter.retry_after(self.now)
            wait = self.limiter.reserve(self.now, most)
            assert wait == (told_before if told_before <= most else None)
            if wait is None:
                assert self.limiter.retry_after(self.now) == told_before
                continue
            send = self.now + wait
            assert send >= self.blocked - ROUNDING
            if send < self.window_end - 1.0 - ROUNDING:
                # It may go out before the reset of which the server told last, which may be rounded up by a second.
                self.allowance -= 1
                assert self.allowance >= 0
            (self.waiting if wait else self.ready).append(send)

    @precondition(lambda self: self.ready)
    @rule()
    def send(self) -> None:
        self.sends.append(self.ready.pop(0))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.waiting.remove(data.draw(st.sampled_from(self.waiting)))
        self.returned += 1
        self.give_back()

    @precondition(lambda self: self.ready)
    @rule()
    def find_no_slot(self) -> None:
        self.ready.pop()
        self.returned += 1
        self.give_back()

    def give_back(self) -> None:
        before = self.limiter.retry_after(self.now)
        self.limiter.give_back(self.now)
        assert self.limiter.retry_after(self.now) <= before
        if self.now < self.window_end:
            self.allowance += 1

    @rule(remaining=st.integers(0, 5), reset=st.sampled_from([0.5, 2.0, 6.0, 8.0, 100.0]))
    def tell(self, remaining: int, reset: float) -> None:
        self.limiter.paced(remaining, reset, self.now)
        self.allowance, self.window_end = remaining, self.now + min(reset, 8.0)

    @rule(seconds=st.none() | st.sampled_from([0.0, 0.5, 3.0, 100.0]))
    def answer_429(self, seconds: float | None) -> None:
        self.limiter.throttled(seconds, self.now)
        if seconds is not None:
            self.blocked = max(self.blocked, self.now + min(seconds, 8.0))

    @rule(number=st.sampled_from([1, 5, 10]))
    def answer_well(self, number: int) -> None:
        for _ in range(number):
            self.limiter.succeeded(self.now)

    @invariant()
    def the_rate_keeps_to_its_bounds(self) -> None:
        if self.policy.rate is None:
            assert self.limiter.rate is None
        else:
            assert self.limiter.rate is not None
            assert 0.5 <= self.limiter.rate <= 10.0
            assert self.policy.adaptive or self.limiter.rate == self.policy.rate

    @invariant()
    def idle_means_that_nobody_waits(self) -> None:
        if self.limiter.idle:
            assert self.policy.rate is None
            assert self.limiter.retry_after(self.now) == 0.0

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        """The server holds up for 8 s twice at most (its last word to those who wait, and one to the next)."""
        queue = len(self.waiting) + len(self.ready) + self.returned + 2
        rate = INF if self.policy.rate is None else 0.5
        assert self.limiter.retry_after(self.now) <= 16.0 + queue / rate
        assert all(time - self.now <= 16.0 + queue / rate for time in self.waiting)

    def teardown(self) -> None:
        if hasattr(self, "policy") and self.policy.rate is not None:
            fastest = 10.0 if self.policy.adaptive else self.policy.rate
            burst = self.policy.burst or max(self.policy.rate, 1.0)
            assert exceeds(self.sends, fastest, burst, self.returned) is None
            # After a while of silence all is as it was.
            self.now += 1000.0
            assert self.limiter.retry_after(self.now) == 0.0


TestSending = Sending.TestCase


@given(rates, bursts, plans)
@example(1.0, 3, [(0.0, ("reserve", 3, INF)), (1.0, ("reserve", 2, INF))])
@example(3.0, 1, [(0.0, ("reserve", 1, INF)), (0.3, ("reserve", 1, INF))])
@example(1.0, 5, [(0.0, ("429", 0, 3.0)), (0.0, ("reserve", 1, INF))])
@example(1.0, 5, [(0.0, ("paced", 1, 5.0)), (0.0, ("reserve", 2, INF))])
def test_taking_at_once_is_reserving_without_a_wait(rate, burst, plan):
    """Two limiters with the same past, one of them asked the short way."""
    quick, plain = limiter_of(rate, burst, period=2.0), limiter_of(rate, burst, period=2.0)
    now = 100.0
    for step, (what, count, seconds) in plan:
        now += step
        for limiter in (quick, plain):
            if what == "paced":
                limiter.paced(count, seconds, now)
            elif what == "429":
                limiter.throttled(seconds, now)
        for _ in range(count if what == "reserve" else 0):
            assert quick.take(now) == (plain.reserve(now, 0.0) is not None)
            assert quick.retry_after(now) == pytest.approx(plain.retry_after(now), abs=1e-9)


def test_a_429_before_any_window_says_nothing_of_rounding():
    limiter = limiter_of()
    limiter.throttled(None, 0.5)
    limiter.paced(0, 9.4, 1.0)
    limiter.paced(0, 9.9, 1.0)
    assert limiter.retry_after(1.0) == pytest.approx(9.4)


@pytest.mark.parametrize("pace", [0.5, 1.0])
def test_a_short_longest_pace_is_still_a_wait(pace):
    limiter = limiter_of(max_pace=pace)
    limiter.throttled(3.0, 0.0)
    assert limiter.retry_after(0.0) == pace


def test_after_a_reset_those_who_give_up_have_taken_nothing_of_what_the_server_allows():
    limiter = limiter_of()
    limiter.paced(2, 10.0, 0.0)
    waits(limiter, 1)
    limiter.reset()
    limiter.give_back(0.0)
    assert waits(limiter, 2) == [0.0, 10.0]


def test_giving_back_after_a_change_of_the_rate_makes_nobody_wait_longer():
    limiter = limiter_of(rate=1.0, adaptive=True)
    limiter.paced(0, 0.5, 50.0)
    assert all(wait is not None for wait in waits(limiter, 4, 50.0))
    limiter.throttled(None, 50.0)
    before = limiter.retry_after(50.0)
    limiter.give_back(50.0)
    assert limiter.retry_after(50.0) <= before


def test_a_rate_rises_to_what_the_headers_say_for_a_whole_period():
    limiter = Limiter(LimiterPolicy(rate=30.0, period=60.0, adaptive=True, max_rate=1000.0))
    limiter.paced(60, 30.0, 0.0, quota=60, window=30.0)
    for _ in range(300):
        limiter.succeeded(31.0)
    assert limiter.rate == pytest.approx(120.0)


def test_a_bucket_never_shrinks_below_one_token():
    limiter = Limiter(LimiterPolicy(rate=2.0, period=10.0, adaptive=True))
    limiter.throttled(None, 0.0)
    assert limiter.rate == 1.0
    assert [limiter.take(0.0), limiter.take(0.0)] == [True, False]


def test_what_came_in_of_a_token_is_kept_when_the_rate_drops():
    limiter = Limiter(LimiterPolicy(rate=10.0, adaptive=True))
    assert all(limiter.take(0.0) for _ in range(10))
    limiter.throttled(None, 0.05)
    assert limiter.rate == 5.0
    assert limiter.retry_after(0.05) == pytest.approx(0.1), "half a token is there, and half of one comes in 0.1 s"
