"""`VirtualClock`: real clients on a clock that jumps over their waits, under asyncio and on threads."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from holdfast.core.effects import FOREVER

TURNS = 20
"""Turns of the event loop without any news after which everybody is taken to be waiting."""


class Wait:
    """One wait of one party. It ends once: `done` by time, by whoever wakes it, or because it was given up.

    `noted` tells whether it is one of a client's own, which tests ask for.
    """

    __slots__ = ("begun", "done", "noted", "party", "resume")

    def __init__(self, party: object, resume: Callable[[], None], *, noted: bool = False) -> None:
        self.party = party
        self.resume = resume
        self.noted = noted
        self.begun = 0.0
        self.done = False


class Timer:
    """Something to do at a time. Has what `asyncio.TimerHandle` is used for."""

    __slots__ = ("action", "real", "when")

    def __init__(self, when: float, action: Callable[[], None]) -> None:
        self.when = when
        self.action: Callable[[], None] | None = action
        self.real: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Does nothing, then."""
        self.action = None
        if self.real is not None:
            self.real.cancel()


class VirtualClock:
    """Time that stands still while anything is done, and jumps when everybody waits.

    Clients that are made while the clock is installed live by it: backoff, ``Retry-After``, the rate limiter, the queue
    of the bulkhead, deadlines, the breaker's recovery and the lifetime of cached answers. As soon as every call in
    flight waits, the time jumps to the end of the earliest wait. So nobody sleeps, and what happens is what would have
    happened. It works for awaited calls, for ``result()`` on any number of threads, and for both at once::

        with VirtualClock() as clock, ResilientClient(config, transport=FaultTransport([503, 200])) as client:
            client.get("/").result()
        assert clock.elapsed >= 1.0

    Other things keep to real time: `asyncio.sleep`, `asyncio.timeout`, dates (`time.time`), and clients that were made
    before. A request over a real socket takes as long as it takes, and the clock goes on meanwhile. No wait takes
    longer than it would without the clock.

    Args:
        seed: of the clients' randomness (`random`), so that jittered waits are the same in every run.

    Attributes:
        random: what the clients draw jitter from.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        # Reentrant: the garbage collector may end a flow, and with it a wait, anywhere.
        self._lock = threading.RLock()
        # Not from 0: a time of this clock may come to be compared with one of the real clock.
        self._begin = self._now = float(math.ceil(time.monotonic()))
        self._sending = 0
        self._since = 0.0
        self._parties: dict[object, int] = {}
        self._background: set[object] = set()
        self._waiting: dict[object, asyncio.AbstractEventLoop | None] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._news = 0
        self._waits: list[float] = []
        self._before: list[VirtualClock | None] = []

    # For tests

    @property
    def elapsed(self) -> float:
        """Seconds that have passed on this clock, to the nanosecond."""
        return round(self.now() - self._begin, 9)

    @property
    def waits(self) -> tuple[float, ...]:
        """How long clients have waited: for a retry, a token, a slot or each other's answer, in the order of the ends.

        Seconds; waits of no time are left out, and so is the time that answers took.
        """
        return tuple(self._waits)

    def now(self) -> float:
        """The time, in seconds as `time.monotonic` gives them."""
        with self._lock:
            return self._now + (time.monotonic() - self._since if self._sending else 0.0)

    def advance(self, seconds: float) -> None:
        """Lets time pass at once. What was waiting for a time within goes on when it gets to run.

        Raises:
            ValueError: time does not run backwards.
        """
        if not 0 <= seconds < FOREVER:
            raise ValueError(f"a clock can be advanced by 0 or more seconds, not by {seconds!r}")
        with self._lock:
            self._reach(self.now() + seconds)
            self._changed()

    async def sleep(self, seconds: float) -> None:
        """Waits under asyncio, while calls in flight do what they do in that time."""
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        wait = Wait(task, lambda: set_done(over))
        with self.party(task):
            await self.wait_async(wait, over, self.now() + seconds, loop)

    def sleep_sync(self, seconds: float) -> None:
        """Waits on this thread, while calls on others do what they do in that time."""
        over = threading.Event()
        thread = threading.get_ident()
        with self.party(thread):
            self.wait_sync(Wait(thread, over.set), over, self.now() + seconds)

    def __enter__(self) -> Self:
        """Installs the clock: clients that are made from now on live by it."""
        global _installed  # noqa: PLW0603  # one process has one clock
        from holdfast.testing.clocked import assembling

        self._before.append(_installed)
        _installed = self
        assembling(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _installed  # noqa: PLW0603
        from holdfast.testing.clocked import assembling

        _installed = self._before.pop()
        assembling(_installed)

    def __repr__(self) -> str:
        return f"<VirtualClock at {self.elapsed:g} s>"

    # For drivers: who does something, and who waits

    @contextmanager
    def party(self, key: object) -> Iterator[None]:
        """Somebody who does something in here, unless `waiting`: a task or a thread."""
        with self._lock:
            self._parties[key] = self._parties.get(key, 0) + 1
            self._news += 1
        try:
            yield
        finally:
            with self._lock:
                self._parties[key] -= 1
                if not self._parties[key]:
                    del self._parties[key]
                    self._background.discard(key)
                self._changed()

    def background(self, key: object) -> None:
        """Announces a party that nobody waits for by itself: time does not jump for its sake alone."""
        with self._lock:
            self._parties[key] = self._parties.get(key, 0) + 1
            self._background.add(key)
            self._news += 1

    def took_over(self, key: object, party: object) -> None:
        """What was announced as `key` goes on as `party`."""
        with self._lock:
            if self._parties.pop(key, None) is not None:
                self._background.discard(key)
                self._background.add(party)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """A real request is in flight: real time passes."""
        with self._lock:
            if not self._sending:
                self._since = time.monotonic()
            self._sending += 1
        try:
            yield
        finally:
            with self._lock:
                self._now = self.now()
                self._since = time.monotonic()
                self._sending -= 1

    async def wait_async(
        self, wait: Wait, over: asyncio.Future[None], until: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Waits for a future that `wait.resume` sets, at most until a time."""
        timer = self.timer(until, lambda: self.wake(wait), loop)
        try:
            self._begin_wait(wait, loop)
            await over
        finally:
            timer.cancel()
            self._end_wait(wait)

    def wait_sync(self, wait: Wait, over: threading.Event, until: float) -> None:
        """Waits for an event that `wait.resume` sets, at most until a time."""
        timer = self.timer(until, lambda: self.wake(wait))
        try:
            self._begin_wait(wait, None)
            while not over.is_set():
                left = until - self.now()
                if not over.wait(None if left == FOREVER else min(max(left, 0.0), threading.TIMEOUT_MAX)):
                    self._caught_up(until)
        finally:
            timer.cancel()
            self._end_wait(wait)

    def timer(self, when: float, action: Callable[[], None], loop: asyncio.AbstractEventLoop | None = None) -> Timer:
        """Plans something for a time. With a loop, it is done at the latest when so much real time has passed."""
        timer = Timer(when, action)
        if when == FOREVER:
            return timer
        with self._lock:
            heapq.heappush(self._timers, (when, next(self._order), timer))
            if loop is not None:
                timer.real = loop.call_later(max(when - self.now(), 0.0), self._caught_up, when)
        return timer

    def wake(self, wait: Wait) -> None:
        """Ends a wait: from here on its party is busy."""
        with self._lock:
            if wait.done:
                return
            wait.done = True
            if self._waiting.pop(wait.party, self) is not self:
                self._note(wait)
            self._news += 1
        wait.resume()

    def _begin_wait(self, wait: Wait, loop: asyncio.AbstractEventLoop | None) -> None:
        with self._lock:
            wait.begun = self.now()
            if not wait.done:
                self._waiting[wait.party] = loop
                self._changed()

    def _end_wait(self, wait: Wait) -> None:
        """The party goes on, also if nobody has woken it: it was cancelled, or interrupted."""
        with self._lock:
            if not wait.done:
                wait.done = True
                self._waiting.pop(wait.party, None)
                self._note(wait)
                self._news += 1

    def _note(self, wait: Wait) -> None:
        seconds = round(self.now() - wait.begun, 9)
        if wait.noted and seconds > 0:
            self._waits.append(seconds)

    # Jumping

    def _changed(self) -> None:
        """Jumps, or lets a loop look whether it is time to, if nobody does anything."""
        self._news += 1
        waiting = self._waiting
        if len(waiting) < len(self._parties) or not waiting.keys() - self._background:
            return
        loops = [loop for loop in waiting.values() if loop is not None and not loop.is_closed()]
        if loops:
            # Somebody may be about to begin: time jumps only when the loop has nothing else to do.
            running = _running_loop()
            if running in loops:
                running.call_soon(self._look, running, self._news, TURNS)
            else:
                loops[0].call_soon_threadsafe(self._look, loops[0], self._news, TURNS)
        else:
            self._jump()

    def _look(self, loop: asyncio.AbstractEventLoop, news: int, turns: int) -> None:
        with self._lock:
            if news != self._news:
                return
            if turns:
                loop.call_soon(self._look, loop, news, turns - 1)
            else:
                self._jump()

    def _jump(self) -> None:
        """To the next thing that is planned. What was given up meanwhile does not count."""
        timers = self._timers
        while timers and timers[0][2].action is None:
            heapq.heappop(timers)
        if timers:
            self._reach(timers[0][0])
            self._changed()

    def _reach(self, when: float) -> None:
        """Lets time pass until then, and does what is due, at its time."""
        timers = self._timers
        while timers and timers[0][0] <= when:
            due, _, timer = heapq.heappop(timers)
            self._set(due)
            action, timer.action = timer.action, None
            if action is not None:
                action()
        self._set(when)

    def _set(self, when: float) -> None:
        ahead = when - self.now()
        if ahead > 0:
            # Exactly that time, if it stands still.
            self._now = self._now + ahead if self._sending else when

    def _caught_up(self, when: float) -> None:
        """As much real time has passed as there was until then: nobody waits longer than in reality."""
        with self._lock:
            self._reach(max(when, self.now()))
            self._changed()


_installed: VirtualClock | None = None


def installed() -> VirtualClock | None:
    """The clock that is installed, if there is one."""
    return _installed


def set_done(future: asyncio.Future[Any]) -> None:
    """Sets the result of a future, on its loop or from anywhere else."""
    loop = future.get_loop()
    if _running_loop() is loop:
        if not future.done():
            future.set_result(None)
    elif not loop.is_closed():
        loop.call_soon_threadsafe(set_done, future)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
