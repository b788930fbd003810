"""The Sessions and the Memory client against scripted services: what is sent, and what is made of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from holdfast import Call, InvalidRequestError, NotFoundError
from holdfast.contextiq import (
    BaseHTTPClient,
    MemoryServiceClient,
    MemorySettings,
    ServiceUnavailableError,
    SessionsServiceClient,
    SessionsSettings,
)
from holdfast.testing import FaultTransport, Step

SCOPE = {"user_id": "123"}
SESSION = {
    "id": "s1",
    "scope": SCOPE,
    "title": "T",
    "ttl": 3600,
    "event_count": 2,
    "started_at": "2026-01-01T00:00:00Z",
}
EVENT = {"id": "e1", "session_id": "s1", "event_type": "message", "data": {"content": "Hello"}, "input_tokens": 10}
MEMORY = {"id": "m1", "scope": SCOPE, "fact": "likes tea", "source_type": "extracted", "novel": True}


def sessions(script: Any, **more: Any) -> tuple[SessionsServiceClient, FaultTransport]:
    transport = FaultTransport(script)
    return SessionsServiceClient(transport=transport, retry_delay=0.001, **more), transport


def memories(script: Any, **more: Any) -> tuple[MemoryServiceClient, FaultTransport]:
    transport = FaultTransport(script)
    return MemoryServiceClient(transport=transport, retry_delay=0.001, **more), transport


SESSION_CALLS: list[tuple[Callable[[SessionsServiceClient], Call[Any]], str, Any]] = [
    (lambda c: c.create_session(SCOPE, "T", ttl=60), "POST /sessions", {"scope": SCOPE, "title": "T", "ttl": 60}),
    (lambda c: c.get_session("s1"), "GET /sessions/s1", None),
    (
        lambda c: c.update_session_state("s1", {"a": 1}, merge=True),
        "PUT /sessions/s1/state",
        {"state": {"a": 1}, "merge": True},
    ),
    (lambda c: c.end_session("s1"), "POST /sessions/s1/end", None),
    (lambda c: c.delete_session("s1"), "DELETE /sessions/s1", None),
    (
        lambda c: c.create_event("s1", "message", {"content": "Hello"}, input_tokens=10),
        "POST /sessions/s1/events",
        {"event_type": "message", "data": {"content": "Hello"}, "input_tokens": 10},
    ),
    (lambda c: c.get_event("s1", "e1"), "GET /sessions/s1/events/e1", None),
    (
        lambda c: c.list_events("s1", event_type="message"),
        "GET /sessions/s1/events?event_type=message&limit=100&offset=0",
        None,
    ),
    (
        lambda c: c.list_sessions("123", scope_agent_id="a", active_only=False, limit=5),
        "GET /sessions?scope_user_id=123&scope_agent_id=a&active_only=false&limit=5&offset=0",
        None,
    ),
]  # fmt: skip

MEMORY_CALLS: list[tuple[Callable[[MemoryServiceClient], Call[Any]], str, Any]] = [
    (
        lambda c: c.create_memory(SCOPE, "likes tea", "extracted", topic="taste", embedding=(0.5, 1), confidence=1),
        "POST /memories",
        {
            "scope": SCOPE,
            "fact": "likes tea",
            "source_type": "extracted",
            "topic": "taste",
            "embedding": [0.5, 1.0],
            "confidence": 1.0,
        },
    ),
    (lambda c: c.get_memory("m1"), "GET /memories/m1", None),
    (
        lambda c: c.update_memory("m1", fact="likes coffee", change_reason="asked"),
        "PATCH /memories/m1",
        {"fact": "likes coffee", "change_reason": "asked"},
    ),
    (lambda c: c.delete_memory("m1"), "DELETE /memories/m1", None),
    (lambda c: c.delete_memory("m1", hard_delete=True), "DELETE /memories/m1?hard_delete=true", None),
    (
        lambda c: c.search_memories([1.0, 0.0], scope=SCOPE, min_confidence=0.5),
        "POST /memories/search",
        {"query_embedding": [1.0, 0.0], "scope": SCOPE, "limit": 10, "min_confidence": 0.5},
    ),
    (
        lambda c: c.list_memories("123", topic="taste"),
        "GET /memories?scope_user_id=123&topic=taste&include_deleted=false&limit=100&offset=0",
        None,
    ),
    (lambda c: c.list_revisions("m1"), "GET /memories/m1/revisions?limit=10&offset=0", None),
    (lambda c: c.get_revision("m1", 2), "GET /memories/m1/revisions/2", None),
]

ANSWERS = {
    "sessions": {**SESSION, **EVENT, "sessions": [], "events": [], "total": 0},
    "memories": {**MEMORY, "memory_id": "m1", "revision_number": 2, "memories": [], "revisions": [], "results": []},
}


def check(transport: FaultTransport, wanted: str, body: Any) -> None:
    import json

    (request,) = transport.requests
    target = request.url.raw_path.decode().removeprefix("/api/v1")
    assert f"{request.method} {target}" == wanted
    assert (json.loads(request.content) if request.content else None) == body


@pytest.mark.parametrize(("call", "wanted", "body"), SESSION_CALLS, ids=[wanted for _, wanted, _ in SESSION_CALLS])
def test_what_the_sessions_client_sends(call, wanted, body):
    client, transport = sessions([Step(json=ANSWERS["sessions"])])
    call(client).result()
    check(transport, wanted, body)


@pytest.mark.parametrize(("call", "wanted", "body"), MEMORY_CALLS, ids=[wanted for _, wanted, _ in MEMORY_CALLS])
def test_what_the_memory_client_sends(call, wanted, body):
    client, transport = memories([Step(json=ANSWERS["memories"])])
    call(client).result()
    check(transport, wanted, body)


def test_a_session_reads_by_attribute_and_by_key():
    client, _ = sessions([Step(201, json={**SESSION, "extra": 1})])
    session = asyncio.run(client.create_session(scope=SCOPE, title="T"))
    assert session.id == session["id"] == "s1" and session.scope["user_id"] == "123" and session["extra"] == 1
    assert session.started_at is not None and session.started_at.year == 2026 and session.description is None


def test_lists_iterate_over_models_and_have_a_total():
    client, _ = sessions([Step(json={"events": [EVENT, EVENT], "total": 2, "limit": 100, "offset": 0})])
    events = client.list_events("s1").result()
    assert [event.data["content"] for event in events] == ["Hello", "Hello"] and events.total == 2


def test_what_a_search_found_comes_with_its_score():
    client, _ = memories(
        [Step(json={"results": [{"memory": MEMORY, "similarity_score": 0.9}], "total": 1, "limit": 10})]
    )
    found = client.search_memories([1.0]).result()
    (first,) = found
    assert (first.memory.fact, first.similarity_score, len(found), found.total) == ("likes tea", 0.9, 1, 1)


def test_a_search_changes_nothing_and_is_repeated():
    client, transport = memories([httpx2.ReadTimeout, Step(json={"results": []})])
    client.search_memories([1.0]).result()
    assert len(transport.requests) == 2


# Limits


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.create_session({}), "scope"),
        (lambda c: c.create_session(SCOPE, "x" * 501), "title"),
        (lambda c: c.create_session(SCOPE, ttl=0), "ttl"),
        (lambda c: c.create_session(SCOPE, ttl=86_401), "ttl"),
        (lambda c: c.create_session("123"), "scope"),
        (lambda c: c.update_session_state("s1", None), "state"),
        (lambda c: c.create_event("s1", "x" * 101, {}), "event_type"),
        (lambda c: c.create_event("s1", "message", {}, input_tokens=-1), "input_tokens"),
        (lambda c: c.list_sessions(limit=1001), "limit"),
        (lambda c: c.list_events("s1", offset=-1), "offset"),
        (lambda c: c.get_session(""), "session_id"),
        (lambda c: c.create_session(SCOPE, state={"at": object()}), "state"),
        (lambda c: c.create_session({"user_id": b"\xff"}), "scope"),
        (lambda c: c.create_session(SCOPE, state={"at": float("nan")}), "json"),
    ],
)
def test_limits_of_the_sessions_service_are_found_before_sending(call, field):
    client, transport = sessions([200])
    with pytest.raises(InvalidRequestError) as caught:
        call(client).result()
    assert list(caught.value.field_errors) == [field] and transport.requests == []


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.create_memory(SCOPE, "", "extracted"), "fact"),
        (lambda c: c.create_memory(SCOPE, "f", "x" * 51), "source_type"),
        (lambda c: c.create_memory(SCOPE, "f", "s", topic="x" * 201), "topic"),
        (lambda c: c.create_memory(SCOPE, "f", "s", confidence=1.1), "confidence"),
        (lambda c: c.create_memory(SCOPE, "f", "s", importance=-0.1), "importance"),
        (lambda c: c.create_memory(SCOPE, "f", "s", ttl_days=731), "ttl_days"),
        (lambda c: c.search_memories([]), "query_embedding"),
        (lambda c: c.search_memories([1.0], limit=101), "limit"),
        (lambda c: c.list_memories("1", limit=0), "limit"),
        (lambda c: c.create_memory(SCOPE, "f", "s", embedding=[1.0, float("nan")]), "embedding.1"),
        (lambda c: c.search_memories([float("inf")]), "query_embedding.0"),
        (lambda c: c.list_memories(), "scope_user_id"),
        (lambda c: c.list_revisions("m1", limit=101), "limit"),
    ],
)
def test_limits_of_the_memory_service_are_found_before_sending(call, field):
    client, transport = memories([200])
    with pytest.raises(InvalidRequestError) as caught:
        call(client).result()
    assert list(caught.value.field_errors) == [field] and transport.requests == []


# Errors


@pytest.mark.parametrize("failure", [httpx2.ConnectError, httpx2.ReadTimeout, 503])
def test_a_service_that_is_not_there_is_unavailable(failure):
    client, transport = sessions([failure], max_retries=2)
    with pytest.raises(ServiceUnavailableError, match="Sessions Service") as caught:
        client.get_session("s1").result()
    assert caught.value.service_name == "Sessions Service" and len(transport.requests) == 2
    assert isinstance(caught.value, httpx2.HTTPStatusError if failure == 503 else failure)


class OwnClient(BaseHTTPClient):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize("made", [BaseHTTPClient, OwnClient])
def test_the_base_can_be_used_as_it_is(made):
    client = made("http://own.test", max_retries=1, transport=FaultTransport([httpx2.ConnectError]))
    with pytest.raises(ServiceUnavailableError):
        client.health().result()


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (410, 1), (500, 3)])
def test_an_answer_is_an_http_status_error(status, requests):
    client, transport = memories([status])
    with pytest.raises(httpx2.HTTPStatusError) as caught:
        client.get_memory("m1").result()
    assert caught.value.response.status_code == status
    assert ServiceUnavailableError not in type(caught.value).__mro__
    assert len(transport.requests) == requests


def test_a_server_without_an_endpoint_is_not_one_without_the_session():
    client, _ = sessions([Step(404, json={"detail": "Not Found"}), Step(404, json={"detail": "Session not found: s1"})])
    with pytest.raises(NotFoundError, match="This server has no such endpoint") as caught:
        client.end_session("s1").result()
    assert caught.value.resource_type == "endpoint"
    with pytest.raises(NotFoundError, match="Session not found: s1") as caught:
        client.end_session("s1").result()
    assert caught.value.resource_type is None


# Settings


def test_arguments_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("SESSIONS_SERVICE_URL", "http://sessions.test:1")
    monkeypatch.setenv("SESSIONS_SERVICE_MAX_RETRIES", "7")
    assert str(SessionsServiceClient().resilient.config.base_url) == "http://sessions.test:1"
    client = SessionsServiceClient(base_url="http://other.test", timeout=60, max_retries=5)
    config = client.resilient.config
    assert (config.base_url, config.timeout.read, config.retry.max_attempts) == ("http://other.test", 60.0, 5)
    assert SessionsServiceClient(base_url=None).settings.max_retries == 7


def test_the_defaults_are_those_of_the_guide():
    assert SessionsSettings().url == "http://localhost:8001" and MemorySettings().url == "http://localhost:8002"
    settings = MemorySettings()
    assert (settings.timeout, settings.max_retries, settings.retry_delay) == (30.0, 3, 1.0)
    assert settings.client_config().lint() == SessionsSettings().client_config().lint() == []


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"max_retries": 0}, {"retry_delay": "soon"}, {"base_url": "x"}])
def test_a_wrong_setting_is_named(wrong):
    with pytest.raises(ValueError, match="url" if "base_url" in wrong else next(iter(wrong))):
        MemoryServiceClient(**wrong)


def test_settings_and_arguments_do_not_mix():
    with pytest.raises(TypeError, match="settings and timeout cannot be given together"):
        MemoryServiceClient(timeout=3, settings=MemorySettings())
