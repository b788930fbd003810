"""The circuit breaker: the table of its states, what is counted, and who is let through as a probe."""

from __future__ import annotations

import math
from collections import deque
from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.core.breaker import (
    TRANSITIONS,
    Breaker,
    BreakerPolicy,
    IllegalTransitionError,
    StateName,
    Trigger,
)

STATES: tuple[StateName, ...] = get_args(StateName)
WAIT = 30.0  # the default recovery timeout


class Watched(Breaker):
    """A breaker that remembers the changes it told of."""

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self.changes: list[tuple[StateName, StateName, float]] = []
        super().__init__(policy or BreakerPolicy(), lambda old, new, after: self.changes.append((old, new, after)))


def breaker_in(state: StateName, policy: BreakerPolicy | None = None, now: float = 0.0) -> Watched:
    """A breaker in this state since `now`. The half-open one has a probe in flight."""
    breaker = Watched(policy)
    if state == "isolated":
        breaker.isolate(now)
    elif state == "open":
        fail(breaker, breaker._policy.failure_threshold, now)
    elif state == "half_open":
        fail(breaker, breaker._policy.failure_threshold, now - breaker._policy.recovery_timeout)
        assert breaker.is_probe(breaker.enter(now))
    assert breaker.state(now) == state
    breaker.changes.clear()
    return breaker


def is_closed(breaker: Breaker) -> bool:
    return breaker.closed


def fail(breaker: Breaker, times: int = 1, now: float = 0.0, seconds: float = 0.0) -> None:
    for _ in range(times):
        ticket = breaker.enter(now)
        assert ticket >= 0
        breaker.fail(ticket, now, seconds)


def succeed(breaker: Breaker, times: int = 1, now: float = 0.0, seconds: float = 0.0) -> None:
    for _ in range(times):
        ticket = breaker.enter(now)
        assert ticket >= 0
        breaker.succeed(ticket, now, seconds)


# The table


def test_every_state_can_be_left_and_reached():
    assert {state for state, _ in TRANSITIONS} == set(STATES)
    assert set(TRANSITIONS.values()) == set(STATES)
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)


def test_a_breaker_goes_round_through_all_of_the_table():
    seen: dict[tuple[StateName, Trigger], StateName] = {}
    for old, trigger in TRANSITIONS:
        breaker = breaker_in(old)
        breaker._change(trigger, 1.0)
        seen[old, trigger] = breaker._state
    expected: dict[tuple[StateName, Trigger], StateName] = {
        ("closed", Trigger.TRIPPED): "open",
        ("open", Trigger.RESTED): "half_open",
        ("half_open", Trigger.PROVED): "closed",
        ("half_open", Trigger.FAILED): "open",
    }
    for state in STATES:
        expected[state, Trigger.ISOLATED] = "isolated"
        expected[state, Trigger.CLOSED] = "closed"
    assert seen == expected


@pytest.mark.parametrize(
    ("state", "trigger"), [pair for pair in product(STATES, Trigger) if pair not in TRANSITIONS], ids=str
)
def test_what_the_table_does_not_have_raises_and_changes_nothing(state, trigger):
    breaker = breaker_in(state)
    slots = [name for name in Breaker.__slots__ if name != "_window"]
    before = {name: getattr(breaker, name) for name in slots}
    with pytest.raises(IllegalTransitionError, match=state):
        breaker._change(trigger, 1.0)
    assert {name: getattr(breaker, name) for name in slots} == before
    assert breaker.changes == []


# Closed


def test_a_new_breaker_is_closed_and_lets_everybody_through():
    breaker = Watched()
    tickets = [breaker.enter(0.0) for _ in range(100)]
    assert min(tickets) >= 0
    assert not any(map(breaker.is_probe, tickets))
    assert is_closed(breaker)
    assert (breaker.state(0.0), breaker.retry_after(0.0)) == ("closed", 0.0)


def test_failures_in_a_row_open_it():
    breaker = Watched()
    fail(breaker, 4)
    assert is_closed(breaker)
    fail(breaker, now=7.0)
    assert not is_closed(breaker)
    assert breaker.state(7.0) == "open"
    assert breaker.changes == [("closed", "open", 30.0)]


