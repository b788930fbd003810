"""Responses kept for a while, and requests in progress that several callers wait for (single flight).

The cache never looks into what it stores. Which responses may be stored, and for how long, is decided above it; whether
a stale one is good enough, by the flow.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeAlias

from holdfast.core.effects import Waiter

Select: TypeAlias = Callable[[tuple[str, ...]], tuple[str, ...]]
"""Gives a request's own values of the header names that a stored response varies on."""

LEAD: Final = "lead"
"""What a follower is woken with who has become the leader."""

SHARED: Final = "shared"
"""What a follower is woken with that got the leader's answer: the pair of this and the answer."""


class Entry:
    """A stored response. Its times are monotonic seconds and are not changed after it was stored.

    Attributes:
        value: the response in the form of whoever stores it.
        size: bytes that it counts for.
        fresh_until: end of its freshness.
        stale_until: until when it may be used while it is being refreshed (RFC 5861, section 3).
        error_until: until when it may be used instead of an error (RFC 5861, section 4).
        until: the last of the three; after that it is of no use.
        tags: names to invalidate it by. `path`: the URL's path, for invalidation by prefix.
        vary: the request header names that it depends on, `values`: what the storing request had there.
        key: what it is stored by; set by the cache.
    """

    __slots__ = (
        "error_until",
        "fresh_until",
        "key",
        "path",
        "size",
        "stale_until",
        "tags",
        "until",
        "value",
        "values",
        "vary",
    )

    def __init__(
        self,
        value: Any,
        size: int,
        fresh_until: float,
        stale_until: float = 0.0,
        error_until: float = 0.0,
        tags: frozenset[str] = frozenset(),
        path: str = "",
        vary: tuple[str, ...] = (),
        values: tuple[str, ...] = (),
    ) -> None:
        self.value = value
        self.size = size
        self.fresh_until = fresh_until
        self.stale_until = stale_until
        self.error_until = error_until
        self.until = max(fresh_until, stale_until, error_until)
        self.tags = tags
        self.path = path
        self.vary = vary
        self.values = values
        self.key: Hashable = None

    def matches(self, select: Select) -> bool:
        """Whether it answers the request that `select` speaks for (RFC 9111, section 4.1)."""
        return not self.vary or select(self.vary) == self.values


class Flight:
    """A request in progress that stands for all that ask the same meanwhile.

    Attributes:
        key: what is asked for. `tags`, `path`: what it would be stored with.
        invalidated: whether what it is about to bring was invalidated meanwhile. Those who wait still get it, as they
            asked before the write; it is not stored, and nobody joins it any more.
        leader: the waiter of a leader that was a follower before. `followers`: those who wait, oldest first. Both are
            the cache's business alone.
    """

    __slots__ = ("followers", "invalidated", "key", "leader", "path", "tags")

    def __init__(self, key: Hashable, tags: frozenset[str], path: str) -> None:
        self.key = key
        self.tags = tags
        self.path = path
        self.invalidated = False
        self.leader: Waiter | None = None
        self.followers: OrderedDict[Waiter, None] = OrderedDict()


