"""The cache stage of the flow: fresh answers, stale ones where that is allowed, and single flight for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from holdfast.core.cache import LEAD, Cache, Entry, Flight
from holdfast.core.effects import CannotWait, Flow, Job, Park, Spawn
from holdfast.core.events import CacheUsed
from holdfast.core.outcome import Kind, Reason, Stop
from holdfast.core.ports import CacheUse, Ports

_NO_SUBSTITUTE = frozenset({Kind.REJECTED, Kind.REFUSED})
"""Answers that a stale one must not hide: the resource is gone, or not for this caller."""


class CacheStage:
    """Answers calls from the cache, or by `below`, the flow of the stages beneath it."""

    def __init__(self, cache: Cache, ports: Ports, below: Callable[[Job], Flow[Any]]) -> None:
        self._cache = cache
        self._ports = ports
        self._below = below

    def call(self, job: Job) -> Flow[Any]:
        """The reply to a call with a `CacheUse`, or a `Stop`."""
        use: CacheUse = job.cache
        now = job.started
        entry = self._cache.lookup(use.key, use.select, now)
        if entry is not None:
            if now < entry.fresh_until:
                return self._answer(entry, job, "hit")
            if now < entry.stale_until:
                if not self._cache.in_flight(use.key):
                    yield Spawn(self._refresh(job.clone()))
                return self._answer(entry, job, "stale")
        result = yield from self._joined(job, use)
        if result.__class__ is Stop and entry is not None and self._covered(entry, result):
            return self._answer(entry, job, "stale-if-error")
        return result

    def fresh(self, use: CacheUse, now: float, asked: Callable[[], Job]) -> Any:
        """The reply to a call whose answer is there and fresh. None if `call` has to tell."""
        entry = self._cache.fresh(use.key, now)
        return None if entry is None else self._ports.thaw(entry.value, asked)

    def written(self, job: Job, result: Any) -> None:
        """Drops what a write may have changed: its URL and all below it (RFC 9111, section 4.4)."""
        if (len(self._cache) or self._cache.flights) and (result.__class__ is not Stop or job.executed):
            self._cache.invalidate_path(self._ports.path(job))

    def reset(self) -> None:
        """Forgets what is in flight, after a fork."""
        self._cache.reset()

    def _answer(self, entry: Entry, job: Job, how: str) -> Any:
        if job.verbosity > 1:
            self._ports.emit(CacheUsed(job.id, job.route, job.key, how))
        return self._ports.thaw(entry.value, job)

    def _covered(self, entry: Entry, stop: Stop) -> bool:
        """Whether a stale entry may stand in for what stopped the call (RFC 5861, section 4)."""
        if stop.reason is Reason.CLOSED or self._ports.now() >= entry.error_until:
            return False
        return stop.reason is not Reason.OUTCOME or (
            stop.outcome is not None and stop.outcome.kind not in _NO_SUBSTITUTE
        )

    def _joined(self, job: Job, use: CacheUse) -> Flow[Any]:
        """Sends the request, or waits for the one who is sending the same."""
        cache = self._cache
        while True:
            flight, waiter = cache.join(use.key, use.tags, use.path)
            if waiter is None:
                return (yield from self._lead(job, use, flight))
            try:
                yield Park(job.deadline, waiter)
            except CannotWait as refusal:
                cache.abandon(flight, waiter)
                return Stop.ended(job, Reason.CANNOT_WAIT, None, f"the same request is in flight already: {refusal}")
            except BaseException:
                cache.abandon(flight, waiter)
                raise
            if not waiter.woken:
                cache.abandon(flight, waiter)
                why = "it passed while waiting for the answer to the same request of another call"
                return Stop(Reason.DEADLINE, job, None, 0, False, why)
            if waiter.value is LEAD:
                return (yield from self._lead(job, use, flight))
            shared = waiter.value[1]
            if shared is None:
                # The answer was for the one who asked alone; so would be one that is fetched in a next flight.
                return (yield from self._below(job))
            if isinstance(shared, Stop):
                return self._own(shared, job)
            if shared.matches(use.select):
                return self._answer(shared, job, "shared")

    def _own(self, shared: Stop, job: Job) -> Stop:
        """What stopped the leader, as a follower's own: with a response of its own."""
        outcome = shared.outcome
        if outcome is not None:
            outcome = replace(outcome, reply=self._ports.thaw(outcome.reply, job))
        return replace(shared, job=job, outcome=outcome)

    def _lead(self, job: Job, use: CacheUse, flight: Flight) -> Flow[Any]:
        """Sends the request for all who wait for the same; only what the server answered is shared."""
        cache = self._cache
        try:
            result = yield from self._below(job)
            if result.__class__ is Stop:
                outcome = result.outcome
                if result.reason is Reason.OUTCOME and outcome is not None and outcome.status:
                    cache.land(flight, result)
                else:
                    cache.hand_over(flight)
                return result
            frozen = self._ports.freeze(job, result)
            if frozen is None:
                cache.land(flight, None)
                return result
            now = self._ports.now()
            fresh = now + frozen.ttl
            entry = Entry(
                frozen.value,
                frozen.size,
                fresh,
                fresh + frozen.stale_while_revalidate,
                fresh + frozen.stale_if_error,
                use.tags,
                use.path,
                frozen.vary,
                use.select(frozen.vary),
            )
            cache.store(use.key, entry, flight)
            cache.land(flight, entry)
        except BaseException:
            cache.hand_over(flight)
            raise
        return result

    def _refresh(self, job: Job) -> Flow[None]:
        """Fetches anew what was answered with a stale entry, unless somebody else does already."""
        use: CacheUse = job.cache
        job.started = now = self._ports.now()
        job.deadline = now + job.patience
        flight, waiter = self._cache.join(use.key, use.tags, use.path)
        if waiter is not None:
            self._cache.abandon(flight, waiter)
            return
        yield from self._lead(job, use, flight)