def test_a_success_resets_the_row():
    breaker = Watched()
    for _ in range(10):
        fail(breaker, 4)
        succeed(breaker)
    assert is_closed(breaker)


def test_what_is_neutral_neither_counts_nor_resets():
    breaker = Watched(BreakerPolicy(failure_threshold=2))
    fail(breaker)
    for _ in range(10):
        breaker.leave(breaker.enter(0.0))
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)


def test_the_threshold_may_be_one():
    breaker = Watched(BreakerPolicy(failure_threshold=1))
    fail(breaker)
    assert breaker.state(0.0) == "open"


def test_without_a_window_successes_in_between_keep_it_closed_whatever_the_rate():
    breaker = Watched(BreakerPolicy(failure_rate=0.1, minimum_calls=1, slow_call_seconds=9.0, slow_call_rate=0.5))
    for _ in range(50):
        fail(breaker, 4)
        succeed(breaker)
    assert is_closed(breaker)


def test_nobody_has_to_listen():
    breaker = Breaker(BreakerPolicy(failure_threshold=1))
    fail(breaker)
    assert breaker.state(0.0) == "open"


def is_spotless(breaker: Breaker) -> bool:
    return breaker.spotless


def test_a_success_need_not_be_told_unless_there_are_failures_to_forget():
    breaker = Watched()
    assert is_spotless(breaker)
    fail(breaker)
    assert not is_spotless(breaker)
    succeed(breaker)
    assert is_spotless(breaker)
    fail(breaker, 5)
    assert not is_spotless(breaker)
    succeed(breaker, now=WAIT)
    assert is_spotless(breaker)


@pytest.mark.parametrize(
    ("policy", "spotless"),
    [
        (BreakerPolicy(slow_call_seconds=1.0), True),
        (BreakerPolicy(slow_call_rate=0.5), True),
        (BreakerPolicy(slow_call_seconds=1.0, slow_call_rate=0.5), False),
        (BreakerPolicy(window="count"), False),
        (BreakerPolicy(window="time"), False),
    ],
)
def test_a_window_wants_to_be_told_of_every_success(policy, spotless):
    breaker = Watched(policy)
    assert is_spotless(breaker) is spotless
    succeed(breaker)
    breaker.close(0.0)
    assert is_spotless(breaker) is spotless


# Rates


def test_the_failure_rate_of_the_last_results_opens_it():
    breaker = Watched(BreakerPolicy(window="count", window_size=10, minimum_calls=10, failure_rate=0.5))
    succeed(breaker, 10)
    for _ in range(4):
        fail(breaker)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)


def test_with_a_window_failures_in_a_row_do_not_count():
    breaker = Watched(BreakerPolicy(window="count", failure_threshold=1, minimum_calls=10))
    fail(breaker, 9)
    assert is_closed(breaker)


def test_old_results_drop_out_of_a_window_of_a_number():
    breaker = Watched(BreakerPolicy(window="count", window_size=4, minimum_calls=4, failure_rate=0.5))
    fail(breaker)
    for _ in range(10):
        succeed(breaker, 3)
        fail(breaker)
    assert is_closed(breaker)


def test_rates_are_looked_at_from_the_minimum_of_calls_on():
    breaker = Watched(BreakerPolicy(window="count", minimum_calls=5, failure_rate=0.1))
    fail(breaker, 4)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)


def test_a_good_result_never_opens_it():
    breaker = Watched(BreakerPolicy(window="count", minimum_calls=5, failure_rate=0.5))
    fail(breaker, 4)
    succeed(breaker)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)


def test_the_minimum_is_never_more_than_a_window_of_a_number_holds():
    breaker = Watched(BreakerPolicy(window="count", window_size=3, minimum_calls=10))
    fail(breaker, 2)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)


def test_the_size_of_a_window_of_a_number_is_no_minimum_for_one_of_time():
    breaker = Watched(BreakerPolicy(window="time", window_size=3, minimum_calls=5))
    fail(breaker, 4)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)


