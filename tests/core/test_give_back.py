"""Whatever is thrown into a flow, wherever it stands: all that it held comes back."""

from __future__ import annotations

import pytest

from holdfast.testing import SCENARIOS
from tests.support.crowds import ALL, CROWDS
from tests.support.throwing import ERRORS, MOMENTS, Crowd, Plan, leaks, points, refusals, throws


@pytest.mark.parametrize("crowd", ALL, ids=lambda crowd: crowd.name)
def test_everything_comes_back(crowd: Crowd):
    thrown = 0
    for what, found in throws(crowd):
        assert not found, f"{what}: {'; '.join(found)}"
        thrown += 1
    assert thrown == points(crowd) * len(MOMENTS) * len(ERRORS)


def test_everything_comes_back_from_who_must_not_wait():
    refused = 0
    for crowd in ALL:
        for what, found in refusals(crowd):
            assert not found, f"{what}: {'; '.join(found)}"
            refused += 1
    assert refused > 50


def test_that_many_points_are_there():
    """Shown with ``pytest -rP``."""
    figures = {crowd.name: points(crowd) for crowd in ALL}
    total = sum(figures.values())
    print(f"{total} points in {len(figures)} runs, {total * len(MOMENTS) * len(ERRORS)} throws")  # noqa: T201
    assert len(SCENARIOS) + len(CROWDS) == len(ALL) == len(figures), "two have the same name"
    assert total > 300
    assert sum(figures[crowd.name] for crowd in CROWDS) > 120


def test_a_missing_slot_would_be_seen(monkeypatch: pytest.MonkeyPatch):
    """The proof of the proof; that of every single give-back is in test_mutants."""
    monkeypatch.setattr("holdfast.core.bulkhead.Bulkhead.leave", lambda self: None)
    assert leaks(CROWDS[0], Plan())
