"""The rate limits of the official contract, and how many requests of whom count towards them.

The contract names a limit in the description of each operation ("60 requests per 30 seconds") and does not say how it
is counted. Here each token has each operation's limit for itself, over a sliding window: at no time have more than the
quota been accepted within the last `window` seconds. A refused request does not count. The counts are kept in memory:
they belong to one server process, and a restart begins with none.
"""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["LIMITS", "RELAXED", "Limit", "Quotas", "Standing", "relaxed"]

RELAXED = 100
"""By so much quotas grow where limits are relaxed."""

SWEEP = 1_000
"""After so many requests what has lapsed is forgotten: in development everybody can make up tokens."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How often an operation may be called.

    Attributes:
        name: of the operation, and of the policy in the header `RateLimit-Policy`.
        method: of its requests.
        path: its template, as in the contract.
        quota: requests accepted within any `window` seconds.
        window: seconds.
    """

    name: str
    method: str
    path: str
    quota: int
    window: int

    def matches(self, method: str, path: str) -> bool:
        """Whether a request is one of this operation."""
        return method == self.method and _pattern(self.path).fullmatch(path) is not None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", template))


_ORGANIZATION = "/v1/organizations/{org_id}"

LIMITS: tuple[Limit, ...] = (
    Limit("create-agent-run", "POST", f"{_ORGANIZATION}/agent/run", 10, 60),
    Limit("get-agent-run", "GET", f"{_ORGANIZATION}/agent/run/{{agent_run_id}}", 60, 30),
    Limit("list-agent-runs", "GET", f"{_ORGANIZATION}/agent/runs", 60, 30),
    Limit("get-current-user", "GET", "/v1/users/me", 60, 30),
    Limit("list-organizations", "GET", "/v1/organizations", 60, 30),
    Limit("list-users", "GET", f"{_ORGANIZATION}/users", 60, 30),
    Limit("get-user", "GET", f"{_ORGANIZATION}/users/{{user_id}}", 60, 30),
    Limit("list-repos", "GET", f"{_ORGANIZATION}/repos", 60, 30),
    Limit("get-agent-run-logs", "GET", f"/v1/alpha{_ORGANIZATION[3:]}/agent/run/{{agent_run_id}}/logs", 60, 60),
)
"""All there are. The contract names none for resuming a run."""


def relaxed(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """The same limits with `RELAXED` times the quotas."""
    return tuple(replace(limit, quota=limit.quota * RELAXED) for limit in limits)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a token stands with a limit.

    Attributes:
        accepted: whether the request that was asked about is.
        used: requests accepted within the window that ends now.
        seconds: until one more than now is free: the oldest of them lapses. 0 if none is used.
    """

    limit: Limit
    accepted: bool
    used: int
    seconds: float

    @property
    def remaining(self) -> int:
        """How many are free now."""
        return self.limit.quota - self.used

    @property
    def wait(self) -> int:
        """`seconds` in whole ones, rounded up: who waits so long does not come too early. At least 1."""
        return max(1, math.ceil(self.seconds))

    def headers(self) -> dict[str, str]:
        """What the answer says of it.

        `RateLimit` and `RateLimit-Policy` as in draft-ietf-httpapi-ratelimit-headers-10: `r` is what is left, and `t`
        the seconds until more becomes available, which with a sliding window is before the window is over. The same in
        `X-RateLimit-*`, where the reset is in seconds from now.
        """
        limit = self.limit
        told = {
            "RateLimit-Policy": f'"{limit.name}";q={limit.quota};w={limit.window}',
            "RateLimit": f'"{limit.name}";r={self.remaining};t={self.wait}',
            "X-RateLimit-Limit": str(limit.quota),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.wait),
        }
        return told if self.accepted else {"Retry-After": str(self.wait), **told}


class Quotas:
    """What every token has used of every limit."""

    def __init__(self) -> None:
        self._accepted: dict[tuple[str, Limit], deque[float]] = {}
        self._until_sweep = SWEEP

    def take(self, caller: str, limit: Limit, now: float) -> Standing:
        """Counts a request if it is within the limit, and tells whether it is.

        Args:
            caller: whose it is.
            limit: of its operation.
            now: seconds of any clock. One that is set back loses what it had counted after that.
        """
        self._sweep(now)
        log = self._accepted.setdefault((caller, limit), deque())
        _forget(log, limit, now)
        accepted = len(log) < limit.quota
        if accepted:
            log.append(now)
        return Standing(limit, accepted, len(log), limit.window - (now - log[0]))

    def standings(self, now: float) -> Iterator[tuple[str, Standing]]:
        """Who has used some of what, by caller."""
        for (caller, limit), log in self._accepted.items():
            _forget(log, limit, now)
            if log:
                free = len(log) < limit.quota
                yield caller, Standing(limit, free, len(log), limit.window - (now - log[0]))

    def _sweep(self, now: float) -> None:
        self._until_sweep -= 1
        if self._until_sweep > 0:
            return
        self._until_sweep = SWEEP
        for (caller, limit), log in list(self._accepted.items()):
            _forget(log, limit, now)
            if not log:
                del self._accepted[caller, limit]


def _forget(log: deque[float], limit: Limit, now: float) -> None:
    while log and log[-1] > now:
        log.pop()
    while log and now - log[0] >= limit.window:
        log.popleft()
