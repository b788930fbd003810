"""`MemoryGenerationProcessor`: makes memories of what was said in a session."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import math
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from holdfast.call import Call
from holdfast.contextiq.client import MemoryServiceClient, SessionsServiceClient
from holdfast.contextiq.embedding import EmbeddingService
from holdfast.contextiq.exceptions import concerns_all, refused, stopped
from holdfast.contextiq.extraction import ExtractionEngine, Fact
from holdfast.contextiq.models import Event, Memory
from holdfast.contextiq.remembered import Remembered, same_text
from holdfast.contextiq.result import WorkResult
from holdfast.exceptions import HoldfastError

__all__ = ["GenerationFailure", "GenerationRequest", "GenerationResult", "MemoryGenerationProcessor", "VectorStore"]

T = TypeVar("T")

SOURCE_TYPE = "extracted"


class VectorStore(Protocol):
    """Keeps embeddings beside the Memory service, for searches of your own."""

    def add(self, id: str, embedding: Sequence[float], metadata: Mapping[str, Any]) -> Any:  # noqa: A002  # as such stores call it
        """Keeps an embedding by the id of its memory, in place of one kept by that id before.

        It may be a plain method, or an ``async def``. It is called again for memories that are there already, so that a
        run that was broken off leaves nothing out.
        """
        ...


class GenerationRequest(BaseModel):
    """What `MemoryGenerationProcessor.process_request` is asked for."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    session_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class GenerationFailure:
    """What did not become a memory, and why.

    Attributes:
        stage: ``"extract"``: some events were not understood, or what the engine found is no fact; ``"embed"``: there
            is no embedding; ``"store"``: the Memory service refused it; ``"index"``: it is stored, but not in the
            vector store.
        error: the cause.
        subject: the fact; where there is none, what the engine gave, or the ids of the events.
    """

    stage: Literal["extract", "embed", "store", "index"]
    error: Exception
    subject: Any


@dataclass(slots=True)
class GenerationResult(WorkResult):
    """What became of a session.

    Attributes:
        session_id: of the session.
        events: how many were read.
        facts: how many were found in them.
        created: the new memories.
        skipped: facts that were remembered already, or were repeated.
        failed: what could not be done. The rest was.
    """

    session_id: str
    events: int = 0
    facts: int = 0
    created: list[Memory] = field(default_factory=list)
    skipped: list[Fact] = field(default_factory=list)
    failed: list[GenerationFailure] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.events} events read, {self.facts} facts found, {len(self.created)} memories created, "
            f"{len(self.skipped)} facts skipped, {len(self.failed)} failures"
        )