class Cache:
    """A least-recently-used store, bounded in entries and bytes, with single flight.

    A key stands for method, URL and the identity of the caller's credentials. Below it there is one entry per variant,
    that is, per combination of the header values that the response varies on.

    The first to `join` a key leads: it sends the request and must end the flight by `land` (the server answered,
    whatever it was) or `hand_over` (it gave up before that). The others follow: they park on their waiter and are woken
    with ``(SHARED, answer)`` or with `LEAD`, which puts them in the leader's place. A follower that gives up calls
    `abandon`, also after it was woken and died before it could act on it. `Entry.matches` tells a follower whether a
    shared entry is a variant for it.

    Args:
        max_entries: entries at most; 0 stores nothing.
        max_bytes: bytes at most, as the entries' sizes tell.

    Attributes:
        bytes: what the entries hold together. `hits`, `misses`: look-ups that found an entry, fresh or stale, and that
            found none. `evictions`: entries dropped for want of room.
    """

    __slots__ = (
        "_entries",
        "_flights",
        "_live",
        "_recent",
        "bytes",
        "evictions",
        "hits",
        "max_bytes",
        "max_entries",
        "misses",
    )

    def __init__(self, max_entries: int = 1000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._entries: dict[Hashable, list[Entry]] = {}
        self._recent: OrderedDict[Entry, None] = OrderedDict()
        self._flights: dict[Hashable, Flight] = {}
        self._live: set[Flight] = set()

    def __len__(self) -> int:
        return len(self._recent)

    # Entries

    def lookup(self, key: Hashable, select: Select, now: float) -> Entry | None:
        """The entry for a request, fresh or stale; it becomes the most recently used one.

        Entries that are of no use any more are dropped when met.

        Args:
            key: method, URL, identity.
            select: the request's values of the header names that an entry varies on.
            now: monotonic seconds.
        """
        variants = self._entries.get(key)
        if variants is not None:
            found: Entry | None = None
            dead: list[Entry] | None = None
            for entry in variants:
                if now >= entry.until:
                    dead = [*(dead or ()), entry]
                elif found is None and (not entry.vary or select(entry.vary) == entry.values):
                    found = entry
            if dead is not None:
                for entry in dead:
                    self._drop(entry)
            if found is not None:
                self._recent.move_to_end(found)
                self.hits += 1
                return found
        self.misses += 1
        return None

    def fresh(self, key: Hashable, now: float) -> Entry | None:
        """The entry for a request if it is fresh, and the only one and varies on nothing; else `lookup` has to tell."""
        variants = self._entries.get(key)
        if variants is None:
            return None
        entry = variants[0]  # those that vary come first
        if entry.vary or now >= entry.fresh_until:
            return None
        self._recent.move_to_end(entry)
        self.hits += 1
        return entry

    def store(self, key: Hashable, entry: Entry, flight: Flight | None = None) -> bool:
        """Stores an entry in place of the same variant, and evicts the least recently used ones beyond the bounds.

        Args:
            key: what it is looked up by.
            entry: a new one.
            flight: the flight that brought it, if it was one.

        Returns:
            False if it was not stored: it was invalidated during its flight, or it is larger than the whole cache. The
            variant that it would have replaced is gone nevertheless in the second case: it is known to be outdated.
        """
        if flight is not None and flight.invalidated:
            return False
        variants = self._entries.get(key)
        if variants is not None:
            for old in variants:
                if old.vary == entry.vary and old.values == entry.values:
                    self._drop(old)
                    break
        if entry.size > self.max_bytes or self.max_entries < 1:
            return False
        entry.key = key
        variants = self._entries.setdefault(key, [])
        # Newest first; one without Vary would hide all others, so it is the last resort (RFC 9111, section 4.1).
        variants.insert(0 if entry.vary else len(variants), entry)
        self._recent[entry] = None
        self.bytes += entry.size
        while self.bytes > self.max_bytes or len(self._recent) > self.max_entries:
            self._drop(next(iter(self._recent)))
            self.evictions += 1
        return True

    def invalidate(self, key: Hashable) -> int:
        """Drops all variants of a key, and what is in flight for it. Returns the number of entries dropped."""
        flight = self._flights.get(key)
        if flight is not None:
            self._detach(flight)
        return self._drop_all(list(self._entries.get(key, ())))

    def invalidate_tag(self, tag: str) -> int:
        """As `invalidate`, for everything that has this tag. Takes time in proportion to the number of entries."""
        for flight in [flight for flight in self._flights.values() if tag in flight.tags]:
            self._detach(flight)
        return self._drop_all([entry for entry in self._recent if tag in entry.tags])

    def invalidate_prefix(self, path_prefix: str) -> int:
        """As `invalidate_tag`, for every path that begins with these characters: "/pet" includes "/pets"."""
        for flight in [flight for flight in self._flights.values() if flight.path.startswith(path_prefix)]:
            self._detach(flight)
        return self._drop_all([entry for entry in self._recent if entry.path.startswith(path_prefix)])

    def invalidate_path(self, path: str) -> int:
        """As `invalidate_tag`, for this path and all below it: "/pet" includes "/pet/7", but not "/pets"."""
        below = path.rstrip("/") + "/"
        for flight in [flight for flight in self._flights.values() if _is_at(flight.path, path, below)]:
            self._detach(flight)
        return self._drop_all([entry for entry in self._recent if _is_at(entry.path, path, below)])

    def clear(self) -> int:
        """As `invalidate`, for everything. The counters go on."""
        for flight in list(self._flights.values()):
            self._detach(flight)
        return self._drop_all(list(self._recent))

    def reset(self) -> None:
        """Forgets the flights, waking nobody: after a fork they are the parent's. Entries stay."""
        for flight in self._live:
            flight.invalidated = True
        self._live.clear()
        self._flights.clear()

    def _drop_all(self, entries: list[Entry]) -> int:
        for entry in entries:
            self._drop(entry)
        return len(entries)

    def _drop(self, entry: Entry) -> None:
        del self._recent[entry]
        self.bytes -= entry.size
        variants = self._entries[entry.key]
        if len(variants) == 1:
            del self._entries[entry.key]
        else:
            variants.remove(entry)

    # Flights

    @property
    def flights(self) -> int:
        """How many flights have not ended. 0 at rest."""
        return len(self._live)

    def in_flight(self, key: Hashable) -> bool:
        """Whether there is a flight for this key that can be joined."""
        return key in self._flights

    def join(self, key: Hashable, tags: frozenset[str] = frozenset(), path: str = "") -> tuple[Flight, Waiter | None]:
        """Takes part in the flight for a key.

        Args:
            key: what is asked for.
            tags: those that the answer would be stored with, for invalidation meanwhile.
            path: the URL's path, for the same.

        Returns:
            The flight, and the waiter to park on as a follower; None if the caller leads.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(key, tags, path)
            self._live.add(flight)
            return flight, None
        waiter = Waiter()
        flight.followers[waiter] = None
        return flight, waiter

    def land(self, flight: Flight, value: Any) -> int:
        """Ends a flight: the server has answered. All followers are woken with ``(SHARED, value)``; returns how many.

        To be called after `store`, in the same step, or one who asks in between would send a request of its own.
        """
        if not self._end(flight):
            return 0
        followers = flight.followers
        woken = sum(waiter.wake((SHARED, value)) for waiter in followers)
        followers.clear()
        return woken

    def hand_over(self, flight: Flight) -> bool:
        """The leader gives up without a server's answer. The oldest follower that is still there becomes the leader.

        Returns:
            False if there is none: the flight has ended.
        """
        if flight not in self._live:
            return False
        followers = flight.followers
        while followers:
            waiter, _ = followers.popitem(last=False)
            if waiter.wake(LEAD):
                flight.leader = waiter
                return True
        self._end(flight)
        return False

    def abandon(self, flight: Flight, waiter: Waiter) -> None:
        """A follower goes. If it was made the leader, the next in line is. May be called at any time, and again."""
        if not waiter.woken:
            waiter.gone = True
            flight.followers.pop(waiter, None)
        elif flight.leader is waiter:
            self.hand_over(flight)

    def _detach(self, flight: Flight) -> None:
        """Nobody joins it from now on: who asks after a write must not get an answer from before it."""
        flight.invalidated = True
        del self._flights[flight.key]

    def _end(self, flight: Flight) -> bool:
        if flight not in self._live:
            return False
        self._live.remove(flight)
        if not flight.invalidated:
            del self._flights[flight.key]
        return True


def _is_at(found: str, path: str, below: str) -> bool:
    return found == path or found.startswith(below)