def test_the_failure_rate_of_the_last_seconds_opens_it():
    breaker = Watched(BreakerPolicy(window="time", window_seconds=10.0, minimum_calls=4, failure_rate=0.5))
    fail(breaker, 3, now=0.0)
    fail(breaker, now=10.0)
    assert is_closed(breaker)
    fail(breaker, 3, now=12.0)
    assert not is_closed(breaker)


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_rate_is_reached_by_exactly_its_share(percent):
    """Products round up where quotients do not: 0.07 * 100 > 7."""
    policy = BreakerPolicy(window="count", window_size=100, minimum_calls=100, failure_rate=percent / 100)
    breaker = Watched(policy)
    succeed(breaker, 100 - percent)
    fail(breaker, percent - 1)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)


def test_opening_forgets_the_window():
    breaker = Watched(BreakerPolicy(window="count", minimum_calls=3))
    fail(breaker, 3)
    assert not is_closed(breaker)
    succeed(breaker, now=WAIT)
    assert is_closed(breaker)
    fail(breaker, 2, now=WAIT)
    assert is_closed(breaker)


# Slow calls


SLOW = BreakerPolicy(slow_call_seconds=2.0, slow_call_rate=0.5, window_size=10, minimum_calls=4)


def test_slow_calls_open_it_although_they_succeed():
    breaker = Watched(SLOW)
    succeed(breaker, 2, seconds=1.9)
    succeed(breaker, seconds=2.0)
    assert is_closed(breaker)
    succeed(breaker, seconds=2.0)
    assert not is_closed(breaker)


def test_slow_failures_are_slow_as_well():
    breaker = Watched(SLOW)
    succeed(breaker, 2)
    fail(breaker, 2, seconds=5.0)
    assert not is_closed(breaker)


@pytest.mark.parametrize("percent", [7, 14, 28, 29, 55, 57])
def test_the_rate_of_slow_calls_is_reached_by_exactly_its_share(percent):
    breaker = Watched(BreakerPolicy(slow_call_seconds=1.0, slow_call_rate=percent / 100, minimum_calls=100))
    succeed(breaker, 100 - percent)
    succeed(breaker, percent - 1, seconds=1.0)
    assert is_closed(breaker)
    succeed(breaker, seconds=1.0)
    assert not is_closed(breaker)


def test_the_row_of_failures_is_counted_beside_the_slow_calls():
    breaker = Watched(SLOW)
    succeed(breaker, 100)
    fail(breaker, 4)
    succeed(breaker)
    fail(breaker, 4)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)


@pytest.mark.parametrize(
    "policy",
    [BreakerPolicy(slow_call_seconds=1.0, minimum_calls=1), BreakerPolicy(slow_call_rate=0.1, minimum_calls=1)],
)
def test_slow_calls_need_both_a_time_and_a_rate(policy):
    breaker = Watched(policy)
    succeed(breaker, 200, seconds=1000.0)
    assert is_closed(breaker)
    fail(breaker, 5, now=0.0)
    succeed(breaker, now=WAIT, seconds=1000.0)
    assert is_closed(breaker)


@pytest.mark.parametrize("window", ["count", "time"])
def test_slow_calls_and_failures_share_a_window(window):
    policy = BreakerPolicy(window=window, minimum_calls=4, failure_rate=0.6, slow_call_seconds=1.0, slow_call_rate=0.6)
    breaker = Watched(policy)
    succeed(breaker, 2, seconds=1.0)
    fail(breaker, 2)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)


def test_a_slow_probe_has_failed():
    breaker = Watched(BreakerPolicy(failure_threshold=1, slow_call_seconds=2.0, slow_call_rate=0.5))
    fail(breaker)
    succeed(breaker, now=WAIT, seconds=2.0)
    assert breaker.state(WAIT) == "open"
    succeed(breaker, now=2 * WAIT, seconds=1.9)
    assert is_closed(breaker)


# Open


def test_an_open_breaker_refuses_until_the_recovery_timeout_has_passed():
    breaker = breaker_in("open", now=100.0)
    for now in (100.0, 110.0, 129.9):
        assert breaker.enter(now) == -1
        assert breaker.retry_after(now) == pytest.approx(130.0 - now)
        assert breaker.state(now) == "open"
    assert breaker.state(130.0) == "half_open"
    assert breaker.retry_after(130.0) == 0.0
    assert breaker.changes == []
    assert breaker.is_probe(breaker.enter(130.0))
    assert breaker.changes == [("open", "half_open", 0.0)]


def test_the_time_until_a_probe_is_never_negative():
    assert breaker_in("open").retry_after(1e6) == 0.0


