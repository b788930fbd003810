"""Growth and jitter of the waits."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.backoff import Backoff, Growth, Jitter


def low() -> float:
    return 0.0


def middle() -> float:
    return 0.5


def high() -> float:
    return math.nextafter(1.0, 0.0)


def waits(backoff: Backoff, count: int, rand: Any = middle) -> list[float]:
    """The waits of a whole sequence, each told the one before."""
    found: list[float] = []
    for retry in range(1, count + 1):
        found.append(backoff.wait(retry, found[-1] if found else None, rand))
    return found


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 4.0, 7.0, 10.0]),
        ("exponential", [1.0, 3.0, 9.0, 10.0]),
    ],
)
def test_without_jitter_the_wait_is_the_step(kind, steps):
    backoff = Backoff(kind, 1.0, 10.0, 3.0, "off")
    assert waits(backoff, 4, rand=None) == steps


def test_linear_with_multiplier_one_is_min_wait_times_k():
    assert waits(Backoff("linear", 0.5, 60.0, 1.0, "off"), 4) == [0.5, 1.0, 1.5, 2.0]


def test_uniform_is_between_the_minimum_and_the_next_exponential_step():
    backoff = Backoff("exponential", 1.0, 6.0, 2.0, "uniform")
    assert waits(backoff, 4, low) == [1.0, 1.0, 1.0, 1.0]
    assert waits(backoff, 4, middle) == [1.5, 2.5, 3.5, 3.5]
    assert waits(backoff, 4, high) == pytest.approx([2.0, 4.0, 6.0, 6.0])


def test_uniform_spreads_constant_waits_too_without_growth():
    backoff = Backoff("constant", 1.0, 60.0, 2.0, "uniform")
    assert waits(backoff, 3, low) == [1.0, 1.0, 1.0]
    assert waits(backoff, 3, middle) == [1.5, 1.5, 1.5]


def test_uniform_on_linear_goes_up_to_the_next_step():
    assert waits(Backoff("linear", 1.0, 60.0, 2.0, "uniform"), 3, middle) == [2.0, 3.0, 4.0]


def test_full_is_anything_up_to_the_step():
    backoff = Backoff("exponential", 2.0, 6.0, 2.0, "full")
    assert waits(backoff, 3, low) == [0.0, 0.0, 0.0]
    assert waits(backoff, 3, middle) == [1.0, 2.0, 3.0]


def test_equal_keeps_half_of_the_step():
    backoff = Backoff("exponential", 2.0, 6.0, 2.0, "equal")
    assert waits(backoff, 3, low) == [1.0, 2.0, 3.0]
    assert waits(backoff, 3, middle) == [1.5, 3.0, 4.5]


def test_decorrelated_grows_from_the_wait_before():
    backoff = Backoff("exponential", 1.0, 60.0, 2.0, "decorrelated")
    assert backoff.wait(1, None, middle) == 2.0
    assert backoff.wait(2, 5.0, middle) == 8.0
    assert backoff.wait(3, 50.0, high) == pytest.approx(60.0)
    assert backoff.wait(3, 0.0, high) == pytest.approx(3.0)


def test_decorrelated_ignores_the_wait_before_if_constant():
    backoff = Backoff("constant", 1.0, 60.0, 2.0, "decorrelated")
    assert backoff.wait(2, 50.0, middle) == 2.0


def test_the_cap_wins_over_the_minimum():
    for jitter in get_args(Jitter):
        assert Backoff("exponential", 5.0, 2.0, 2.0, jitter).wait(3, None, high) <= 2.0


def test_longest_is_the_sum_of_the_upper_ends():
    assert Backoff("exponential", 1.0, 60.0, 2.0, "off").longest(3) == 7.0
    assert Backoff("exponential", 1.0, 60.0, 2.0, "uniform").longest(2) == 6.0
    assert Backoff("exponential", 1.0, 60.0, 2.0, "full").longest(2) == 3.0
    assert Backoff("exponential", 1.0, 60.0, 2.0, "equal").longest(2) == 3.0
    assert Backoff("exponential", 1.0, 60.0, 2.0, "decorrelated").longest(2) == 12.0
    assert Backoff("linear", 1.0, 60.0, 2.0, "off").longest(3) == 9.0
    assert Backoff("constant", 1.0, 60.0, 2.0, "off").longest(5) == 5.0
    assert Backoff("constant", 1.0, 60.0, 2.0, "uniform").longest(5) == 10.0
    assert Backoff("constant", 1.0, 60.0, 2.0, "decorrelated").longest(3) == 9.0
    assert Backoff().longest(0) == 0.0


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_no_wait_is_endless(kind):
    """What is beyond a float is still a number, which a jitter of 0 makes to 0."""
    assert Backoff(kind, 1e10, math.inf, 1e10, "full").wait(10**300, None, lambda: 0.0) == 0.0


def test_longest_of_a_billion_retries_is_quick():
    assert Backoff("exponential", 1.0, 60.0, 2.0, "off").longest(10**9) == pytest.approx(60e9, rel=1e-6)


seconds = st.floats(0.0, 1e9, allow_subnormal=False)  # whose products round to no full figures
backoffs = st.builds(
    lambda kind, span, multiplier, jitter: Backoff(kind, min(span), max(span), multiplier, jitter),
    st.sampled_from(get_args(Growth)),
    st.tuples(seconds, seconds),
    st.floats(1.0, 1e9),
    st.sampled_from(get_args(Jitter)),
)
fractions = st.floats(0.0, 1.0, exclude_max=True)


@given(backoffs, st.integers(1, 10**400), st.none() | seconds, fractions)
def test_no_retry_number_overflows_and_nothing_exceeds_the_maximum(backoff, retry, previous, fraction):
    wait = backoff.wait(retry, previous, lambda: fraction)
    assert 0.0 <= wait <= backoff.max_wait
    if backoff.jitter not in {"full", "equal"}:
        assert wait >= backoff.min_wait


@given(backoffs, st.lists(fractions, max_size=30))
def test_no_sequence_waits_longer_than_longest(backoff, draws):
    remaining = iter(draws)
    total = sum(waits(backoff, len(draws), lambda: next(remaining)))
    assert total <= backoff.longest(len(draws)) * (1 + 1e-9)


@given(backoffs.filter(lambda backoff: backoff.jitter != "decorrelated"), st.integers(1, 100), fractions)
def test_waits_do_not_shrink_for_the_same_draw(backoff, retry, fraction):
    earlier = backoff.wait(retry, None, lambda: fraction)
    assert backoff.wait(retry + 1, None, lambda: fraction) >= earlier


def test_an_unlimited_maximum_is_no_nan():
    for jitter in get_args(Jitter):
        backoff = Backoff("exponential", 0.0, math.inf, 2.0, jitter)
        assert backoff.wait(10**6, None, low) == 0.0
