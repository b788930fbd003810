"""Deadlines: under asyncio a table of them for each loop, in sync use the time of each thread.

The table is swept by one timer, at a tenth of the cost of a timer for every call.
"""

from __future__ import annotations

import asyncio
import threading
from time import monotonic
from typing import Any, Protocol

from holdfast.core.effects import FOREVER, Flow


class Timed(Protocol):
    """What has a deadline, in seconds of the monotonic clock."""

    @property
    def deadline(self) -> float: ...


class DeadlineTable:
    """Cancels the tasks that are still busy with something when its deadline has passed.

    Attributes:
        busy: which task, and which flow in it, is busy with what. An entry is made by ``busy[it] = task, flow``,
            followed by `arm` if its deadline is earlier than `next`, and taken out by ``del``: method calls would cost
            as much as the rest. The timer then stays where it is, and finds nothing.
        expired: what was interrupted.
        next: when the timer fires.
    """

    __slots__ = ("_loop", "_timer", "busy", "expired", "next")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.busy: dict[Any, tuple[asyncio.Task[Any], Flow[Any]]] = {}
        self.next = FOREVER
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.expired: set[Any] = set()

    def __len__(self) -> int:
        return len(self.busy)

    def add(self, it: Timed, task: asyncio.Task[Any], flow: Flow[Any]) -> None:
        """Interrupts `task` at the deadline of `it`, unless its entry is taken out before."""
        self.busy[it] = task, flow
        if it.deadline < self.next:
            self.arm(it.deadline)

    def arm(self, when: float) -> None:
        """Moves the timer to an earlier time."""
        if self._timer is not None:
            self._timer.cancel()
        self.next = when
        self._timer = self._loop.call_later(max(when - monotonic(), 0.0), self._sweep)

    def was_late(self, it: Timed, task: asyncio.Task[Any], before: int) -> bool:
        """Whether it was interrupted, and nobody else has cancelled the task besides. To be asked once.

        Args:
            it: what the task was busy with.
            task: the task.
            before: how many cancellations of it were pending (`asyncio.Task.cancelling`) when it began.
        """
        if it not in self.expired:
            return False
        self.expired.discard(it)
        # As asyncio.timeout does it: a cancellation of somebody else's must not be taken for ours.
        return task.uncancel() <= before

    def close(self) -> None:
        """Stops the timer, unless somebody is busy still: those take their entries out themselves."""
        if self.busy:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self.next = FOREVER

    def _sweep(self) -> None:
        self._timer = None
        self.cut(monotonic())

    def cut(self, now: float) -> None:
        """Cuts what is late, and sets the timer for what is next."""
        self.next = following = FOREVER
        for it, (task, _) in self.busy.items():
            if it in self.expired:
                continue
            if it.deadline <= now:
                self.expired.add(it)
                task.cancel()
            elif it.deadline < following:
                following = it.deadline
        if following < FOREVER:
            self.arm(following)


class _Thread(threading.local):
    """The time on the monotonic clock by which the calling thread has to be done with what it reads and writes."""

    end: float = FOREVER


_thread = _Thread()


class limit:  # noqa: N801  # reads as a statement: with limit(seconds)
    """Gives what the calling thread reads and writes inside so many seconds, infinite for any number.

    It holds for the connections of the sync engine. The innermost one counts: a call that is made inside of another
    one, as by the iterator of a request's body, has a time of its own.
    """

    __slots__ = ("_outer", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._outer = _thread.end
        _thread.end = monotonic() + self._seconds

    def __exit__(self, *error: object) -> None:
        _thread.end = self._outer


def left() -> float:
    """The seconds that `limit` leaves the calling thread, infinite outside of one."""
    return _thread.end - monotonic()


def within(timeout: float | None) -> float | None:
    """`timeout` seconds, but no more than `limit` leaves the calling thread. None is for ever.

    Raises:
        TimeoutError: it leaves none.
    """
    if _thread.end == FOREVER:
        return timeout
    seconds = left()
    if seconds <= 0.0:
        raise TimeoutError("the deadline of the call passed")
    return seconds if timeout is None or seconds < timeout else timeout
