"""What remembers the webhooks that were handled: `ReplayCache`, one in memory, and `Guard`, which asks it."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from holdfast.exceptions import WebhookError

if TYPE_CHECKING:
    from holdfast.service.webhooks.calling import Caller

__all__ = ["Claim", "MemoryReplayCache", "ReplayCache"]

log = logging.getLogger("holdfast.webhooks")

Claim: TypeAlias = Literal["new", "busy", "done"]
"""Of a mark that is claimed: nobody had it, somebody is handling the event, or it was handled."""


class ReplayCache(Protocol):
    """Remembers webhooks by their marks, for one process or for many.

    A mark is text of at most 270 printable ASCII characters. The methods may be async. With Redis `claim` is one ``SET
    mark busy NX GET PX ...``, `keep` a ``SET mark done PX ...``, `release` a ``DEL``; with a database it is a row with
    a unique mark. One that raises lets nothing through: the webhook is refused as ``"unavailable"``, to be sent again.
    """

    def claim(self, mark: str, seconds: float) -> Claim | Awaitable[Claim]:
        """Takes a mark for an event that is about to be handled; of several who try at once, one gets ``"new"``.

        Without `keep` or `release` it is free again after `seconds`: whoever took it is gone.
        """
        ...

    def keep(self, mark: str, seconds: float) -> Awaitable[None] | None:
        """Remembers for `seconds` that the event was handled."""
        ...

    def release(self, mark: str) -> Awaitable[None] | None:
        """Forgets a mark, for the event was not handled and may come again."""
        ...


class MemoryReplayCache:
    """A `ReplayCache` for one process. It forgets with it, and what is older than the last `max_entries` events.

    Args:
        max_entries: how many marks are remembered, about 300 bytes each. An event has one mark, with
            ``scheme="any"`` up to two.
        clock: seconds, from any beginning.

    Raises:
        ValueError: `max_entries` is less than 1.
    """

    def __init__(self, max_entries: int = 10_000, *, clock: Callable[[], float] = time.monotonic) -> None:
        given: object = max_entries
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise ValueError(f"max_entries must be a whole number of at least 1, not {max_entries!r}")
        self._max_entries = max_entries
        self._clock = clock
        self._lock = threading.Lock()
        self._busy: OrderedDict[str, float] = OrderedDict()
        self._done: OrderedDict[str, float] = OrderedDict()

    def claim(self, mark: str, seconds: float) -> Claim:
        """See `ReplayCache.claim`."""
        now = self._clock()
        with self._lock:
            if self._done.get(mark, now) > now:
                return "done"
            if self._busy.get(mark, now) > now:
                return "busy"
            self._put(self._busy, mark, now + seconds)
            return "new"

    def keep(self, mark: str, seconds: float) -> None:
        """See `ReplayCache.keep`."""
        now = self._clock()
        with self._lock:
            self._busy.pop(mark, None)
            self._put(self._done, mark, now + seconds)
            while self._done:  # in the order in which they end, unless callers differ in how long they remember
                oldest, until = next(iter(self._done.items()))
                if until > now:
                    break
                del self._done[oldest]

    def release(self, mark: str) -> None:
        """See `ReplayCache.release`."""
        with self._lock:
            self._busy.pop(mark, None)

    def __len__(self) -> int:
        with self._lock:
            return len(self._busy) + len(self._done)

    def _put(self, entries: OrderedDict[str, float], mark: str, until: float) -> None:
        entries[mark] = until
        entries.move_to_end(mark)
        if len(entries) > self._max_entries:
            entries.popitem(last=False)


class Guard:
    """Lets every event through once, for `seconds`; 0 for as often as it comes.

    `lease`: seconds after which somebody who began with an event and never ended is taken for gone.
    """

    def __init__(self, cache: ReplayCache, seconds: float, lease: float) -> None:
        self._cache = cache
        self._seconds = seconds
        self._lease = lease
        # It never waits, so it needs no thread.
        self._quick = isinstance(cache, MemoryReplayCache)

    async def enter(self, marks: Sequence[str], caller: Caller) -> None:
        """Takes the marks of an event.

        Raises:
            WebhookError: somebody has them, or the cache cannot tell.
        """
        if self._seconds == 0:
            return
        for index, mark in enumerate(marks):
            try:
                claim = await self._ask(caller, self._cache.claim, mark, self._lease)
                if claim not in ("new", "busy", "done"):
                    raise TypeError(f"claim() of the replay cache returned {claim!r}, not 'new', 'busy' or 'done'")
            except Exception as error:
                log.exception("the replay cache failed, so a webhook was refused")
                await self.give_back(marks[:index], caller)
                raise WebhookError(
                    f"the replay cache failed ({type(error).__name__}), so nobody knows whether this was handled"
                    " before; it was not handled now, and can be sent again",
                    reason="unavailable",
                ) from None
            if claim != "new":
                await self.give_back(marks[:index], caller)
                raise WebhookError(
                    "this webhook is being handled at this moment; it can be sent again if that fails"
                    if claim == "busy"
                    else "this webhook was handled before; if it is another event, it needs another id or timestamp",
                    reason="replay",
                    in_progress=claim == "busy",
                )

    async def keep(self, marks: Sequence[str], caller: Caller) -> None:
        """Remembers an event that was handled."""
        if self._seconds == 0:
            return
        for mark in marks:
            try:
                await self._ask(caller, self._cache.keep, mark, self._seconds)
            except Exception:
                log.exception("the replay cache failed, so a webhook that was handled may be handled again")

    async def give_back(self, marks: Sequence[str], caller: Caller) -> None:
        """Forgets an event, so that it may come again."""
        if self._seconds == 0:
            return
        for mark in marks:
            try:
                await self._ask(caller, self._cache.release, mark)
            except Exception:
                log.exception("the replay cache failed, so a webhook is refused for up to %g s", self._lease)

    async def _ask(self, caller: Caller, method: Callable[..., Any], *args: Any) -> Any:
        return method(*args) if self._quick else await caller.call(method, *args)
