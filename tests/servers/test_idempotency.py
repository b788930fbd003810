"""Idempotency keys, through a server that keeps them and below it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from fastapi import HTTPException
from pydantic import BaseModel
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from holdfast.servers import removal
from holdfast.servers.contextiq import Settings
from holdfast.servers.crews_and_sessions import create_app
from holdfast.servers.db import Database, database_url
from holdfast.servers.idempotency import REPLAYED_HEADER, Key, execute_once, idempotency_keys, purge
from tests.support.served import Clock, Served, serving_app

NOW = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)
EVENT = {"event_type": "message", "data": {"content": "Hello"}, "input_tokens": 2}


@pytest.fixture
def served(storage) -> Iterator[Served]:
    with serving_app(create_app, storage, Settings()) as served:
        yield served


@pytest.fixture
def events(served) -> str:
    """The path of a new session's events."""
    session = served.ok("POST", "/sessions", {"scope": {"user_id": "1"}, "ttl": 60})["id"]
    return f"/sessions/{session}/events"


def key(value: str, name: str = "Idempotency-Key") -> dict[str, dict[str, str]]:
    return {"headers": {name: value}}


def count(served: Served, events: str) -> int:
    return int(served.ok("GET", events)["total"])


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Request-ID"])
def test_a_repeated_request_is_answered_alike_and_does_nothing(served, events, name):
    first = served("POST", events, EVENT, **key("k", name))
    again = served("POST", events, EVENT, **key("k", name))
    assert (first.status_code, REPLAYED_HEADER in first.headers) == (201, False)
    assert (again.status_code, again.headers[REPLAYED_HEADER]) == (201, "true")
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"] == "application/json"
    assert count(served, events) == 1


def test_the_idempotency_key_goes_before_the_request_id(served, events):
    for headers, total in [
        ({"Idempotency-Key": "a", "X-Request-ID": "1"}, 1),
        ({"Idempotency-Key": "a", "X-Request-ID": "2"}, 1),
        ({"Idempotency-Key": "b", "X-Request-ID": "1"}, 2),
        ({"Idempotency-Key": "", "X-Request-ID": "a"}, 2),
        ({"X-Request-ID": "1"}, 3),
        ({"X-Request-ID": ""}, 4),
        ({"X-Request-ID": ""}, 5),
        ({}, 6),
    ]:
        served.ok("POST", events, EVENT, headers=headers)
        assert count(served, events) == total


def test_the_same_key_with_another_body_or_query_is_refused(served, events):
    first = served("POST", events, EVENT, **key("k"))
    status, (problem,) = served.refused("POST", events, {**EVENT, "input_tokens": 3}, **key("k"))
    assert (status, problem["loc"]) == (422, ["header", "idempotency-key"])
    assert "'k'" in problem["msg"] and events in problem["msg"]
    assert served.refused("POST", f"{events}?x=1", EVENT, **key("k"))[0] == 422
    assert served("POST", events, EVENT, **key("k")).content == first.content
    assert count(served, events) == 1


def test_a_key_belongs_to_one_operation(served, events):
    other = served.ok("POST", "/sessions", {"scope": {}}, **key("k"))["id"]
    served.ok("POST", events, EVENT, **key("k"))
    served.ok("POST", f"/sessions/{other}/events", EVENT, **key("k"))
    served.ok("PUT", f"/sessions/{other}/state", {"state": {"a": 1}}, **key("k"))
    served.ok("PATCH", f"/sessions/{other}/state", {"state": {"a": 2}}, **key("k"))
    assert served.ok("GET", f"/sessions/{other}")["state"] == {"a": 2}
    assert count(served, events) == count(served, f"/sessions/{other}/events") == 1


def test_duplicates_at_the_same_time_get_one_result(served, events):
    answers = served.together(*[served.ask("POST", events, EVENT, **key(f"k{n % 3}")) for n in range(30)])
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 3
    assert sum(REPLAYED_HEADER not in answer.headers for answer in answers) == 3
    session = served.ok("GET", events.removesuffix("/events"))
    assert (session["event_count"], session["total_input_tokens"]) == (3, 6)


def test_a_deletion_that_is_repeated_was_successful(served, events):
    session = events.removesuffix("/events")
    for _ in range(2):
        assert served.ok("DELETE", session, **key("k"))["success"] is True
    assert served.refused("DELETE", session, **key("another"))[0] == 404


def test_what_was_refused_stays_refused(served, events):
    served.clock.advance(seconds=60)
    first = served("POST", events, EVENT, **key("k"))
    served.clock.advance(seconds=-60)
    again = served("POST", events, EVENT, **key("k"))
    assert (first.status_code, again.status_code) == (410, 410)
    assert again.content == first.content
    assert again.headers[REPLAYED_HEADER] == "true"
    assert served.ok("POST", events, EVENT, **key("another"))


def test_a_request_that_was_never_understood_uses_no_key(served, events):
    assert served.refused("POST", events, {}, **key("k"))[0] == 422
    assert served.refused("POST", events, content=b"{", **key("k"))[0] == 422
    assert served.ok("POST", events, EVENT, **key("k"))


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Request-ID"])
def test_a_key_that_is_too_long_is_named(served, events, name):
    assert served.ok("POST", events, EVENT, **key("k" * 255, name))
    status, (problem,) = served.refused("POST", events, EVENT, **key("k" * 256, name))
    assert (status, problem["loc"]) == (422, ["header", name.lower()])


def test_a_search_or_a_look_needs_no_key(served, events):
    for _ in range(2):
        assert REPLAYED_HEADER not in served("GET", events, **key("k", "X-Request-ID")).headers


