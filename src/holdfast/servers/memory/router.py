"""Endpoints of the Memory server."""

from __future__ import annotations

from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from starlette.responses import Response

from holdfast.servers.fields import MAX_OFFSET, Offset, ScopeValue, Text
from holdfast.servers.memory import schemas, store
from holdfast.servers.memory.rankers import Ranker
from holdfast.servers.memory.schemas import (
    Changes,
    Deleted,
    Memory,
    MemoryPage,
    NewMemory,
    Results,
    Revision,
    RevisionPage,
)
from holdfast.servers.transactions import Once, Unkeyed

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["memories"])

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such memory, or not any more."}}
_NO_SCOPE: dict[int | str, dict[str, Any]] = {400: {"description": "No scope is given."}}


async def _ranker(request: Request) -> Ranker:
    # Not a plain function: FastAPI calls those in a thread.
    return cast("Ranker", request.app.state.ranker)


Ranking = Annotated[Ranker, Depends(_ranker)]


@router.post("/memories", status_code=201, response_model=Memory)
async def create_memory(new: NewMemory, transactions: Once, ranker: Ranking) -> Response:
    """Create a memory."""
    return await transactions.once(lambda tx: store.create_memory(tx, ranker, new, transactions.clock()), status=201)


@router.get("/memories", responses=_NO_SCOPE)
async def list_memories(
    transactions: Unkeyed,
    scope_user_id: ScopeValue = None,
    scope_org_id: ScopeValue = None,
    topic: Annotated[Text | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    offset: Offset = 0,
    include_deleted: Annotated[bool, Query(description="Also those that were deleted.")] = False,  # noqa: FBT002 - a query parameter
    include_expired: Annotated[bool, Query(description="Also those that have expired.")] = False,  # noqa: FBT002 - the same
) -> MemoryPage:
    """List memories whose scope contains what is given, the newest first."""
    given = {"user_id": scope_user_id, "org_id": scope_org_id}
    scope = {key: value for key, value in given.items() if value is not None}
    if not scope:
        raise HTTPException(400, "At least one of scope_user_id and scope_org_id is required")
    return await transactions.read(
        lambda tx: store.list_memories(
            tx,
            scope,
            topic,
            transactions.clock(),
            include_deleted=include_deleted,
            include_expired=include_expired,
            limit=limit,
            offset=offset,
        )
    )


@router.post("/memories/search")
async def search_memories(query: schemas.Query, transactions: Unkeyed, ranker: Ranking) -> Results:
    """Find the memories whose embeddings are most similar to one: all in question are compared, none is missed."""
    return await transactions.read(lambda tx: store.search_memories(tx, ranker, query, transactions.clock()))


@router.get("/memories/{memory_id}", responses=_NOT_FOUND)
async def get_memory(memory_id: UUID, transactions: Unkeyed) -> Memory:
    """Get a memory, and count the access."""
    return await transactions.write(lambda tx: store.look_up_memory(tx, memory_id, transactions.clock()))


@router.patch("/memories/{memory_id}", response_model=Memory, responses=_NOT_FOUND)
async def change_memory(memory_id: UUID, changes: Changes, transactions: Once, ranker: Ranking) -> Response:
    """Change a memory. What is not given stays as it is, the embedding of an old fact too."""
    return await transactions.once(lambda tx: store.change_memory(tx, ranker, memory_id, changes, transactions.clock()))


@router.delete("/memories/{memory_id}", response_model=Deleted, responses=_NOT_FOUND)
async def delete_memory(
    memory_id: UUID,
    transactions: Once,
    hard_delete: Annotated[bool, Query(description="Remove it and its revisions for good.")] = False,  # noqa: FBT002 - the same
) -> Response:
    """Delete a memory: it is kept, but only shown where deleted ones are asked for."""
    return await transactions.once(
        lambda tx: store.delete_memory(tx, memory_id, transactions.clock(), hard=hard_delete)
    )


@router.get("/memories/{memory_id}/revisions", responses=_NOT_FOUND)
async def list_revisions(
    memory_id: UUID,
    transactions: Unkeyed,
    limit: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 10,
    offset: Offset = 0,
) -> RevisionPage:
    """List the changes of a memory, the newest first."""
    return await transactions.read(
        lambda tx: store.list_revisions(tx, memory_id, transactions.clock(), limit=limit, offset=offset)
    )


@router.get("/memories/{memory_id}/revisions/{number}", responses=_NOT_FOUND)
async def get_revision(
    memory_id: UUID, number: Annotated[int, Path(ge=1, le=MAX_OFFSET)], transactions: Unkeyed
) -> Revision:
    """Get one change of a memory. They are numbered from 1."""
    return await transactions.read(lambda tx: store.get_revision(tx, memory_id, number, transactions.clock()))
