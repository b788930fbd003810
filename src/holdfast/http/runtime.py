"""What drivers share for one client: the lock, the events waiting for their observers, and the graveyard."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Protocol

from holdfast.core.events import Event, Observer

_log = logging.getLogger("holdfast")


def _nothing() -> None:
    """There is nothing to tidy."""


class Closable(Protocol):
    """Anything to close."""

    def close(self) -> None: ...


class Runtime:
    """The lock that every step of a flow holds, and what has to happen when it is released.

    `pending` holds events to deliver and flows to close. A flow that the garbage collector ends cannot be closed where
    it is noticed, because the same thread may hold the lock: whoever releases the lock next does it.

    `dropped` holds streams that sync code never closed. They are not closed where that is noticed either, because the
    same thread may hold a lock of the connection pool: the next one who sends on a thread does it.

    `tidy` is called, without the lock, before anybody waits: it may find what the wait is for.

    `now` is the clock, in monotonic seconds, that deadlines and the states of policies are in.
    """

    __slots__ = ("_lock", "acquire", "dropped", "now", "observers", "pending", "release", "tidy")

    def __init__(self, observers: tuple[Observer, ...] = ()) -> None:
        self.observers = observers
        self.pending: deque[Event | Generator[Any, Any, Any]] = deque()
        self.dropped: deque[Closable] = deque()
        self.tidy: Callable[[], None] = _nothing
        self.now: Callable[[], float] = time.monotonic
        self.renew()

    def renew(self) -> None:
        """A new lock: in a forked child the old one may be held by a thread that does not exist there."""
        self._lock = threading.Lock()
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        self.pending.clear()
        self.dropped.clear()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()
        if self.pending:
            self.settle()

    def settle(self) -> None:
        """Delivers events and closes dead flows. To be called after every release that left something in `pending`."""
        pending = self.pending
        while pending:
            try:
                item = pending.popleft()
            except IndexError:  # another thread was faster
                return
            if isinstance(item, Event):
                self._deliver(item)
            else:
                self.acquire()
                try:
                    item.close()
                finally:
                    self.release()

    def close_dropped(self) -> None:
        """Closes the streams in `dropped`. Never under a lock, nor where the garbage collector may call."""
        while self.dropped:
            try:
                stream = self.dropped.popleft()
            except IndexError:  # another thread was faster
                return
            with contextlib.suppress(Exception):  # nobody is left to be told
                stream.close()

    def bury(self, flow: Generator[Any, Any, Any]) -> None:
        """Closes a flow that nobody drives any more, now or as soon as the lock is free.

        The garbage collector may be calling, and from inside of an observer: events stay where they are.
        """
        pending = self.pending
        pending.append(flow)
        if not self.acquire(False):
            return
        try:
            for _ in range(len(pending)):
                item = pending.popleft()
                if isinstance(item, Event):
                    pending.append(item)
                else:
                    item.close()
        except IndexError:  # another thread delivers them
            pass
        finally:
            self.release()

    def _deliver(self, event: Event) -> None:
        for observer in self.observers:
            try:
                observer(event)
            except Exception:
                _log.exception("the observer %r failed on %s", observer, type(event).__name__)
