"""A bounded number of attempts in flight, and a first-in-first-out queue for the rest.

After the bulkhead pattern (M. Nygard, "Release It!", 2007): one slow service must not take up all of the caller.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from holdfast.core.effects import Waiter

GRANTED: Final = "granted"
"""What a waiter is woken with who has got the slot."""

CLOSED: Final = "closed"
"""What a waiter is woken with, without a slot, when the bulkhead is closed."""

FULL: Final = Waiter()
"""Stands for a place in a queue that has none left. Nobody can wait there."""
FULL.gone = True


class Bulkhead:
    """Hands out `size` slots, in the order of arrival.

    Args:
        size: slots.
        max_queue: the most that may wait; None for any number.

    Attributes:
        free: slots that nobody has. There are none as long as anybody waits.
    """

    __slots__ = ("_queue", "free", "max_queue", "size")

    def __init__(self, size: int, max_queue: int | None = None) -> None:
        self.size = size
        self.max_queue = max_queue
        self.free = size
        self._queue: OrderedDict[Waiter, None] = OrderedDict()

    @property
    def in_flight(self) -> int:
        """Slots that are taken."""
        return self.size - self.free

    @property
    def queued(self) -> int:
        """How many wait for a slot."""
        return len(self._queue)

    def enter(self) -> Waiter | None:
        """Takes a slot, or a place in the queue.

        Returns:
            None: the slot is yours, give it back by `leave`. `FULL`: there is not even a place in the queue. Otherwise
            a waiter to park on; woken with `GRANTED` it has got the slot. Whoever stops waiting calls `abandon`.
        """
        if self.free:
            self.free -= 1
            return None
        if self.max_queue is not None and len(self._queue) >= self.max_queue:
            return FULL
        waiter = Waiter()
        self._queue[waiter] = None
        return waiter

    def leave(self) -> None:
        """Gives a slot back: to the first in the queue who is still there, if anybody is."""
        while self._queue:
            waiter, _ = self._queue.popitem(last=False)
            if waiter.wake(GRANTED):
                return
        if self.free < self.size:  # after a reset, slots come back that are not counted any more
            self.free += 1

    def abandon(self, waiter: Waiter) -> None:
        """Gives up waiting. A slot that was granted in the meantime is passed on."""
        if not waiter.woken:
            waiter.gone = True
            self._queue.pop(waiter, None)
        elif waiter.value is GRANTED:
            waiter.value = None
            self.leave()

    def close(self) -> None:
        """Wakes all who wait with `CLOSED`: they get no slot."""
        while self._queue:
            waiter, _ = self._queue.popitem(last=False)
            waiter.wake(CLOSED)

    def reset(self) -> None:
        """Forgets what is in flight and who waits: after a fork, they are the parent's."""
        self.free = self.size
        self._queue.clear()