def test_results_from_before_it_opened_change_nothing():
    breaker = Watched(BreakerPolicy(failure_threshold=1))
    old = [breaker.enter(0.0) for _ in range(3)]
    fail(breaker)
    breaker.fail(old[0], 20.0)
    breaker.succeed(old[1], 20.0)
    breaker.leave(old[2])
    assert breaker.retry_after(20.0) == 10.0
    assert breaker.changes == [("closed", "open", 30.0)]


def test_a_refusal_is_no_ticket():
    breaker = breaker_in("open")
    refused = breaker.enter(1.0)
    breaker.fail(refused, 1.0)
    breaker.succeed(refused, 1.0)
    breaker.leave(refused)
    assert not breaker.is_probe(refused)
    assert breaker.changes == []
    half_open = breaker_in("half_open")
    half_open.leave(half_open.enter(0.0))
    assert half_open.enter(0.0) == -1


def test_those_in_flight_learn_that_it_was_opened():
    breaker = Watched(BreakerPolicy(failure_threshold=1))
    ticket = breaker.enter(0.0)
    assert not breaker.interrupted(ticket)
    fail(breaker)
    assert breaker.interrupted(ticket)
    probe = breaker.enter(WAIT)
    assert breaker.interrupted(ticket)
    assert not breaker.interrupted(probe)
    breaker.succeed(probe, WAIT)
    assert breaker.interrupted(ticket)
    assert not breaker.interrupted(breaker.enter(WAIT))


def test_so_do_those_who_came_after_an_earlier_opening():
    breaker = Watched(BreakerPolicy(failure_threshold=1))
    fail(breaker)
    succeed(breaker, now=WAIT)
    ticket = breaker.enter(WAIT)
    fail(breaker, now=WAIT)
    assert breaker.interrupted(ticket)


def test_closing_by_hand_interrupts_nobody():
    breaker = Watched()
    ticket = breaker.enter(0.0)
    breaker.close(0.0)
    assert not breaker.interrupted(ticket)
    breaker.isolate(0.0)
    assert breaker.interrupted(ticket)


# Half open


@pytest.mark.parametrize("probes", [1, 2, 5])
def test_exactly_so_many_probes_are_let_through_however_many_come(probes):
    breaker = Watched(BreakerPolicy(failure_threshold=1, half_open_probes=probes))
    fail(breaker)
    tickets = [breaker.enter(WAIT) for _ in range(100)]
    assert [breaker.is_probe(ticket) for ticket in tickets] == [True] * probes + [False] * (100 - probes)
    assert tickets[probes:] == [-1] * (100 - probes)
    assert breaker.retry_after(WAIT) == 0.0


def test_it_closes_when_all_probes_have_succeeded():
    breaker = Watched(BreakerPolicy(failure_threshold=1, half_open_probes=3))
    fail(breaker)
    probes = [breaker.enter(WAIT) for _ in range(3)]
    breaker.succeed(probes[0], WAIT)
    breaker.succeed(probes[1], WAIT)
    assert breaker.state(WAIT) == "half_open"
    assert breaker.enter(WAIT) == -1
    breaker.succeed(probes[2], WAIT)
    assert is_closed(breaker)
    assert breaker.changes[1:] == [("open", "half_open", 0.0), ("half_open", "closed", 0.0)]


def test_probes_may_come_one_after_the_other():
    breaker = Watched(BreakerPolicy(failure_threshold=1, half_open_probes=3))
    fail(breaker)
    succeed(breaker, 2, now=WAIT)
    assert not is_closed(breaker)
    succeed(breaker, 1, now=WAIT + 100.0)
    assert is_closed(breaker)


def test_one_failed_probe_opens_it_again_from_that_moment_on():
    breaker = Watched(BreakerPolicy(failure_threshold=3, half_open_probes=3))
    fail(breaker, 3, now=10.0)
    probes = [breaker.enter(40.0) for _ in range(3)]
    breaker.succeed(probes[0], 40.0)
    breaker.fail(probes[1], 45.0)
    assert breaker.state(45.0) == "open"
    assert breaker.retry_after(45.0) == 30.0
    assert breaker.changes[-1] == ("half_open", "open", 30.0)
    breaker.succeed(probes[2], 46.0)
    assert breaker.state(46.0) == "open"
    # The next round starts from nothing.
    assert [breaker.enter(74.9), breaker.retry_after(75.0)] == [-1, 0.0]
    assert sum(breaker.is_probe(breaker.enter(75.0)) for _ in range(10)) == 3


