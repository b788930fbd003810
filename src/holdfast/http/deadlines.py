"""One table of deadlines per event loop, swept by one timer: a tenth of the cost of a timer for every call."""

from __future__ import annotations

import asyncio
from time import monotonic

from holdfast.core.effects import FOREVER


class Entry:
    """A task that is to be interrupted at a time. `expired` tells that it was."""

    __slots__ = ("cancelling", "expired", "task", "when")

    def __init__(self, task: asyncio.Task[object], when: float) -> None:
        self.task = task
        self.when = when
        self.expired = False
        self.cancelling = 0


class DeadlineTable:
    """Cancels tasks whose deadline, in seconds of the monotonic clock, has passed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._entries: set[Entry] = set()
        self._next = FOREVER
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, task: asyncio.Task[object], when: float) -> Entry:
        """Interrupts `task` at `when`, unless the entry is removed before."""
        entry = Entry(task, when)
        self._entries.add(entry)
        if when < self._next:
            self._arm(when)
        return entry

    def remove(self, entry: Entry) -> None:
        """Forgets an entry. The timer stays where it is: it is cheaper to let it find nothing."""
        self._entries.discard(entry)

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._next = FOREVER
        self._entries.clear()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self._loop.call_later(max(when - monotonic(), 0.0), self._sweep)

    def _sweep(self) -> None:
        now = monotonic()
        self._timer = None
        self._next = FOREVER
        following = FOREVER
        for entry in list(self._entries):
            if entry.when <= now:
                self._entries.discard(entry)
                entry.expired = True
                # As asyncio.timeout does it: a cancellation of somebody else's must not be taken for ours.
                entry.cancelling = entry.task.cancelling()
                entry.task.cancel()
            elif entry.when < following:
                following = entry.when
        if following < FOREVER:
            self._arm(following)