class MemoryGenerationProcessor:
    """Reads a session's events, finds facts in them, and stores these as memories of the user.

    A session can be processed as often as one likes: while it goes on, again when a run was broken off, and by mistake.
    A fact becomes one memory per session, however many events repeat it and however often they are processed. What was
    stored before is found by its `source_id`, which is the session's id, and its text; a memory that was deleted or
    corrected since does not come back. Besides, each memory is sent with an ``Idempotency-Key`` that follows from user,
    session and text, for servers that deduplicate.

    What remains open: two workers that process one session at the same moment store a fact twice, if the server does
    not deduplicate; `ConsolidationProcessor` joins them. And an engine that words a fact differently every time, as
    models may, makes a new memory of every wording.

    From sync code: ``asyncio.run(processor.process_request(request))``.

    Args:
        extraction_engine: finds facts in events.
        embedding_service: makes the embeddings by which memories are searched.
        vector_store: keeps the embeddings elsewhere too; None if the Memory service's own search is enough.
        sessions_client: where the session is.
        memory_client: where the memories go.
        page_size: events that are read, understood and stored at a time, 1 to 1,000. It is what an engine sees at once.
        embedding_batch: texts that are embedded by one call of the embedding service.
        concurrency: memories that are stored at the same time.

    Raises:
        ValueError: one of the last three is less than 1, or `page_size` is more than 1,000.
    """

    def __init__(
        self,
        extraction_engine: ExtractionEngine,
        embedding_service: EmbeddingService,
        vector_store: VectorStore | None,
        sessions_client: SessionsServiceClient,
        memory_client: MemoryServiceClient,
        *,
        page_size: int = 100,
        embedding_batch: int = 64,
        concurrency: int = 4,
    ) -> None:
        for name, value in (
            ("page_size", page_size),
            ("embedding_batch", embedding_batch),
            ("concurrency", concurrency),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if page_size > 1000:
            raise ValueError(f"page_size must be at most 1000, which the service gives at once, not {page_size}")
        self.extraction_engine = extraction_engine
        self.embedding_service = embedding_service
        self.vector_store = vector_store
        self.sessions_client = sessions_client
        self.memory_client = memory_client
        self.page_size = page_size
        self.embedding_batch = embedding_batch
        self.concurrency = concurrency

    async def process_request(self, request: Any) -> GenerationResult:
        """Makes memories of the events of a session.

        What fails by itself (a fact that the service refuses, events that the engine fails on) is reported in the
        result, and the rest goes on.

        Args:
            request: has a `session_id` and a `user_id`, as attributes or as keys: a `GenerationRequest`, or anything
                of that shape.

        Raises:
            InvalidRequestError: the request lacks one of them. Nothing was sent.
            WorkStoppedError: a service cannot be used at all, or the session cannot be read. It is also the error that
                said so, such as a ServiceUnavailableError or a NotFoundError; its `result` has what was stored.
        """
        asked = _asked(request)
        run = _Run(self, asked.user_id, GenerationResult(asked.session_id))
        try:
            async for page in self.sessions_client.list_events(asked.session_id, limit=self.page_size).pages():
                await run.take(page.items)
        except HoldfastError as error:
            raise stopped(error, run.result) from error.__cause__
        return run.result

    # Steps, for `_Run`

    async def extracted(self, events: Sequence[Event]) -> Sequence[Fact | Mapping[str, Any]]:
        """What the engine finds."""
        return await _settled(self.extraction_engine.extract(events))

    async def embedded(self, texts: Sequence[str]) -> list[list[float]]:
        """The embeddings of texts, which are few enough for one batch.

        Raises:
            ValueError: the service did not give one vector for each.
        """
        vectors = [list(map(float, vector)) for vector in await _settled(self.embedding_service.embed(texts))]
        if len(vectors) != len(texts):
            raise ValueError(f"the embedding service gave {len(vectors)} embeddings for {len(texts)} texts")
        if any(not vector or len(vector) != len(vectors[0]) for vector in vectors):
            raise ValueError("the embedding service gave embeddings of different lengths, or empty ones")
        if not all(math.isfinite(number) for vector in vectors for number in vector):
            raise ValueError("the embedding service gave an embedding with a number that is not finite")
        return vectors

    async def indexed(self, memory: Memory, embedding: Sequence[float]) -> None:
        """Hands an embedding to the vector store, if there is one."""
        if self.vector_store is None:
            return
        metadata = {
            "scope": memory.scope,
            "fact": memory.fact,
            "topic": memory.topic,
            "source_type": memory.source_type,
            "source_id": memory.source_id,
        }
        added = self.vector_store.add(memory.id, embedding, metadata)
        if inspect.isawaitable(added):
            await added


class _Run:
    """One processing of one session."""

    def __init__(self, processor: MemoryGenerationProcessor, user_id: str, result: GenerationResult) -> None:
        self.result = result
        self._processor = processor
        self._user_id = user_id
        self._remembered = Remembered(processor.memory_client, user_id, result.session_id)
        self._dimensions: int | None = None

    async def take(self, events: Sequence[Event]) -> None:
        """Makes memories of some events.

        Raises:
            HoldfastError: a service cannot be used.
        """
        if not events:
            return
        self.result.events += len(events)
        facts = await self._facts(events)
        self.result.facts += len(facts)
        new: dict[str, Fact] = {}
        known = await self._remembered.of(fact.text for fact in facts)
        for fact in facts:
            text = same_text(fact.text)
            if text in new or text in known:
                self.result.skipped.append(fact)
            else:
                new[text] = fact
        size = self._processor.embedding_batch
        waiting = list(new.values())
        for start in range(0, len(waiting), size):
            await self._store(waiting[start : start + size])
        await self._index_again(list(known.values()))

    async def _facts(self, events: Sequence[Event]) -> list[Fact]:
        try:
            found = await self._processor.extracted(events)
        except Exception as error:  # noqa: BLE001  # an engine is anybody's code
            self._failed("extract", error, [event.id for event in events])
            return []
        facts = []
        for one in found:
            try:
                facts.append(one if isinstance(one, Fact) else Fact.model_validate(one))
            except ValidationError as error:
                self._failed("extract", error, one)
        return facts

    async def _store(self, facts: Sequence[Fact]) -> None:
        vectors = await self._vectors([fact.text for fact in facts], facts)
        if vectors is None:
            return
        step = self._processor.concurrency
        for start in range(0, len(facts), step):
            part = list(zip(facts[start : start + step], vectors[start : start + step], strict=True))
            done = await asyncio.gather(*(self._creation(*one) for one in part), return_exceptions=True)
            hopeless: HoldfastError | None = None
            for (fact, vector), created in zip(part, done, strict=True):
                if isinstance(created, Memory):
                    self.result.created.append(created)
                    self._remembered.add(created)
                    await self._index(created, vector)
                elif isinstance(created, HoldfastError) and not concerns_all(created):
                    self._failed("store", created, fact)
                elif isinstance(created, HoldfastError):
                    hopeless = hopeless or created
                else:
                    raise created
            if hopeless is not None:
                raise hopeless

    async def _vectors(self, texts: Sequence[str], subject: Any) -> list[list[float]] | None:
        """Embeddings; None where there are none, which is then reported."""
        try:
            vectors = await self._processor.embedded(texts)
            self._dimensions = self._dimensions or len(vectors[0])
            if len(vectors[0]) != self._dimensions:
                raise ValueError(f"the embeddings have {len(vectors[0])} dimensions, those before {self._dimensions}")
        except Exception as error:  # noqa: BLE001  # an embedding service is anybody's code
            for one in subject:
                self._failed("embed", error, one)
            return None
        return vectors

    def _creation(self, fact: Fact, vector: Sequence[float]) -> Call[Memory]:
        client = self._processor.memory_client
        call = client.create_memory(
            scope={"user_id": self._user_id},
            fact=fact.text,
            source_type=SOURCE_TYPE,
            topic=fact.topic,
            embedding=vector,
            confidence=fact.confidence,
            importance=fact.importance,
            source_id=self.result.session_id,
        )
        # A key of the caller's promises that the server deduplicates. Whether this one does, the settings know.
        return call.with_options(
            idempotency_key=_key(self._user_id, self.result.session_id, fact.text),
            server_deduplicates=client.settings.server_deduplicates,
        )

    async def _index(self, memory: Memory, vector: Sequence[float]) -> None:
        try:
            await self._processor.indexed(memory, vector)
        except Exception as error:  # noqa: BLE001  # a vector store is anybody's code
            self._failed("index", error, memory)

    async def _index_again(self, memories: Sequence[Memory]) -> None:
        """Hands memories to the vector store that are there already: the run that stored them may have ended there."""
        if self._processor.vector_store is None:
            return
        alive = list({memory.id: memory for memory in memories if memory.deleted_at is None}.values())
        without = [memory for memory in alive if memory.embedding is None]
        vectors = await self._vectors([memory.fact for memory in without], without) if without else []
        made = {} if vectors is None else dict(zip((memory.id for memory in without), vectors, strict=True))
        for memory in alive:
            vector = memory.embedding or made.get(memory.id)
            if vector is not None:
                await self._index(memory, vector)

    def _failed(self, stage: Literal["extract", "embed", "store", "index"], error: Exception, subject: Any) -> None:
        """Reports a failure.

        Raises:
            HoldfastError: the error, if it says that a service cannot be used at all.
        """
        if concerns_all(error):
            raise error
        self.result.failed.append(GenerationFailure(stage, error, subject))


def _asked(request: Any) -> GenerationRequest:
    """The request, read from whatever has it."""
    if isinstance(request, GenerationRequest):
        return request
    fields: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for name in ("session_id", "user_id"):
        value = request.get(name) if isinstance(request, Mapping) else getattr(request, name, None)
        if value is None or isinstance(value, bool) or not str(value).strip():
            wrong[name] = "is missing"
        else:
            fields[name] = str(value)
    if wrong:
        raise refused("MemoryGenerationProcessor.process_request", wrong)
    return GenerationRequest.model_validate(fields)


def _key(user_id: str, session_id: str, fact: str) -> str:
    """The key of a memory: what makes it the same, whoever stores it and whenever."""
    identity = json.dumps([user_id, session_id, same_text(fact)]).encode()
    return f"memory-{hashlib.sha256(identity).hexdigest()[:40]}"


async def _settled(value: T | Awaitable[T]) -> T:
    """The result of a method that may be a plain one or an ``async def``."""
    return await value if inspect.isawaitable(value) else value
