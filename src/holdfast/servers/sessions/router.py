"""Endpoints of the Sessions server."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from holdfast.servers.fields import Offset, ScopeValue, Text
from holdfast.servers.sessions import store
from holdfast.servers.sessions.schemas import (
    Deleted,
    Event,
    EventPage,
    NewEvent,
    NewSession,
    NewState,
    Session,
    SessionPage,
)
from holdfast.servers.transactions import Once, Unkeyed

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["sessions"])

Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such session."}}
_GONE: dict[int | str, dict[str, Any]] = {**_NOT_FOUND, 410: {"description": "The session has expired, or was ended."}}


@router.post("/sessions", status_code=201, response_model=Session)
async def create_session(new: NewSession, transactions: Once) -> Response:
    """Create a session."""
    return await transactions.once(lambda tx: store.create_session(tx, new, transactions.clock()), status=201)


@router.get("/sessions")
async def list_sessions(
    transactions: Unkeyed,
    scope_user_id: ScopeValue = None,
    scope_org_id: ScopeValue = None,
    scope_agent_id: ScopeValue = None,
    active_only: Annotated[bool, Query(description="Leave out what was ended or has expired.")] = True,  # noqa: FBT002 - a query parameter
    limit: Limit = 100,
    offset: Offset = 0,
) -> SessionPage:
    """List sessions whose scope contains what is given, the newest first."""
    given = {"user_id": scope_user_id, "org_id": scope_org_id, "agent_id": scope_agent_id}
    scope = {key: value for key, value in given.items() if value is not None}
    return await transactions.read(
        lambda tx: store.list_sessions(
            tx, scope, transactions.clock(), active_only=active_only, limit=limit, offset=offset
        )
    )


@router.get("/sessions/{session_id}", responses=_GONE)
async def get_session(
    session_id: UUID,
    transactions: Unkeyed,
    include_expired: Annotated[bool, Query(description="Show it also if it has expired.")] = False,  # noqa: FBT002 - the same
) -> Session:
    """Get a session."""
    return await transactions.read(
        lambda tx: store.get_session(tx, session_id, transactions.clock(), include_expired=include_expired)
    )


@router.delete("/sessions/{session_id}", response_model=Deleted, responses=_NOT_FOUND)
async def delete_session(session_id: UUID, transactions: Once) -> Response:
    """Delete a session and its events."""
    return await transactions.once(lambda tx: store.delete_session(tx, session_id))


@router.put("/sessions/{session_id}/state", response_model=Session, responses=_GONE)
@router.patch("/sessions/{session_id}/state", response_model=Session, responses=_GONE)
async def set_state(session_id: UUID, new: NewState, transactions: Once) -> Response:
    """Replace a session's state, or merge into it. PATCH does the same as PUT: clients disagree about the method."""
    return await transactions.once(lambda tx: store.set_state(tx, session_id, new, transactions.clock()))


@router.post("/sessions/{session_id}/end", response_model=Session, responses=_GONE)
async def end_session(session_id: UUID, transactions: Once) -> Response:
    """End a session: it takes no more events, and does not expire."""
    return await transactions.once(lambda tx: store.end_session(tx, session_id, transactions.clock()))


@router.post("/sessions/{session_id}/events", status_code=201, response_model=Event, responses=_GONE)
async def add_event(session_id: UUID, new: NewEvent, transactions: Once) -> Response:
    """Add an event to a session, and its tokens to the session's."""
    return await transactions.once(lambda tx: store.add_event(tx, session_id, new, transactions.clock()), status=201)


@router.get("/sessions/{session_id}/events", responses=_NOT_FOUND)
async def list_events(
    session_id: UUID,
    transactions: Unkeyed,
    event_type: Annotated[Text | None, Query(description="Only events of this type.")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> EventPage:
    """List a session's events, the oldest first; also of one that has expired or was ended."""
    return await transactions.read(lambda tx: store.list_events(tx, session_id, event_type, limit=limit, offset=offset))


@router.get("/sessions/{session_id}/events/{event_id}", responses=_NOT_FOUND)
async def get_event(session_id: UUID, event_id: UUID, transactions: Unkeyed) -> Event:
    """Get an event of a session; also of one that has expired or was ended."""
    return await transactions.read(lambda tx: store.get_event(tx, session_id, event_id))
