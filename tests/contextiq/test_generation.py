"""Memories made of sessions by the worker, with the reference servers, and with trouble in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from holdfast import AuthenticationError, InvalidRequestError, NotFoundError, ServiceUnavailableError
from holdfast.contextiq import (
    Fact,
    GenerationRequest,
    HashingEmbeddingService,
    Memory,
    MemoryGenerationProcessor,
    RuleBasedExtractionEngine,
    WorkStoppedError,
)

SAID = ("I prefer Python", "I live in Berlin. I use vim", "Do you know Rome?", "I'm allergic to peanuts")
FACTS = ["User prefers Python", "User lives in Berlin", "User uses vim", "User is allergic to peanuts"]


class Store:
    """A vector store that can be told to fail."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[list[float], Any]] = {}
        self.broken = False

    async def add(self, id: str, embedding: Sequence[float], metadata: Any) -> None:  # noqa: A002  # the protocol's name
        if self.broken:
            raise OSError("disk full")
        self.kept[id] = (list(embedding), metadata)


class Said:
    """An engine that finds what it is given, whatever was said; one item for each event."""

    def __init__(self, *found: Any) -> None:
        self.found = found
        self.calls = 0

    async def extract(self, events: Sequence[Any]) -> Any:
        self.calls += 1
        await asyncio.sleep(0)
        return list(self.found)


def processor(services: Any, *, engine: Any = None, embedder: Any = None, store: Any = None, **more: Any) -> Any:
    return MemoryGenerationProcessor(
        engine or RuleBasedExtractionEngine(),
        embedder or HashingEmbeddingService(),
        store,
        services.sessions,
        services.memories,
        **{"concurrency": 1, **more},
    )


def request(session_id: str, user_id: str = "u1") -> GenerationRequest:
    return GenerationRequest(session_id=session_id, user_id=user_id)


def test_a_conversation_becomes_memories(services):
    session_id = services.conversation(*SAID)
    result = services.run(processor(services).process_request(request(session_id)))
    assert (result.events, result.facts, result.skipped, result.failed) == (4, 4, [], [])
    assert [memory.fact for memory in result.created] == services.facts() == FACTS
    memory = services.stored()[-1]
    assert (memory.source_type, memory.source_id, memory.scope) == ("extracted", session_id, {"user_id": "u1"})
    assert (memory.topic, memory.confidence, memory.importance) == ("health", 0.95, 0.95)
    (query,) = HashingEmbeddingService().embed(["peanuts allergy"])
    found = services.run(_search(services, query))
    assert found.results[0].memory.fact == "User is allergic to peanuts"


async def _search(services: Any, query: Sequence[float]) -> Any:
    return await services.memories.search_memories(query, scope={"user_id": "u1"})


@pytest.mark.parametrize(
    "asked",
    [
        lambda session_id: SimpleNamespace(session_id=session_id, user_id="u1"),
        lambda session_id: {"session_id": session_id, "user_id": "u1"},
        lambda session_id: request(session_id),
    ],
    ids=["attributes", "keys", "model"],
)
def test_a_request_is_anything_with_a_session_and_a_user(services, asked):
    session_id = services.conversation("I use vim")
    services.run(processor(services).process_request(asked(session_id)))
    assert services.facts() == ["User uses vim"]


@pytest.mark.parametrize("asked", [{"session_id": "s"}, {"session_id": "s", "user_id": " "}, object()])
def test_a_request_without_them_is_refused(services, asked):
    with pytest.raises(InvalidRequestError, match="user_id: is missing") as caught:
        services.run(processor(services).process_request(asked))
    assert "user_id" in caught.value.field_errors
    assert not services.sessions_transport.requests and not services.memory_transport.requests


@pytest.mark.parametrize("keys", [True, False], ids=["server deduplicates", "server knows no keys"])
def test_a_session_is_processed_once_however_often_that_is_asked(services, keys):
    services.memory_transport.keys = keys
    session_id = services.conversation(*SAID)
    worker = processor(services)
    services.run(worker.process_request(request(session_id)))
    services.run(_say(services, session_id, "I like tea. I PREFER  Python."))
    result = services.run(processor(services).process_request(request(session_id)))
    assert services.facts() == [*FACTS, "User likes tea"]
    assert [memory.fact for memory in result.created] == ["User likes tea"]
    assert [fact.text for fact in result.skipped] == [*FACTS, "User prefers Python"]


async def _say(services: Any, session_id: str, text: str) -> None:
    await services.sessions.create_event(session_id, "message", {"role": "user", "content": text})


def test_the_same_fact_in_another_session_or_of_another_user_is_another_memory(services):
    for user_id in ("u1", "u1", "u2"):
        session_id = services.conversation("I use vim", user_id=user_id)
        services.run(processor(services).process_request(request(session_id, user_id)))
    assert services.facts(user_id="u1") == ["User uses vim"] * 2 and services.facts(user_id="u2") == ["User uses vim"]