def test_a_probe_that_is_given_back_is_for_another():
    breaker = breaker_in("half_open", BreakerPolicy(failure_threshold=1))
    assert breaker.enter(0.0) == -1
    fresh = Watched(BreakerPolicy(failure_threshold=1))
    fail(fresh)
    probe = fresh.enter(WAIT)
    fresh.leave(probe)
    assert fresh.state(WAIT) == "half_open"
    again = fresh.enter(WAIT)
    assert fresh.is_probe(again)
    assert fresh.enter(WAIT) == -1
    fresh.succeed(again, WAIT)
    assert is_closed(fresh)


def test_results_of_calls_from_before_do_not_settle_the_probing():
    breaker = Watched(BreakerPolicy(failure_threshold=1))
    old = [breaker.enter(0.0) for _ in range(3)]
    fail(breaker)
    probe = breaker.enter(WAIT)
    breaker.succeed(old[0], WAIT)
    breaker.fail(old[1], WAIT)
    breaker.leave(old[2])
    assert breaker.state(WAIT) == "half_open"
    assert breaker.enter(WAIT) == -1
    breaker.succeed(probe, WAIT)
    assert is_closed(breaker)


def test_probes_of_an_earlier_round_count_for_nothing():
    breaker = Watched(BreakerPolicy(failure_threshold=1, half_open_probes=2))
    fail(breaker)
    straggler, failed = breaker.enter(WAIT), breaker.enter(WAIT)
    breaker.fail(failed, WAIT)
    first = breaker.enter(2 * WAIT)
    breaker.leave(straggler)
    breaker.succeed(straggler, 2 * WAIT)
    breaker.fail(straggler, 2 * WAIT)
    assert breaker.state(2 * WAIT) == "half_open"
    second = breaker.enter(2 * WAIT)
    assert breaker.is_probe(second)
    assert breaker.enter(2 * WAIT) == -1
    breaker.succeed(first, 2 * WAIT)
    breaker.succeed(second, 2 * WAIT)
    assert is_closed(breaker)


def test_a_closed_breaker_starts_counting_from_nothing():
    breaker = Watched(BreakerPolicy(failure_threshold=3))
    fail(breaker, 3)
    succeed(breaker, now=WAIT)
    fail(breaker, 2, now=WAIT)
    assert is_closed(breaker)
    fail(breaker, now=WAIT)
    assert not is_closed(breaker)


# By hand


@pytest.mark.parametrize("state", STATES)
def test_isolated_it_refuses_for_ever(state):
    breaker = breaker_in(state)
    breaker.isolate(1.0)
    assert not is_closed(breaker)
    assert breaker.enter(1e9) == -1
    assert breaker.retry_after(1e9) == math.inf
    assert breaker.state(1e9) == "isolated"
    assert breaker.changes == ([] if state == "isolated" else [(state, "isolated", math.inf)])


@pytest.mark.parametrize("state", STATES)
def test_closing_by_hand_forgets_everything(state):
    breaker = breaker_in(state)
    if state == "closed":
        fail(breaker, 4)
    breaker.close(1.0)
    assert is_closed(breaker)
    assert breaker.retry_after(1.0) == 0.0
    assert breaker.changes == ([] if state == "closed" else [(state, "closed", 0.0)])
    fail(breaker, 4, now=1.0)
    assert is_closed(breaker)


def test_calls_from_before_it_was_closed_by_hand_change_nothing():
    breaker = Watched(BreakerPolicy(failure_threshold=1))
    ticket = breaker.enter(0.0)
    breaker.close(0.0)
    breaker.fail(ticket, 0.0)
    assert is_closed(breaker)


def test_a_probe_from_before_it_was_isolated_changes_nothing():
    breaker = Watched(BreakerPolicy(failure_threshold=1))
    fail(breaker)
    probe = breaker.enter(WAIT)
    breaker.isolate(WAIT)
    breaker.succeed(probe, WAIT)
    assert breaker.state(WAIT) == "isolated"


