"""What goes over the wire to and from the Sessions server."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, Strict

from holdfast.servers.fields import AS_IN_JSON, JsonObject, Scope, Text

__all__ = ["Deleted", "Event", "EventPage", "NewEvent", "NewSession", "NewState", "Session", "SessionPage"]

DEFAULT_TTL = 3600
LONGEST_TTL = 86_400
MOST_TOKENS = 2**31 - 1

Tokens = Annotated[
    Annotated[int, Field(ge=0, le=MOST_TOKENS), AS_IN_JSON] | None, Field(description="How many; nothing means none.")
]


class NewSession(BaseModel):
    """A session to be created.

    Attributes:
        ttl: seconds without activity after which it expires.
    """

    scope: Scope
    title: Annotated[Text, Field(max_length=500)] | None = None
    description: Text | None = None
    state: JsonObject | None = None
    ttl: Annotated[int, Field(ge=1, le=LONGEST_TTL), AS_IN_JSON] | None = Field(
        default=None, description=f"Seconds without activity after which it expires; {DEFAULT_TTL} if not given."
    )


class NewState(BaseModel):
    """What becomes of a session's state."""

    state: JsonObject
    merge: Annotated[bool, Strict()] = Field(
        default=False, description="Keep the members of the state that are not named here."
    )


class NewEvent(BaseModel):
    """An event to be added to a session."""

    event_type: Annotated[Text, Field(min_length=1, max_length=100)]
    data: JsonObject
    input_tokens: Tokens = None
    output_tokens: Tokens = None


class _FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Session(_FromRow):
    """A session as it is."""

    id: UUID
    scope: dict[str, Any]
    title: str | None
    description: str | None
    state: dict[str, Any]
    started_at: datetime
    last_activity_at: datetime
    ended_at: datetime | None
    ttl: int
    event_count: int
    total_input_tokens: int
    total_output_tokens: int


class Event(_FromRow):
    """An event of a session."""

    id: UUID
    session_id: UUID
    event_type: str
    data: dict[str, Any]
    input_tokens: int
    output_tokens: int
    timestamp: datetime


class SessionPage(BaseModel):
    """Sessions, the newest first."""

    sessions: list[Session]
    total: int
    limit: int
    offset: int


class EventPage(BaseModel):
    """Events of a session, the oldest first."""

    events: list[Event]
    total: int
    limit: int
    offset: int


class Deleted(BaseModel):
    """The answer to a deletion."""

    success: bool = True
    message: str
