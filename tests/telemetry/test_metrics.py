"""Counters and percentiles of the in-process metrics."""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.telemetry.metrics import BOUNDS, OTHER, SUCCESS, Metrics

A, B = "https://a", "https://b"


def test_a_new_one_is_all_zero():
    snapshot = Metrics().snapshot()
    assert snapshot.origins == {}
    total = snapshot.total
    assert (total.calls, total.errors, total.error_rate, total.attempts, total.retries) == (0, 0, 0.0, 0, 0)
    assert (total.mean, total.p50, total.p95, total.p99, total.slowest) == (0.0, 0.0, 0.0, 0.0, 0.0)
    assert total.statuses == {}
    assert total.outcomes == {}


def test_counts_by_origin_and_in_total():
    metrics = Metrics()
    metrics.record(A, 0.1, SUCCESS, 1, 200)
    metrics.record(A, 0.2, SUCCESS, 3, 204)
    metrics.record(A, 0.3, "503", 2, 503)
    metrics.record(B, 0.0, "the circuit breaker is open", 0, 0)
    metrics.record(B, 0.4, "any other 4xx", 1, 404)
    snapshot = metrics.snapshot()
    a, b, total = snapshot.origins[A], snapshot.origins[B], snapshot.total
    assert (a.calls, a.errors, a.attempts, a.retries) == (3, 1, 6, 3)
    assert a.error_rate == pytest.approx(1 / 3)
    assert a.statuses == {"2xx": 2, "5xx": 1}
    assert a.outcomes == {SUCCESS: 2, "503": 1}
    assert a.mean == pytest.approx(0.2)
    assert a.slowest == 0.3
    assert (b.calls, b.errors, b.attempts, b.retries, b.error_rate) == (2, 2, 1, 0, 1.0)
    assert b.statuses == {"none": 1, "4xx": 1}
    assert (total.calls, total.errors, total.attempts, total.retries, total.error_rate) == (5, 3, 7, 3, 0.6)
    assert total.statuses == {"none": 1, "2xx": 2, "4xx": 1, "5xx": 1}
    assert total.outcomes == {SUCCESS: 2, "503": 1, "the circuit breaker is open": 1, "any other 4xx": 1}
    assert total.slowest == 0.4


def test_statuses_that_no_class_covers_are_counted_as_other():
    metrics = Metrics()
    metrics.record(A, 0.1, SUCCESS, 1, 600)
    metrics.record(A, 0.1, SUCCESS, 1, 999)
    assert metrics.snapshot().total.statuses == {OTHER: 2}


def test_a_snapshot_stands_still_and_reset_forgets():
    metrics = Metrics()
    metrics.record(A, 0.1, SUCCESS, 1, 200)
    before = metrics.snapshot()
    metrics.record(A, 0.1, "503", 1, 503)
    assert before.total.calls == before.origins[A].calls == 1
    assert before.origins[A].outcomes == {SUCCESS: 1}
    metrics.reset()
    assert metrics.snapshot() == Metrics().snapshot()
    metrics.record(B, 0.1, SUCCESS, 1, 200)
    assert metrics.snapshot().origins.keys() == {B}


def test_a_snapshot_cannot_be_changed_and_can_be_exported():
    metrics = Metrics()
    metrics.record(A, 0.1, SUCCESS, 1, 200)
    snapshot = metrics.snapshot()
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.total.calls = 5  # type: ignore[misc]
    assert json.loads(json.dumps(dataclasses.asdict(snapshot)))["origins"][A]["calls"] == 1


def test_origins_beyond_the_limit_are_counted_together():
    metrics = Metrics()
    for number in range(1200):
        metrics.record(f"https://{number}", 0.1, SUCCESS, 1, 200)
    metrics.record("https://0", 0.1, SUCCESS, 1, 200)
    snapshot = metrics.snapshot()
    assert len(snapshot.origins) == 1001
    assert snapshot.origins[OTHER].calls == 200
    assert snapshot.origins["https://0"].calls == 2
    assert snapshot.total.calls == 1201


def test_outcomes_beyond_the_limit_are_counted_together():
    metrics = Metrics()
    for number in range(1000):
        metrics.record(A, 0.1, f"outcome {number}", 1, 500)
    outcomes = metrics.snapshot().total.outcomes
    assert len(outcomes) < 300
    assert sum(outcomes.values()) == 1000
    assert outcomes[OTHER] > 700


def test_the_bounds_grow_evenly_from_half_a_millisecond_to_ten_minutes():
    assert BOUNDS[0] == 0.0005
    assert BOUNDS[-1] == 600.0
    assert all(1.4 < high / low < 1.55 for low, high in itertools.pairwise(BOUNDS))


def test_percentiles_of_an_even_spread():
    metrics = Metrics()
    for millisecond in range(1, 1001):
        metrics.record(A, millisecond / 1000, SUCCESS, 1, 200)
    stats = metrics.snapshot().origins[A]
    assert stats.p50 == pytest.approx(0.5, rel=0.05)
    assert stats.p95 == pytest.approx(0.95, rel=0.05)
    assert stats.p99 == pytest.approx(0.99, rel=0.05)
    assert stats.mean == pytest.approx(0.5005)


def test_times_beyond_the_last_bound_are_bounded_by_the_slowest():
    metrics = Metrics()
    for _ in range(10):
        metrics.record(A, 4000.0, SUCCESS, 1, 200)
    stats = metrics.snapshot().total
    assert 600.0 <= stats.p50 <= stats.p99 <= 4000.0
    assert stats.slowest == 4000.0


@given(st.lists(st.floats(0.0, 700.0), min_size=1, max_size=200))
def test_percentiles_lie_within_a_bucket_of_the_true_ones(times):
    metrics = Metrics()
    for seconds in times:
        metrics.record(A, seconds, SUCCESS, 1, 200)
    stats = metrics.snapshot().origins[A]
    assert 0.0 <= stats.p50 <= stats.p95 <= stats.p99 <= stats.slowest == max(times)
    ordered = sorted(times)
    for share, told in ((0.5, stats.p50), (0.95, stats.p95), (0.99, stats.p99)):
        true = next(value for rank, value in enumerate(ordered, 1) if rank >= share * len(ordered))
        low = max((bound for bound in (0.0, *BOUNDS) if bound < true), default=0.0)
        high = min((bound for bound in BOUNDS if bound >= true), default=max(times))
        assert low <= told <= high
    assert stats.mean == pytest.approx(statistics.fmean(times))
