"""What goes over the wire to and from the Memory server."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from holdfast.servers.fields import AS_IN_JSON, Number, Scope, Text
from holdfast.servers.memory.vectors import SMALLEST_NUMBER, has_direction, single

__all__ = [
    "Changes",
    "Deleted",
    "Memory",
    "MemoryPage",
    "NewMemory",
    "Query",
    "Result",
    "Results",
    "Revision",
    "RevisionPage",
]

DEFAULT_DAYS = 365
LONGEST_DAYS = 730
DEFAULT_CONFIDENCE = 1.0
DEFAULT_IMPORTANCE = 0.5

MOST_DIMENSIONS = 16_000
"""What pgvector can hold."""

LARGEST_NUMBER = 1e15
"""Of an embedding. Squares of larger ones do not fit into single precision once they are added up."""


def _with_direction(values: list[float]) -> list[float]:
    if not has_direction(single(values)):
        raise ValueError("has no direction: all its values are zero, or next to it")
    return values


Share = Annotated[Number, Field(ge=0, le=1)]
Fact = Annotated[Text, Field(min_length=1)]
Topic = Annotated[Text, Field(max_length=200)]
Numbers = Annotated[
    list[Annotated[Number, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]],
    Field(min_length=1, max_length=MOST_DIMENSIONS, description="Kept in single precision."),
]


class NewMemory(BaseModel):
    """A memory to be created."""

    scope: Scope
    fact: Fact
    source_type: Annotated[Text, Field(max_length=50)]
    topic: Topic | None = None
    embedding: Numbers | None = None
    confidence: Share | None = Field(default=None, description=f"{DEFAULT_CONFIDENCE:g} if not given.")
    importance: Share | None = Field(default=None, description=f"{DEFAULT_IMPORTANCE:g} if not given.")
    source_id: UUID | None = None
    ttl_days: Annotated[int, Field(ge=1, le=LONGEST_DAYS), AS_IN_JSON] | None = Field(
        default=None, description=f"Days until it expires; {DEFAULT_DAYS} if not given."
    )


class Changes(BaseModel):
    """What is to become of a memory. What is not named stays as it is; topic and embedding can be set to null.

    Defaults are never looked at, only the fields that were given.
    """

    fact: Fact = Field(default_factory=str)
    topic: Topic | None = None
    embedding: Numbers | None = None
    confidence: Share = Field(default_factory=float)
    importance: Share = Field(default_factory=float)
    change_reason: Text | None = None


class Query(BaseModel):
    """What to search for."""

    query_embedding: Annotated[Numbers, AfterValidator(_with_direction)] = Field(
        description="Only memories with an embedding of as many dimensions are compared.",
        json_schema_extra={"contains": {"anyOf": [{"minimum": SMALLEST_NUMBER}, {"maximum": -SMALLEST_NUMBER}]}},
    )
    scope: Scope | None = None
    topic: Topic | None = None
    limit: Annotated[int, Field(ge=1, le=100), AS_IN_JSON] = 10
    min_confidence: Share | None = None
    similarity_threshold: Annotated[Number, Field(ge=-1, le=1)] | None = Field(
        default=None, description="The least similarity of a result."
    )


class _FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Memory(BaseModel):
    """A memory as it is."""

    id: UUID
    scope: dict[str, Any]
    fact: str
    topic: str | None
    embedding: list[float] | None
    confidence: float
    importance: float
    source_type: str
    source_id: UUID | None
    access_count: int
    last_accessed_at: datetime | None
    expires_at: datetime
    deleted_at: datetime | None
    created_at: datetime
    updated_at: datetime


class MemoryPage(BaseModel):
    """Memories, the newest first."""

    memories: list[Memory]
    total: int
    limit: int
    offset: int


class Result(BaseModel):
    """A memory that was found, and the cosine of the angle between its embedding and the query's."""

    memory: Memory
    similarity_score: float


class Results(BaseModel):
    """What was found, the most similar first; `total` counts it."""

    results: list[Result]
    total: int
    limit: int


class Revision(_FromRow):
    """A change of a memory's fact."""

    id: UUID
    memory_id: UUID
    revision_number: int
    previous_fact: str
    new_fact: str
    change_reason: str | None
    created_at: datetime
    updated_at: datetime


class RevisionPage(BaseModel):
    """Revisions of a memory, the newest first."""

    revisions: list[Revision]
    total: int
    limit: int
    offset: int


class Deleted(BaseModel):
    """The answer to a deletion."""

    success: bool = True
    message: str
