"""`SessionsServiceClient` and `MemoryServiceClient`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.call import Call
from holdfast.contextiq.config import ContextSettings, MemorySettings, SessionsSettings
from holdfast.contextiq.models import (
    ChangedMemory,
    Done,
    Event,
    Memory,
    MemoryMatches,
    NewEvent,
    NewMemory,
    NewSession,
    NewState,
    Revision,
    RevisionSlice,
    Search,
    Session,
    Slice,
)
from holdfast.exceptions import HoldfastError, NotFoundError
from holdfast.service.client import ServiceClient
from holdfast.service.errors import renamed, unreachable
from holdfast.service.pages import PagedCall
from holdfast.service.paging import Offset
from holdfast.service.sending import BadParameterError

if TYPE_CHECKING:
    import httpx2

    from holdfast.core.events import Observer

__all__ = ["BaseHTTPClient", "MemoryServiceClient", "SessionsServiceClient"]

S = TypeVar("S", bound=ContextSettings)


class BaseHTTPClient(ServiceClient[S]):
    """What both clients have: where the service is and how patiently it is called.

    Args:
        base_url: where the service is; None leaves it to the environment, and then to the default.
        timeout: seconds for every read and write of one attempt.
        max_retries: requests that are sent at most for one call, the first included.
        retry_delay: the shortest wait between them, in seconds.
        settings: all settings in place of the arguments above.
        auth: see `ServiceClient`.
        http_client: see `ResilientClient`.
        transport: see `ResilientClient`.
        observers: see `ResilientClient`.

    Raises:
        pydantic.ValidationError: a setting is wrong; it is also a ValueError.
    """

    settings_class = ContextSettings

    def __init__(
        self,
        base_url: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        retry_delay: float | None = None,
        *,
        settings: S | None = None,
        auth: Any = None,
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
        observers: tuple[Observer, ...] | list[Observer] = (),
    ) -> None:
        given = {"url": base_url, "timeout": timeout, "max_retries": max_retries, "retry_delay": retry_delay}
        known = {name: value for name, value in given.items() if value is not None}
        if settings is not None and known:
            raise TypeError(f"settings and {', '.join(known)} cannot be given together")
        made: Any = settings if settings is not None else self.settings_class.model_validate(known)
        super().__init__(made, auth=auth, http_client=http_client, transport=transport, observers=observers)

    def health(self) -> Call[dict[str, Any]]:
        """How the service is."""
        return self.get(dict[str, Any], "/health")

    def translate(self, error: HoldfastError) -> HoldfastError:
        """A service that cannot be reached is unavailable, which both document."""
        return unreachable(error, self.settings.name)


class SessionsServiceClient(BaseHTTPClient[SessionsSettings]):
    """The Sessions service: conversations and their events."""

    def create_session(
        self,
        scope: Mapping[str, Any],
        title: str | None = None,
        description: str | None = None,
        state: Mapping[str, Any] | None = None,
        ttl: int | None = None,
    ) -> Call[Session]:
        """Makes a session. `ttl`: seconds without activity after which it expires, 1 to 86,400."""
        new = NewSession(scope=_dict(scope), title=title, description=description, state=_maybe(state), ttl=ttl)
        return self.post(Session, "/api/v1/sessions", json=new)

    def get_session(self, session_id: str) -> Call[Session]:
        """One session. An expired one is an APIStatusError with status 410."""
        return self.get(Session, "/api/v1/sessions/{session_id}", session_id=session_id)

    def list_sessions(
        self,
        scope_user_id: str | None = None,
        *,
        scope_agent_id: str | None = None,
        active_only: bool = True,
        limit: int = 100,
        offset: int = 0,
    ) -> PagedCall[Session]:
        """The sessions of a scope, those that have expired or ended only with `active_only=False`."""
        part = Slice(limit=limit, offset=offset)
        query = {"scope_user_id": scope_user_id, "scope_agent_id": scope_agent_id, "active_only": active_only}
        return self.pages(
            Session, "/api/v1/sessions", items="sessions", paging=Offset(), query={**query, **part.body()}
        )

    def update_session_state(self, session_id: str, state: Mapping[str, Any], *, merge: bool = False) -> Call[Session]:
        """Puts a state in place of the one before, or merges it into that."""
        new = NewState(state=_dict(state), merge=merge)
        return self.put(Session, "/api/v1/sessions/{session_id}/state", session_id=session_id, json=new)

    def end_session(self, session_id: str) -> Call[Session]:
        """Ends a session. Some servers cannot: then the NotFoundError says so."""
        return self.post(Session, "/api/v1/sessions/{session_id}/end", session_id=session_id)

    def delete_session(self, session_id: str) -> Call[Done]:
        """Deletes a session and its events."""
        return self.delete(Done, "/api/v1/sessions/{session_id}", session_id=session_id)

    def create_event(
        self,
        session_id: str,
        event_type: str,
        data: Mapping[str, Any],
        input_tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> Call[Event]:
        """Appends an event to a session."""
        new = NewEvent(event_type=event_type, data=_dict(data), input_tokens=input_tokens, output_tokens=output_tokens)
        return self.post(Event, "/api/v1/sessions/{session_id}/events", session_id=session_id, json=new)

    def get_event(self, session_id: str, event_id: str) -> Call[Event]:
        """One event. Some servers have no such endpoint: then the NotFoundError says so."""
        path = "/api/v1/sessions/{session_id}/events/{event_id}"
        return self.get(Event, path, session_id=session_id, event_id=event_id)

    def list_events(
        self, session_id: str, *, event_type: str | None = None, limit: int = 100, offset: int = 0
    ) -> PagedCall[Event]:
        """The events of a session in the order in which they happened, all or of one type."""
        part = Slice(limit=limit, offset=offset)
        return self.pages(
            Event,
            "/api/v1/sessions/{session_id}/events",
            items="events",
            paging=Offset(),
            query={"event_type": event_type, **part.body()},
            session_id=session_id,
        )

    def translate(self, error: HoldfastError) -> HoldfastError:
        """As for both; and a server that lacks an endpoint is not one that lacks a session."""
        if isinstance(error, NotFoundError) and "(Not Found)" in error.message:
            missing = f"{error.message} This server has no such endpoint."
            return renamed(error, NotFoundError, missing, resource_type="endpoint", resource_id=error.endpoint)
        return super().translate(error)


class MemoryServiceClient(BaseHTTPClient[MemorySettings]):
    """The Memory service: facts, their revisions, and the search among them."""

    def create_memory(
        self,
        scope: Mapping[str, Any],
        fact: str,
        source_type: str,
        topic: str | None = None,
        embedding: Sequence[float] | None = None,
        confidence: float | None = None,
        importance: float | None = None,
        source_id: str | None = None,
        ttl_days: int | None = None,
    ) -> Call[Memory]:
        """Stores a fact. `ttl_days`: 1 to 730 days that it is kept."""
        new = NewMemory(
            scope=_dict(scope),
            fact=fact,
            source_type=source_type,
            topic=topic,
            embedding=None if embedding is None else list(embedding),
            confidence=confidence,
            importance=importance,
            source_id=source_id,
            ttl_days=ttl_days,
        )
        return self.post(Memory, "/api/v1/memories", json=new)

    def get_memory(self, memory_id: str) -> Call[Memory]:
        """One memory. The service counts that it was looked at."""
        return self.get(Memory, "/api/v1/memories/{memory_id}", memory_id=memory_id)

    def list_memories(
        self,
        scope_user_id: str | None = None,
        scope_org_id: str | None = None,
        topic: str | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
        include_deleted: bool = False,
    ) -> PagedCall[Memory]:
        """The memories of a user, an organization, or of both; the service needs one of them."""
        if scope_user_id is None and scope_org_id is None:
            raise BadParameterError("scope_user_id", "is missing, and so is scope_org_id: one of them has to be given")
        part = Slice(limit=limit, offset=offset)
        query = {
            "scope_user_id": scope_user_id,
            "scope_org_id": scope_org_id,
            "topic": topic,
            "include_deleted": include_deleted,
            **part.body(),
        }
        return self.pages(Memory, "/api/v1/memories", items="memories", paging=Offset(), query=query)

    def update_memory(
        self,
        memory_id: str,
        fact: str | None = None,
        topic: str | None = None,
        embedding: Sequence[float] | None = None,
        confidence: float | None = None,
        importance: float | None = None,
        change_reason: str | None = None,
    ) -> Call[Memory]:
        """Changes what is given about a memory. A new fact makes a revision."""
        changed = ChangedMemory(
            fact=fact,
            topic=topic,
            embedding=None if embedding is None else list(embedding),
            confidence=confidence,
            importance=importance,
            change_reason=change_reason,
        )
        return self.patch(Memory, "/api/v1/memories/{memory_id}", memory_id=memory_id, json=changed)

    def delete_memory(self, memory_id: str, *, hard_delete: bool = False) -> Call[Done]:
        """Marks a memory as deleted, or with `hard_delete` really deletes it."""
        query = {"hard_delete": True} if hard_delete else None
        return self.delete(Done, "/api/v1/memories/{memory_id}", memory_id=memory_id, query=query)

    def search_memories(
        self,
        query_embedding: Sequence[float],
        scope: Mapping[str, Any] | None = None,
        topic: str | None = None,
        limit: int = 10,
        min_confidence: float | None = None,
        similarity_threshold: float | None = None,
    ) -> Call[MemoryMatches]:
        """The memories most similar to an embedding, at most `limit` (1 to 100) of them."""
        search = Search(
            query_embedding=list(query_embedding),
            scope=_maybe(scope),
            topic=topic,
            limit=limit,
            min_confidence=min_confidence,
            similarity_threshold=similarity_threshold,
        )
        # It changes nothing, so that it may be repeated like a GET.
        return self.post(MemoryMatches, "/api/v1/memories/search", json=search, server_deduplicates=True)

    def list_revisions(self, memory_id: str, *, limit: int = 10, offset: int = 0) -> PagedCall[Revision]:
        """The changes of a memory's fact. `limit`: 1 to 100."""
        part = RevisionSlice(limit=limit, offset=offset)
        return self.pages(
            Revision,
            "/api/v1/memories/{memory_id}/revisions",
            items="revisions",
            paging=Offset(),
            query=part.body(),
            memory_id=memory_id,
        )

    def get_revision(self, memory_id: str, revision_number: int) -> Call[Revision]:
        """One change of a memory's fact, by its number."""
        path = "/api/v1/memories/{memory_id}/revisions/{revision_number}"
        return self.get(Revision, path, memory_id=memory_id, revision_number=revision_number)


def _dict(value: Any) -> Any:
    """A mapping as a dict; what is none, for the model to refuse."""
    return dict(value) if isinstance(value, Mapping) else value


def _maybe(value: Any) -> Any:
    return None if value is None else _dict(value)
