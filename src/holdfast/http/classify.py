"""Makes an `Outcome` of what an engine returned or raised: the one place that knows what counts as what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2

from holdfast.core.effects import Failed, Job
from holdfast.core.outcome import Kind, Outcome
from holdfast.core.replay import may_have_executed
from holdfast.http.engines.base import EngineError, Sent
from holdfast.http.headers import rate_limit, retry_after
from holdfast.http.redirects import acted_upon
from holdfast.http.response import NativeResponse

_SLOP = 0.002  # seconds by which a timeout that was cut to the deadline may seem to end before it

_LIMIT_INITIALS = frozenset({b"r", b"R", b"x", b"X"})  # of names that tell a rate limit: most responses have none

_STATUS = {408: Kind.SERVER_TIMEOUT, 429: Kind.THROTTLED, 503: Kind.UNAVAILABLE}

_REPEATED = frozenset({Kind.SERVER_TIMEOUT, Kind.THROTTLED, Kind.UNAVAILABLE, Kind.SERVER_ERROR})

_PHASE = {
    "build": Kind.REFUSED,
    "pool": Kind.POOL,
    "connect": Kind.UNSENT,
    "decode": Kind.UNDECODABLE,
    "limit": Kind.UNUSABLE,
}


def kind_of_status(status: int) -> Kind:
    """The row of the replay table for an HTTP status."""
    if status < 400:
        return Kind.OK
    kind = _STATUS.get(status)
    if kind is not None:
        return kind
    return Kind.SERVER_ERROR if status >= 500 else Kind.REJECTED


def kind_of_error(error: Exception) -> Kind:
    """The row of the replay table for a failed attempt."""
    if not isinstance(error, EngineError):
        return Kind.LOST
    if error.phase in _PHASE:
        return _PHASE[error.phase]
    if error.phase == "body" and isinstance(error.cause, httpx2.RemoteProtocolError):
        return Kind.TRUNCATED
    return Kind.LOST


class Classifier:
    """The `classify` and `pace` ports."""

    def __init__(self, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self._now = now
        self._wall = wall

    def classify(self, job: Job, reply: Any) -> Outcome:
        """What became of the attempt that gave `reply`: a response, or a `Failed`."""
        if reply.__class__ is Failed:
            return self._failed(job, reply.error)
        status = reply.status_code
        kind = kind_of_status(status)
        after: float | None = None
        if status >= 400 and isinstance(reply, httpx2.Response):
            after = retry_after(reply.headers.raw, self._wall())
        if kind in _REPEATED and isinstance(reply, httpx2.Response) and acted_upon(job, reply.history):
            # It was the page that a write led to which failed: the write was executed.
            kind = Kind.LOST
        executed = may_have_executed(kind)
        return Outcome(kind, status, reply, None, after, may_have_executed=executed, attempt=job.attempts)

    def _failed(self, job: Job, error: Exception) -> Outcome:
        kind = kind_of_error(error)
        executed = not (isinstance(error, EngineError) and error.sent is Sent.NO)
        timed_out = isinstance(error, EngineError) and error.timed_out
        outcome = Outcome(kind, error=error, timed_out=timed_out, may_have_executed=executed, attempt=job.attempts)
        if timed_out and self._now() >= job.deadline - _SLOP:
            return replace(outcome, kind=Kind.LATE)
        return outcome

    def pace(self, reply: Any) -> tuple[int, float] | tuple[int, float, int, float] | None:
        """How many more requests the server will take, and for how many seconds, if it tells; see `rate_limit`."""
        if isinstance(reply, NativeResponse) and not reply.mentions(b"limit"):
            return None  # and its headers need not be made for that
        try:
            for name, _ in reply.headers.raw:
                if name[:1] in _LIMIT_INITIALS:
                    break
            else:
                return None
        except (AttributeError, TypeError, ValueError):
            return None  # a stand-in for a response, of whoever replaced httpx2's `request`
        return rate_limit(reply.headers.raw, self._wall())
