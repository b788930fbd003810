"""Timeouts cut to the time that is left."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.deadline import cut, longest

INF = math.inf
TIMEOUTS = {"connect": 60.0, "read": 15.0, "write": None, "pool": 5.0}

timeouts = st.dictionaries(st.sampled_from(sorted(TIMEOUTS)), st.none() | st.floats(0.001, 1e6))


def test_what_is_longer_than_the_rest_is_cut_and_what_is_unlimited_gets_it():
    assert cut(TIMEOUTS, 10.0) == {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": 5.0}


def test_the_original_is_left_alone():
    before = dict(TIMEOUTS)
    after = cut(TIMEOUTS, 1.0)
    assert before == TIMEOUTS
    assert after is not TIMEOUTS


@pytest.mark.parametrize("left", [0.0, -5.0, 0.0001, -INF])
def test_a_millisecond_remains(left):
    assert set(cut(TIMEOUTS, left).values()) == {0.001}


def test_no_deadline_changes_nothing_and_is_still_a_new_dict():
    after = cut(TIMEOUTS, INF)
    assert after == TIMEOUTS
    assert after is not TIMEOUTS


def test_longest():
    assert longest({"connect": 60.0, "read": 15.0}) == 60.0
    assert longest(TIMEOUTS) == INF
    assert longest({}) == INF


@given(timeouts, st.floats(0.001, 1e6))
def test_nothing_outlasts_the_deadline_and_nothing_gets_longer(given_timeouts, left):
    after = cut(given_timeouts, left)
    assert after.keys() == given_timeouts.keys()
    assert all(seconds is not None and seconds <= left for seconds in after.values())
    assert all(after[name] in {old, left} for name, old in given_timeouts.items())
    assert longest(after) <= left or not after


@given(timeouts, st.floats(0.001, 1e6))
def test_nothing_to_cut_if_the_longest_fits(given_timeouts, left):
    if longest(given_timeouts) <= left:
        assert cut(given_timeouts, left) == given_timeouts