def test_what_was_deleted_or_corrected_does_not_come_back(services):
    session_id = services.conversation("I prefer Python. I use vim")
    services.run(processor(services).process_request(request(session_id)))
    python, vim = services.stored()
    services.run(_correct(services, python, vim))
    result = services.run(processor(services).process_request(request(session_id)))
    assert services.facts() == ["User prefers Go"] and len(result.skipped) == 2


async def _correct(services: Any, python: Memory, vim: Memory) -> None:
    await services.memories.update_memory(python.id, fact="User prefers Rust")
    await services.memories.update_memory(python.id, fact="User prefers Go")
    await services.memories.delete_memory(vim.id)


@pytest.mark.parametrize("keys", [True, False], ids=["server deduplicates", "server knows no keys"])
@pytest.mark.parametrize("answered", [True, False], ids=["before it was stored", "after it was stored"])
def test_a_run_that_broke_off_is_gone_on_with(services, keys, answered):
    services.memory_transport.keys = keys
    session_id = services.conversation(*SAID)
    transport = services.memory_transport

    def third(request: httpx2.Request) -> bool:
        return transport.counts["POST memories"] == 3 and request.method == "POST"

    setattr(transport, "before" if answered else "after", third)
    with pytest.raises(ServiceUnavailableError) as caught:
        services.run(processor(services, concurrency=1).process_request(request(session_id)))
    assert isinstance(caught.value, WorkStoppedError)
    assert [memory.fact for memory in caught.value.result.created] == FACTS[:2]
    assert "2 memories created" in str(caught.value) and "Start it again" in str(caught.value)
    assert services.facts() == FACTS[: 2 if answered else 3]
    transport.before = transport.after = lambda request: False
    services.run(processor(services).process_request(request(session_id)))
    assert services.facts() == FACTS


def test_the_same_memory_is_always_sent_with_the_same_key(services):
    session_id = services.conversation("I use vim")
    services.memory_transport.before = lambda request: request.method == "POST"
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            services.run(processor(services).process_request(request(session_id)))
    keys = [one.headers["idempotency-key"] for one in services.memory_transport.requests if one.method == "POST"]
    assert len(keys) == 2 and len(set(keys)) == 1 and keys[0].startswith("memory-")


@pytest.mark.parametrize("deduplicates", [True, False])
def test_a_lost_answer_is_only_asked_for_again_where_the_server_deduplicates(services, deduplicates):
    from holdfast.contextiq import MemoryServiceClient, MemorySettings

    settings = MemorySettings(retry_delay=0.001, server_deduplicates=deduplicates)
    transport = services.memory_transport
    services.memories = MemoryServiceClient(transport=transport, settings=settings)
    transport.after = lambda request: request.method == "POST" and transport.counts["POST memories"] == 1
    session_id = services.conversation("I use vim")
    if deduplicates:
        services.run(processor(services).process_request(request(session_id)))
    else:
        with pytest.raises(WorkStoppedError) as caught:
            services.run(processor(services).process_request(request(session_id)))
        assert caught.value.may_have_executed
    assert transport.counts["POST memories"] == (2 if deduplicates else 1)
    assert services.facts() == ["User uses vim"]


def test_long_sessions_are_read_page_by_page(services):
    session_id = services.conversation(*(f"I have {number} apples" for number in range(2, 9)))
    engine = RuleBasedExtractionEngine()
    seen: list[int] = []

    class Counting:
        def extract(self, events: Sequence[Any]) -> list[Fact]:
            seen.append(len(events))
            return engine.extract(events)

    result = services.run(processor(services, engine=Counting(), page_size=3).process_request(request(session_id)))
    assert seen == [3, 3, 1] and result.events == 7 and len(services.stored()) == 7


def test_an_engine_may_give_mappings_and_what_is_no_fact_is_reported(services):
    session_id = services.conversation("whatever")
    engine = Said(
        {"fact": "likes tea", "topic": "taste"}, {"topic": "x"}, {"fact": "f", "confidence": 2}, Fact(text="ok")
    )
    result = services.run(processor(services, engine=engine).process_request(request(session_id)))
    assert services.facts() == ["likes tea", "ok"]
    assert [(one.stage, one.subject) for one in result.failed] == [
        ("extract", {"topic": "x"}),
        ("extract", {"fact": "f", "confidence": 2}),
    ]
    with pytest.raises(ExceptionGroup, match="2 failures") as caught:
        result.raise_for_failures()
    assert len(caught.value.exceptions) == 2


