"""The cache stage: what is answered without a request, by somebody else's, or by a stale entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.core.breaker import BreakerPolicy
from holdfast.core.cache import Cache, Entry
from holdfast.core.effects import Job
from holdfast.core.events import CacheUsed, CallFinished
from holdfast.core.outcome import Kind, Reason, Stop
from holdfast.core.ports import CacheUse, KnownUse
from tests.support.pipelines import BEGIN, Answer, Bench, LostError, Reply, Started, Step, Thawed, UnsentError


def entry(value: Any, **more: Any) -> Entry:
    return Entry(value, 10, 100.0, **more)


def stop_of(result: Any) -> Stop:
    assert isinstance(result, Stop)
    return result


def hows(bench: Bench) -> list[str]:
    return [event.how for event in bench.of(CacheUsed)]


# Fresh entries that are looked up without a selector


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
    assert cache.fresh("a", 0.0) is not None
    assert (cache.hits, cache.misses) == (2, 0)


def test_it_becomes_the_most_recently_used():
    cache = Cache(max_entries=2)
    cache.store("a", entry("1"))
    cache.store("b", entry("2"))
    assert cache.fresh("a", 0.0) is not None
    cache.store("c", entry("3"))
    assert cache.fresh("b", 0.0) is None
    assert cache.fresh("a", 0.0) is not None


def kept(verbosity: int = 0) -> tuple[Bench, KnownUse, Callable[[], Job]]:
    """A pipeline with an answer in its cache, and what asks for it without a flow."""
    bench = Bench([Reply(200, "kept"), 500], cache=Cache(), verbosity=verbosity)
    bench.call(bench.job(cached=60.0))
    bench.records.clear()
    return bench, (CacheUse("/a", "/a", lambda names: (), 60.0), "origin", bench.job), bench.job


def test_a_fresh_answer_takes_no_flow():
    bench, known, asked = kept()
    assert bench.pipeline.fresh(known) == Thawed("kept", asked)
    assert bench.records == [("origin", 0.0, "success", 0, 200)]


def test_what_is_not_fresh_takes_a_flow():
    bench, known, _ = kept()
    bench.world.run(BEGIN + 60.0)
    assert bench.pipeline.fresh(known) is None
    assert bench.records == []


def test_it_takes_a_flow_to_tell_somebody():
    bench, known, _ = kept(verbosity=1)
    assert bench.pipeline.fresh(known) is None


def test_a_closed_client_has_no_fresh_answers():
    bench, known, _ = kept()
    bench.pipeline.close()
    assert bench.pipeline.fresh(known) is None


def test_there_are_none_without_a_cache():
    _, known, _ = kept()
    assert Bench([200], verbosity=0).pipeline.fresh(known) is None


# Hits


def test_the_second_is_answered_from_the_cache():
    bench = Bench([Reply(200, "one")], cache=Cache(), verbosity=2)
    bench.call(bench.job(cached=5.0))
    bench.world.run(BEGIN + 4.0)
    job = bench.job(cached=5.0)
    assert bench.call(job) == Thawed("one", job)
    assert bench.of(CacheUsed) == [CacheUsed("id-2", "GET /a", "origin", "hit")]
    assert bench.events[-1] == CallFinished("id-2", "GET /a", "origin", 0, 200, "success", 0.0, False, False, "")
    assert len(bench.sent) == 1


@pytest.mark.parametrize(("verbosity", "told"), [(1, 0), (2, 1)])
def test_hits_are_details(verbosity: int, told: int):
    bench = Bench([200], cache=Cache(), verbosity=verbosity)
    bench.call(bench.job(cached=5.0))
    bench.call(bench.job(cached=5.0))
    assert len(bench.of(CacheUsed)) == told


def test_at_the_end_of_its_freshness_it_is_asked_for_again():
    bench = Bench([(1.0, Reply(200, "one")), Reply(200, "two")], cache=Cache())
    bench.call(bench.job(cached=5.0))
    bench.world.run(BEGIN + 5.9)
    assert bench.call(bench.job(cached=5.0)).value == "one"
    bench.world.run(BEGIN + 6.0)
    assert bench.call(bench.job(cached=5.0)).text == "two"


def test_a_call_without_a_use_of_it_passes_the_cache_by():
    bench = Bench([Reply(200, "one"), Reply(200, "two")], cache=Cache())
    bench.call(bench.job(cached=5.0))
    assert bench.call().text == "two"


def test_without_a_cache_a_use_of_it_is_no_matter():
    bench = Bench([Reply(200, "one"), Reply(200, "two")])
    bench.call(bench.job(cached=5.0))
    assert bench.call(bench.job(cached=5.0)).text == "two"


def test_what_varies_is_kept_for_whom_it_was_made():
    bench = Bench([Reply(200, "json", vary=("accept",)), Reply(200, "xml", vary=("accept",))], cache=Cache())
    assert bench.call(bench.job(cached=5.0, accept="json")).text == "json"
    assert bench.call(bench.job(cached=5.0, accept="xml")).text == "xml"
    assert bench.call(bench.job(cached=5.0, accept="json")).value == "json"


def test_tags_and_paths_are_kept_with_it():
    cache = Cache()
    bench = Bench([200], cache=cache)
    bench.call(bench.job(path="/a/b", cached=5.0, tags=frozenset({"red"})))
    bench.call(bench.job(path="/c", cached=5.0, tags=frozenset({"blue"})))
    assert (cache.invalidate_tag("red"), cache.invalidate_prefix("/c"), len(cache)) == (1, 1, 0)


# Stale entries


STALE: dict[str, Any] = {"cached": 5.0, "stale": 10.0}


def stale(script: list[Any], at: float = 6.0, **options: Any) -> Bench:
    """A pipeline with an answer that is not fresh any more."""
    breaker = BreakerPolicy(failure_threshold=1)
    bench = Bench([Reply(200, "old"), *script], cache=Cache(), breaker=breaker, verbosity=2)
    bench.call(bench.job(**{**STALE, **options}))
    bench.world.run(BEGIN + at)
    return bench


def test_a_stale_answer_is_given_at_once_and_refreshed_beside():
    bench = stale([(2.0, Reply(200, "new"))])
    job = bench.job(**STALE, patience=3.0)
    call = bench.start(job, 6.0)
    bench.world.run(BEGIN + 6.0)
    assert call.result == Thawed("old", job)
    bench.world.run()
    assert bench.call(bench.job(**STALE)).value == "new"
    assert hows(bench) == ["stale", "hit"]
    assert bench.sent[1] == (BEGIN + 6.0, "GET /a", {"connect": 3.0, "read": 3.0})
    assert bench.world.now == BEGIN + 8.0
    assert len(bench.records) == 3  # the refresh is no call


def test_it_is_stale_from_the_end_of_its_freshness_to_that_of_its_staleness():
    bench = stale([Reply(200, "new")], 5.0)
    assert bench.call(bench.job(**STALE)).value == "old"
    assert hows(bench) == ["stale"]
    bench = stale([Reply(200, "new")], 15.0, on_error=100.0)
    assert bench.call(bench.job(**STALE)).text == "new"


def test_one_refresh_is_enough():
    bench = stale([(2.0, Reply(200, "new"))])
    calls = [bench.start(bench.job(**STALE), at) for at in (6.0, 6.0, 7.0)]
    bench.world.run()
    assert [call.result.value for call in calls] == ["old"] * 3
    assert len(bench.sent) == 2
    assert len(bench.world.spawned) == 2  # the last one sees that it is being refreshed


def test_beyond_the_stale_time_it_is_waited_for():
    bench = stale([Reply(200, "new")], 15.0)
    assert bench.call(bench.job(**STALE)).text == "new"


def test_who_joins_the_refresh_gets_its_answer():
    bench = stale([(4.0, Reply(200, "new"))], 14.0)
    bench.start(bench.job(**STALE), 14.0)
    late = bench.start(bench.job(**STALE), 16.0)
    bench.world.run()
    assert late.result.value == "new"
    assert (hows(bench), len(bench.sent)) == (["stale", "shared"], 2)


def test_a_refresh_is_kept_with_its_tags_and_its_path():
    bench = stale([(2.0, Reply(200, "new"))], tags=frozenset({"red"}))
    bench.start(bench.job(**STALE, tags=frozenset({"red"})), 6.0)
    bench.world.run(BEGIN + 7.0)
    assert bench.pipeline.cache is not None
    cache: Cache = bench.pipeline.cache._cache
    assert (cache.in_flight("/a"), cache.invalidate_tag("red"), cache.in_flight("/a")) == (True, 1, False)


def test_a_write_during_the_refresh_is_noticed():
    bench = stale([(2.0, Reply(200, "new")), 200, Reply(200, "newest")])
    bench.start(bench.job(**STALE), 6.0)
    bench.start(bench.job("PUT"), 7.0)
    bench.world.run()
    assert bench.call(bench.job(**STALE)).text == "newest"


def test_a_refresh_that_is_not_needed_stands_in_nobodys_way():
    """Two ask in the same moment. The one refresh fails, and must not hand over to the other, which has gone."""
    bench = stale([(2.0, UnsentError()), Reply(200, "new")], attempts=1)
    for _ in range(2):
        bench.start(bench.job(**STALE, attempts=1), 6.0)
    bench.world.run()
    assert bench.pipeline.cache is not None
    assert bench.pipeline.cache._cache.flights == 0
    assert (len(bench.world.spawned), len(bench.sent)) == (2, 2)
    assert not [fiber for fiber in bench.world.spawned if isinstance(fiber.result, Exception)]


ON_ERROR: dict[str, Any] = {"cached": 5.0, "on_error": 10.0, "attempts": 1}


def covered(answer: Step, at: float = 6.0, **options: Any) -> Any:
    bench = stale([answer], at, **ON_ERROR, stale=0.0)
    job = bench.job(**{**ON_ERROR, **options})
    result = bench.call(job)
    assert hows(bench) == ([] if isinstance(result, Stop) else ["stale-if-error"])
    return result


@pytest.mark.parametrize("answer", [500, 503, 429, LostError(), UnsentError()])
def test_a_stale_answer_stands_in_for_an_error(answer: Answer):
    assert covered(answer).value == "old"


@pytest.mark.parametrize("status", [404, 403, 410])
def test_but_not_for_what_the_server_meant(status: int):
    assert stop_of(covered(status)).reason is Reason.OUTCOME


def test_not_longer_than_told():
    assert covered(500, 14.9).value == "old"
    assert isinstance(covered(500, 15.0), Stop)
    assert isinstance(covered((1.0, 500), 14.0), Stop)


def test_it_stands_in_for_what_we_refuse_ourselves():
    bench = stale([500], **ON_ERROR, stale=0.0)
    bench.call(bench.job(path="/b", attempts=1))
    assert bench.call(bench.job(**ON_ERROR)).value == "old"
    assert len(bench.sent) == 2


def test_and_for_an_answer_that_is_late():
    bench = stale([(9.0, 200)], **ON_ERROR, stale=0.0)
    assert bench.call(bench.job(**ON_ERROR, patience=2.0)).value == "old"


def test_a_closed_client_gives_no_stale_answer():
    bench = stale([(2.0, UnsentError())], **ON_ERROR, stale=0.0)
    call = bench.start(bench.job(**ON_ERROR), 6.0)
    bench.world.at(BEGIN + 7.0, bench.pipeline.close)
    bench.world.run()
    assert stop_of(call.result).reason is Reason.CLOSED


# Single flight


def crowd(script: list[Any], number: int = 3, **options: Any) -> tuple[Bench, list[Started]]:
    """Calls for the same, all at once."""
    bench = Bench(script, cache=Cache(), verbosity=2)
    calls = [bench.start(bench.job(**{"cached": 5.0, "attempts": 1, **options})) for _ in range(number)]
    bench.world.run()
    assert bench.pipeline.cache is not None
    assert bench.pipeline.cache._cache.flights == 0
    return bench, calls


def test_one_request_answers_all_who_ask_meanwhile():
    bench, calls = crowd([(2.0, Reply(200, "one"))])
    assert calls[0].result.text == "one"
    assert [call.result.value for call in calls[1:]] == ["one", "one"]
    assert [call.result.asked.id for call in calls[1:]] == ["id-2", "id-3"]
    assert bench.of(CacheUsed) == [CacheUsed(f"id-{number}", "GET /a", "origin", "shared") for number in (2, 3)]
    assert (len(bench.sent), {record[1] for record in bench.records}) == (1, {2.0})


def test_other_paths_are_asked_for_at_the_same_time():
    bench = Bench([(2.0, 200)], cache=Cache())
    bench.start(bench.job(cached=5.0))
    bench.start(bench.job(path="/b", cached=5.0))
    bench.world.run()
    assert bench.times() == [0.0, 0.0]


def test_what_must_not_be_shared_is_asked_for_by_each():
    bench, calls = crowd([(2.0, Reply(200, "one", storable=False)), Reply(200, "two"), Reply(200, "three")])
    assert [call.result.text for call in calls] == ["one", "two", "three"]
    assert bench.times() == [0.0, 2.0, 2.0]


def test_a_refusal_is_shared_with_a_response_of_ones_own():
    bench, calls = crowd([(2.0, 404)])
    stops = [stop_of(call.result) for call in calls]
    assert [stop.job.id for stop in stops] == ["id-1", "id-2", "id-3"]
    for stop in stops[1:]:
        assert stop.outcome is not None
        assert isinstance(stop.outcome.reply, Thawed)
        assert stop.outcome.reply.value.status_code == 404
        assert stop.outcome.reply.asked is stop.job
        assert (stop.outcome.kind, stop.why) == (Kind.REJECTED, "a 404 is not retried")
    assert len(bench.sent) == 1


@pytest.mark.parametrize("error", [LostError(), UnsentError()])
def test_without_an_answer_the_next_one_asks(error: Exception):
    bench, calls = crowd([(2.0, error), (2.0, Reply(200, "two"))])
    assert stop_of(calls[0].result).reason is Reason.OUTCOME
    assert (calls[1].result.text, calls[2].result.value) == ("two", "two")
    assert bench.times() == [0.0, 2.0]


def test_what_stopped_the_leader_alone_is_not_shared():
    bench = Bench([(9.0, 200), (1.0, Reply(200, "two"))], cache=Cache())
    first = bench.start(bench.job(cached=5.0, patience=2.0))
    second = bench.start(bench.job(cached=5.0))
    bench.world.run()
    assert stop_of(first.result).reason is Reason.DEADLINE
    assert second.result.text == "two"


def test_a_stop_with_an_outcome_of_before_is_not_shared():
    """A slot that the leader did not get for its retry says nothing of what the server would answer others."""
    bench = Bench([500, (60.0, 200), 200], slots=1, cache=Cache())
    leader = bench.start(bench.job(cached=5.0, slot_wait=2.0, wait=1.0))
    bench.start(bench.job(path="/b"), 0.5)
    bench.world.run()
    assert stop_of(leader.result).outcome is not None


def test_the_deadline_of_a_follower():
    bench = Bench([(9.0, 200)], cache=Cache())
    bench.start(bench.job(cached=5.0))
    second = bench.start(bench.job(cached=5.0, patience=2.0))
    bench.world.run()
    stop = stop_of(second.result)
    assert (stop.reason, stop.job.id, stop.attempts, stop.outcome) == (Reason.DEADLINE, "id-2", 0, None)
    assert stop.why == "it passed while waiting for the answer to the same request of another call"
    assert (stop.may_have_executed, bench.records[0][1]) == (False, 2.0)


def test_an_answer_that_varies_is_not_for_everybody():
    bench = Bench(
        [(2.0, Reply(200, "json", vary=("accept",))), (2.0, Reply(200, "xml", vary=("accept",)))], cache=Cache()
    )
    calls = [bench.start(bench.job(cached=5.0, accept=accept)) for accept in ("json", "xml", "json", "xml")]
    bench.world.run()
    assert calls[0].result.text == "json"
    assert calls[1].result.text == "xml"
    assert calls[2].result.value == "json"
    assert calls[3].result.value == "xml"
    assert bench.times() == [0.0, 2.0]


def test_cancelling_the_leader_makes_another_one():
    bench = Bench([(2.0, 200), (2.0, Reply(200, "two"))], cache=Cache())
    calls = [bench.start(bench.job(cached=5.0)) for _ in range(2)]
    bench.world.at(BEGIN + 1.0, lambda: bench.world.cancel(calls[0].fiber, GeneratorExit))
    bench.world.run()
    assert calls[1].result.text == "two"
    assert bench.times() == [0.0, 1.0]


# Writes


def drop(cache: Cache) -> None:
    cache.invalidate_tag("red")


@pytest.mark.parametrize(
    ("method", "path", "answer", "dropped"),
    [
        ("POST", "/a", 200, True),
        ("PUT", "/a", 204, True),
        ("DELETE", "/", 200, True),
        ("PATCH", "/a", 500, True),
        ("PATCH", "/a", LostError(), True),
        ("PUT", "/a/b", 200, False),
        ("PUT", "/a", UnsentError(), False),
        ("PUT", "/a", 404, False),
        ("GET", "/a", 200, False),
        ("HEAD", "/a", 200, False),
        ("OPTIONS", "/a", 200, False),
        ("TRACE", "/a", 200, False),
    ],
)
def test_what_a_write_may_have_changed_is_dropped(method: str, path: str, answer: Answer, dropped: bool):
    bench = Bench([Reply(200, "old"), answer, Reply(200, "new")], cache=Cache())
    bench.call(bench.job(cached=60.0))
    bench.call(bench.job(method, path, attempts=1))
    result = bench.call(bench.job(cached=60.0))
    assert (result == Reply(200, "new")) is dropped


def test_what_is_invalidated_during_its_flight_is_not_kept():
    cache = Cache()
    bench = Bench([(4.0, Reply(200, "old")), Reply(200, "new")], cache=cache)
    bench.start(bench.job(cached=60.0, tags=frozenset({"red"})))
    bench.world.at(BEGIN + 1.0, lambda: drop(cache))
    bench.world.run()
    assert bench.call(bench.job(cached=60.0)).text == "new"


def test_what_is_in_flight_during_a_write_is_not_kept():
    bench = Bench([(4.0, Reply(200, "old")), 200, Reply(200, "new")], cache=Cache())
    first = bench.start(bench.job(cached=60.0))
    bench.start(bench.job("PUT"), 1.0)
    bench.world.run()
    assert first.result.text == "old"
    assert bench.call(bench.job(cached=60.0)).text == "new"
