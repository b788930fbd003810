"""Windows of recent results, by number and by time, against windows that keep everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.window import CountWindow, TimeWindow, Window

results = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)
# Sixteenths are exact, so that the buckets' edges are where the test believes them to be.
steps = st.integers(0, 64).map(lambda sixteenths: sixteenths / 16.0)


def fill(window: Window, *letters: str, now: float = 0.0) -> None:
    """Records one result for each of the letters: (g)ood, (f)ailed, (s)low, (b)oth."""
    for letter in letters:
        window.record(now, failed=letter in "fb", slow=letter in "sb")


# The last so many


def test_results_failures_and_slow_ones_are_counted():
    window = CountWindow(10)
    fill(window, *"gfsb")
    assert window.totals(0.0) == (4, 2, 2)


def test_the_oldest_result_drops_out():
    window = CountWindow(3)
    fill(window, *"bfs")
    assert window.totals(0.0) == (3, 2, 2)
    fill(window, "g")
    assert window.totals(0.0) == (3, 1, 1)
    fill(window, *"gg")
    assert window.totals(0.0) == (3, 0, 0)


def test_time_means_nothing_to_a_window_of_a_number():
    window = CountWindow(3)
    fill(window, *"fg")
    assert window.totals(1e9) == (2, 1, 0)


@pytest.mark.parametrize("window", [CountWindow(5), TimeWindow(10.0)])
def test_clear_forgets_all_and_counting_goes_on(window):
    fill(window, *"bfsgg", now=3.0)
    window.clear()
    assert window.totals(3.0) == (0, 0, 0)
    fill(window, *"fs", now=3.0)
    assert window.totals(3.0) == (2, 1, 1)


@given(st.integers(1, 8), results)
def test_a_count_window_counts_the_last_results(size, given_results):
    window = CountWindow(size)
    for index, (failed, slow) in enumerate(given_results, start=1):
        window.record(0.0, failed=failed, slow=slow)
        last = given_results[max(index - size, 0) : index]
        assert window.totals(0.0) == (len(last), sum(f for f, _ in last), sum(s for _, s in last))


# The last so many seconds


def test_results_drop_out_with_time():
    window = TimeWindow(10.0, buckets=10)
    fill(window, "f", now=0.0)
    fill(window, "s", now=0.9)
    fill(window, "g", now=5.0)
    assert window.totals(9.9) == (3, 1, 1)
    assert window.totals(10.0) == (1, 0, 0)
    assert window.totals(14.9) == (1, 0, 0)
    assert window.totals(15.0) == (0, 0, 0)


def test_a_long_silence_empties_the_window():
    window = TimeWindow(10.0)
    for second in range(10):
        fill(window, "b", now=float(second))
    assert window.totals(9.0) == (10, 10, 10)
    assert window.totals(1e6) == (0, 0, 0)


def test_recording_makes_time_pass_as_well():
    window = TimeWindow(10.0)
    fill(window, "f", now=0.0)
    fill(window, "g", now=10.0)
    assert window.totals(10.0) == (1, 0, 0)


def test_a_result_that_is_told_late_counts_as_new():
    window = TimeWindow(10.0)
    fill(window, "g", now=20.0)
    fill(window, "f", now=3.0)
    assert window.totals(29.9) == (2, 1, 0)
    assert window.totals(30.0) == (0, 0, 0)


def test_the_first_result_may_come_at_any_time():
    window = TimeWindow(1.0)
    fill(window, "f", now=1e6)
    assert window.totals(1e6) == (1, 1, 0)


@given(st.integers(1, 12), st.lists(st.tuples(steps, st.booleans(), st.booleans()), max_size=60))
def test_a_time_window_counts_the_buckets_that_reach_into_it(buckets, recorded):
    seconds = buckets * 0.5
    window = TimeWindow(seconds, buckets)
    now, kept = 0.0, []
    for step, failed, slow in recorded:
        now += step
        window.record(now, failed=failed, slow=slow)
        kept.append((now, failed, slow))
        # A bucket is counted as long as all of it is in the window.
        last = [result for result in kept if result[0] // 0.5 > now // 0.5 - buckets]
        assert window.totals(now) == (len(last), sum(f for _, f, _ in last), sum(s for *_, s in last))
        assert all(now - at < seconds for at, *_ in last)
        assert all(now - at > seconds - 0.5 for at, *_ in kept[: len(kept) - len(last)])
