"""What the failure test server remembers. Nothing here reads a clock: `now` is the event loop's time in seconds."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from weakref import WeakValueDictionary

__all__ = ["Answers", "Failures"]


class Failures:
    """Which of the coming requests fail: the next so many, those of the next so many seconds, or both."""

    def __init__(self) -> None:
        self.count = 0
        self._until = -math.inf

    def fail_next(self, count: int) -> None:
        self.count = count

    def fail_for(self, seconds: float, now: float) -> None:
        self._until = now + seconds

    def reset(self) -> None:
        self.count = 0
        self._until = -math.inf

    def hit(self, now: float) -> bool:
        """Whether the request that asks fails. It uses up one of the counted failures also while a duration lasts."""
        if self.count:
            self.count -= 1
            return True
        return now < self._until

    def remaining(self, now: float) -> float:
        """Seconds for which every request will still fail."""
        return max(0.0, self._until - now)


class Answers:
    """The answers given under each request id, bounded in number and age, and a lock per id that is being worked on."""

    def __init__(self, max_size: int, ttl: float) -> None:
        self._max_size = max_size
        self._ttl = ttl
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, key: str) -> asyncio.Lock:
        """The lock that makes concurrent duplicates wait for the first; it lives as long as somebody holds it.

        When the first is cancelled by its timeout, the one that has waited longest does the work instead.
        """
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock

    def get(self, key: str, now: float) -> str | None:
        self._drop_expired(now)
        kept = self._kept.get(key)
        return kept[1] if kept else None

    def keep(self, key: str, answer: str, now: float) -> None:
        self._drop_expired(now)
        self._kept[key] = (now + self._ttl, answer)
        if len(self._kept) > self._max_size:
            self._kept.popitem(last=False)

    def _drop_expired(self, now: float) -> None:
        # All live equally long and none is renewed, so the oldest entry is always the first to expire.
        while self._kept:
            key, (expires, _) = next(iter(self._kept.items()))
            if now < expires:
                return
            del self._kept[key]
