"""What goes wrong around every endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg  # type: ignore[import-untyped]
import pytest
from sqlalchemy import text

from holdfast.auth import get_internal_token
from holdfast.servers import db, memory, removal
from holdfast.servers.contextiq import Settings
from holdfast.servers.crews_and_sessions import create_app
from holdfast.servers.service import Storage
from holdfast.servers.sessions import store
from tests.support.postgres import Postgres
from tests.support.served import Clock, Served, serving_app

NEW = {"scope": {"user_id": "1"}}
KEY = {"Idempotency-Key": "k"}
UNAVAILABLE = (503, "The database is not available; try again")


@pytest.fixture
def on_postgres(postgres_server: Postgres, tmp_path, monkeypatch) -> Iterator[Served]:
    monkeypatch.setattr(db, "LOCK_TIMEOUT_SECONDS", 1)
    with serving_app(create_app, Storage(tmp_path, postgres_server.emptied()), Settings()) as served:
        yield served


def test_a_lock_that_lasts_too_long_is_a_503_and_may_be_tried_again(on_postgres, postgres_server):
    async def blocked() -> list[object]:
        other = await asyncpg.connect(postgres_server.url)
        async with other.transaction():
            await other.execute("LOCK TABLE sessions")
            answer = await on_postgres.ask("POST", "/sessions", NEW, headers=KEY)
        await other.close()
        return [answer.status_code, answer.json()["detail"], answer.headers["Retry-After"]]

    assert on_postgres.run(blocked()) == [*UNAVAILABLE, "1"]
    assert on_postgres("POST", "/sessions", NEW, headers=KEY).status_code == 201


def test_connections_that_were_cut_are_replaced(on_postgres, postgres_server):
    on_postgres.together(*[on_postgres.ask("GET", "/sessions") for _ in range(8)])
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port <> inet_client_port()"
    postgres_server.execute(cut)
    answers = on_postgres.together(*[on_postgres.ask("GET", "/sessions") for _ in range(8)])
    assert {answer.status_code for answer in answers} == {200}


def test_a_connection_that_is_cut_at_work_is_a_503(on_postgres, postgres_server, monkeypatch):
    async def cut(connection, new, now):
        await asyncio.to_thread(
            postgres_server.execute,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port <> inet_client_port()",
        )
        return await create(connection, new, now)

    create = store.create_session
    monkeypatch.setattr(store, "create_session", cut)
    assert on_postgres.refused("POST", "/sessions", NEW, headers=KEY) == UNAVAILABLE
    monkeypatch.setattr(store, "create_session", create)
    assert on_postgres("POST", "/sessions", NEW, headers=KEY).status_code == 201


def test_a_bug_is_a_500_that_has_done_nothing(storage, monkeypatch):
    async def bug(connection, new, now):
        await create(connection, new, now)
        raise ZeroDivisionError

    create = store.create_session
    monkeypatch.setattr(store, "create_session", bug)
    with serving_app(create_app, storage, Settings()) as served:
        answer = served("POST", "/sessions", NEW, headers=KEY)
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
        assert served.ok("GET", "/sessions")["total"] == 0
        monkeypatch.setattr(store, "create_session", create)
        assert served("POST", "/sessions", NEW, headers=KEY).status_code == 201


def test_what_is_sent_wrong_is_told_without_repeating_it(storage):
    with serving_app(create_app, storage, Settings()) as served:
        secret = "hunter2" * 1000
        answer = served("POST", "/sessions", {"scope": secret, "ttl": "soon"})
        assert answer.status_code == 422
        assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", "scope"], ["body", "ttl"]]
        assert "hunter2" not in answer.text
        for body in (b"{", b"\xff", b"[" * 100_000, b'"\\ud800"', b"7", b"null", b""):
            answer = served("POST", "/sessions", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in {400, 422}, (body[:10], answer.text)
            assert answer.json()["detail"]


async def pieces(size: int):
    for _ in range(size):
        yield b"1"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("make", "path"),
    [(create_app, "/sessions"), (create_app, "/execute_crew"), (memory.create_app, "/memories")],
    ids=["sessions", "crews", "memory"],
)
def test_a_body_that_is_too_large_is_refused(tmp_path, make, path, streamed):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {get_internal_token()}"}
    with serving_app(make, Storage(tmp_path), Settings(max_body_bytes=1000), headers=headers) as served:
        for size, status in [(1000, 422), (1001, 413)]:
            for more in ({}, KEY):
                content = pieces(size) if streamed else b"1" * size
                answer = served("POST", path, content=content, headers=more)
                assert answer.status_code == status
                if status == 413:
                    assert answer.json() == {"detail": "The body has more than 1000 bytes, the limit of this server"}
                    assert answer.headers["Connection"] == "close"
        paths = served.ok("GET", "/openapi.json")["paths"]
        assert "413" in (paths.get(path) or paths[f"/api/v1{path}"])["post"]["responses"]


def test_the_limit_is_a_setting(tmp_path, monkeypatch):
    assert Settings().max_body_bytes == 8 * 1024 * 1024
    monkeypatch.setenv("CONTEXTIQ_MAX_BODY_BYTES", "10")
    assert Settings().max_body_bytes == 10


@pytest.mark.parametrize("kind", ["sessions", "memory"])
def test_what_expired_long_ago_is_removed(storage, kind):
    """At the start, and then every hour."""
    make, path, name = {
        "sessions": (create_app, "/sessions", "session_events"),
        "memory": (memory.create_app, "/memories", "memory_revisions"),
    }[kind]
    clock = Clock()

    def kept(served: Served) -> int:
        query = {"active_only": False} if kind == "sessions" else {"scope_user_id": "1", "include_expired": True}
        return int(served.ok("GET", path, params=query)["total"])

    def dependants(served: Served) -> int:
        async def main() -> int:
            async with served.app.state.resources.database.reading() as connection:
                return int(await connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0)

        return served.run(main())

    with serving_app(make, storage, Settings(), clock=clock) as served:
        made = ""
        for _ in range(3):
            if kind == "sessions":
                made = served.ok("POST", path, {**NEW, "ttl": 3600})["id"]
                served.ok("POST", f"{path}/{made}/events", {"event_type": "message", "data": {}})
            else:
                new = {**NEW, "fact": "f", "source_type": "t", "ttl_days": 1, "embedding": [1, 2]}
                made = served.ok("POST", path, new)["id"]
                served.ok("PATCH", f"{path}/{made}", {"fact": "g"})
        if kind == "sessions":
            served.ok("POST", f"{path}/{made}/end")
    left = 1 if kind == "sessions" else 0
    for days, count in [(30, 3), (1.1, left), (1000, left)]:
        clock.advance(days=days)
        with serving_app(make, storage, Settings(), clock=clock) as served:
            assert (kept(served), dependants(served)) == (count, count)


def test_more_than_can_be_removed_at_once_is_removed(storage, monkeypatch):
    monkeypatch.setattr(removal, "AT_ONCE", 2)
    clock = Clock()
    with serving_app(create_app, storage, Settings(), clock=clock) as served:
        served.together(*[served.ask("POST", "/sessions", {**NEW, "ttl": 1}) for _ in range(5)])
    clock.advance(days=31)
    with serving_app(create_app, storage, Settings(), clock=clock) as served:
        assert served.ok("GET", "/sessions", params={"active_only": False})["total"] == 0
