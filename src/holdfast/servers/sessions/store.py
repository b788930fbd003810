"""What sessions do: every function works in the transaction it is handed, and raises the answer if it cannot."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from fastapi import HTTPException
from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.servers.containment import scope_columns, scope_conditions
from holdfast.servers.removal import EXPIRED_KEPT, remove
from holdfast.servers.sessions.schemas import (
    DEFAULT_TTL,
    Deleted,
    Event,
    EventPage,
    NewEvent,
    NewSession,
    NewState,
    Session,
    SessionPage,
)
from holdfast.servers.sessions.tables import events, sessions

if TYPE_CHECKING:
    from holdfast.servers.db import Database

__all__ = [
    "add_event",
    "create_session",
    "delete_session",
    "end_session",
    "get_event",
    "get_session",
    "list_events",
    "list_sessions",
    "purge_sessions",
    "set_state",
]


async def create_session(connection: AsyncConnection, new: NewSession, now: datetime) -> Session:
    """A new session."""
    ttl = new.ttl or DEFAULT_TTL
    values = {
        "id": uuid4(),
        "scope": new.scope,
        **scope_columns(new.scope),
        "title": new.title,
        "description": new.description,
        "state": new.state or {},
        "started_at": now,
        **_active(now, ttl),
        "ttl": ttl,
        "event_count": 0,
        "total_input_tokens": 0,
        "total_output_tokens": 0,
    }
    return Session.model_validate((await connection.execute(insert(sessions).values(values).returning(sessions))).one())


async def get_session(
    connection: AsyncConnection, session_id: UUID, now: datetime, *, include_expired: bool = False
) -> Session:
    """A session, ended or not.

    Raises:
        HTTPException: 404 there is none; 410 it has expired.
    """
    row = await _found(connection, session_id)
    if not include_expired:
        _refuse_expired(row, now)
    return Session.model_validate(row)


async def list_sessions(
    connection: AsyncConnection, scope: dict[str, str], now: datetime, *, active_only: bool, limit: int, offset: int
) -> SessionPage:
    """Sessions whose scope contains another one; of those that were neither ended nor have expired, if only active."""
    conditions = scope_conditions(sessions, scope, connection.dialect.name)
    if active_only:
        conditions += [sessions.c.ended_at.is_(None), sessions.c.expires_at > now]
    page = select(sessions).where(*conditions).order_by(sessions.c.seq.desc()).limit(limit).offset(offset)
    found = [Session.model_validate(row) for row in await connection.execute(page)]
    return SessionPage(
        sessions=found, total=await _count(connection, sessions.c.seq, conditions), limit=limit, offset=offset
    )


async def set_state(connection: AsyncConnection, session_id: UUID, new: NewState, now: datetime) -> Session:
    """Replaces the state of an active session, or merges into its first level.

    Raises:
        HTTPException: 404 there is none; 410 it has expired, or was ended.
    """
    row = await _locked_active(connection, session_id, now)
    state = {**row.state, **new.state} if new.merge else new.state
    return await _updated(connection, session_id, {"state": state, **_active(now, row.ttl)})


async def end_session(connection: AsyncConnection, session_id: UUID, now: datetime) -> Session:
    """Ends a session. One that was ended before stays as it was.

    Raises:
        HTTPException: 404 there is none; 410 it has expired.
    """
    row = await _found(connection, session_id, lock=True)
    if row.ended_at is not None:
        return Session.model_validate(row)
    _refuse_expired(row, now)
    return await _updated(connection, session_id, {"ended_at": now, **_active(now, row.ttl)})


async def delete_session(connection: AsyncConnection, session_id: UUID) -> Deleted:
    """Deletes a session, whatever its state, and its events.

    Raises:
        HTTPException: 404 there is none.
    """
    result = await connection.execute(delete(sessions).where(sessions.c.id == session_id))
    if not result.rowcount:
        raise _not_found(session_id)
    return Deleted(message=f"Session deleted: {session_id}")


async def add_event(connection: AsyncConnection, session_id: UUID, new: NewEvent, now: datetime) -> Event:
    """Adds an event to an active session, and counts it.

    Raises:
        HTTPException: 404 there is no such session; 410 it has expired, or was ended.
    """
    row = await _locked_active(connection, session_id, now)
    input_tokens, output_tokens = new.input_tokens or 0, new.output_tokens or 0
    values = {
        "id": uuid4(),
        "session_id": session_id,
        "event_type": new.event_type,
        "data": new.data,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "timestamp": now,
    }
    event = (await connection.execute(insert(events).values(values).returning(events))).one()
    counted = {
        "event_count": sessions.c.event_count + 1,
        "total_input_tokens": sessions.c.total_input_tokens + input_tokens,
        "total_output_tokens": sessions.c.total_output_tokens + output_tokens,
    }
    await _updated(connection, session_id, {**counted, **_active(now, row.ttl)})
    return Event.model_validate(event)


async def get_event(connection: AsyncConnection, session_id: UUID, event_id: UUID) -> Event:
    """An event of a session, whatever the session's state.

    Raises:
        HTTPException: 404 there is no such session, or it has no such event.
    """
    await _found(connection, session_id)
    found = select(events).where(events.c.id == event_id, events.c.session_id == session_id)
    row = (await connection.execute(found)).one_or_none()
    if row is None:
        raise HTTPException(404, f"Event not found: {event_id}")
    return Event.model_validate(row)


async def list_events(
    connection: AsyncConnection, session_id: UUID, event_type: str | None, *, limit: int, offset: int
) -> EventPage:
    """Events of a session, whatever the session's state: memories are made of a conversation that is over.

    Raises:
        HTTPException: 404 there is no such session.
    """
    await _found(connection, session_id)
    conditions: list[ColumnElement[bool]] = [events.c.session_id == session_id]
    if event_type is not None:
        conditions.append(events.c.event_type == event_type)
    page = select(events).where(*conditions).order_by(events.c.seq).limit(limit).offset(offset)
    found = [Event.model_validate(row) for row in await connection.execute(page)]
    return EventPage(events=found, total=await _count(connection, events.c.seq, conditions), limit=limit, offset=offset)


async def purge_sessions(database: Database, now: datetime) -> None:
    """Removes sessions, with their events, that expired longer than `EXPIRED_KEPT` ago. What was ended is kept."""
    await remove(database, sessions, and_(sessions.c.ended_at.is_(None), sessions.c.expires_at < now - EXPIRED_KEPT))


def _active(now: datetime, ttl: int) -> dict[str, datetime]:
    return {"last_activity_at": now, "expires_at": now + timedelta(seconds=ttl)}


async def _found(connection: AsyncConnection, session_id: UUID, *, lock: bool = False) -> Row[Any]:
    found = select(sessions).where(sessions.c.id == session_id)
    row = (await connection.execute(found.with_for_update() if lock else found)).one_or_none()
    if row is None:
        raise _not_found(session_id)
    return row


async def _locked_active(connection: AsyncConnection, session_id: UUID, now: datetime) -> Row[Any]:
    row = await _found(connection, session_id, lock=True)
    if row.ended_at is not None:
        raise HTTPException(410, f"Session ended: {session_id}")
    _refuse_expired(row, now)
    return row


def _refuse_expired(row: Row[Any], now: datetime) -> None:
    # One that was ended is kept as it ended: only what goes on can expire.
    if row.ended_at is None and row.expires_at <= now:
        raise HTTPException(410, f"Session expired: {row.id}")


async def _updated(connection: AsyncConnection, session_id: UUID, values: dict[str, Any]) -> Session:
    change = update(sessions).where(sessions.c.id == session_id).values(values).returning(sessions)
    return Session.model_validate((await connection.execute(change)).one())


async def _count(connection: AsyncConnection, column: ColumnElement[int], conditions: list[ColumnElement[bool]]) -> int:
    return (await connection.execute(select(func.count(column)).where(*conditions))).scalar_one()


def _not_found(session_id: UUID) -> HTTPException:
    return HTTPException(404, f"Session not found: {session_id}")
