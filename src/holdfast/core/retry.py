"""The decision after a failed attempt: again, after how long, or not, and why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.core.backoff import Backoff
from holdfast.core.outcome import Kind, Outcome
from holdfast.core.replay import ANSWERED, ReplayMode, may_replay


@dataclass(frozen=True, slots=True)
class Again:
    """Send it again after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Halt:
    """Do not send it again.

    Attributes:
        why: a phrase for people that completes "not retried: ...".
        spent: whether the attempts are used up.
        retry_after: seconds that the server asked to wait, where they are what made it stop.
    """

    why: str
    spent: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When and how often a failed attempt is repeated.

    Attributes:
        max_attempts: all attempts of a call, the first included.
        backoff: the waits between them.
        replay: what may be replayed at all, see `holdfast.core.replay`.
        max_retry_after: the longest wait, in seconds, that a server may ask for (RFC 9110, section 10.2.3).
        retry_if: the caller's predicate. It is not called here, because it must not run under the client's lock.
    """

    max_attempts: int = 3
    backoff: Backoff = field(default_factory=Backoff)
    replay: ReplayMode = "answered"
    max_retry_after: float = 60.0
    retry_if: Callable[[Outcome], bool | None] | None = None

    def next(
        self,
        outcome: Outcome,
        *,
        attempts: int,
        idempotent: bool,
        keyed: bool,
        replayable: bool,
        left: float,
        previous: float | None,
        rand: Callable[[], float],
        wanted: bool | None,
    ) -> Again | Halt:
        """What to do after `outcome`.

        Args:
            outcome: what became of the last attempt.
            attempts: how many were made.
            idempotent: whether the method is idempotent.
            keyed: whether the request carries a key that the server deduplicates.
            replayable: whether the body can be sent once more.
            left: seconds to the call's deadline, may be infinite.
            previous: seconds waited before the last attempt, None if it was the first.
            rand: uniform in [0, 1).
            wanted: the answer of the caller's predicate; None for no opinion. True makes every outcome a retryable one
                as far as replaying is safe: for idempotent methods, with a key, with `replay="always"`, and where
                the replay table allows it anyhow.
        """
        if wanted is False:
            return Halt("retry_if decided against it")
        kind = outcome.kind
        may = may_replay(kind, idempotent=idempotent, keyed=keyed, mode=self.replay)
        if wanted and not may:
            may = idempotent or keyed or self.replay == "always"
        if not may:
            return Halt(self._refusal(outcome, wanted=wanted is True))
        if attempts >= self.max_attempts:
            why = (
                f"all {attempts} attempts are used up"
                if attempts > 1
                else "only one attempt is allowed (max_attempts=1)"
            )
            return Halt(why, spent=True)
        if not replayable:
            return Halt("its body can be sent only once")
        return self._timed(outcome.retry_after, self.backoff.wait(attempts, previous, rand), left)

    def _timed(self, told: float | None, delay: float, left: float) -> Again | Halt:
        if told is not None:
            if told > self.max_retry_after:
                most = f"max_retry_after={_figure(self.max_retry_after)}"
                return Halt(f"the server asks for a wait of {_figure(told)} s, more than {most}", retry_after=told)
            if told >= left:
                rest = f"the deadline leaves {_figure(max(left, 0.0))} s"
                return Halt(f"the server asks for a wait of {_figure(told)} s, but {rest}", retry_after=told)
            delay = max(delay, told)
        if delay >= left:
            return Halt(f"the deadline leaves no time for the wait of {_figure(delay)} s", retry_after=told)
        return Again(delay)

    def _refusal(self, outcome: Outcome, *, wanted: bool) -> str:
        """Why the replay table has a no for this outcome."""
        kind = outcome.kind
        if kind in ANSWERED.kinds:
            return f'with replay="when_safe", a POST or PATCH is not repeated after a {outcome.status}'
        if kind is Kind.REJECTED:
            if wanted:
                return f"a POST or PATCH is not repeated after a {outcome.status} {_KEYLESS}"
            return f"a {outcome.status} is not retried"
        if kind in _UNCERTAIN or (wanted and kind in _EXECUTED):
            return f"a POST or PATCH that may have been executed is not repeated {_KEYLESS}"
        return _NEVER[kind]


_KEYLESS = "without a key the server deduplicates"
_UNCERTAIN = frozenset({Kind.LOST, Kind.TRUNCATED, Kind.UNDECODABLE})
_EXECUTED = frozenset({Kind.OK, Kind.UNUSABLE})

_NEVER = {
    Kind.OK: "a success is not retried",
    Kind.UNUSABLE: "a body that must not be read is not asked for again",
    Kind.REFUSED: "what cannot be sent, or must not be followed, stays so",
    Kind.LATE: "the deadline has passed",
}


def _figure(seconds: float) -> str:
    """Three digits, but an hour as 3600 and not as 3.6e+03."""
    return f"{seconds:.0f}" if 100.0 <= seconds < 1e9 else f"{seconds:.3g}"
