"""What became of an attempt (`Outcome`), and why a call ended without a usable response (`Stop`).

Failures travel through the core as values. The layer above turns a `Stop` into an exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from holdfast.core.effects import Job


class Kind(Enum):
    """The rows of the replay table, and the ends that it does not cover."""

    OK = "success"
    UNSENT = "the request never left: DNS, connect, TLS handshake, refused stream"
    POOL = "the engine's connection pool gave no connection in time"
    THROTTLED = "429"
    UNAVAILABLE = "503"
    SERVER_TIMEOUT = "408"
    SERVER_ERROR = "any other 5xx"
    REJECTED = "any other 4xx"
    LOST = "timeout, reset or end of the connection after the first byte went out"
    TRUNCATED = "a good status, but the body ended early"
    UNDECODABLE = "a good status, but the content coding of the body is broken"
    UNUSABLE = "a good status, but a body that must not be read: too large, stacked content codings"
    REFUSED = "the request could not be built, or a redirect must not be followed"
    LATE = "the deadline of the call passed during the attempt"


FAILURES = frozenset({Kind.UNSENT, Kind.UNAVAILABLE, Kind.SERVER_TIMEOUT, Kind.SERVER_ERROR, Kind.LOST, Kind.TRUNCATED})
"""What a circuit breaker counts against the server."""

ANSWERS = frozenset({Kind.OK, Kind.REJECTED, Kind.UNDECODABLE, Kind.UNUSABLE})
"""What shows that the server is alive. Everything in neither set is neutral for a breaker."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        kind: the row of the replay table.
        status: HTTP status, 0 if there was no response.
        reply: the response, None if there was none.
        error: the exception of the engine, None if there was none.
        retry_after: seconds to wait as told by the server, None if it did not tell.
        timed_out: whether it was a timeout of the client's own.
        may_have_executed: whether the server may have acted on the request.
        attempt: number of the attempt, from 1.
    """

    kind: Kind
    status: int = 0
    reply: Any = None
    error: Exception | None = None
    retry_after: float | None = None
    timed_out: bool = False
    may_have_executed: bool = False
    attempt: int = 1

    @property
    def cause(self) -> str:
        """A word or two for logs: the status, or the name of the error."""
        if self.status:
            return str(self.status)
        error = getattr(self.error, "cause", None) or self.error
        return type(error).__name__ if error is not None else self.kind.name.lower()


class Reason(Enum):
    """What stopped a call. Only `OUTCOME` stands for something that came from outside."""

    OUTCOME = "the last attempt failed"
    CIRCUIT_OPEN = "the circuit breaker is open"
    BULKHEAD_FULL = "no slot of the bulkhead was free in time"
    RATE_LIMITED = "the rate limit gave no token in time"
    DEADLINE = "the deadline of the call passed"
    CANNOT_WAIT = "it would have had to wait for other calls, and must not"
    CLOSED = "the client was closed"


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of a call without a usable response. Its `status_code`, -1, tells it from responses and `Failed`.

    Attributes:
        reason: what stopped it.
        outcome: the last real outcome, None if no attempt was made.
        attempts: how many attempts were made.
        may_have_executed: whether the server may have acted on any of them.
        why: why the outcome was not retried, or what refused the call; a phrase for people, may be empty.
        retry_after: seconds after which it is worth trying again, if known.
        spent: whether the retries are used up (as against: it was never retryable).
        job: the call that ended.
    """

    reason: Reason
    status_code: ClassVar[int] = -1
    job: Job
    outcome: Outcome | None = None
    attempts: int = 0
    may_have_executed: bool = False
    why: str = ""
    retry_after: float | None = None
    spent: bool = False

    @classmethod
    def ended(
        cls,
        job: Job,
        reason: Reason,
        last: Outcome | None,
        why: str,
        retry_after: float | None = None,
        *,
        spent: bool = False,
    ) -> Stop:
        """The end of `job`, whose last real outcome was `last`."""
        return cls(reason, job, last, job.attempts, job.executed, why, retry_after, spent)

    @classmethod
    def local(cls, job: Job, reason: Reason, last: Outcome | None, why: str, retry_after: float | None = None) -> Stop:
        """Stopped by ourselves. After a first attempt it is that attempt's outcome which the caller wants to see."""
        return cls.ended(job, reason if last is None else Reason.OUTCOME, last, why, retry_after)
