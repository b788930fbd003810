"""Search by similarity: every way of searching gives what a plain computation gives."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.servers.contextiq import Settings
from holdfast.servers.memory import create_app
from holdfast.servers.memory.rankers import Scan
from holdfast.servers.memory.vectors import has_direction, shortest, single
from holdfast.servers.service import Storage
from tests.support.served import Served, serving_app

DIMENSIONS = 24


def create(served: Served, embedding: Sequence[float] | None, **fields) -> str:
    memory = {"scope": {"user_id": "1"}, "fact": "f", "source_type": "t", "embedding": embedding, **fields}
    return str(served.ok("POST", "/memories", memory)["id"])


def search(served: Served, query: Sequence[float], **fields) -> list[tuple[str, float]]:
    page = served.ok("POST", "/memories/search", {"query_embedding": query, **fields})
    assert (page["total"], page["limit"]) == (len(page["results"]), fields.get("limit", 10))
    return [(one["memory"]["id"], one["similarity_score"]) for one in page["results"]]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Written out, of the numbers as single precision keeps them."""
    a, b = ([float(np.float32(value)) for value in vector] for vector in (one, other))
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(x * x for x in b))


def random_vector(chance: random.Random) -> list[float]:
    return [chance.gauss(0, 1) * chance.choice([1e-3, 1, 1e3]) for _ in range(DIMENSIONS)]


def test_it_finds_what_a_plain_computation_finds(searching):
    chance = random.Random(20240229)
    centre = random_vector(chance)
    # Far from each other, close to each other, so close that single precision mixes them up, and closer than that.
    vectors = [random_vector(chance) for _ in range(60)]
    vectors += [[value * (1 + chance.gauss(0, 0.1)) for value in centre] for _ in range(30)]
    vectors += [[value * (1 + chance.gauss(0, 3e-5)) for value in centre] for _ in range(10)]
    vectors += [[value * (1 + chance.gauss(0, 3e-8)) for value in centre] for _ in range(10)]
    memories = {create(searching, vector): vector for vector in vectors}
    for query in [centre, vectors[0], [-value for value in centre], random_vector(chance)]:
        expected = {memory: cosine(query, vector) for memory, vector in memories.items()}
        for limit in (1, 10, 100):
            found = search(searching, query, limit=limit)
            assert len(found) == min(limit, len(memories))
            assert [similarity for _, similarity in found] == sorted((s for _, s in found), reverse=True)
            assert all(math.isclose(s, expected[memory], rel_tol=0, abs_tol=1e-12) for memory, s in found)
            best = sorted(expected.values(), reverse=True)[:limit]
            assert all(math.isclose(s, b, rel_tol=0, abs_tol=1e-12) for (_, s), b in zip(found, best, strict=True))


def test_a_vector_is_most_similar_to_itself_and_least_to_its_opposite(searching):
    same = create(searching, [1e15, -1e14, 3.3])
    other = create(searching, [0, 0, 1e-10])
    opposite = create(searching, [-1e15, 1e14, -3.3])
    found = search(searching, [2e-9, -2e-10, 6.6e-24])
    assert [memory for memory, _ in found] == [same, other, opposite]
    assert [round(similarity, 9) for _, similarity in found] == [1, 0, -1]
    assert search(searching, [1e15, -1e14, 3.3], similarity_threshold=1) == [(same, 1)]


def test_filters_come_before_the_ranking(searching):
    near, far = [1.0, 0.0], [1.0, 1.0]
    wanted = create(searching, far, topic="t", confidence=0.8, scope={"user_id": "1", "team": {"a": [1, 2]}})
    unlike = [
        {"topic": "u", "confidence": 0.8, "scope": {"user_id": "1", "team": {"a": [1, 2]}}},
        {"topic": "t", "confidence": 0.7, "scope": {"user_id": "1", "team": {"a": [1, 2]}}},
        {"topic": "t", "confidence": 0.8, "scope": {"user_id": "2", "team": {"a": [1, 2]}}},
        {"topic": "t", "confidence": 0.8, "scope": {"user_id": "1", "team": {"a": [1, 3]}}},
    ]
    for fields in unlike:
        for _ in range(3):
            create(searching, near, **fields)
    filters = {"topic": "t", "min_confidence": 0.8, "scope": {"user_id": "1", "team": {"a": [2]}}}
    assert [memory for memory, _ in search(searching, near, limit=1, **filters)] == [wanted]
    assert len(search(searching, near, limit=100)) == 13
    assert search(searching, near, limit=100, similarity_threshold=0.8, **filters) == []


def test_only_what_can_be_compared_is_found(searching):
    found = create(searching, [1, 2, 3])
    create(searching, [1, 2])
    create(searching, None)
    create(searching, [0, 0, 0])
    deleted = create(searching, [1, 2, 3])
    searching.ok("DELETE", f"/memories/{deleted}")
    create(searching, [1, 2, 3], ttl_days=1)
    searching.clock.advance(days=1)
    assert [memory for memory, _ in search(searching, [1, 2, 3])] == [found]


