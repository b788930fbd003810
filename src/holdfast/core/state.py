"""What outlives a single attempt: the state of an origin, and what a stream still holds after its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from holdfast.core.breaker import Breaker, BreakerPolicy
from holdfast.core.budget import RetryBudget
from holdfast.core.bulkhead import Bulkhead
from holdfast.core.effects import Job
from holdfast.core.limiter import Limiter, LimiterPolicy
from holdfast.core.outcome import ANSWERS, FAILURES, Kind

NO_GATE: Final = Breaker(BreakerPolicy())
"""Stands for the breaker of whom has none: it is never closed."""
NO_GATE.isolate(0.0)


class State:
    """What is kept per origin: a breaker (None for none), a retry budget, a limiter, and those of finer keys.

    Args:
        limiter: makes a limiter.

    Attributes:
        gate: the breaker, if it counts calls and not attempts; else one that nobody passes by the short way.
        circuits: the breakers of finer keys. `lanes`: the limiters of such.
    """

    __slots__ = ("breaker", "budget", "circuits", "gate", "lanes", "limiter", "make_limiter")

    def __init__(
        self,
        breaker: Breaker | None,
        budget: RetryBudget | None,
        limiter: Callable[[], Limiter],
        *,
        count_attempts: bool,
    ) -> None:
        self.breaker = breaker
        self.gate = NO_GATE if count_attempts or breaker is None else breaker
        self.budget = budget
        self.make_limiter = limiter
        self.limiter = limiter()
        self.circuits: dict[str, Breaker] = {}
        self.lanes: dict[str, Limiter] = {}

    def limiter_of(self, lane: str | None) -> Limiter:
        """The limiter of a lane, made if there is none yet; that of the origin for None."""
        if lane is None:
            return self.limiter
        limiter = self.lanes.get(lane)
        if limiter is None:
            if len(self.lanes) >= MOST_LANES:
                # Keys that a program makes of ever new paths must not grow the table.
                del self.lanes[next(iter(self.lanes))]
            limiter = self.lanes[lane] = self.make_limiter()
        return limiter


MOST_LANES: Final = 1024
"""Limiters of finer keys in one origin; beyond them the oldest one goes, with what it remembers."""

NO_STATE: Final = State(None, None, lambda: Limiter(LimiterPolicy()), count_attempts=False)
"""Stands for that of an origin which was not called yet."""


class Tail:
    """What a stream still holds after its head was returned: a slot, and the breaker's verdict."""

    __slots__ = ("_breaker", "_bulkhead", "_job", "_now", "_open", "_ticket")

    def __init__(self, bulkhead: Bulkhead, job: Job, now: Callable[[], float]) -> None:
        self._bulkhead = bulkhead
        self._job = job
        self._now = now
        self._open = True
        self._breaker: Breaker | None = None
        self._ticket = -1

    def gate(self, breaker: Breaker, ticket: int) -> None:
        """Puts the breaker's verdict off to the end of the stream."""
        self._breaker = breaker
        self._ticket = ticket

    def __call__(self, kind: Kind | None) -> None:
        """Ends the stream, once: `kind` tells how, None for "given up by the caller"."""
        if self._open:
            self._open = False
            self._bulkhead.leave()
            if self._breaker is not None:
                now = self._now()
                settle(self._breaker, self._ticket, kind, now, now - self._job.began)


def settle(breaker: Breaker, ticket: int, kind: Kind | None, now: float, seconds: float) -> None:
    """Tells the breaker what became of the one who holds `ticket`."""
    if kind in FAILURES:
        breaker.fail(ticket, now, seconds)
    elif kind in ANSWERS:
        breaker.succeed(ticket, now, seconds)
    else:
        breaker.leave(ticket)