def test_an_engine_that_fails_on_one_page_does_not_keep_the_others_from_being_stored(services):
    class Picky:
        def extract(self, events: Sequence[Any]) -> list[Fact]:
            if "vim" in events[0].data["content"]:
                raise LookupError("no such editor")
            return RuleBasedExtractionEngine().extract(events)

    session_id = services.conversation("I prefer Python", "I use vim", "I like tea")
    result = services.run(processor(services, engine=Picky(), page_size=1).process_request(request(session_id)))
    assert services.facts() == ["User prefers Python", "User likes tea"]
    ((stage, error, subject),) = [(one.stage, one.error, one.subject) for one in result.failed]
    assert stage == "extract" and isinstance(error, LookupError) and len(subject) == 1


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ([[1.0]], "1 embeddings for 2 texts"),
        ([[1.0], [1.0, 2.0]], "different lengths"),
        ([[], []], "different lengths, or empty"),
        ([[float("nan")], [1.0]], "not finite"),
    ],
)
def test_embeddings_that_cannot_be_used_are_reported(services, vectors, said):
    class Odd:
        def embed(self, texts: Sequence[str]) -> Any:
            return vectors

    session_id = services.conversation("I use vim. I like tea")
    result = services.run(processor(services, embedder=Odd()).process_request(request(session_id)))
    assert services.stored() == [] and [one.stage for one in result.failed] == ["embed"] * 2
    assert said in str(result.failed[0].error)


def test_embeddings_are_made_in_batches_and_keep_their_dimensions(services):
    sizes: list[int] = []

    class Growing:
        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            sizes.append(len(texts))
            return [[1.0] * len(sizes) for _ in texts]

    session_id = services.conversation(*SAID)
    worker = processor(services, embedder=Growing(), embedding_batch=3)
    result = services.run(worker.process_request(request(session_id)))
    assert sizes == [3, 1] and services.facts() == FACTS[:3]
    assert "2 dimensions, those before 1" in str(result.failed[0].error)


def test_a_fact_that_the_service_refuses_is_reported_and_the_others_are_stored(services):
    session_id = services.conversation("whatever")
    engine = Said({"fact": "one"}, {"fact": "nul \0 character"}, {"fact": "two"})
    result = services.run(processor(services, engine=engine).process_request(request(session_id)))
    assert services.facts() == ["one", "two"]
    ((stage, error, fact),) = [(one.stage, one.error, one.subject) for one in result.failed]
    assert stage == "store" and isinstance(error, InvalidRequestError) and fact.text == "nul \0 character"


def test_a_server_that_crashes_on_one_fact_is_asked_for_the_next(services):
    def answer(request: httpx2.Request) -> httpx2.Response | None:
        return httpx2.Response(500, json={}) if b"Berlin" in request.content else None

    services.memory_transport.answer = answer
    session_id = services.conversation(*SAID)
    result = services.run(processor(services).process_request(request(session_id)))
    assert services.facts() == [fact for fact in FACTS if "Berlin" not in fact] and len(result.failed) == 1


@pytest.mark.parametrize(("status", "error"), [(503, ServiceUnavailableError), (401, AuthenticationError)])
def test_a_service_that_cannot_be_used_ends_the_work(services, status, error):
    services.memory_transport.answer = lambda request: (
        httpx2.Response(status, json={}) if request.method == "POST" else None
    )
    session_id = services.conversation(*SAID)
    with pytest.raises(error) as caught:
        services.run(processor(services, concurrency=2).process_request(request(session_id)))
    assert isinstance(caught.value, WorkStoppedError) and caught.value.result.events == 4
    assert services.memory_transport.counts["POST memories"] == 2


def test_a_session_that_is_not_there_is_told(services):
    session_id = services.conversation()
    services.run(_delete(services, session_id))
    with pytest.raises(NotFoundError, match="Session not found") as caught:
        services.run(processor(services).process_request(request(session_id)))
    assert isinstance(caught.value, WorkStoppedError) and caught.value.result.events == 0


async def _delete(services: Any, session_id: str) -> None:
    await services.sessions.delete_session(session_id)


def test_a_vector_store_gets_every_memory_also_after_a_run_that_broke_off(services):
    store = Store()
    store.broken = True
    session_id = services.conversation("I use vim. I like tea")
    result = services.run(processor(services, store=store).process_request(request(session_id)))
    assert [one.stage for one in result.failed] == ["index"] * 2 and len(services.stored()) == 2
    store.broken = False
    result = services.run(processor(services, store=store).process_request(request(session_id)))
    assert result.created == [] and result.failed == []
    memories = services.stored()
    assert set(store.kept) == {memory.id for memory in memories}
    embedding, metadata = store.kept[memories[0].id]
    assert embedding == memories[0].embedding and metadata["fact"] == memories[0].fact
    assert metadata["source_id"] == session_id


def test_a_session_without_facts_leaves_the_memory_service_alone(services):
    session_id = services.conversation("What time is it?")
    result = services.run(processor(services).process_request(request(session_id)))
    assert (result.events, result.facts) == (1, 0) and not services.memory_transport.requests
    assert str(result) == "1 events read, 0 facts found, 0 memories created, 0 facts skipped, 0 failures"


@pytest.mark.parametrize("wrong", [{"page_size": 0}, {"page_size": 1001}, {"embedding_batch": 0}, {"concurrency": 0}])
def test_wrong_settings_are_named(services, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        processor(services, **wrong)