def test_a_result_whose_time_is_not_told_is_not_slow():
    breaker = Watched(BreakerPolicy(window_size=1, minimum_calls=1, slow_call_seconds=0.001, slow_call_rate=1.0))
    breaker.succeed(breaker.enter(0.0), 0.0)
    breaker.fail(breaker.enter(0.0), 0.0)
    assert is_closed(breaker)
    breaker.succeed(breaker.enter(0.0), 0.0, 0.001)
    assert not is_closed(breaker)


# Forking


def test_reset_gives_up_the_probes_of_the_parent():
    breaker = Watched(BreakerPolicy(failure_threshold=1))
    fail(breaker)
    parents = breaker.enter(WAIT)
    breaker.reset()
    assert breaker.state(WAIT) == "half_open"
    ours = breaker.enter(WAIT)
    assert breaker.is_probe(ours)
    breaker.fail(parents, WAIT)
    breaker.leave(parents)
    assert breaker.enter(WAIT) == -1
    breaker.succeed(ours, WAIT)
    assert is_closed(breaker)


def test_reset_forgets_the_calls_of_the_parent_and_of_its_parent():
    breaker = Watched(BreakerPolicy(failure_threshold=1))
    grandparents = breaker.enter(0.0)
    breaker.reset()
    parents = breaker.enter(0.0)
    breaker.reset()
    breaker.fail(grandparents, 0.0)
    breaker.fail(parents, 0.0)
    assert is_closed(breaker)


def test_reset_keeps_the_state_and_what_was_counted():
    breaker = Watched(BreakerPolicy(failure_threshold=2))
    fail(breaker)
    ticket = breaker.enter(0.0)
    breaker.reset()
    assert breaker.ticket == breaker.enter(0.0) != ticket
    breaker.fail(ticket, 0.0)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)
    breaker.reset()
    assert breaker.state(0.0) == "open"
    assert breaker.retry_after(10.0) == 20.0


# Against a model that is told everything


