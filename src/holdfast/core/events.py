"""Frozen records of what happens to a call, for observers, logs and metrics.

Observers get them outside the client's lock, right after the step in which they happened. With calls on several
threads, one thread may deliver what happened on another, so that their order is not strict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Event:
    """What all events carry: which call (`request_id`), on which endpoint, in which origin's state.

    `correlation_id` is the id of the request that the program was serving meanwhile, empty if it was none.
    """

    request_id: str
    route: str
    origin: str
    correlation_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class AttemptStarted(Event):
    """An attempt is about to be sent; `attempt` counts from 1."""

    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptFinished(Event):
    """An attempt has ended: HTTP `status` (0 without a response), the `outcome`'s name, and `seconds` it took."""

    attempt: int
    status: int
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """Attempt number `attempt` failed with `cause`; the next one is sent after `delay` seconds."""

    attempt: int
    delay: float
    cause: str


@dataclass(frozen=True, slots=True)
class CallFinished(Event):
    """A call has ended.

    `status` is 0 without a response; `outcome` is "success" or what stopped it; `seconds` is the whole call, waits
    included; `error` is True if an exception is raised to the caller, `spent` if that is after retries were used up.
    """

    attempts: int
    status: int
    outcome: str
    seconds: float
    error: bool
    spent: bool
    detail: str


@dataclass(frozen=True, slots=True)
class BreakerChanged(Event):
    """The circuit breaker of `origin` went from one state to another; `retry_after` seconds until the next probe."""

    old: str
    new: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class SlotWaited(Event):
    """The call waited `seconds` for a slot of the bulkhead; `granted` tells whether it got one."""

    seconds: float
    granted: bool


@dataclass(frozen=True, slots=True)
class TokenWaited(Event):
    """The call waits `seconds` for the rate limiter; `granted` is False if that was longer than it may."""

    seconds: float
    granted: bool


@dataclass(frozen=True, slots=True)
class CacheUsed(Event):
    """The cache answered: `how` is "hit", "stale", "stale-if-error" or "shared"."""

    how: str


Observer: TypeAlias = Callable[[Event], None]
