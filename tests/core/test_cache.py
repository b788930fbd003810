"""Storage and single flight: examples of every rule, and a state machine against a model."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.core.cache import LEAD, SHARED, Cache, Entry, Flight
from holdfast.core.effects import Waiter


def entry(value: Any = "v", size: int = 10, until: float = 100.0, **more: Any) -> Entry:
    return Entry(value, size, until, **more)


def request(**headers: str) -> Any:
    """What a request with these headers has for the names that an entry varies on."""
    return lambda names: tuple(headers.get(name, "") for name in names)


PLAIN = request()


def value_of(cache: Cache, key: Any, select: Any = PLAIN, now: float = 0.0) -> Any:
    found = cache.lookup(key, select, now)
    return found.value if found is not None else None


# Entries


def test_what_was_stored_is_found_under_its_key_only():
    cache = Cache()
    assert cache.store("a", entry("1"))
    assert value_of(cache, "a") == "1"
    assert value_of(cache, "b") is None
    assert (cache.hits, cache.misses, len(cache), cache.bytes) == (1, 1, 1, 10)
    assert [value_of(cache, key) for key in "aabb"] == ["1", "1", None, None]
    assert (cache.hits, cache.misses) == (3, 3)


def test_storing_again_replaces():
    cache = Cache()
    cache.store("a", entry("1", 10))
    cache.store("a", entry("2", 30))
    assert value_of(cache, "a") == "2"
    assert (len(cache), cache.bytes, cache.evictions) == (1, 30, 0)


def test_storing_the_same_object_again_counts_it_once():
    cache, one = Cache(), entry()
    cache.store("a", one)
    cache.store("a", one)
    assert (len(cache), cache.bytes) == (1, 10)


def test_an_entry_that_may_not_be_used_stale_is_gone_with_its_freshness():
    cache = Cache()
    cache.store("a", entry("1", until=0.5))
    assert value_of(cache, "a", now=0.4) == "1"
    assert value_of(cache, "a", now=0.5) is None


def test_a_cache_of_one_entry_keeps_the_last_one():
    cache = Cache(max_entries=1)
    assert cache.store("a", entry("1"))
    assert cache.store("b", entry("2"))
    assert (value_of(cache, "a"), value_of(cache, "b"), cache.evictions) == (None, "2", 1)


def test_stale_entries_are_returned_until_no_use_is_left():
    cache = Cache()
    cache.store("a", entry("1", until=10.0, stale_until=20.0, error_until=30.0))
    assert value_of(cache, "a", now=9.9) == "1"
    assert value_of(cache, "a", now=19.9) == "1"
    assert value_of(cache, "a", now=29.9) == "1"
    assert len(cache) == 1
    assert value_of(cache, "a", now=30.0) is None
    assert (len(cache), cache.bytes, cache.evictions) == (0, 0, 0)


def test_dead_variants_are_dropped_when_their_key_is_met():
    cache = Cache()
    cache.store("a", entry("1", until=10.0, vary=("accept",), values=("x",)))
    cache.store("a", entry("2", until=50.0, vary=("accept",), values=("y",)))
    cache.store("b", entry("3", until=10.0))
    assert value_of(cache, "a", request(accept="y"), now=20.0) == "2"
    assert len(cache) == 2


def test_variants_are_told_apart_by_the_request():
    cache = Cache()
    cache.store("a", entry("json", vary=("accept",), values=("json",)))
    cache.store("a", entry("text", vary=("accept",), values=("text",)))
    assert value_of(cache, "a", request(accept="json")) == "json"
    assert value_of(cache, "a", request(accept="text")) == "text"
    assert value_of(cache, "a", request(accept="xml")) is None
    assert len(cache) == 2
    cache.store("a", entry("text 2", vary=("accept",), values=("text",)))
    assert value_of(cache, "a", request(accept="text")) == "text 2"
    assert len(cache) == 2


def test_of_several_that_match_the_newest_counts():
    cache = Cache()
    cache.store("a", entry("old", vary=("accept",), values=("json",)))
    cache.store("a", entry("new", vary=("language",), values=("de",)))
    assert value_of(cache, "a", request(accept="json", language="de")) == "new"
    assert value_of(cache, "a", request(accept="json", language="en")) == "old"


@pytest.mark.parametrize("varying_first", [True, False])
def test_one_without_vary_is_the_last_resort(varying_first):
    cache = Cache()
    both = [entry("json", vary=("accept",), values=("json",)), entry("any")]
    for one in both if varying_first else reversed(both):
        cache.store("a", one)
    assert value_of(cache, "a", request(accept="json")) == "json"
    assert value_of(cache, "a", request(accept="text")) == "any"


def test_the_least_recently_used_goes_first():
    cache = Cache(max_entries=2)
    cache.store("a", entry("1"))
    cache.store("b", entry("2"))
    assert value_of(cache, "a") == "1"
    cache.store("c", entry("3"))
    assert [value_of(cache, key) for key in "abc"] == ["1", None, "3"]
    assert cache.evictions == 1


def test_bytes_are_bounded_exactly():
    cache = Cache(max_bytes=100)
    cache.store("a", entry("1", 60))
    cache.store("b", entry("2", 40))
    assert (len(cache), cache.bytes, cache.evictions) == (2, 100, 0)
    cache.store("c", entry("3", 1))
    assert [value_of(cache, key) for key in "abc"] == [None, "2", "3"]
    assert cache.bytes == 41
    cache.store("d", entry("4", 100))
    assert (len(cache), cache.bytes, cache.evictions) == (1, 100, 3)


def test_what_is_larger_than_the_cache_is_not_stored_and_leaves_nothing_outdated():
    cache = Cache(max_bytes=100)
    cache.store("a", entry("1"))
    cache.store("b", entry("2"))
    assert not cache.store("a", entry("3", 101))
    assert value_of(cache, "a") is None
    assert value_of(cache, "b") == "2"
    assert cache.bytes == 10


def test_a_cache_of_no_entries_stores_nothing():
    cache = Cache(max_entries=0)
    assert not cache.store("a", entry(size=0))
    assert (len(cache), cache.bytes, cache.evictions) == (0, 0, 0)


def test_invalidation():
    cache = Cache()
    cache.store("a", entry("1", path="/pets/1", tags=frozenset({"pet"})))
    cache.store("a", entry("2", path="/pets/1", vary=("accept",), values=("x",)))
    cache.store("b", entry("3", path="/pets", tags=frozenset({"pet", "list"})))
    cache.store("c", entry("4", path="/users/1"))
    assert cache.invalidate("a") == 2
    assert cache.invalidate("a") == 0
    assert cache.invalidate_tag("list") == 1
    assert (len(cache), cache.bytes) == (1, 10)
    cache.store("b", entry("3", path="/pets"))
    cache.store("a", entry("1", path="/pets/1"))
    assert cache.invalidate_prefix("/pets") == 2
    assert value_of(cache, "c") == "4"
    assert cache.clear() == 1
    assert (len(cache), cache.bytes, cache.evictions) == (0, 0, 0)


def test_invalidation_of_a_path_and_what_is_below_it():
    cache = Cache()
    for number, path in enumerate(["/pets", "/pets/7", "/pets/7/toys", "/petshop", "/"]):
        cache.store(number, entry(path, path=path))
    assert cache.invalidate_path("/pets/7") == 2
    assert cache.invalidate_path("/pets") == 1
    assert [value_of(cache, number) for number in range(5)] == [None, None, None, "/petshop", "/"]
    assert cache.invalidate_path("/") == 2


# Single flight


def test_the_first_leads_and_the_others_share():
    cache = Cache()
    flight, leader = cache.join("a")
    assert leader is None
    assert cache.in_flight("a")
    assert not cache.in_flight("b")
    waiters = [cache.join("a") for _ in range(3)]
    assert all(joined is flight for joined, _ in waiters)
    assert cache.flights == 1
    assert cache.land(flight, "answer") == 3
    for _, waiter in waiters:
        assert waiter is not None
        assert waiter.woken
        assert waiter.value == (SHARED, "answer")
    assert cache.flights == 0
    assert not cache.in_flight("a")


def test_flights_of_different_keys_are_apart():
    cache = Cache()
    assert cache.join("a")[1] is None
    assert cache.join("b")[1] is None
    assert cache.flights == 2


def test_a_leader_that_gives_up_hands_over_to_the_oldest_that_is_still_there():
    cache = Cache()
    flight, _ = cache.join("a")
    _, first = cache.join("a")
    _, second = cache.join("a")
    _, third = cache.join("a")
    assert first is not None
    assert second is not None
    assert third is not None
    cache.abandon(flight, first)
    assert not first.wake(LEAD)
    second.notify = lambda: False  # its event loop is closed
    assert cache.hand_over(flight)
    assert (first.woken, second.woken, third.woken) == (False, False, True)
    assert third.value == LEAD
    assert cache.flights == 1
    assert not cache.hand_over(flight)
    assert cache.flights == 0


def test_without_followers_the_flight_ends():
    cache = Cache()
    flight, _ = cache.join("a")
    assert not cache.hand_over(flight)
    assert cache.flights == 0
    assert cache.join("a")[1] is None


def test_one_that_was_made_leader_and_dies_before_it_knows_hands_over_further():
    cache = Cache()
    flight, _ = cache.join("a")
    _, first = cache.join("a")
    _, second = cache.join("a")
    assert first is not None
    assert second is not None
    cache.hand_over(flight)
    cache.abandon(flight, first)
    assert second.value == LEAD
    cache.abandon(flight, first)
    assert cache.flights == 1
    cache.abandon(flight, second)
    assert cache.flights == 0


def test_a_leader_that_handed_over_leaves_without_disturbing_the_next_one():
    cache = Cache()
    flight, _ = cache.join("a")
    _, first = cache.join("a")
    _, second = cache.join("a")
    _, third = cache.join("a")
    assert first is not None
    assert third is not None
    cache.hand_over(flight)
    cache.hand_over(flight)
    cache.abandon(flight, first)
    assert second is not None
    assert second.value == LEAD
    assert not third.woken
    assert cache.flights == 1


def test_leaving_after_the_answer_changes_nothing():
    cache = Cache()
    flight, _ = cache.join("a")
    _, waiter = cache.join("a")
    assert waiter is not None
    cache.land(flight, "answer")
    again, leads = cache.join("a")
    cache.abandon(flight, waiter)
    assert leads is None
    assert again is not flight
    assert cache.flights == 1


def test_a_flight_ends_once():
    cache = Cache()
    flight, _ = cache.join("a")
    cache.land(flight, "answer")
    other, _ = cache.join("a")
    assert cache.land(flight, "late") == 0
    assert not cache.hand_over(flight)
    assert cache.in_flight("a")
    cache.land(other, "answer")
    assert cache.flights == 0


INVALIDATIONS = {
    "key": lambda cache: cache.invalidate("a"),
    "tag": lambda cache: cache.invalidate_tag("pet"),
    "prefix": lambda cache: cache.invalidate_prefix("/pet"),
    "path": lambda cache: cache.invalidate_path("/pets"),
    "all": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("how", INVALIDATIONS)
def test_what_is_invalidated_in_flight_is_shared_but_not_stored(how):
    cache = Cache()
    flight, _ = cache.join("a", frozenset({"pet"}), "/pets/1")
    _, waiter = cache.join("a")
    assert INVALIDATIONS[how](cache) == 0
    assert flight.invalidated
    assert not cache.store("a", entry("old"), flight)
    assert cache.land(flight, "old") == 1
    assert waiter is not None
    assert waiter.value == (SHARED, "old")
    assert (len(cache), cache.flights) == (0, 0)


def test_other_flights_are_stored():
    cache = Cache()
    flight, _ = cache.join("a", frozenset({"pet"}), "/pets/1")
    cache.invalidate("b")
    cache.invalidate_tag("user")
    cache.invalidate_prefix("/users")
    cache.invalidate_path("/pet")
    assert not flight.invalidated
    assert cache.store("a", entry("1"), flight)


def test_who_asks_after_the_write_does_not_get_an_answer_from_before_it():
    cache = Cache()
    before, _ = cache.join("a")
    cache.invalidate("a")
    after, waiter = cache.join("a")
    assert after is not before
    assert waiter is None
    assert cache.flights == 2
    assert cache.store("a", entry("new"), after)
    cache.land(after, "new")
    assert not cache.store("a", entry("old"), before)
    cache.land(before, "old")
    assert value_of(cache, "a") == "new"
    assert cache.flights == 0


def test_an_invalidated_flight_is_still_handed_over():
    cache = Cache()
    flight, _ = cache.join("a")
    _, waiter = cache.join("a")
    cache.invalidate("a")
    assert cache.hand_over(flight)
    assert waiter is not None
    assert waiter.value == LEAD
    assert not cache.hand_over(flight)
    assert cache.flights == 0


def test_a_follower_can_tell_whether_the_variant_is_its_own():
    shared = entry(vary=("accept",), values=("json",))
    assert shared.matches(request(accept="json"))
    assert not shared.matches(request(accept="text"))
    assert entry().matches(request(accept="text"))


def test_reset_forgets_flights_and_keeps_entries():
    cache = Cache()
    cache.store("b", entry("kept"))
    flight, _ = cache.join("a")
    _, waiter = cache.join("a")
    cache.reset()
    assert cache.flights == 0
    assert value_of(cache, "b") == "kept"
    assert cache.join("a")[1] is None
    assert cache.land(flight, "parent's") == 0
    assert waiter is not None
    assert not waiter.woken
    assert not cache.store("a", entry("parent's"), flight)
    assert cache.in_flight("a")


# Against a model

KEYS = st.sampled_from("abc")
PATHS = {"a": "/pets/1", "b": "/pets", "c": "/users/1"}
TAGS = {"a": frozenset({"pet"}), "b": frozenset({"pet", "list"}), "c": frozenset[str]()}
VARIANTS = st.sampled_from(
    [((), ()), (("accept",), ("x",)), (("accept",), ("y",)), (("accept", "language"), ("x", "de"))]
)
REQUESTS = st.fixed_dictionaries({"accept": st.sampled_from("xyz"), "language": st.sampled_from(["de", "en"])})
MAX_ENTRIES, MAX_BYTES = 4, 100


@dataclasses.dataclass
class Trip:
    """A flight as the model sees it: who waits, oldest first, and who leads without having started to."""

    flight: Flight
    key: str
    followers: list[Waiter]
    promoted: Waiter | None = None
    invalidated: bool = False


class CacheMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache(MAX_ENTRIES, MAX_BYTES)
        self.now = 0.0
        self.order: list[Entry] = []  # least recently used first
        self.keys: dict[Entry, str] = {}
        self.age: dict[Entry, int] = {}
        self.stored = self.evicted = self.hits = self.misses = 0
        self.trips: list[Trip] = []
        self.closed: set[Waiter] = set()

    # Entries

    def _store(self, key: str, one: Entry, trip: Trip | None = None) -> None:
        done = self.cache.store(key, one, trip.flight if trip is not None else None)
        if trip is not None and trip.invalidated:
            assert not done
            return
        same = [old for old in self.order if (self.keys[old], old.vary, old.values) == (key, one.vary, one.values)]
        self.order = [old for old in self.order if old not in same]
        assert done is (one.size <= MAX_BYTES)
        if not done:
            return
        self.stored += 1
        self.keys[one], self.age[one] = key, self.stored
        self.order.append(one)
        while len(self.order) > MAX_ENTRIES or sum(old.size for old in self.order) > MAX_BYTES:
            self.order.pop(0)
            self.evicted += 1

    def _entry(self, key: str, variant: Any, size: int, times: tuple[float, float, float]) -> Entry:
        fresh, stale, error = (self.now + seconds for seconds in times)
        return Entry(object(), size, fresh, stale, error, TAGS[key], PATHS[key], *variant)

    times = st.tuples(*[st.integers(0, 10)] * 3)
    sizes = st.integers(0, MAX_BYTES + 10)

    @rule(key=KEYS, variant=VARIANTS, size=sizes, times=times)
    def store(self, key, variant, size, times):
        self._store(key, self._entry(key, variant, size, times))

    @rule(seconds=st.integers(1, 5))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(key=KEYS, headers=REQUESTS)
    def look_up(self, key, headers):
        found = self.cache.lookup(key, request(**headers), self.now)
        alive = [old for old in self.order if self.now < max(old.fresh_until, old.stale_until, old.error_until)]
        self.order = [old for old in self.order if self.keys[old] != key or old in alive]
        matching = [
            old
            for old in self.order
            if self.keys[old] == key and all(headers[n] == v for n, v in zip(old.vary, old.values, strict=True))
        ]
        best = max(matching, key=lambda old: (bool(old.vary), self.age[old]), default=None)
        assert found is best
        if best is None:
            self.misses += 1
        else:
            self.hits += 1
            self.order.remove(best)
            self.order.append(best)

    def _invalidated(self, count: int, hit: Any) -> None:
        """Everything whose key satisfies `hit` was invalidated, and `count` is what the cache says about it."""
        assert count == sum(hit(self.keys[old]) for old in self.order)
        self.order = [old for old in self.order if not hit(self.keys[old])]
        for trip in self.trips:
            trip.invalidated = trip.invalidated or hit(trip.key)

    # One rule for all ways, lest most flights are invalidated before anything else happens to them.
    @rule(
        way=st.one_of(
            st.tuples(st.just("key"), KEYS),
            st.tuples(st.just("tag"), st.sampled_from(["pet", "list", "none"])),
            st.tuples(st.just("prefix"), st.sampled_from(["/pet", "/pets/1", "/users", "/x"])),
            st.tuples(st.just("path"), st.sampled_from(["/pet", "/pets", "/pets/1", "/pets/", "/users"])),
            st.just(("all", "")),
        )
    )
    def invalidate(self, way):
        how, what = way
        if how == "key":
            self._invalidated(self.cache.invalidate(what), lambda key: key == what)
        elif how == "tag":
            self._invalidated(self.cache.invalidate_tag(what), lambda key: what in TAGS[key])
        elif how == "prefix":
            self._invalidated(self.cache.invalidate_prefix(what), lambda key: PATHS[key].startswith(what))
        elif how == "path":
            below = what.rstrip("/") + "/"
            self._invalidated(
                self.cache.invalidate_path(what), lambda key: PATHS[key] == what or PATHS[key].startswith(below)
            )
        else:
            self._invalidated(self.cache.clear(), lambda key: True)

    # Flights

    @rule(key=KEYS, count=st.integers(1, 4))
    def join(self, key, count):
        for _ in range(count):
            flight, waiter = self.cache.join(key, TAGS[key], PATHS[key])
            trip = next((trip for trip in self.trips if trip.key == key and not trip.invalidated), None)
            if trip is None:
                assert waiter is None
                self.trips.append(Trip(flight, key, []))
            else:
                assert flight is trip.flight
                assert waiter is not None
                trip.followers.append(waiter)

    @precondition(lambda self: self.trips)
    @rule(data=st.data(), variant=VARIANTS, size=sizes, times=times, storable=st.booleans())
    def land(self, data, variant, size, times, storable):
        trip = data.draw(st.sampled_from(self.trips))
        answer = self._entry(trip.key, variant, size, times)
        if storable:
            self._store(trip.key, answer, trip)
        present = [waiter for waiter in trip.followers if waiter not in self.closed]
        assert self.cache.land(trip.flight, answer) == len(present)
        for waiter in trip.followers:
            assert waiter.woken is (waiter in present)
        assert all(waiter.value == (SHARED, answer) for waiter in present)
        self.trips.remove(trip)

    def _next_leader(self, trip: Trip) -> bool:
        trip.promoted = None
        while trip.followers:
            waiter = trip.followers.pop(0)
            if waiter not in self.closed:
                assert waiter.woken
                assert waiter.value == LEAD
                trip.promoted = waiter
                break
            assert not waiter.woken
        assert not any(waiter.woken for waiter in trip.followers)
        if trip.promoted is None:
            self.trips.remove(trip)
        return trip.promoted is not None

    @precondition(lambda self: self.trips)
    @rule(data=st.data())
    def hand_over(self, data):
        trip = data.draw(st.sampled_from(self.trips))
        handed_over = self.cache.hand_over(trip.flight)
        assert handed_over is self._next_leader(trip)

    @precondition(lambda self: any(trip.promoted for trip in self.trips))
    @rule(data=st.data())
    def promoted_dies(self, data):
        trip = data.draw(st.sampled_from([trip for trip in self.trips if trip.promoted]))
        assert trip.promoted is not None
        self.cache.abandon(trip.flight, trip.promoted)
        self._next_leader(trip)

    @precondition(lambda self: any(trip.followers for trip in self.trips))
    @rule(data=st.data(), twice=st.booleans())
    def follower_leaves(self, data, twice):
        trip = data.draw(st.sampled_from([trip for trip in self.trips if trip.followers]))
        waiter = data.draw(st.sampled_from(trip.followers))
        for _ in range(1 + twice):
            self.cache.abandon(trip.flight, waiter)
        assert not waiter.wake("too late")
        trip.followers.remove(waiter)

    @precondition(lambda self: any(trip.followers for trip in self.trips))
    @rule(data=st.data())
    def loop_of_a_follower_closes(self, data):
        trip = data.draw(st.sampled_from([trip for trip in self.trips if trip.followers]))
        waiter = data.draw(st.sampled_from(trip.followers))
        waiter.notify = lambda: False
        self.closed.add(waiter)

    @precondition(lambda self: self.trips)
    @rule()
    def fork(self):
        self.cache.reset()
        followers = [waiter for trip in self.trips for waiter in trip.followers]
        for trip in self.trips:
            assert self.cache.land(trip.flight, None) == 0
        assert not any(waiter.woken for waiter in followers)
        self.trips.clear()

    @invariant()
    def entries_and_their_order_are_the_models(self):
        assert list(self.cache._recent) == self.order
        assert len(self.cache) == len(self.order) <= MAX_ENTRIES
        assert self.cache.bytes == sum(old.size for old in self.order) <= MAX_BYTES
        assert (self.cache.hits, self.cache.misses) == (self.hits, self.misses)
        assert self.cache.evictions == self.evicted

    @invariant()
    def nothing_is_left_in_the_index(self):
        indexed = [old for variants in self.cache._entries.values() for old in variants]
        assert len(indexed) == len(self.order)
        assert set(indexed) == set(self.order)
        assert all(self.cache._entries.values())

    @invariant()
    def flights_are_the_models(self):
        assert self.cache.flights == len(self.trips)
        joinable = {trip.key for trip in self.trips if not trip.invalidated}
        assert {key for key in "abc" if self.cache.in_flight(key)} == joinable
        assert all(trip.flight.invalidated is trip.invalidated for trip in self.trips)
        assert all(list(trip.flight.followers) == trip.followers for trip in self.trips)

    def teardown(self):
        for trip in list(self.trips):
            while self.cache.hand_over(trip.flight):
                pass
        assert self.cache.flights == 0
        assert not any(self.cache.in_flight(key) for key in "abc")


TestCacheAgainstItsModel = CacheMachine.TestCase
