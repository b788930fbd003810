"""Handles by which a program looks at, and moves by hand, the state that its calls share."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.breaker import Breaker
from holdfast.core.bulkhead import Bulkhead
from holdfast.core.cache import Cache
from holdfast.core.limiter import Limiter
from holdfast.http.runtime import Runtime


class CircuitBreakerControl:
    """The circuit breaker of one origin, or of one key in it."""

    def __init__(self, runtime: Runtime, breaker: Callable[[], Breaker | None]) -> None:
        self._runtime = runtime
        self._find = breaker

    @property
    def state(self) -> str:
        """``"closed"``, ``"open"``, ``"half_open"`` or ``"isolated"``; ``"disabled"`` where there is none."""
        with self._runtime:
            breaker = self._find()
            return "disabled" if breaker is None else breaker.state(self._runtime.now())

    @property
    def retry_after(self) -> float:
        """Seconds until the next probe is let through: 0 if calls are, infinite while isolated."""
        with self._runtime:
            breaker = self._find()
            return 0.0 if breaker is None else breaker.retry_after(self._runtime.now())

    def isolate(self) -> None:
        """Opens it until it is closed by hand. Without effect where there is none."""
        with self._runtime:
            breaker = self._find()
            if breaker is not None:
                breaker.isolate(self._runtime.now())

    def close(self) -> None:
        """Closes it and forgets all failures."""
        with self._runtime:
            breaker = self._find()
            if breaker is not None:
                breaker.close(self._runtime.now())


class BulkheadControl:
    """The bulkhead of a client."""

    def __init__(self, runtime: Runtime, bulkhead: Bulkhead) -> None:
        self._runtime = runtime
        self._bulkhead = bulkhead

    @property
    def in_flight(self) -> int:
        """Slots that are taken."""
        return self._bulkhead.in_flight

    @property
    def queued(self) -> int:
        """Calls that wait for a slot."""
        return self._bulkhead.queued


class RateLimiterControl:
    """The rate limiter of one origin, or of one key in it."""

    def __init__(self, runtime: Runtime, limiter: Callable[[], Limiter]) -> None:
        self._runtime = runtime
        self._find = limiter

    @property
    def rate(self) -> float | None:
        """Requests per period at the moment, which an adaptive limiter changes; None for no rate of our own."""
        with self._runtime:
            return self._find().rate

    @property
    def retry_after(self) -> float:
        """Seconds that the next request would have to wait, by our own rate and by what the server says."""
        with self._runtime:
            return self._find().retry_after(self._runtime.now())

    @property
    def refusals(self) -> int:
        """How many requests the server has answered with 429 so far."""
        with self._runtime:
            return self._find().refusals


class CacheControl:
    """The cache of a client. Every method returns how many answers it dropped."""

    def __init__(self, runtime: Runtime, cache: Cache, path: Callable[[str], str]) -> None:
        self._runtime = runtime
        self._cache = cache
        self._path = path

    def __len__(self) -> int:
        return len(self._cache)

    @property
    def bytes(self) -> int:
        """The size of all answers together."""
        return self._cache.bytes

    @property
    def hits(self) -> int:
        """How often an answer was found, fresh or stale."""
        return self._cache.hits

    @property
    def misses(self) -> int:
        """How often none was."""
        return self._cache.misses

    @property
    def evictions(self) -> int:
        """How many answers were dropped for want of room."""
        return self._cache.evictions

    def invalidate(self, url: str) -> int:
        """Drops the answers for a URL, whosever they are and whatever they vary on; its query is not looked at."""
        with self._runtime:
            return self._cache.invalidate_path(self._path(url))

    def invalidate_tag(self, tag: str) -> int:
        """Drops the answers to calls with this tag."""
        with self._runtime:
            return self._cache.invalidate_tag(tag)

    def invalidate_prefix(self, prefix: str) -> int:
        """Drops the answers for all URLs below `base_url` whose path begins so."""
        with self._runtime:
            return self._cache.invalidate_prefix(self._path(prefix))

    def clear(self) -> int:
        """Drops everything."""
        with self._runtime:
            return self._cache.clear()
