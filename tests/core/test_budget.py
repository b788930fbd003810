"""The retry budget: the larger of the floor and a share of the calls, in whatever window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from holdfast.core.budget import RetryBudget


def calls(budget: RetryBudget, number: int, now: float = 0.0) -> None:
    for _ in range(number):
        budget.record_call(now)


def spend_all(budget: RetryBudget, now: float, limit: int = 1000) -> int:
    """Retries that are to be had at this moment."""
    return next((taken for taken in range(limit) if not budget.spend(now)), limit)


# The bound


@pytest.mark.parametrize("now", [0.0, 123.4, 1e6])
def test_the_floor_is_free(now):
    assert spend_all(RetryBudget(), now) == 10


@pytest.mark.parametrize(("number", "retries"), [(0, 10), (50, 10), (54, 10), (55, 11), (100, 20), (499, 99)])
def test_the_defaults_allow_a_fifth_of_the_calls_or_ten(number, retries):
    budget = RetryBudget()
    calls(budget, number)
    assert spend_all(budget, 0.0) == retries


@pytest.mark.parametrize(
    ("ratio", "number", "retries"),
    [(0.29, 100, 29), (0.07, 100, 7), (0.1, 3, 0), (0.5, 3, 1), (1.0, 7, 7), (2.0, 3, 6), (0.0, 100, 0)],
)
def test_a_share_is_never_exceeded_nor_rounded_away(ratio, number, retries):
    budget = RetryBudget(ratio, floor=0)
    calls(budget, number)
    assert spend_all(budget, 0.0) == retries


def test_the_window_is_ten_seconds_and_a_bucket():
    budget = RetryBudget()
    assert spend_all(budget, 0.0) == 10
    assert spend_all(budget, 10.9) == 0
    assert spend_all(budget, 11.0) == 10


@pytest.mark.parametrize("pause", range(11, 45))
def test_after_a_long_pause_nothing_of_before_is_left(pause):
    budget = RetryBudget()
    calls(budget, 1000)
    assert spend_all(budget, 0.0) == 200
    assert spend_all(budget, float(pause)) == 10


def test_a_call_counts_until_the_window_begins_to_leave_its_bucket():
    budget = RetryBudget(ratio=1.0, floor=0)
    calls(budget, 1, 0.0)
    calls(budget, 1, 1.5)
    assert spend_all(budget, 10.0) == 1
    assert spend_all(budget, 11.0) == 0


def test_neither_floor_nor_calls_means_no_retries():
    assert not RetryBudget(floor=0).spend(0.0)


def test_a_refused_retry_costs_nothing():
    budget = RetryBudget(ratio=0.5, floor=0)
    calls(budget, 2)
    assert spend_all(budget, 0.0) == 1
    for _ in range(5):
        assert not budget.spend(0.0)
    calls(budget, 2)
    assert spend_all(budget, 0.0) == 1


# Time


def test_deposits_lapse_with_the_window():
    budget = RetryBudget(ratio=1.0, window=10.0, floor=0)
    calls(budget, 5, 0.0)
    calls(budget, 3, 6.0)
    assert spend_all(budget, 9.9) == 8
    budget = RetryBudget(ratio=1.0, window=10.0, floor=0)
    calls(budget, 5, 0.0)
    calls(budget, 3, 6.0)
    assert spend_all(budget, 10.0) == 3


def test_deposits_of_a_quiet_past_are_no_credit_for_an_outage():
    budget = RetryBudget()
    for second in range(100):
        calls(budget, 100, float(second))
    assert spend_all(budget, 1000.0) == 10


def test_retries_come_back_with_time():
    budget = RetryBudget(window=10.0, floor=3)
    assert spend_all(budget, 0.0) == 3
    assert spend_all(budget, 9.9) == 0
    assert spend_all(budget, 11.0) == 3
    assert spend_all(budget, 1e6) == 3


def test_the_floor_is_that_of_every_window_and_not_of_every_ten_buckets():
    budget = RetryBudget(window=10.0, floor=3)
    assert spend_all(budget, 0.9) == 3
    assert spend_all(budget, 10.5) == 0


def test_time_is_cut_by_the_length_of_the_window():
    budget = RetryBudget(window=1.0, floor=1)
    assert [budget.spend(tenths / 10.0) for tenths in range(0, 24, 4)] == [True, False, False, True, False, False]


def test_a_call_that_began_before_others_is_a_deposit_as_new_as_theirs():
    budget = RetryBudget(ratio=1.0, window=10.0, floor=0)
    calls(budget, 1, 50.0)
    calls(budget, 4, 2.0)
    assert spend_all(budget, 50.0) == 5
    assert spend_all(budget, 61.0) == 0


def test_a_retry_that_is_told_late_is_as_new_as_what_came_before():
    budget = RetryBudget(window=10.0, floor=2)
    assert budget.spend(50.0)
    assert budget.spend(2.0)
    assert not budget.spend(50.0)
    assert not budget.spend(60.0)


def test_deposits_lapse_by_when_they_were_made_and_not_by_when_others_were():
    budget = RetryBudget(ratio=1.0, window=1.0, floor=0)
    calls(budget, 3, 0.0)
    calls(budget, 5, 0.55)
    assert spend_all(budget, 1.2) == 5


# Giving back


def test_a_retry_that_was_not_sent_is_given_back():
    budget = RetryBudget(floor=2)
    assert spend_all(budget, 0.0) == 2
    budget.refund(0.0)
    assert spend_all(budget, 0.0) == 1


def test_it_is_given_back_to_the_time_at_which_it_was_taken():
    budget = RetryBudget(window=10.0, floor=2)
    assert budget.spend(0.0)
    assert budget.spend(5.0)
    budget.refund(0.0)
    assert spend_all(budget, 5.0) == 1
    # Those of the fifth second are both still counted when that of the first would have dropped out.
    assert spend_all(budget, 11.0) == 0


def test_it_is_given_back_for_as_long_as_it_counts():
    budget = RetryBudget(window=10.0, floor=2)
    assert spend_all(budget, 0.0) == 2
    assert not budget.spend(10.9)
    budget.refund(0.0)
    assert spend_all(budget, 10.9) == 1


@pytest.mark.parametrize("later", [11.0, 12.0, 20.0, 22.0, 1e6])
def test_what_has_dropped_out_is_not_given_back_once_more(later):
    budget = RetryBudget(window=10.0, floor=2)
    assert budget.spend(0.0)
    assert spend_all(budget, later) == 2
    budget.refund(0.0)
    assert not budget.spend(later)


def test_what_was_never_taken_is_not_given_back():
    budget = RetryBudget(floor=1)
    budget.refund(0.0)
    assert spend_all(budget, 0.0) == 1
    budget.refund(0.0)
    budget.refund(0.0)
    assert spend_all(budget, 0.0) == 1
    budget.refund(3.0)
    assert not budget.spend(3.0)


@pytest.mark.parametrize("window", [2.0, 10.0, 50.0])
def test_a_refund_belongs_to_the_time_at_which_it_was_spent(window):
    budget = RetryBudget(0.0, window, floor=1)
    assert budget.spend(window * 0.35)
    budget.record_call(window * 0.95)
    assert not budget.spend(window * 0.95)
    budget.refund(window * 0.35)
    assert budget.spend(window * 0.95)


def test_reset_forgets_calls_and_retries():
    budget = RetryBudget(ratio=1.0, floor=2)
    calls(budget, 50, 5.0)
    assert spend_all(budget, 5.0) == 50
    budget.reset()
    assert spend_all(budget, 5.0) == 2
    calls(budget, 3, 5.0)
    assert spend_all(budget, 5.0) == 1
    assert spend_all(budget, 50.0) == 2


# Against a budget that remembers everything

steps = st.integers(0, 48).map(lambda sixteenths: sixteenths / 16.0)
ratios = st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, 3.0])


class Remembering(RuleBasedStateMachine):
    """Every retry that is allowed is within the bound; every one that is refused is at it, but for one bucket."""

    WINDOW = 5.0
    BUCKET = WINDOW / 10

    def __init__(self) -> None:
        super().__init__()
        self.ratio, self.floor = 0.2, 3
        self.budget = RetryBudget(self.ratio, self.WINDOW, self.floor)
        self.now = 0.0
        self.called: list[float] = []
        self.retried: list[float] = []

    def within(self, times: list[float], seconds: float) -> int:
        return sum(self.now - time <= seconds for time in times)

    @rule(step=steps)
    def wait(self, step: float) -> None:
        self.now += step

    @rule(number=st.integers(1, 30), late=st.sampled_from([0.0, 0.0, 1.0, 7.0]))
    def call(self, number: int, late: float) -> None:
        calls(self.budget, number, max(self.now - late, 0.0))
        # Told late, it counts from what came before on: not before that, and not after now.
        self.called += [self.now] * number

    @rule(times=st.integers(1, 8))
    def retry(self, times: int) -> None:
        for _ in range(times):
            retries = self.within(self.retried, self.WINDOW) + 1
            allowed = max(self.floor, self.ratio * self.within(self.called, self.WINDOW))
            if self.budget.spend(self.now):
                assert retries <= allowed + 1e-9
                self.retried.append(self.now)

    @rule()
    def get_what_there_must_be(self) -> None:
        """One bucket on either side is the price of not keeping every time: nothing else is withheld."""
        retries = self.within(self.retried, self.WINDOW + self.BUCKET) + 1
        if retries <= self.floor:
            assert self.budget.spend(self.now)
            self.retried.append(self.now)

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        if self.retried:
            self.budget.refund(self.retried.pop(data.draw(st.integers(0, len(self.retried) - 1))))


TestRemembering = Remembering.TestCase


@given(ratios, st.integers(0, 4), st.lists(st.tuples(steps, st.integers(0, 6), st.integers(0, 6)), max_size=40))
def test_every_window_holds_the_bound_and_uses_it_up(ratio, floor, plan):
    """Also at the end of a window that begins anywhere, and neither of both by more than a bucket is too strict."""
    budget = RetryBudget(ratio, 5.0, floor)
    called: list[float] = []
    retried: list[float] = []
    now = 0.0
    for step, number, wanted in plan:
        now += step
        calls(budget, number, now)
        called += [now] * number
        for _ in range(wanted):
            got = budget.spend(now)
            bound = max(floor, ratio * sum(now - at < 5.0 for at in called))
            surely = max(floor, ratio * sum(now - at < 4.5 for at in called))
            if got:
                retried.append(now)
                assert sum(now - at <= 5.0 for at in retried) <= bound + 1e-9
            else:
                assert sum(now - at <= 5.5 for at in retried) + 1 > surely
