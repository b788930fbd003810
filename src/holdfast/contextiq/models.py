"""What the Sessions and the Memory service answer, and what they are sent."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, FiniteFloat

from holdfast.service.model import Model
from holdfast.service.sending import RequestModel

Share = Annotated[float, Field(ge=0, le=1)]
Tokens = Annotated[int, Field(ge=0)]
Numbers = list[FiniteFloat]  # JSON has no others
Counted = Annotated[int, BeforeValidator(lambda told: 0 if told is None else told)]  # some servers say null for none

# Answers


class Session(Model):
    """A conversation. `ttl` is in seconds since the last activity; `state` belongs to the caller."""

    id: str
    scope: dict[str, Any]
    title: str | None = None
    description: str | None = None
    state: dict[str, Any] | None = None
    started_at: datetime | None = None
    last_activity_at: datetime | None = None
    ended_at: datetime | None = None
    ttl: int | None = None
    event_count: Counted = 0
    total_input_tokens: Counted = 0
    total_output_tokens: Counted = 0


class Event(Model):
    """Something that happened in a session."""

    id: str
    session_id: str
    event_type: str
    data: dict[str, Any] = Field(default_factory=dict)
    input_tokens: Counted = 0
    output_tokens: Counted = 0
    timestamp: datetime | None = None


class Memory(Model):
    """A fact about whoever its `scope` names. `confidence` and `importance` are between 0 and 1."""

    id: str
    scope: dict[str, Any]
    fact: str
    source_type: str | None = None
    source_id: str | None = None
    topic: str | None = None
    embedding: list[float] | None = None
    confidence: float | None = None
    importance: float | None = None
    access_count: Counted = 0
    last_accessed_at: datetime | None = None
    expires_at: datetime | None = None
    deleted_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Revision(Model):
    """One change of a memory's fact."""

    id: str
    memory_id: str
    revision_number: int
    previous_fact: str | None = None
    new_fact: str | None = None
    change_reason: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class MemoryMatch(Model):
    """A memory that a search found. `similarity_score` is the cosine of the two embeddings."""

    memory: Memory
    similarity_score: float


class MemoryMatches(Model):
    """What a search found, the most similar first."""

    results: list[MemoryMatch]
    total: int | None = None
    limit: int | None = None

    def __iter__(self) -> Any:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)


class Done(Model):
    """That something was done."""

    success: bool = True
    message: str | None = None


# Requests


class NewSession(RequestModel):
    """A session to be made. `ttl`: 1 second to a day."""

    scope: Annotated[dict[str, Any], Field(min_length=1)]
    title: Annotated[str, Field(max_length=500)] | None = None
    description: str | None = None
    state: dict[str, Any] | None = None
    ttl: Annotated[int, Field(ge=1, le=86_400)] | None = None


class NewState(RequestModel):
    """A state in place of the one before, or merged into it."""

    state: dict[str, Any]
    merge: bool = False


class NewEvent(RequestModel):
    """An event to be appended to a session."""

    event_type: Annotated[str, Field(min_length=1, max_length=100)]
    data: dict[str, Any]
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


class NewMemory(RequestModel):
    """A memory to be made. `ttl_days`: 1 to 730."""

    scope: Annotated[dict[str, Any], Field(min_length=1)]
    fact: Annotated[str, Field(min_length=1)]
    source_type: Annotated[str, Field(min_length=1, max_length=50)]
    topic: Annotated[str, Field(max_length=200)] | None = None
    embedding: Numbers | None = None
    confidence: Share | None = None
    importance: Share | None = None
    source_id: str | None = None
    ttl_days: Annotated[int, Field(ge=1, le=730)] | None = None


class ChangedMemory(RequestModel):
    """What is to be changed about a memory."""

    fact: Annotated[str, Field(min_length=1)] | None = None
    topic: Annotated[str, Field(max_length=200)] | None = None
    embedding: Numbers | None = None
    confidence: Share | None = None
    importance: Share | None = None
    change_reason: str | None = None


class Search(RequestModel):
    """What is looked for. `limit`: 1 to 100."""

    query_embedding: Annotated[Numbers, Field(min_length=1)]
    scope: dict[str, Any] | None = None
    topic: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    min_confidence: Share | None = None
    similarity_threshold: Annotated[float, Field(ge=-1, le=1)] | None = None


class Slice(RequestModel):
    """Which part of a list. `limit`: 1 to 1,000."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    offset: Annotated[int, Field(ge=0)] = 0


class RevisionSlice(Slice):
    """Which part of a list of revisions. `limit`: 1 to 100."""

    limit: Annotated[int, Field(ge=1, le=100)] = 10
