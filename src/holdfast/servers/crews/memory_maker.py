"""`memory_maker_crew`: finds facts in a text, and stores them in the Memory service."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid5

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from holdfast.contextiq import HashingEmbeddingService, RuleBasedExtractionEngine
from holdfast.exceptions import HoldfastError
from holdfast.servers.crews.registry import CrewError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.contextiq import Fact, MemoryServiceClient

__all__ = ["NAME", "MemoryMaker"]

NAME = "memory_maker_crew"

SOURCES = UUID("6d1b1f0e-8a52-4d0c-9a57-3f6f0a2d5c11")
"""Namespace of the ids that texts get as sources (RFC 9562, section 5.5)."""

_Required = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]


class _Inputs(BaseModel):
    """What the crew needs: a text, who said it (`actor_type`, `actor_id`), and whose memories it makes."""

    text_content: Annotated[str, Field(min_length=1)]
    actor_type: _Required
    actor_id: _Required
    client_user_id: _Required


class MemoryMaker:
    """Finds facts in a text, and stores them in the Memory service.

    The facts are found by rules for plain English, without a model: see
    `holdfast.contextiq.RuleBasedExtractionEngine`. The same text of the same actor makes the same memories, however
    often it is executed within the time for which the Memory service keeps idempotency keys.

    Attributes:
        memories: where facts are stored; set before the first execution.
    """

    memories: MemoryServiceClient

    def __init__(self) -> None:
        self._engine = RuleBasedExtractionEngine()
        self._embeddings = HashingEmbeddingService()

    async def akickoff(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The memories that were made.

        Raises:
            CrewError: inputs are missing or wrong, or the Memory service cannot be used.
        """
        given = _checked(inputs)
        facts = self._engine.facts_in(given.text_content)
        vectors = self._embeddings.embed([fact.text for fact in facts])
        stored: list[dict[str, Any]] = []
        for fact, vector in zip(facts, vectors, strict=True):
            try:
                stored.append(await self._store(given, fact, vector))
            except HoldfastError as error:
                raise CrewError(
                    f"{len(stored)} of {len(facts)} memories were stored, then the Memory service failed: {error}"
                ) from error
        return {"memories": stored, "facts_found": len(facts), "memories_stored": len(stored)}

    async def _store(self, given: _Inputs, fact: Fact, vector: Sequence[float]) -> dict[str, Any]:
        source = json.dumps([given.client_user_id, given.actor_type, given.actor_id, given.text_content])
        call = self.memories.create_memory(
            scope={"user_id": given.client_user_id, "actor_type": given.actor_type, "actor_id": given.actor_id},
            fact=fact.text,
            source_type=NAME,
            topic=fact.topic,
            embedding=vector,
            confidence=fact.confidence,
            importance=fact.importance,
            source_id=str(uuid5(SOURCES, source)),
        )
        key = hashlib.sha256(json.dumps([source, fact.text]).encode()).hexdigest()[:40]
        # A key of the caller's promises that the server deduplicates. Whether this one does, the settings know.
        memory = await call.with_options(
            idempotency_key=f"{NAME}-{key}", server_deduplicates=self.memories.settings.server_deduplicates
        )
        return {"id": memory.id, "fact": memory.fact, "topic": memory.topic, "confidence": memory.confidence}


def _checked(inputs: dict[str, Any]) -> _Inputs:
    try:
        return _Inputs.model_validate(inputs)
    except ValidationError as error:
        missing = [str(one["loc"][0]) for one in error.errors() if one["type"] == "missing"]
        wrong = [f"{one['loc'][0]}: {one['msg']}" for one in error.errors() if one["type"] != "missing"]
        told = ([f"missing {', '.join(missing)}"] if missing else []) + wrong
        raise CrewError(f"inputs: {'; '.join(told)}") from None
