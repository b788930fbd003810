"""What the flow needs from the outside, as plain callables and small protocols, so that the core imports none of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from holdfast.core.effects import Flow, Job
from holdfast.core.events import Event
from holdfast.core.outcome import Outcome
from holdfast.core.retry import RetryPolicy


class Authenticator(Protocol):
    """Puts credentials on a job, as flows, so that a provider may do I/O, wait, and call other services.

    One object serves one call. `apply` runs before each attempt takes a token or a slot, because a provider may call
    through the same client; `retry` is asked after each reply, with token and slot given back.

    Attributes:
        identity: a hash of whose credentials they are; None if that is not known.
        secrets: the names of the headers that it sets.
    """

    identity: str | None
    secrets: frozenset[str]

    def apply(self, job: Job) -> Flow[None]:
        """Sets the credentials in `job.headers`."""
        ...

    def retry(self, job: Job, reply: Any) -> Flow[bool]:
        """Whether the credentials were renewed because of `reply` and the job is to be sent once more."""
        ...


@dataclass(slots=True)
class CacheUse:
    """How one call uses the cache.

    Attributes:
        key: method, URL and the identity of the caller's credentials.
        path: the URL's path, for invalidation by prefix.
        select: this request's values of the header names that a stored response varies on.
        ttl: seconds; None takes it from the response.
        stale_while_revalidate, stale_if_error: seconds beyond the TTL (RFC 5861).
    """

    key: Hashable
    path: str
    select: Callable[[tuple[str, ...]], tuple[str, ...]]
    ttl: float | None
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    tags: frozenset[str] = frozenset()


KnownUse: TypeAlias = tuple[CacheUse, str, Callable[[], Job]]
"""How a call uses the cache that was made before: its use, whose `select` is not asked; the key of its state; and what
makes its job, if somebody wants to see it."""


@dataclass(slots=True)
class Frozen:
    """A response in storable form: an opaque `value` of `size` bytes, with the times that hold for it, in seconds."""

    value: Any
    size: int
    ttl: float
    stale_while_revalidate: float
    stale_if_error: float
    vary: tuple[str, ...]


@dataclass(slots=True)
class Plan:
    """The policies of a call that a caller can set per call or per operation.

    Attributes:
        retry: decides after each failed attempt.
        slot_wait: seconds to wait for a slot of the bulkhead.
        token_wait: seconds to wait for the rate limiter.
    """

    retry: RetryPolicy
    slot_wait: float = 30.0
    token_wait: float = 30.0


def _quiet() -> int:
    return 0


def _nothing(*_: object) -> None:
    """Nobody listens."""


@dataclass(slots=True)
class Ports:
    """The callables through which the flow reaches the outside.

    Attributes:
        now: monotonic seconds. `rand`: uniform in [0, 1).
        classify: what a reply, or a `Failed`, is an instance of.
        pace: (remaining, seconds to the reset) from a reply's rate-limit headers, if it has any; where it tells, also
            (requests in a whole window, seconds of one or 0).
        follow: follows the redirects of a reply by sending further jobs, inside the same attempt.
        load: an operation for `Io`: reads the rest of a streamed reply that turned out to be an error, and closes it.
        discard: an operation for `Io`: closes a reply that nobody will look at.
        path: the path of a job's URL, for invalidation.
        freeze: a storable form of a reply, None if it must not be stored. `thaw`: a reply of the caller's own from it;
            for that, the call's job, or what makes it if somebody wants to see it.
        verbosity: how much the listeners want to hear, as `Job.verbosity`. `emit`: takes an event.
        record: takes the figures of a finished call: origin, seconds, what ended it, attempts, status.
    """

    now: Callable[[], float]
    rand: Callable[[], float]
    classify: Callable[[Job, Any], Outcome]
    pace: Callable[[Any], tuple[int, float] | tuple[int, float, int, float] | None]
    follow: Callable[[Job, Any], Flow[Any]]
    load: Callable[[Any], Any]
    discard: Callable[[Any], Any]
    path: Callable[[Job], str]
    freeze: Callable[[Job, Any], Frozen | None]
    thaw: Callable[[Any, Job | Callable[[], Job]], Any]
    verbosity: Callable[[], int] = _quiet
    emit: Callable[[Event], None] = _nothing
    record: Callable[[str, float, str, int, int], None] = _nothing
