"""What memories do: every function works in the transaction it is handed, and raises the answer if it cannot."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import numpy as np
from fastapi import HTTPException
from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update

from holdfast.servers.containment import scope_columns, scope_conditions
from holdfast.servers.memory.schemas import (
    DEFAULT_CONFIDENCE,
    DEFAULT_DAYS,
    DEFAULT_IMPORTANCE,
    Changes,
    Deleted,
    Memory,
    MemoryPage,
    NewMemory,
    Query,
    Result,
    Results,
    Revision,
    RevisionPage,
)
from holdfast.servers.memory.tables import memories, revisions
from holdfast.servers.memory.vectors import Vector, cosines, has_direction, shortest, single
from holdfast.servers.removal import EXPIRED_KEPT, remove

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from holdfast.servers.db import Database
    from holdfast.servers.memory.rankers import Ranker

__all__ = [
    "change_memory",
    "create_memory",
    "delete_memory",
    "get_revision",
    "list_memories",
    "list_revisions",
    "look_up_memory",
    "purge_memories",
    "search_memories",
]

SPARE = 20
"""So many more than asked for are ranked exactly: rankers round, and may put neighbours in the wrong order.

Where more memories than these are as similar as the last one, to seven digits, it is open which of them are found.
"""

_COLUMNS = tuple(memories.c.keys())


async def create_memory(connection: AsyncConnection, ranker: Ranker, new: NewMemory, now: datetime) -> Memory:
    """A new memory."""
    values = {
        "id": uuid4(),
        "scope": new.scope,
        **scope_columns(new.scope),
        "fact": new.fact,
        "topic": new.topic,
        **_embedded(new.embedding),
        "confidence": DEFAULT_CONFIDENCE if new.confidence is None else new.confidence,
        "importance": DEFAULT_IMPORTANCE if new.importance is None else new.importance,
        "source_type": new.source_type,
        "source_id": new.source_id,
        "access_count": 0,
        "revision_count": 0,
        "expires_at": now + timedelta(days=new.ttl_days or DEFAULT_DAYS),
        "created_at": now,
        "updated_at": now,
    }
    row = (await connection.execute(insert(memories).values(values).returning(memories))).one()
    if row.embedding_dimensions is not None:
        await ranker.keep(connection, row.seq, row.embedding)
    return _shown([row])[0]


async def look_up_memory(connection: AsyncConnection, memory_id: UUID, now: datetime) -> Memory:
    """A memory, with the access counted.

    Raises:
        HTTPException: 404 there is none, or it was deleted or has expired.
    """
    accessed = {"access_count": memories.c.access_count + 1, "last_accessed_at": now}
    change = update(memories).where(memories.c.id == memory_id, *_alive(now)).values(accessed).returning(memories)
    row = (await connection.execute(change)).one_or_none()
    if row is None:
        raise _not_found(memory_id)
    return _shown([row])[0]


async def list_memories(
    connection: AsyncConnection,
    scope: dict[str, str],
    topic: str | None,
    now: datetime,
    *,
    include_deleted: bool,
    include_expired: bool,
    limit: int,
    offset: int,
) -> MemoryPage:
    """Memories whose scope contains another one."""
    conditions = scope_conditions(memories, scope, connection.dialect.name)
    if topic is not None:
        conditions.append(memories.c.topic == topic)
    if not include_deleted:
        conditions.append(memories.c.deleted_at.is_(None))
    if not include_expired:
        conditions.append(memories.c.expires_at > now)
    page = select(memories).where(*conditions).order_by(memories.c.seq.desc()).limit(limit).offset(offset)
    found = (await connection.execute(page)).all()
    total = await _count(connection, memories.c.seq, conditions)
    return MemoryPage(memories=_shown(found), total=total, limit=limit, offset=offset)


async def search_memories(connection: AsyncConnection, ranker: Ranker, query: Query, now: datetime) -> Results:
    """The memories most similar to the query: of all that are in question, by the cosine in double precision."""
    wanted = single(query.query_embedding)
    conditions = [memories.c.embedding_dimensions == len(wanted), *_alive(now)]
    conditions += scope_conditions(memories, query.scope or {}, connection.dialect.name)
    if query.topic is not None:
        conditions.append(memories.c.topic == query.topic)
    if query.min_confidence is not None:
        conditions.append(memories.c.confidence >= query.min_confidence)
    candidates = await ranker.nearest(connection, wanted, conditions, query.limit + SPARE)
    found = await _ranked(connection, candidates, wanted)
    threshold = -1.0 if query.similarity_threshold is None else query.similarity_threshold
    near = [(similarity, row) for similarity, row in found[: query.limit] if similarity >= threshold]
    shown = _shown([row for _, row in near])
    results = [
        Result(memory=memory, similarity_score=similarity) for (similarity, _), memory in zip(near, shown, strict=True)
    ]
    return Results(results=results, total=len(results), limit=query.limit)


async def change_memory(
    connection: AsyncConnection, ranker: Ranker, memory_id: UUID, changes: Changes, now: datetime
) -> Memory:
    """Changes what is given. A new fact, or a reason, makes a revision; an embedding is only changed if given.

    Raises:
        HTTPException: 404 there is no such memory, or it was deleted or has expired.
    """
    row = await _locked(connection, memory_id, now)
    given = {name: getattr(changes, name) for name in changes.model_fields_set}
    reason = given.pop("change_reason", None)
    if not given and reason is None:
        return _shown([row])[0]
    values = {**given, "updated_at": now}
    if "embedding" in given:
        values.update(_embedded(given["embedding"]))
    fact = given.get("fact", row.fact)
    if fact != row.fact or reason is not None:
        values["revision_count"] = row.revision_count + 1
        revision = {
            "id": uuid4(),
            "memory_id": memory_id,
            "revision_number": row.revision_count + 1,
            "previous_fact": row.fact,
            "new_fact": fact,
            "change_reason": reason,
            "created_at": now,
            "updated_at": now,
        }
        await connection.execute(insert(revisions).values(revision))
    change = update(memories).where(memories.c.id == memory_id).values(values).returning(memories)
    changed = (await connection.execute(change)).one()
    if "embedding" in given:
        embedding = None if changed.embedding_dimensions is None else changed.embedding
        await ranker.keep(connection, changed.seq, embedding)
    return _shown([changed])[0]


async def delete_memory(connection: AsyncConnection, memory_id: UUID, now: datetime, *, hard: bool) -> Deleted:
    """Marks a memory as deleted; or removes it with its revisions, whatever its state.

    Raises:
        HTTPException: 404 there is none; where it is to be marked, also if it was before, or has expired.
    """
    if hard:
        result = await connection.execute(delete(memories).where(memories.c.id == memory_id))
    else:
        mark = update(memories).where(memories.c.id == memory_id, *_alive(now))
        result = await connection.execute(mark.values(deleted_at=now, updated_at=now))
    if not result.rowcount:
        raise _not_found(memory_id)
    return Deleted(message=f"Memory {'removed' if hard else 'deleted'}: {memory_id}")


async def list_revisions(
    connection: AsyncConnection, memory_id: UUID, now: datetime, *, limit: int, offset: int
) -> RevisionPage:
    """Revisions of a memory.

    Raises:
        HTTPException: 404 there is no such memory, or it was deleted or has expired.
    """
    await _found(connection, memory_id, now)
    conditions = [revisions.c.memory_id == memory_id]
    page = select(revisions).where(*conditions).order_by(revisions.c.revision_number.desc()).limit(limit).offset(offset)
    found = [Revision.model_validate(row) for row in await connection.execute(page)]
    total = await _count(connection, revisions.c.seq, conditions)
    return RevisionPage(revisions=found, total=total, limit=limit, offset=offset)


async def get_revision(connection: AsyncConnection, memory_id: UUID, number: int, now: datetime) -> Revision:
    """One revision of a memory.

    Raises:
        HTTPException: 404 there is no such memory, or it has no such revision.
    """
    await _found(connection, memory_id, now)
    found = select(revisions).where(revisions.c.memory_id == memory_id, revisions.c.revision_number == number)
    row = (await connection.execute(found)).one_or_none()
    if row is None:
        raise HTTPException(404, f"Revision not found: {number} of memory {memory_id}")
    return Revision.model_validate(row)


async def purge_memories(database: Database, now: datetime) -> None:
    """Removes memories, with their revisions, that expired longer than `EXPIRED_KEPT` ago."""
    await remove(database, memories, memories.c.expires_at < now - EXPIRED_KEPT)


def _shown(rows: Sequence[Row[Any]]) -> list[Memory]:
    """Rows as the API shows them."""
    embeddings = iter(shortest([row.embedding for row in rows if row.embedding is not None]))
    shown = []
    for row in rows:
        values = dict(zip(_COLUMNS, row, strict=True))
        if row.embedding is not None:
            values["embedding"] = next(embeddings)
        shown.append(Memory.model_validate(values))
    return shown


def _embedded(numbers: list[float] | None) -> dict[str, Any]:
    if numbers is None:
        return {"embedding": None, "embedding_dimensions": None}
    vector = single(numbers)
    return {"embedding": vector, "embedding_dimensions": len(vector) if has_direction(vector) else None}


def _alive(now: datetime) -> list[ColumnElement[bool]]:
    return [memories.c.deleted_at.is_(None), memories.c.expires_at > now]


async def _found(connection: AsyncConnection, memory_id: UUID, now: datetime) -> None:
    found = select(memories.c.seq).where(memories.c.id == memory_id, *_alive(now))
    if (await connection.execute(found)).one_or_none() is None:
        raise _not_found(memory_id)


async def _locked(connection: AsyncConnection, memory_id: UUID, now: datetime) -> Row[Any]:
    found = select(memories).where(memories.c.id == memory_id, *_alive(now)).with_for_update()
    row = (await connection.execute(found)).one_or_none()
    if row is None:
        raise _not_found(memory_id)
    return row


async def _ranked(connection: AsyncConnection, candidates: list[int], query: Vector) -> list[tuple[float, Row[Any]]]:
    """Candidates with their similarity, the most similar first, the older first of equals."""
    if not candidates:
        return []
    rows = (await connection.execute(select(memories).where(memories.c.seq.in_(candidates)))).all()
    similarities = cosines(np.stack([row.embedding for row in rows]), query.astype(np.float64))
    found = [(float(similarity), row) for similarity, row in zip(similarities, rows, strict=True)]
    return sorted(found, key=lambda pair: (-pair[0], pair[1].seq))


async def _count(connection: AsyncConnection, column: ColumnElement[int], conditions: list[ColumnElement[bool]]) -> int:
    return (await connection.execute(select(func.count(column)).where(*conditions))).scalar_one()


def _not_found(memory_id: UUID) -> HTTPException:
    return HTTPException(404, f"Memory not found: {memory_id}")
