"""Counts and durations of calls, kept in memory per origin and cheap enough to be fed by every call."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

BOUNDS: tuple[float, ...] = tuple(float(f"{0.0005 * 1_200_000 ** (step / 36):.3g}") for step in range(37))
"""Upper bounds of the histogram's buckets in seconds, 0.5 ms to 600 s, each about 1.5 times the one before."""

OTHER = "other"
"""Stands for all origins, and all outcomes, beyond the number that is kept apart."""

SUCCESS = "success"
"""The outcome that is not an error."""

_MOST_ENDS = 256  # combinations kept apart; their number is small unless somebody invents outcomes
_STATUS_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


@dataclass(frozen=True, slots=True)
class CallStats:
    """What is known of the calls to one origin, or to all.

    Attributes:
        calls: finished calls, those that sent nothing included.
        errors: calls whose outcome was not "success"; `error_rate` is their share, 0 to 1 (0 without calls).
        attempts: requests sent; `retries` are those after the first of a call.
        statuses: calls by the class of their last status ("2xx"), "none" for those without a response. Only those seen.
        outcomes: calls by outcome. Only those seen.
        mean, p50, p95, p99, slowest: seconds of a whole call, waits included. The percentiles are interpolated in the
            histogram's buckets, so they may be off by the width of one (see `BOUNDS`).
    """

    calls: int
    errors: int
    error_rate: float
    attempts: int
    retries: int
    statuses: dict[str, int]
    outcomes: dict[str, int]
    mean: float
    p50: float
    p95: float
    p99: float
    slowest: float


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """The state of `Metrics` at one moment: all calls together, and by origin.

    Attributes:
        engine: what sends, "native" or "httpx2". The native one leaves to httpx2 what it cannot do, call by call.
    """

    total: CallStats
    origins: dict[str, CallStats]
    engine: str = "httpx2"


class _Series:
    """The running numbers of one origin: what a call adds to is kept small, what can be derived is."""

    __slots__ = ("buckets", "ends", "seconds", "slowest")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slowest = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.ends: dict[tuple[str, int, int], int] = {}  # calls by outcome, attempts and status

    def end(self, outcome: str, attempts: int, status: int) -> None:
        """Counts an end that is seen for the first time, or that there is no more room for."""
        end = (outcome, attempts, status)
        if len(self.ends) >= _MOST_ENDS:
            known = any(outcome == other for other, _, _ in self.ends)
            end = (outcome if known else OTHER, attempts, status // 100 * 100)
        self.ends[end] = self.ends.get(end, 0) + 1

    def add(self, other: _Series) -> None:
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        self.buckets = [mine + its for mine, its in zip(self.buckets, other.buckets, strict=True)]
        for end, count in other.ends.items():
            self.ends[end] = self.ends.get(end, 0) + count

    def stats(self) -> CallStats:
        filled = list(accumulate(self.buckets))
        calls = filled[-1]
        attempts = retries = 0
        by_status: dict[str, int] = {}
        outcomes: dict[str, int] = {}
        for (outcome, tries, status), count in self.ends.items():
            attempts += tries * count
            retries += max(tries - 1, 0) * count
            outcomes[outcome] = outcomes.get(outcome, 0) + count
            name = _class_of(status)
            by_status[name] = by_status.get(name, 0) + count
        errors = calls - outcomes.get(SUCCESS, 0)
        p50, p95, p99 = (self._percentile(filled, share) for share in (0.50, 0.95, 0.99))
        return CallStats(
            calls=calls,
            errors=errors,
            error_rate=errors / calls if calls else 0.0,
            attempts=attempts,
            retries=retries,
            statuses={name: by_status[name] for name in (*_STATUS_CLASSES, OTHER) if name in by_status},
            outcomes=outcomes,
            mean=self.seconds / calls if calls else 0.0,
            p50=p50,
            p95=p95,
            p99=p99,
            slowest=self.slowest,
        )

    def _percentile(self, filled: list[int], share: float) -> float:
        rank = share * filled[-1]
        if not rank:
            return 0.0
        at = bisect_left(filled, rank)
        low = BOUNDS[at - 1] if at else 0.0
        high = min(BOUNDS[at], self.slowest) if at < len(BOUNDS) else self.slowest
        below = filled[at - 1] if at else 0
        return low + (high - low) * (rank - below) / self.buckets[at]


class Metrics:
    """Counters and a histogram of durations per origin.

    Has no lock of its own: the client calls everything here under its lock.
    """

    def __init__(self, max_origins: int = 1000) -> None:
        """Starts at zero; origins beyond the first `max_origins` are counted together as "other"."""
        self._max_origins = max_origins
        self._origins: dict[str, _Series] = {}

    def record(self, origin: str, seconds: float, outcome: str, attempts: int, status: int) -> None:
        """Counts one finished call.

        Args:
            origin: where it went.
            seconds: how long the whole call took.
            outcome: "success", or what stopped it.
            attempts: requests sent for it, 0 if it was answered or refused locally.
            status: the last HTTP status, 0 without a response.
        """
        series = self._origins.get(origin)
        if series is None:
            series = self._open(origin)
        series.buckets[bisect_left(BOUNDS, seconds)] += 1
        series.seconds += seconds
        if seconds > series.slowest:  # noqa: PLR1730  (calling max() costs three times as much)
            series.slowest = seconds
        try:
            series.ends[outcome, attempts, status] += 1
        except KeyError:
            series.end(outcome, attempts, status)

    def snapshot(self, engine: str = "httpx2") -> MetricsSnapshot:
        """The numbers as they are now; what is recorded later does not change them."""
        total = _Series()
        for series in self._origins.values():
            total.add(series)
        origins = {origin: series.stats() for origin, series in self._origins.items()}
        return MetricsSnapshot(total.stats(), origins, engine)

    def reset(self) -> None:
        """Forgets everything counted so far."""
        self._origins.clear()

    def _open(self, origin: str) -> _Series:
        name = origin if len(self._origins) < self._max_origins else OTHER
        series = self._origins.get(name)
        if series is None:
            series = self._origins[name] = _Series()
        return series


def _class_of(status: int) -> str:
    """The class of a status: "2xx" and so on, "none" without one, "other" for what HTTP does not know."""
    at = status // 100
    return _STATUS_CLASSES[at] if 0 <= at < len(_STATUS_CLASSES) else OTHER
