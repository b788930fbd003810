"""Memories that say the same become one: which are found, what is kept, and that no crash loses a fact."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from holdfast import InvalidRequestError, ServiceUnavailableError
from holdfast.contextiq import ConsolidationProcessor, HashingEmbeddingService, Memory, WorkStoppedError
from holdfast.contextiq.similarity import Candidate, Likeness

SCOPE = {"user_id": "u1"}


def create(services: Any, fact: str, **more: Any) -> str:
    async def make() -> str:
        options = {"scope": SCOPE, "source_type": "extracted", **more}
        return str((await services.memories.create_memory(fact=fact, **options)).id)

    made: str = services.run(make())
    return made


def consolidate(services: Any, ids: Any, scope: Any = None, **more: Any) -> Any:
    processor = ConsolidationProcessor(services.memories, **more)
    return services.run(processor.process_consolidation(SCOPE if scope is None else scope, ids))


def reasons(services: Any, memory_id: str) -> list[str | None]:
    async def load() -> list[str | None]:
        return [one.change_reason for one in await services.memories.list_revisions(memory_id).all()]

    found: list[str | None] = services.run(load())
    return found


def test_duplicates_become_one_memory_that_knows_its_sources(services):
    ids = [
        create(services, "User prefers Python", confidence=0.7, importance=0.9, topic="languages"),
        create(services, "the user prefers Python.", confidence=0.9, importance=0.4),
        create(services, "User has a dog"),
        create(services, "User prefers  python", confidence=0.8),
    ]
    result = consolidate(services, ids)
    assert services.facts() == ["the user prefers Python.", "User has a dog"]
    kept = services.stored()[0]
    assert (kept.id, kept.confidence, kept.importance, kept.topic) == (ids[1], 0.9, 0.9, "languages")
    (merged,) = result.merged
    assert merged.memory == kept and merged.sources[0] == ids[1]
    assert set(merged.sources) == {ids[0], ids[1], ids[3]} and set(merged.removed) == {ids[0], ids[3]}
    (reason,) = reasons(services, kept.id)
    assert reason == f"Consolidated from 3 memories: {', '.join(merged.sources)}"
    assert str(result) == "4 memories compared, 2 merged into 1 others, 0 missing, 0 failures"
    assert len(services.stored(include_deleted=True)) == 4


def test_of_equals_the_latest_is_kept(services):
    ids = [
        create(services, "User prefers Python", confidence=0.5),
        create(services, "User prefers Python", confidence=0.5),
    ]
    assert consolidate(services, ids).merged[0].memory.id == ids[1]


def test_embeddings_find_what_texts_do_not(services):
    ids = [
        create(services, "likes felines", embedding=[1.0, 0.02]),
        create(services, "is fond of cats", embedding=[1.0, 0.0]),
        create(services, "hates cats", embedding=[-1.0, 0.0]),
        create(services, "of another model", embedding=[1.0, 0.0, 0.0]),
    ]
    assert consolidate(services, ids, embedding_threshold=None).merged == []
    assert set(consolidate(services, ids).merged[0].sources) == {ids[0], ids[1]}


def test_a_repetition_changes_nothing(services):
    ids = [create(services, "User prefers Python"), create(services, "User prefers Python")]
    consolidate(services, ids)
    before = services.stored(include_deleted=True)
    asked = services.memory_transport.counts["PATCH memories"]
    result = consolidate(services, ids)
    assert (
        result.merged == [] and len(result.missing) == 1 and services.memory_transport.counts["PATCH memories"] == asked
    )
    assert [one.updated_at for one in services.stored(include_deleted=True)] == [one.updated_at for one in before]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("request_name", ["PATCH memories", "DELETE memories"])
def test_a_run_that_broke_off_has_lost_nothing_and_is_gone_on_with(services, when, request_name):
    ids = [create(services, "User prefers Python", importance=0.1 * number) for number in range(1, 5)]
    transport = services.memory_transport
    method = request_name.split()[0]
    nth = 1 if method == "PATCH" else 2
    setattr(transport, when, lambda request: request.method == method and transport.counts[request_name] == nth)
    with pytest.raises(ServiceUnavailableError) as caught:
        consolidate(services, ids, concurrency=1)
    assert isinstance(caught.value, WorkStoppedError) and services.facts() != []
    transport.before = transport.after = lambda request: False
    consolidate(services, ids, concurrency=1)
    (kept,) = services.stored()
    assert (kept.id, kept.importance) == (ids[3], 0.4)
    told = [reason for reason in reasons(services, kept.id) if reason]
    # Also where the answer was lost: what the revision tells is not told again.
    assert len(told) == 1 and all(one in told[0] for one in ids)


def test_sources_of_sources_are_kept(services):
    first, second = (
        create(services, "User prefers Python", confidence=0.3),
        create(services, "User prefers Python", confidence=0.5),
    )
    consolidate(services, [first, second])
    third = create(services, "User prefers Python", confidence=0.9)
    assert consolidate(services, [second, third]).merged[0].sources == (third, second, first)


def test_ids_that_are_gone_are_reported(services):
    gone, unknown = create(services, "User prefers Python"), str(uuid4())

    async def delete() -> None:
        await services.memories.delete_memory(gone)

    services.run(delete())
    ids = [create(services, "User has a dog"), gone, unknown, "no-uuid", create(services, "User has a dog")]
    result = consolidate(services, ids)
    assert result.missing == [gone, unknown] and [one.memory_id for one in result.failed] == ["no-uuid"]
    assert services.facts() == ["User has a dog"]
    with pytest.raises(ExceptionGroup, match="1 failures"):
        result.raise_for_failures()


def test_a_memory_that_vanishes_meanwhile_takes_no_other_along(services):
    ids = [create(services, "User has a dog", confidence=0.9), create(services, "User has a dog", confidence=0.1)]
    services.memory_transport.answer = lambda request: (
        httpx2.Response(404, json={"detail": "Memory not found"}) if request.method == "PATCH" else None
    )
    result = consolidate(services, ids)
    assert [one.memory_id for one in result.failed] == [ids[0]] and len(services.stored()) == 2


def test_a_duplicate_that_somebody_else_has_deleted_meanwhile_is_no_failure(services):
    ids = [create(services, "User has a dog", confidence=number / 10) for number in range(1, 3)]
    services.memory_transport.answer = lambda request: (
        httpx2.Response(404, json={"detail": "Memory not found"}) if request.method == "DELETE" else None
    )
    result = consolidate(services, ids)
    assert result.failed == [] and result.merged[0].removed == (ids[0],)


def test_one_that_cannot_be_deleted_is_reported_and_the_others_are(services):
    ids = [create(services, "User has a dog", confidence=number / 10) for number in range(1, 4)]
    services.memory_transport.answer = lambda request: (
        httpx2.Response(500, json={}) if request.method == "DELETE" and ids[1] in request.url.path else None
    )
    result = consolidate(services, ids, concurrency=1)
    assert [one.memory_id for one in result.failed] == [ids[1]] and result.merged[0].removed == (ids[0],)
    assert {memory.id for memory in services.stored()} == {ids[1], ids[2]}


@pytest.mark.parametrize("ids", [[], ["one"], ["same", "same"]])
def test_with_fewer_than_two_there_is_nothing_to_do(services, ids):
    result = consolidate(services, ids)
    assert (result.compared, result.merged) == (0, []) and not services.memory_transport.requests


def test_memories_of_another_scope_are_refused(services):
    ids = [create(services, "User has a dog"), create(services, "User has a dog", scope={"user_id": "u2"})]
    with pytest.raises(InvalidRequestError, match=ids[1]) as caught:
        consolidate(services, ids)
    assert list(caught.value.field_errors) == ["memory_ids"] and not isinstance(caught.value, WorkStoppedError)
    assert services.facts() == ["User has a dog"] == services.facts(user_id="u2")


def test_only_memories_of_the_same_scope_are_joined(services):
    narrow = {"user_id": "u1", "org_id": "o1"}
    ids = [create(services, "User has a dog", scope=scope) for scope in (SCOPE, narrow, narrow)]
    (merged,) = consolidate(services, ids).merged
    assert set(merged.sources) == {ids[1], ids[2]} and len(services.stored()) == 2


@pytest.mark.parametrize(("scope", "ids", "field"), [({}, ["a", "b"], "scope"), (SCOPE, "ab", "memory_ids")])
def test_wrong_arguments_are_named(services, scope, ids, field):
    with pytest.raises(InvalidRequestError, match=field):
        consolidate(services, ids, scope)
    assert not services.memory_transport.requests


@pytest.mark.parametrize(
    "wrong",
    [
        {"embedding_threshold": 1.1},
        {"text_threshold": -0.1},
        {"embedding_threshold": None, "text_threshold": None},
        {"concurrency": 0},
    ],
)
def test_wrong_settings_are_refused(services, wrong):
    with pytest.raises(ValueError, match=r"threshold|concurrency"):
        consolidate(services, [], **wrong)


# Likeness


def candidate(fact: str, embedding: Any = "hashed") -> Candidate:
    if embedding == "hashed":
        (embedding,) = HashingEmbeddingService().embed([fact])
    return Candidate(Memory(id="m", scope=SCOPE, fact=fact, embedding=embedding))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("User prefers Python", "the USER prefers python!", True),
        ("User prefers Python", "User strongly prefers Python", True),
        ("User prefers Python", "User prefers Rust", False),
        ("User likes cats", "User likes bats", False),
        ("User is 31 years old", "User is 32 years old", False),
        ("User has 2 dogs", "User has dogs", False),
        ("User likes early meetings", "User does not like early meetings", False),
        ("User prefers tea to coffee in the morning", "User prefers coffee to tea in the morning", False),
        ("User can't swim in lakes", "User can swim in lakes", False),
        ("!!!", "???", False),
        ("!!!", "!!!", True),
    ],
)
def test_which_texts_say_the_same(one, other, same):
    likeness = Likeness()
    assert likeness.same(candidate(one), candidate(other)) is same
    assert likeness.same(candidate(other), candidate(one)) is same


def test_what_texts_must_not_say_embeddings_do_not_overrule():
    vector = [0.6, 0.8]
    for one, other in [("is 31", "is 32"), ("likes it", "does not like it"), ("ann saw bob", "bob saw ann")]:
        assert not Likeness().same(candidate(one, vector), candidate(other, vector))
    assert Likeness().same(candidate("is fond of cats", vector), candidate("likes felines", vector))


@pytest.mark.parametrize("vector", [[], [0.0, 0.0], None])
def test_an_embedding_without_direction_is_like_none(vector):
    assert not Likeness(text=None, embedding=-1).same(candidate("a cat", vector), candidate("a dog", vector))