def test_old_answers_are_forgotten(served, events):
    def purged(hours: float) -> None:
        database = served.app.state.resources.database
        served.run(purge(database, "sessions", served.clock() + timedelta(hours=hours)))

    served.ok("POST", events, EVENT, **key("k"))
    for hours, total in [(23.9, 1), (24.1, 2)]:
        purged(hours)
        served.ok("POST", events, EVENT, **key("k"))
        assert count(served, events) == total


def test_nobody_waits_until_all_old_answers_are_forgotten(storage, monkeypatch):
    async def story(database: Database) -> None:
        for number in range(20):
            await once(database, making("it"), key=str(number))
        left = []
        purging = asyncio.create_task(purge(database, "s", NOW + timedelta(hours=25)))
        while not purging.done():
            async with database.writing() as connection:
                left.append(len((await connection.execute(select(idempotency_keys))).all()))
        await purging
        assert await kept(database) == 0
        assert set(left) - {0, 20}, left

    monkeypatch.setattr(removal, "AT_ONCE", 1)
    in_database(storage, story)


def test_old_answers_are_forgotten_at_the_start(storage):
    clock = Clock()
    for total in (1, 1, 2):
        with serving_app(create_app, storage, Settings(), clock=clock) as served:
            served.ok("POST", "/sessions", {"scope": {}}, **key("k"))
            assert served.ok("GET", "/sessions", params={"active_only": False})["total"] == total
        clock.advance(hours=12.1)


class Done(BaseModel):
    what: str


Work = Callable[[AsyncConnection], Awaitable[Done]]


def in_database(storage: Any, story: Callable[[Database], Awaitable[None]]) -> None:
    async def main() -> None:
        database = Database(database_url(storage, "test"), ["idempotency"])
        await database.open()
        async with database.writing() as connection:
            await connection.execute(text("CREATE TABLE made (what varchar(50))"))
        try:
            await story(database)
        finally:
            await database.close()

    asyncio.run(main())


async def once(database: Database, work: Work, **changed: Any) -> Response:
    fields = {"service": "s", "caller": "c", "operation": "POST /x", "key": "k", "query": b"", "body": b"b", **changed}
    async with database.writing() as connection:
        return await execute_once(connection, Key.of(**fields), NOW, work, 200)


def making(what: str, error: Exception | None = None) -> Work:
    async def work(connection: AsyncConnection) -> Done:
        await connection.execute(text("INSERT INTO made VALUES (:what)"), {"what": what})
        if error:
            raise error
        return Done(what=what)

    return work


async def made(database: Database) -> list[str]:
    async with database.reading() as connection:
        return list(await connection.scalars(text("SELECT what FROM made ORDER BY what")))


async def kept(database: Database) -> int:
    async with database.reading() as connection:
        return len((await connection.execute(select(idempotency_keys))).all())


def test_work_that_refuses_is_undone_and_its_answer_kept(storage):
    async def story(database: Database) -> None:
        error = HTTPException(409, {"reason": "taken"}, headers={"X-Why": "taken"})
        first = await once(database, making("first", error))
        assert (first.status_code, first.body, first.headers["X-Why"]) == (
            409,
            b'{"detail":{"reason":"taken"}}',
            "taken",
        )
        again = await once(database, making("second"))
        assert (again.status_code, again.body) == (409, first.body)
        assert (await made(database), await kept(database)) == ([], 1)

    in_database(storage, story)


@pytest.mark.parametrize(
    "error", [HTTPException(408), HTTPException(429), HTTPException(503), RuntimeError("bug"), asyncio.CancelledError()]
)
def test_work_that_did_not_happen_may_be_tried_again(storage, error):
    async def story(database: Database) -> None:
        with pytest.raises(type(error)):
            await once(database, making("first", error))
        assert (await made(database), await kept(database)) == ([], 0)
        assert (await once(database, making("second"))).status_code == 200
        assert await made(database) == ["second"]

    in_database(storage, story)


@pytest.mark.parametrize("changed", [{"service": "t"}, {"caller": "d"}, {"operation": "PUT /x"}, {"key": "l"}])
def test_nobody_gets_the_answer_to_somebody_else(storage, changed):
    async def story(database: Database) -> None:
        for _ in range(2):
            assert (await once(database, making("first"))).body == b'{"what":"first"}'
            assert (await once(database, making("second"), **changed)).body == b'{"what":"second"}'
        assert await made(database) == ["first", "second"]

    in_database(storage, story)


def test_query_and_body_are_not_mixed_up(storage):
    async def story(database: Database) -> None:
        await once(database, making("first"), query=b"ab", body=b"c")
        with pytest.raises(HTTPException) as caught:
            await once(database, making("second"), query=b"a", body=b"bc")
        assert caught.value.status_code == 422

    in_database(storage, story)


def test_without_a_key_work_is_simply_done(storage):
    async def story(database: Database) -> None:
        for _ in range(2):
            async with database.writing() as connection:
                await execute_once(connection, None, NOW, making("it"), 201)
        assert (await made(database), await kept(database)) == (["it", "it"], 0)

    in_database(storage, story)


def test_two_servers_on_one_database_execute_once(storage):
    async def story(database: Database) -> None:
        other = Database(database_url(storage, "test"), ["idempotency"])
        await other.open()
        servers = [database, other] * 10
        answers = await asyncio.gather(*[once(one, making(str(uuid4()))) for one in servers])
        assert len({bytes(answer.body) for answer in answers}) == 1
        assert len(await made(database)) == 1
        await other.close()

    in_database(storage, story)
