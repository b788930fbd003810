"""The clients against stubs of servers as they are in production, without endpoints, or with strange answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from holdfast import APIStatusError, AuthenticationError, NotFoundError, ResponseError, ServerError
from holdfast.contextiq import MemoryServiceClient, ServiceUnavailableError, SessionsServiceClient
from tests.support.colours import Colour, is_a
from tests.support.loopback import HANG_UP, RESET, Answer, Loopback, Seen, answer, json_answer

pytestmark = pytest.mark.loopback

ID = "7f3c9a50-0000-4000-8000-000000000001"
PATH = f"/api/v1/sessions/{ID}"
SESSION = {"id": ID, "scope": {"user_id": "1"}, "state": {"step": 2}, "ttl": 3600}
EVENT = {"id": "e1", "session_id": ID, "event_type": "message", "data": {"text": "Hello"}}
MEMORY = {"id": "m1", "scope": {"user_id": "1"}, "fact": "likes tea"}
THEIR_ID = ("X-Request-ID", "the-servers-own")
NO_SUCH_PATH = json_answer(404, '{"detail": "Not Found"}', THEIR_ID)
NO_SUCH_METHOD = json_answer(405, '{"detail": "Method Not Allowed"}', ("Allow", "PUT"), THEIR_ID)
CRASHED = answer(500, b"Internal Server Error", ("Content-Type", "text/plain; charset=utf-8"))


def ok(body: Any, status: int = 200) -> Answer:
    return json_answer(status, json.dumps(body), THEIR_ID)


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync")
    yield user
    user.close()


def production(request: Seen) -> Answer:
    """The Sessions service as it runs elsewhere: PUT for a state, no /end, no single event, ids of its own."""
    known: dict[tuple[str, str], Answer] = {
        ("POST", "/api/v1/sessions"): ok(SESSION, 201),
        ("GET", PATH): ok(SESSION),
        ("PUT", f"{PATH}/state"): ok({**SESSION, "state": json.loads(request.body or b"{}").get("state")}),
        ("POST", f"{PATH}/events"): ok(EVENT, 201),
        ("GET", f"{PATH}/events"): ok({"events": [EVENT], "total": 1, "limit": 100, "offset": 0}),
        ("DELETE", PATH): ok({"success": True, "message": "Session deleted"}),
    }
    found = known.get((request.method, request.path))
    if found is not None:
        return found
    return NO_SUCH_METHOD if any(path == request.path for _, path in known) else NO_SUCH_PATH


@pytest.fixture
def server() -> Iterator[Loopback]:
    class Production(Loopback):
        def _reply(self, request: Seen) -> Answer:
            return super()._reply(request) if request.path in self.routes else production(request)

    with Production() as running:
        yield running


@pytest.fixture
def sessions(server: Loopback, colour: Colour) -> Iterator[SessionsServiceClient]:
    client = SessionsServiceClient(server.url, retry_delay=0.001, max_retries=2)
    yield client
    colour(client.close())


@pytest.fixture
def memories(server: Loopback, colour: Colour) -> Iterator[MemoryServiceClient]:
    client = MemoryServiceClient(server.url, retry_delay=0.001, max_retries=2)
    yield client
    colour(client.close())


def test_what_a_production_server_has_works(server: Loopback, sessions: SessionsServiceClient, colour: Colour) -> None:
    assert colour(sessions.create_session({"user_id": "1"})).id == ID
    assert colour(sessions.get_session(ID)).state == {"step": 2}
    assert colour(sessions.update_session_state(ID, {"step": 3})).state == {"step": 3}
    assert colour(sessions.create_event(ID, "message", {"text": "Hello"})).data == {"text": "Hello"}
    events = colour(sessions.list_events(ID))
    assert [one.id for one in events] == ["e1"] and events.total == 1
    assert colour(sessions.delete_session(ID)).success
    assert [one.method for one in server.seen] == ["POST", "GET", "PUT", "POST", "GET", "DELETE"]


def test_a_server_that_cannot_end_a_session_says_so(
    server: Loopback, sessions: SessionsServiceClient, colour: Colour
) -> None:
    for call, endpoint in (
        (sessions.end_session(ID), f"POST {PATH}/end"),
        (sessions.get_event(ID, "e1"), f"GET {PATH}/events/e1"),
    ):
        error = colour.error(call, NotFoundError)
        assert "This server has no such endpoint" in str(error) and is_a(error, httpx2.HTTPStatusError)
        assert (error.resource_type, error.resource_id) == ("endpoint", endpoint)
    assert len(server.seen) == 2  # neither is worth another try


def test_a_server_that_takes_other_methods_is_told_of(sessions: SessionsServiceClient, colour: Colour) -> None:
    error = colour.error(sessions.list_sessions("1"), APIStatusError)
    assert error.status_code == 405 and "Method Not Allowed" in str(error)


def test_the_id_that_counts_is_the_one_that_was_sent(
    server: Loopback, sessions: SessionsServiceClient, colour: Colour
) -> None:
    session = colour(sessions.get_session(ID))
    assert session.request_id == server.last.get("X-Request-ID") != "the-servers-own"
    assert session.response_headers["X-Request-ID"] == "the-servers-own"
    error = colour.error(sessions.end_session(ID))
    assert error.request_id == server.last.get("X-Request-ID")


def test_a_crash_without_json(server: Loopback, sessions: SessionsServiceClient, colour: Colour) -> None:
    server.routes[PATH] = CRASHED
    error = colour.error(sessions.get_session(ID), ServerError)
    assert is_a(error, httpx2.HTTPStatusError) and not is_a(error, ServiceUnavailableError)
    assert error.response.text == "Internal Server Error" and len(server.seen) == 2


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (404, "Session not found: x", NotFoundError),
        (410, "Session expired: x", APIStatusError),
        (401, "Authentication required", AuthenticationError),
    ],
)
def test_refusals_with_a_reason(
    server: Loopback, sessions: SessionsServiceClient, colour: Colour, status: int, detail: str, kind: type[Exception]
) -> None:
    server.routes[PATH] = json_answer(status, json.dumps({"detail": detail, "error": "why"}))
    error = colour.error(sessions.get_session(ID), kind)
    assert detail in str(error) and "no such endpoint" not in str(error)
    assert error.status_code == status and len(server.seen) == 1


def test_what_was_lost_on_the_way_is_asked_for_again_and_what_might_be_there_twice_is_not(
    server: Loopback, sessions: SessionsServiceClient, colour: Colour
) -> None:
    server.routes[PATH] = [RESET, ok(SESSION)]
    assert colour(sessions.get_session(ID)).id == ID
    server.routes[f"{PATH}/events"] = [HANG_UP, ok(EVENT, 201)]
    error = colour.error(sessions.create_event(ID, "message", {}), ServiceUnavailableError)
    assert error.may_have_executed and error.attempts == 1


# Answers with more, or less, than they should have


@pytest.mark.parametrize(
    "body",
    [
        {"id": ID, "scope": {}},
        {**SESSION, "title": None, "description": None, "ended_at": None, "state": None, "ttl": None},
        {**SESSION, "started_at": "2026-01-01T00:00:00", "last_activity_at": "2026-01-01T00:00:00+02:00"},
        {**SESSION, "event_count": None, "total_input_tokens": None, "total_output_tokens": None},
        {**SESSION, "shard": 7, "scope": {"user_id": 1, "nested": {"a": [None]}}},
    ],
)
def test_sessions_with_more_or_less(
    server: Loopback, sessions: SessionsServiceClient, colour: Colour, body: dict[str, Any]
) -> None:
    server.routes[PATH] = ok(body)
    session = colour(sessions.get_session(ID))
    assert session.id == ID and session.scope == body["scope"] and session.get("shard") == body.get("shard")
    assert (session.event_count, session.total_input_tokens) == (0, 0)


def test_an_event_that_cost_no_tokens(server: Loopback, sessions: SessionsServiceClient, colour: Colour) -> None:
    server.routes[f"{PATH}/events"] = ok({**EVENT, "input_tokens": None, "output_tokens": None, "timestamp": None}, 201)
    event = colour(sessions.create_event(ID, "message", {}))
    assert (event.input_tokens, event.output_tokens, event.timestamp) == (0, 0, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scope": {}}, "id"),
        ({**SESSION, "scope": "user-1"}, "scope"),
        ({**SESSION, "started_at": "yesterday"}, "started_at"),
        ([SESSION], "the whole"),
        ("gone", "the whole"),
    ],
)
def test_a_session_that_is_none_names_the_field(
    server: Loopback, sessions: SessionsServiceClient, colour: Colour, body: Any, field: str
) -> None:
    server.routes[PATH] = ok(body)
    error = colour.error(sessions.get_session(ID), ResponseError)
    assert f"{field}:" in str(error) and len(server.seen) == 1


@pytest.mark.parametrize("body", [answer(200, b"<html>maintenance</html>"), answer(200), answer(204)])
def test_success_without_a_session(
    server: Loopback, sessions: SessionsServiceClient, colour: Colour, body: Answer
) -> None:
    server.routes[PATH] = body
    colour.error(sessions.get_session(ID), ResponseError)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "page", [{"memories": [MEMORY]}, {"memories": [MEMORY], "total": None}, {"memories": [MEMORY], "total": "1"}]
)
def test_a_list_without_its_total(
    server: Loopback, memories: MemoryServiceClient, colour: Colour, page: dict[str, Any]
) -> None:
    server.routes["/api/v1/memories"] = ok(page)
    found = colour(memories.list_memories("1"))
    assert [one.fact for one in found] == ["likes tea"] and found.total is None


@pytest.mark.parametrize("page", [{}, {"memories": None}, {"memories": {"m1": MEMORY}}, {"memories": [{}]}, []])
def test_a_list_that_is_none(server: Loopback, memories: MemoryServiceClient, colour: Colour, page: Any) -> None:
    server.routes["/api/v1/memories"] = ok(page)
    error = colour.error(memories.list_memories("1"), ResponseError)
    assert "memories" in str(error)


def test_matches_without_what_was_not_asked_for(
    server: Loopback, memories: MemoryServiceClient, colour: Colour
) -> None:
    server.routes["/api/v1/memories/search"] = ok({"results": [{"memory": MEMORY, "similarity_score": 1}]})
    (found,) = colour(memories.search_memories([1.0, 0.0]))
    assert (found.memory.fact, found.memory.embedding, found.similarity_score) == ("likes tea", None, 1.0)
