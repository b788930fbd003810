"""The Sessions server, in process, on every database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from holdfast.servers.contextiq import Settings
from holdfast.servers.crews_and_sessions import create_app
from holdfast.servers.service import Storage
from holdfast.servers.sessions.tables import events
from tests.support.served import Served, serving_app

SESSION_FIELDS = {
    "id",
    "scope",
    "title",
    "description",
    "state",
    "started_at",
    "last_activity_at",
    "ended_at",
    "ttl",
    "event_count",
    "total_input_tokens",
    "total_output_tokens",
}
EVENT_FIELDS = {"id", "session_id", "event_type", "data", "input_tokens", "output_tokens", "timestamp"}
NOW = "2024-02-29T12:00:00.123456Z"


@pytest.fixture
def served(storage: Storage) -> Iterator[Served]:
    with serving_app(create_app, storage, Settings()) as served:
        yield served


def new_session(served: Served, **fields) -> str:
    return str(served.ok("POST", "/sessions", {"scope": {"user_id": "123"}, **fields})["id"])


def new_event(served: Served, session: str, **fields) -> Any:
    event = {"event_type": "message", "data": {"content": "Hello"}, **fields}
    return served.ok("POST", f"/sessions/{session}/events", event)


def ids(page: dict[str, Any], name: str = "sessions") -> list[str]:
    return [one["id"] for one in page[name]]


def test_a_new_session_has_every_field_and_the_default_ttl(served):
    answer = served("POST", "/sessions", {"scope": {"user_id": "123"}})
    session = answer.json()
    assert answer.status_code == 201
    assert session.keys() == SESSION_FIELDS
    assert str(UUID(session["id"])) == session["id"]
    assert (session["scope"], session["state"], session["ttl"]) == ({"user_id": "123"}, {}, 3600)
    assert session["started_at"] == session["last_activity_at"] == NOW
    assert [session[name] for name in ("title", "description", "ended_at")] == [None] * 3
    assert [session[name] for name in ("event_count", "total_input_tokens", "total_output_tokens")] == [0] * 3


def test_a_session_is_kept_as_it_was_given(served):
    given = {
        "scope": {"user_id": "ü", "project": {"deep": [1, 2.5, None, True]}},
        "title": "t" * 500,
        "description": "long " * 1000,
        "state": {"step": 1, "text": "\U0001d518", "nothing": None, "list": [[], {}], "big": 2**70},
        "ttl": 86_400,
    }
    session = served.ok("POST", "/sessions", given)
    kept = served.ok("GET", f"/sessions/{session['id']}")
    assert kept == session
    assert {name: kept[name] for name in given} == given


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"scope": None}, "scope"),
        ({"scope": "123"}, "scope"),
        ({"title": "t" * 501}, "title"),
        ({"title": "nul \x00"}, "title"),
        ({"description": 7}, "description"),
        ({"state": []}, "state"),
        ({"state": {"a": {"b": ["\x00"]}}}, "state"),
        ({"state": {"\x00": 1}}, "state"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": 86_401}, "ttl"),
        ({"ttl": "60"}, "ttl"),
        ({"ttl": True}, "ttl"),
        ({"scope": {"user_id": "u" * 256}}, "scope"),
    ],
)
def test_what_cannot_be_a_session_names_the_field(served, fields, where):
    status, (problem,) = served.refused("POST", "/sessions", {"scope": {}, **fields})
    assert (status, problem["loc"]) == (422, ["body", where])
    assert problem.keys() == {"loc", "msg", "type"}


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", '"\\ud800"', "[" * 120 + "]" * 120])
def test_what_json_can_write_but_not_mean_is_refused(served, value):
    body = f'{{"scope": {{}}, "state": {{"a": {value}}}}}'
    answer = served("POST", "/sessions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "state"]


def test_json_nested_as_deep_as_allowed_is_kept(served):
    state = json.loads('{"a":' * 99 + "1" + "}" * 99)
    session = new_session(served, state=state)
    assert served.ok("GET", f"/sessions/{session}")["state"] == state


def test_there_is_no_such_session(served):
    missing = uuid4()
    asked: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PUT", "/state", {"state": {}}),
        ("POST", "/end", None),
        ("DELETE", "", None),
        ("POST", "/events", {"event_type": "message", "data": {}}),
        ("GET", "/events", None),
        ("GET", f"/events/{uuid4()}", None),
    ]
    for method, path, body in asked:
        assert served.refused(method, f"/sessions/{missing}{path}", body) == (404, f"Session not found: {missing}")
    status, (problem,) = served.refused("GET", "/sessions/123")
    assert (status, problem["loc"]) == (422, ["path", "session_id"])


def test_the_state_is_replaced_or_merged_and_patch_is_put(served):
    session = new_session(served, state={"a": {"x": 1}, "b": 2})
    path = f"/sessions/{session}/state"
    assert served.ok("PUT", path, {"state": {"a": {"y": 2}}, "merge": True})["state"] == {"a": {"y": 2}, "b": 2}
    assert served.ok("PATCH", path, {"state": {"c": 3}, "merge": True})["state"] == {"a": {"y": 2}, "b": 2, "c": 3}
    assert served.ok("PATCH", path, {"state": {"d": 4}})["state"] == {"d": 4}
    assert served.ok("GET", f"/sessions/{session}")["state"] == {"d": 4}


def test_merges_at_the_same_time_lose_nothing(served):
    path = f"/sessions/{new_session(served)}/state"
    answers = served.together(*[served.ask("PUT", path, {"state": {str(n): n}, "merge": True}) for n in range(20)])
    assert {answer.status_code for answer in answers} == {200}
    assert served.ok("PUT", path, {"state": {}, "merge": True})["state"] == {str(n): n for n in range(20)}


def test_events_are_listed_in_order_by_type_and_by_page(served):
    session = new_session(served)
    made = [new_event(served, session, event_type="tool" if n % 3 == 0 else "message", data={"n": n}) for n in range(7)]
    assert all(event.keys() == EVENT_FIELDS and event["session_id"] == session for event in made)
    path = f"/sessions/{session}/events"
    page = served.ok("GET", path)
    assert page == {"events": made, "total": 7, "limit": 100, "offset": 0}
    page = served.ok("GET", path, params={"event_type": "tool", "limit": 2, "offset": 1})
    assert page == {"events": [made[3], made[6]], "total": 3, "limit": 2, "offset": 1}
    assert served.ok("GET", path, params={"offset": 7})["events"] == []
    assert served.ok("GET", f"{path}/{made[2]['id']}") == made[2]
    other = new_session(served)
    for missing in (uuid4(), made[2]["id"]):
        assert served.refused("GET", f"/sessions/{other}/events/{missing}") == (404, f"Event not found: {missing}")


def test_events_and_tokens_are_counted_also_when_they_come_at_the_same_time(served):
    session = new_session(served)
    event = {"event_type": "message", "data": {}, "input_tokens": 3, "output_tokens": 5}
    served.together(*[served.ask("POST", f"/sessions/{session}/events", event) for _ in range(20)])
    new_event(served, session, input_tokens=None)
    kept = served.ok("GET", f"/sessions/{session}")
    assert (kept["event_count"], kept["total_input_tokens"], kept["total_output_tokens"]) == (21, 60, 100)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"event_type": ""}, "event_type"),
        ({"event_type": "e" * 101}, "event_type"),
        ({"data": None}, "data"),
        ({"data": [1]}, "data"),
        ({"input_tokens": -1}, "input_tokens"),
        ({"output_tokens": 2**31}, "output_tokens"),
        ({"output_tokens": 1.5}, "output_tokens"),
    ],
)
def test_what_cannot_be_an_event_names_the_field(served, fields, where):
    event = {"event_type": "message", "data": {}, **fields}
    status, (problem,) = served.refused("POST", f"/sessions/{new_session(served)}/events", event)
    assert (status, problem["loc"]) == (422, ["body", where])


def test_lists_find_every_scope_that_contains_what_is_given(served):
    both = new_session(served, scope={"user_id": "1", "agent_id": "a", "org_id": "o"})
    user = new_session(served, scope={"user_id": "1"})
    agent = new_session(served, scope={"agent_id": "a"})
    new_session(served, scope={"user_id": 1})
    new_session(served, scope={"user_id": ["1"]})

    def found(**params) -> list[str]:
        page = served.ok("GET", "/sessions", params=params)
        assert page["total"] == len(page["sessions"])
        return ids(page)

    assert found(scope_user_id="1") == [user, both]
    assert found(scope_agent_id="a") == [agent, both]
    assert found(scope_org_id="o", scope_user_id="1") == [both]
    assert found(scope_user_id="1", scope_agent_id="b") == []
    assert len(found()) == 5


def test_lists_have_pages(served):
    made = [new_session(served) for _ in range(5)][::-1]
    page = served.ok("GET", "/sessions", params={"limit": 2, "offset": 1})
    assert (ids(page), page["total"], page["limit"], page["offset"]) == (made[1:3], 5, 2, 1)
    for name, value in [("limit", 0), ("limit", 1001), ("offset", -1), ("offset", 2**31), ("scope_user_id", "")]:
        status, (problem,) = served.refused("GET", "/sessions", params={name: value})
        assert (status, problem["loc"]) == (422, ["query", name])
    assert served.refused("GET", "/sessions", params={"scope_user_id": "\x00"})[0] == 422


def test_a_session_expires_by_doing_nothing(served):
    quiet, busy = new_session(served, ttl=60), new_session(served, ttl=60)
    event = new_event(served, quiet)
    served.clock.advance(seconds=59.9)
    new_event(served, busy)
    served.clock.advance(seconds=0.1)
    gone = (410, f"Session expired: {quiet}")
    assert served.refused("GET", f"/sessions/{quiet}") == gone
    assert served.refused("PUT", f"/sessions/{quiet}/state", {"state": {}}) == gone
    assert served.refused("POST", f"/sessions/{quiet}/events", {"event_type": "message", "data": {}}) == gone
    assert served.refused("POST", f"/sessions/{quiet}/end") == gone
    # Asked for, it is still there, and so are its events.
    assert served.ok("GET", f"/sessions/{quiet}", params={"include_expired": True})["id"] == quiet
    assert ids(served.ok("GET", f"/sessions/{quiet}/events"), "events") == [event["id"]]
    assert served.ok("GET", f"/sessions/{quiet}/events/{event['id']}") == event
    assert ids(served.ok("GET", "/sessions")) == [busy]
    assert ids(served.ok("GET", "/sessions", params={"active_only": False})) == [busy, quiet]
    # Every activity puts it off.
    served.clock.advance(seconds=59)
    assert served.ok("GET", f"/sessions/{busy}")["id"] == busy
    assert served.ok("DELETE", f"/sessions/{quiet}")["success"] is True


def test_an_ended_session_stays_as_it_ended(served):
    session = new_session(served, ttl=60)
    served.clock.advance(seconds=5)
    ended = served.ok("POST", f"/sessions/{session}/end")
    assert ended["ended_at"] == "2024-02-29T12:00:05.123456Z"
    served.clock.advance(days=1)
    assert served.ok("POST", f"/sessions/{session}/end") == ended
    assert served.ok("GET", f"/sessions/{session}") == ended
    assert ids(served.ok("GET", "/sessions")) == []
    assert ids(served.ok("GET", "/sessions", params={"active_only": False})) == [session]
    over = (410, f"Session ended: {session}")
    assert served.refused("PATCH", f"/sessions/{session}/state", {"state": {}}) == over
    assert served.refused("POST", f"/sessions/{session}/events", {"event_type": "message", "data": {}}) == over


def test_a_deleted_session_is_gone_with_its_events(served):
    session, other = new_session(served), new_session(served)
    new_event(served, session)
    kept = new_event(served, other)
    answer = served.ok("DELETE", f"/sessions/{session}")
    assert answer == {"success": True, "message": f"Session deleted: {session}"}
    assert served.refused("DELETE", f"/sessions/{session}")[0] == 404
    assert served.refused("GET", f"/sessions/{session}/events")[0] == 404
    assert ids(served.ok("GET", f"/sessions/{other}/events"), "events") == [kept["id"]]

    async def rows() -> int:
        async with served.app.state.resources.database.reading() as connection:
            return len((await connection.execute(select(events))).all())

    assert served.run(rows()) == 1


def test_it_tells_how_it_is(served):
    assert served.ok("GET", "/health").keys() >= {"status", "service", "version", "timestamp"}
    assert served.ok("GET", "/health")["status"] == "healthy"
    assert served.ok("GET", "/health/live") == {"status": "alive"}
    assert served.ok("GET", "/health/ready") == {"status": "ready"}
    assert "/api/v1/sessions/{session_id}/state" in served.ok("GET", "/openapi.json")["paths"]


def test_it_is_not_ready_without_its_database(served):
    database = served.app.state.resources.database
    engine, database._engine = database._engine, Broken()
    try:
        assert served.refused("GET", "/health/ready") == (503, "Not ready: the database does not answer")
        assert served.refused("GET", "/sessions") == (503, "The database is not available; try again")
        assert served.ok("GET", "/health/live") == {"status": "alive"}
    finally:
        database._engine = engine


class Broken:
    """An engine whose database has gone away."""

    def connect(self):
        raise ConnectionRefusedError("the database is down")
