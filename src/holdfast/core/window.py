"""Recent results, by number or by time, for the rates that a circuit breaker looks at. Recording is O(1)."""

from __future__ import annotations

from collections import deque
from typing import Protocol


class Window(Protocol):
    """The results of late."""

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """Takes a result in."""
        ...

    def totals(self, now: float) -> tuple[int, int, int]:
        """Results, failures and slow ones in the window."""
        ...

    def clear(self) -> None:
        """Forgets all."""
        ...


class CountWindow:
    """The last `size` results."""

    __slots__ = ("_failures", "_results", "_slow")

    def __init__(self, size: int) -> None:
        self._results: deque[tuple[bool, bool]] = deque(maxlen=size)
        self._failures = 0
        self._slow = 0

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """Takes a result in; the oldest one drops out."""
        results = self._results
        if len(results) == results.maxlen:
            old_failed, old_slow = results[0]
            self._failures -= old_failed
            self._slow -= old_slow
        results.append((failed, slow))
        self._failures += failed
        self._slow += slow

    def totals(self, now: float) -> tuple[int, int, int]:
        """Results, failures and slow ones in the window."""
        return len(self._results), self._failures, self._slow

    def clear(self) -> None:
        """Forgets all."""
        self._results.clear()
        self._failures = self._slow = 0


class TimeWindow:
    """The results of the last `seconds`, in buckets: one drops out as a whole, so that it looks back a little less."""

    __slots__ = ("_buckets", "_count", "_newest", "_width")

    def __init__(self, seconds: float, buckets: int = 10) -> None:
        self._width = seconds / buckets
        self._count = buckets
        self._buckets = [[0, 0, 0] for _ in range(buckets)]
        self._newest: int | None = None  # number of the newest bucket since the beginning of time

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """Takes a result in."""
        bucket = self._buckets[self._advance(now) % self._count]
        bucket[0] += 1
        bucket[1] += failed
        bucket[2] += slow

    def totals(self, now: float) -> tuple[int, int, int]:
        """Results, failures and slow ones in the window."""
        self._advance(now)
        calls, failures, slow = (sum(column) for column in zip(*self._buckets, strict=True))
        return calls, failures, slow

    def clear(self) -> None:
        """Forgets all."""
        for bucket in self._buckets:
            bucket[:] = (0, 0, 0)

    def _advance(self, now: float) -> int:
        """Empties the buckets that time has passed over; returns the number of the current one."""
        current = int(now / self._width)
        newest = self._newest
        if newest is None or current > newest:
            if newest is not None:
                for number in range(newest + 1, min(current, newest + self._count) + 1):
                    self._buckets[number % self._count][:] = (0, 0, 0)
            self._newest = current
            return current
        return newest