def test_a_changed_embedding_is_the_one_that_is_found(searching):
    memory, other = create(searching, [1, 0]), create(searching, [1, 1])
    assert [one for one, _ in search(searching, [1, 0])] == [memory, other]
    searching.ok("PATCH", f"/memories/{memory}", {"embedding": [0, 1]})
    assert [one for one, _ in search(searching, [1, 0])] == [other, memory]
    searching.ok("PATCH", f"/memories/{memory}", {"fact": "another"})
    assert [one for one, _ in search(searching, [0, 1])] == [memory, other]
    for gone in (None, [0, 0]):
        searching.ok("PATCH", f"/memories/{memory}", {"embedding": [0, 1]})
        searching.ok("PATCH", f"/memories/{memory}", {"embedding": gone})
        assert [one for one, _ in search(searching, [0, 1])] == [other]
    searching.ok("DELETE", f"/memories/{other}", params={"hard_delete": True})
    assert search(searching, [0, 1]) == []


def test_of_equals_the_oldest_comes_first(searching):
    made = [create(searching, [1, 2]) for _ in range(70)]
    assert [memory for memory, _ in search(searching, [2, 4], limit=30)] == made[:30]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"query_embedding": []}, "query_embedding"),
        ({"query_embedding": [0, 0]}, "query_embedding"),
        ({"query_embedding": [1e-20]}, "query_embedding"),
        ({"query_embedding": [1] * 16_001}, "query_embedding"),
        ({"query_embedding": ["x"]}, "query_embedding"),
        ({"query_embedding": [1e16]}, "query_embedding"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"min_confidence": 1.1}, "min_confidence"),
        ({"similarity_threshold": -1.1}, "similarity_threshold"),
        ({"scope": []}, "scope"),
        ({"topic": "t" * 201}, "topic"),
    ],
)
def test_what_cannot_be_searched_names_the_field(served, fields, where):
    status, (problem, *_) = served.refused("POST", "/memories/search", {"query_embedding": [1], **fields})
    assert (status, problem["loc"][:2]) == (422, ["body", where])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_numbers_that_are_none_are_refused(served, number):
    answer = served(
        "POST",
        "/memories/search",
        content=f'{{"query_embedding": [{number}]}}',
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "query_embedding", 0])


def test_it_searches_as_many_dimensions_as_can_be_stored(searching):
    vector = [math.sin(n) for n in range(16_000)]
    memory = create(searching, vector)
    ((found, similarity),) = search(searching, vector)
    assert (found, similarity) == (memory, 1)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_numbers_are_shown_by_the_digits_that_tell_them_apart(values):
    vector = single(values)
    (shown,) = shortest([vector])
    assert np.array_equal(single(shown), vector)
    # numpy's own search for the shortest, one number at a time. Far from 1 ours may be longer, though never wrong.
    assert all(
        one == float(str(value))
        for one, value in zip(shown, vector, strict=True)
        if 1e-8 < abs(value) < 1e15 or not value
    )


def test_short_numbers_stay_short():
    assert shortest([single([0.1, 0.2, 1 / 3, -7.0, 0.0, 1e15])]) == [[0.1, 0.2, 0.33333334, -7.0, 0.0, 1e15]]


def test_numbers_of_many_vectors_are_shown_as_those_of_each():
    chance = random.Random(20240301)
    vectors = [single([chance.gauss(0, 1) for _ in range(length)]) for length in (3, 1, 9_000, 2, 20_000, 5)]
    assert shortest(vectors) == [shortest([vector])[0] for vector in vectors]
    assert all(np.array_equal(single(shown), vector) for shown, vector in zip(shortest(vectors), vectors, strict=True))
    assert shortest([]) == []


def test_pgvector_finds_what_was_stored_without_it(postgres_server, tmp_path, monkeypatch):
    if not postgres_server.has_pgvector:
        pytest.skip("this PostgreSQL has no extension pgvector (apt-get install postgresql-NN-pgvector)")
    monkeypatch.setattr("holdfast.servers.memory.rankers.SCAN_ROWS", 16)
    storage = Storage(tmp_path, postgres_server.emptied())
    chance = random.Random(20240302)
    vectors = [random_vector(chance) for _ in range(40)]
    with monkeypatch.context() as without, serving_app(create_app, storage, Settings()) as served:
        without.setattr(served.app.state, "ranker", Scan())
        made = [create(served, vector) for vector in vectors]
    with serving_app(create_app, storage, Settings()) as served:
        assert served.ok("GET", "/health")["search"] == "pgvector"
        assert [search(served, vector)[0][0] for vector in vectors] == made


def test_a_vector_of_nothing_has_no_direction():
    assert [has_direction(single(values)) for values in ([0.0, 0.0], [1e-16], [1e-15], [0.0, -1.0])] == [
        False,
        False,
        True,
        True,
    ]
