"""What happened to one call, attempt by attempt: told while it happens, and kept for the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from holdfast.core.events import (
    AttemptFinished,
    AttemptStarted,
    BreakerChanged,
    CallFinished,
    Event,
    RetryScheduled,
    SlotWaited,
    TokenWaited,
)

__all__ = ["Attempt", "Timeline", "status_line"]

_GOOD, _BAD, _WAIT, _QUIET = "green", "red", "yellow", "dim"

_ENDS = {
    "unsent": "no connection: nothing was sent",
    "pool": "no free connection in time",
    "lost": "no answer: the connection broke or timed out after something was sent",
    "truncated": "the body broke off",
    "undecodable": "the content coding of the body is broken",
    "unusable": "a body that must not be read",
    "refused": "the request could not be sent, or a redirect must not be followed",
    "late": "cut off by the deadline",
}


@dataclass
class Attempt:
    """One attempt.

    Attributes:
        number: from 1.
        started: seconds from the start of the call.
        seconds: how long it took, None if it never ended.
        status: HTTP status, 0 without a response.
        outcome: name of what it came to, such as "success", "unavailable", "lost".
        wait: seconds waited before the next attempt, None if there was none.
        cause: why there was a next one: the status, or the name of an error.
    """

    number: int
    started: float
    seconds: float | None = None
    status: int = 0
    outcome: str | None = None
    wait: float | None = None
    cause: str | None = None


class Timeline:
    """An observer of one call.

    Args:
        say: is given every line as it happens, with a style of rich's; None to say nothing.
        now: monotonic seconds.
    """

    def __init__(self, say: Callable[[str, str], None] | None, now: Callable[[], float] = time.monotonic) -> None:
        self.attempts: list[Attempt] = []
        self.finished: CallFinished | None = None
        self._say = say
        self._now = now
        self._began = now()

    def start(self) -> None:
        """The call starts now; until then it is the making of this object."""
        self._began = self._now()

    @property
    def seconds(self) -> float:
        """Since the start of the call."""
        return self._now() - self._began

    @property
    def in_flight(self) -> bool:
        """Whether an attempt was sent and has not ended."""
        return bool(self.attempts) and self.attempts[-1].seconds is None

    def tell(self, text: str, style: str = "") -> None:
        """Says something with the time of now."""
        if self._say is not None:
            self._say(f"{self.seconds:8.3f} s  {text}", style)

    def __call__(self, event: Event) -> None:
        """Keeps and says what `event` reports."""
        match event:
            case AttemptStarted():
                where = f": {event.route} on {event.origin}" if event.attempt == 1 else ""
                self.attempts.append(Attempt(event.attempt, self.seconds))
                self.tell(f"attempt {event.attempt}{where}", _QUIET)
            case AttemptFinished():
                self._ended(event)
            case RetryScheduled():
                self.attempts[-1].wait, self.attempts[-1].cause = event.delay, event.cause
                self.tell(f"attempt {event.attempt + 1} follows in {_duration(event.delay)} ({event.cause})", _WAIT)
            case TokenWaited(granted=True):
                self.tell(f"waited {_duration(event.seconds)} for the rate limit", _WAIT)
            case SlotWaited(granted=True):
                self.tell(f"waited {_duration(event.seconds)} for a slot of the bulkhead", _WAIT)
            case BreakerChanged():
                self.tell(f"circuit breaker of {event.origin}: {event.old} -> {event.new}", _WAIT)
            case CallFinished():
                self.finished = event
                if not event.error:
                    count = f"{event.attempts} attempt{'s' if event.attempts != 1 else ''}"
                    self.tell(f"done: {status_line(event.status)} after {count} (request id {event.request_id})", _GOOD)
            case _:
                pass

    def _ended(self, event: AttemptFinished) -> None:
        if not self.attempts:
            return
        attempt = self.attempts[-1]
        outcome = "success" if event.outcome == "ok" else event.outcome
        attempt.seconds, attempt.status, attempt.outcome = event.seconds, event.status, outcome
        how = status_line(event.status) if event.status else _ENDS.get(outcome, outcome)
        style = _GOOD if outcome == "success" else _BAD
        self.tell(f"attempt {event.attempt}: {how}, {_duration(event.seconds)}", style)


def status_line(status: int) -> str:
    """A status with its phrase, if it has one."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
