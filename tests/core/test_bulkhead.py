"""The bulkhead: slots are conserved and handed out in the order of arrival, whoever gives up in between."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.core.bulkhead import CLOSED, FULL, GRANTED, Bulkhead
from holdfast.core.effects import Waiter


def filled(size: int = 1, max_queue: int | None = None) -> Bulkhead:
    """A bulkhead whose slots are all taken."""
    bulkhead = Bulkhead(size, max_queue)
    for _ in range(size):
        assert bulkhead.enter() is None
    return bulkhead


def queued(bulkhead: Bulkhead) -> Waiter:
    waiter = bulkhead.enter()
    assert waiter is not None and waiter is not FULL
    return waiter


def granted(*waiters: Waiter) -> list[bool]:
    return [waiter.woken and waiter.value is GRANTED for waiter in waiters]


# Slots


def test_free_slots_are_taken_at_once():
    bulkhead = Bulkhead(3)
    assert [bulkhead.enter() for _ in range(3)] == [None, None, None]
    assert (bulkhead.in_flight, bulkhead.queued) == (3, 0)


def test_a_slot_that_is_given_back_is_free_again():
    bulkhead = filled(2)
    bulkhead.leave()
    assert bulkhead.in_flight == 1
    assert bulkhead.enter() is None
    assert bulkhead.in_flight == 2


def test_who_comes_when_all_are_taken_waits():
    bulkhead = filled(2)
    waiter = queued(bulkhead)
    assert not waiter.woken
    assert (bulkhead.in_flight, bulkhead.queued) == (2, 1)


def test_a_slot_passes_from_hand_to_hand():
    bulkhead = filled()
    waiter = queued(bulkhead)
    bulkhead.leave()
    assert granted(waiter) == [True]
    assert (bulkhead.in_flight, bulkhead.queued) == (1, 0)
    bulkhead.leave()
    assert bulkhead.in_flight == 0


def test_first_come_first_served():
    bulkhead = filled()
    first, second, third = (queued(bulkhead) for _ in range(3))
    bulkhead.leave()
    assert granted(first, second, third) == [True, False, False]
    bulkhead.leave()
    assert granted(first, second, third) == [True, True, False]


def test_nobody_passes_by_those_who_wait():
    bulkhead = filled()
    first = queued(bulkhead)
    bulkhead.leave()
    later = queued(bulkhead)
    assert granted(first, later) == [True, False]


# The queue


@pytest.mark.parametrize("max_queue", [0, 1, 3])
def test_a_bounded_queue_turns_away(max_queue):
    bulkhead = filled(2, max_queue)
    for _ in range(max_queue):
        queued(bulkhead)
    assert bulkhead.enter() is FULL
    assert (bulkhead.in_flight, bulkhead.queued) == (2, max_queue)


def test_no_queue_still_hands_out_free_slots():
    bulkhead = Bulkhead(2, max_queue=0)
    assert [bulkhead.enter(), bulkhead.enter(), bulkhead.enter()] == [None, None, FULL]
    bulkhead.leave()
    assert bulkhead.enter() is None


def test_the_queue_is_unbounded_by_default():
    bulkhead = filled()
    for _ in range(1000):
        queued(bulkhead)
    assert bulkhead.queued == 1000


def test_nobody_can_wait_where_there_is_no_place():
    assert not FULL.wake()
    bulkhead = filled(max_queue=0)
    bulkhead.abandon(FULL)
    assert (bulkhead.in_flight, bulkhead.queued) == (1, 0)
    bulkhead.leave()
    assert bulkhead.in_flight == 0


# Giving up


def test_who_gives_up_is_passed_over():
    bulkhead = filled()
    first, second = queued(bulkhead), queued(bulkhead)
    bulkhead.abandon(first)
    assert bulkhead.queued == 1
    assert not first.wake()
    bulkhead.leave()
    assert granted(first, second) == [False, True]


def test_a_place_that_was_given_up_is_free_for_another():
    bulkhead = filled(max_queue=1)
    waiter = queued(bulkhead)
    assert bulkhead.enter() is FULL
    bulkhead.abandon(waiter)
    assert not queued(bulkhead).woken


def test_giving_up_without_a_slot_frees_none():
    bulkhead = filled()
    bulkhead.abandon(queued(bulkhead))
    assert bulkhead.in_flight == 1
    assert not queued(bulkhead).woken


def test_a_slot_that_came_too_late_is_passed_on():
    bulkhead = filled()
    first, second = queued(bulkhead), queued(bulkhead)
    bulkhead.leave()
    bulkhead.abandon(first)
    assert granted(second) == [True]
    assert bulkhead.in_flight == 1


def test_a_slot_that_came_too_late_and_nobody_else_wants_is_free():
    bulkhead = filled()
    waiter = queued(bulkhead)
    bulkhead.leave()
    bulkhead.abandon(waiter)
    assert bulkhead.in_flight == 0


def test_giving_up_twice_gives_one_slot_back():
    bulkhead = filled(2)
    waiter = queued(bulkhead)
    bulkhead.leave()
    bulkhead.abandon(waiter)
    bulkhead.abandon(waiter)
    assert bulkhead.in_flight == 1


def test_a_slot_is_not_lost_to_one_who_cannot_be_woken():
    """Its event loop was closed: what it cannot use goes to the next one."""
    bulkhead = filled()
    dead, alive = queued(bulkhead), queued(bulkhead)
    dead.notify = lambda: False
    alive.notify = lambda: True
    bulkhead.leave()
    assert granted(dead, alive) == [False, True]
    assert bulkhead.in_flight == 1
    bulkhead.abandon(dead)
    assert bulkhead.in_flight == 1
    bulkhead.leave()
    assert bulkhead.in_flight == 0


def test_a_slot_is_free_if_nobody_can_be_woken():
    bulkhead = filled()
    queued(bulkhead).notify = lambda: False
    queued(bulkhead).notify = lambda: False
    bulkhead.leave()
    assert (bulkhead.in_flight, bulkhead.queued) == (0, 0)
    assert bulkhead.enter() is None


# Closing and forking


def test_closing_wakes_all_and_gives_slots_to_none():
    bulkhead = filled(2)
    waiters = [queued(bulkhead) for _ in range(3)]
    bulkhead.close()
    assert [(waiter.woken, waiter.value) for waiter in waiters] == [(True, CLOSED)] * 3
    assert (bulkhead.in_flight, bulkhead.queued) == (2, 0)


def test_who_was_woken_by_closing_has_no_slot_to_give_back():
    bulkhead = filled(2)
    waiter = queued(bulkhead)
    bulkhead.close()
    bulkhead.abandon(waiter)
    assert bulkhead.in_flight == 2


def test_slots_that_were_granted_before_closing_stay_granted():
    bulkhead = filled()
    lucky, late = queued(bulkhead), queued(bulkhead)
    bulkhead.leave()
    bulkhead.close()
    assert granted(lucky, late) == [True, False]
    bulkhead.leave()
    assert bulkhead.in_flight == 0


def test_reset_forgets_slots_and_queue():
    bulkhead = filled(2)
    parents = queued(bulkhead)
    bulkhead.reset()
    assert (bulkhead.in_flight, bulkhead.queued) == (0, 0)
    assert [bulkhead.enter(), bulkhead.enter()] == [None, None]
    waiter = queued(bulkhead)
    bulkhead.leave()
    assert granted(parents, waiter) == [False, True]


def test_slots_from_before_a_reset_make_no_new_ones():
    bulkhead = filled(2)
    bulkhead.reset()
    bulkhead.leave()
    bulkhead.leave()
    assert bulkhead.in_flight == 0
    assert [bulkhead.enter(), bulkhead.enter()] == [None, None]
    assert not queued(bulkhead).woken


# Against a list of holders and a list of those who wait


class Queueing(RuleBasedStateMachine):
    """Callers come, leave, give up and die at any point; holders and queue must be those of a plain list."""

    @initialize(size=st.integers(1, 4), max_queue=st.none() | st.integers(0, 4))
    def build(self, size: int, max_queue: int | None) -> None:
        self.size, self.max_queue = size, max_queue
        self.bulkhead = Bulkhead(size, max_queue)
        self.slots = 0  # held by those who know of it
        self.waiting: list[Waiter] = []
        self.passed: list[Waiter] = []  # granted, and not looked at yet
        self.dead: set[Waiter] = set()

    def hand_on(self) -> None:
        """What the list does with a slot that comes back."""
        while self.waiting:
            waiter = self.waiting.pop(0)
            if waiter not in self.dead:
                self.passed.append(waiter)
                return

    @rule()
    def come(self) -> None:
        busy = self.slots + len(self.passed)
        waiter = self.bulkhead.enter()
        if busy < self.size:
            assert waiter is None
            self.slots += 1
        elif self.max_queue is not None and len(self.waiting) >= self.max_queue:
            assert waiter is FULL
        else:
            assert waiter is not None and waiter is not FULL
            self.waiting.append(waiter)

    @precondition(lambda self: self.slots)
    @rule()
    def finish(self) -> None:
        self.slots -= 1
        self.hand_on()
        self.bulkhead.leave()

    @precondition(lambda self: self.passed)
    @rule(data=st.data())
    def notice_the_slot(self, data: st.DataObject) -> None:
        self.passed.remove(data.draw(st.sampled_from(self.passed)))
        self.slots += 1

    @precondition(lambda self: self.passed)
    @rule(data=st.data())
    def give_up_too_late(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.passed))
        self.passed.remove(waiter)
        self.hand_on()
        self.bulkhead.abandon(waiter)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(waiter)
        self.bulkhead.abandon(waiter)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """The event loop of one who waits is closed, and nobody says so."""
        waiter = data.draw(st.sampled_from(self.waiting))
        waiter.notify = lambda: False
        self.dead.add(waiter)

    @precondition(lambda self: self.waiting)
    @rule()
    def close(self) -> None:
        self.bulkhead.close()
        for waiter in self.waiting:
            if waiter not in self.dead:
                assert waiter.value is CLOSED
            self.bulkhead.abandon(waiter)
        self.waiting.clear()

    @invariant()
    def slots_are_conserved(self) -> None:
        bulkhead = self.bulkhead
        assert bulkhead.in_flight == self.slots + len(self.passed) <= self.size
        assert bulkhead.queued == len(self.waiting)
        assert self.max_queue is None or bulkhead.queued <= self.max_queue
        assert not self.waiting or bulkhead.in_flight == self.size

    @invariant()
    def those_who_are_served_came_first(self) -> None:
        assert all(granted(*self.passed))
        assert not any(waiter.woken for waiter in self.waiting)

    def teardown(self) -> None:
        if hasattr(self, "bulkhead"):
            for _ in range(self.slots + len(self.passed) + len(self.waiting)):
                self.bulkhead.leave()
            assert (self.bulkhead.in_flight, self.bulkhead.queued) == (0, 0)


TestQueueing = Queueing.TestCase
