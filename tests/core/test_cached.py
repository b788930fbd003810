"""Fresh entries that are looked up without a selector."""

from __future__ import annotations

from typing import Any

from holdfast.core.cache import Cache, Entry


def entry(value: Any, **more: Any) -> Entry:
    return Entry(value, 10, 0.0, 100.0, **more)


def test_only_what_is_fresh_and_varies_on_nothing():
    cache = Cache()
    cache.store("a", entry("1", stale_until=200.0))
    cache.store("b", entry("2", vary=("accept",), values=("x",)))
    cache.store("c", entry("3"))
    cache.store("c", entry("4", vary=("accept",), values=("x",)))
    found = cache.fresh("a", 99.9)
    assert found is not None
    assert found.value == "1"
    assert [cache.fresh("a", 100.0), cache.fresh("b", 0.0), cache.fresh("c", 0.0), cache.fresh("d", 0.0)] == [None] * 4
    assert (cache.hits, cache.misses) == (1, 0)


def test_it_becomes_the_most_recently_used():
    cache = Cache(max_entries=2)
    cache.store("a", entry("1"))
    cache.store("b", entry("2"))
    assert cache.fresh("a", 0.0) is not None
    cache.store("c", entry("3"))
    assert cache.fresh("b", 0.0) is None
    assert cache.fresh("a", 0.0) is not None