class Modelled(RuleBasedStateMachine):
    """Calls of all generations end in any order, and time goes on: state and probes must be those of the model."""

    @initialize(
        threshold=st.integers(1, 4),
        probes=st.integers(1, 3),
        window=st.sampled_from([None, None, "count"]),
        slow=st.booleans(),
    )
    def build(self, threshold: int, probes: int, window: str | None, slow: bool) -> None:
        self.policy = BreakerPolicy(
            failure_threshold=threshold,
            recovery_timeout=10.0,
            half_open_probes=probes,
            window="count" if window else None,
            window_size=6,
            minimum_calls=4,
            failure_rate=0.5,
            slow_call_seconds=3.0 if slow else None,
            slow_call_rate=0.5 if slow else None,
        )
        self.breaker = Watched(self.policy)
        self.now = 100.0
        self.state: StateName = "closed"
        self.era = 0  # changes so far, one by hand from a state to itself among them
        self.opened = 0.0
        self.last_opening = 0
        self.row = 0
        self.results: deque[tuple[bool, bool]] = deque(maxlen=6)
        self.proved = 0
        self.calls: list[tuple[int, int, bool]] = []  # ticket, era, probe
        self.expected: list[tuple[StateName, StateName]] = []

    def go(self, new: StateName) -> None:
        if new != self.state:
            self.expected.append((self.state, new))
        self.state = new
        self.era += 1
        self.row = self.proved = 0
        self.results.clear()
        if new in {"open", "isolated"}:
            self.opened = self.now
            self.last_opening = self.era

    def probing(self) -> int:
        return sum(probe and era == self.era for _, era, probe in self.calls)

    @rule(seconds=st.sampled_from([0.5, 3.0, 9.5, 10.0, 25.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=st.integers(1, 6))
    def come(self, number: int) -> None:
        for _ in range(number):
            if self.state == "open" and self.now >= self.opened + 10.0:
                self.go("half_open")
            admits = self.state == "closed" or (
                self.state == "half_open" and self.probing() + self.proved < self.policy.half_open_probes
            )
            ticket = self.breaker.enter(self.now)
            assert (ticket >= 0) == admits
            assert self.breaker.is_probe(ticket) == (admits and self.state == "half_open")
            if admits:
                self.calls.append((ticket, self.era, self.state == "half_open"))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), failed=st.booleans(), seconds=st.sampled_from([0.0, 1.0, 3.0, 8.0]))
    def end(self, data: st.DataObject, failed: bool, seconds: float) -> None:
        ticket, era, probe = call = data.draw(st.sampled_from(self.calls))
        self.calls.remove(call)
        if failed:
            self.breaker.fail(ticket, self.now, seconds)
        else:
            self.breaker.succeed(ticket, self.now, seconds)
        if era == self.era:
            slow = self.policy.slow_call_seconds is not None and seconds >= 3.0
            if probe:
                self.judge_probe(good=not failed and not slow)
            else:
                self.judge(failed=failed, slow=slow)

    def judge_probe(self, *, good: bool) -> None:
        if not good:
            self.go("open")
        else:
            self.proved += 1
            if self.proved == self.policy.half_open_probes:
                self.go("closed")

    def judge(self, *, failed: bool, slow: bool) -> None:
        self.row = self.row + 1 if failed else 0
        self.results.append((failed, slow))
        failures, slow_calls = (sum(column) for column in zip(*self.results, strict=True))
        enough = len(self.results) >= 4
        if self.policy.window is None:
            trips = self.row >= self.policy.failure_threshold
        else:
            trips = enough and failed and failures * 2 >= len(self.results)
        if self.policy.window is not None:
            trips = trips or (enough and slow and failures * 2 >= len(self.results))
        if self.policy.slow_call_seconds is not None:
            trips = trips or (enough and (slow or failed) and slow_calls * 2 >= len(self.results))
        if trips:
            self.go("open")

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls))
        self.calls.remove(call)
        self.breaker.leave(call[0])

    @rule()
    def isolate(self) -> None:
        self.breaker.isolate(self.now)
        self.go("isolated")

    @rule()
    def close(self) -> None:
        self.breaker.close(self.now)
        self.go("closed")

    @invariant()
    def state_is_that_of_the_model(self) -> None:
        rested = self.state == "open" and self.now >= self.opened + 10.0
        assert self.breaker.state(self.now) == ("half_open" if rested else self.state)
        assert self.breaker.closed == (self.state == "closed")
        waits = {"open": max(self.opened + 10.0 - self.now, 0.0), "isolated": math.inf}
        assert self.breaker.retry_after(self.now) == waits.get(self.state, 0.0)

    @invariant()
    def short_cuts_lead_to_the_same(self) -> None:
        if self.state == "closed":
            assert self.breaker.ticket == self.breaker.enter(self.now)
        unheard = self.policy.window is None and self.policy.slow_call_seconds is None
        assert self.breaker.spotless == (self.state == "closed" and unheard and self.row == 0)

    @invariant()
    def changes_are_told_once_and_are_in_the_table(self) -> None:
        told = [(old, new) for old, new, _ in self.breaker.changes]
        assert told == self.expected
        table = {(old, new) for (old, _), new in TRANSITIONS.items()}
        assert set(told) <= table

    @invariant()
    def those_before_an_opening_are_interrupted(self) -> None:
        for ticket, era, _ in self.calls:
            assert self.breaker.interrupted(ticket) == (era < self.last_opening)

    @invariant()
    def never_more_probes_than_allowed(self) -> None:
        if self.state == "half_open":
            assert self.probing() + self.proved <= self.policy.half_open_probes


TestModelled = Modelled.TestCase


@given(st.lists(st.tuples(st.floats(0.0, 2.0), st.booleans()), max_size=60), st.integers(1, 6))
def test_a_window_of_time_opens_it_when_the_rate_of_its_buckets_is_reached(results, minimum):
    policy = BreakerPolicy(window="time", window_seconds=5.0, minimum_calls=minimum, failure_rate=0.4)
    breaker = Watched(policy)
    now, kept = 0.0, []
    for step, failed in results:
        now += step
        kept.append((now, failed))
        last = [bad for at, bad in kept if int(at / 0.5) > int(now / 0.5) - 10]
        ticket = breaker.enter(now)
        if failed:
            breaker.fail(ticket, now)
        else:
            breaker.succeed(ticket, now)
        if failed and len(last) >= minimum and sum(last) / len(last) >= 0.4:
            assert breaker.state(now) == "open"
            return
        assert is_closed(breaker)
