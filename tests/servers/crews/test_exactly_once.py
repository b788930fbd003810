"""Crews under injected failures: executed once, and every result delivered; or not, and then that is said."""

from __future__ import annotations

import pytest

from tests.support.exactly_once import execute

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

CALLS = 40
QUICK = {"retry_delay": 0.02, "retry_max_wait": 0.2}


def test_where_the_server_deduplicates_every_crew_is_executed_once_and_every_result_delivered(tmp_path):
    seen = execute(tmp_path, CALLS, server_deduplicates=True, **QUICK)
    assert seen.errors == {}
    assert seen.results == set(range(CALLS))
    assert dict(seen.executed) == dict.fromkeys(range(CALLS), 1)
    assert seen.struck and seen.requests > CALLS


def test_where_it_does_not_no_crew_is_executed_twice_and_what_is_uncertain_is_told(tmp_path):
    seen = execute(tmp_path, CALLS, server_deduplicates=False, **QUICK)
    assert seen.errors and seen.results
    assert seen.results.isdisjoint(seen.errors)
    assert len(seen.results) + len(seen.errors) == CALLS
    assert seen.more_than_once() == []
    assert seen.unaccounted() == []
    # Some of those have been executed, and some have not.
    assert seen.errors.keys() & seen.executed.keys()
