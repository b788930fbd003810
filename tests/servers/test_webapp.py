"""What goes wrong around every endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg  # type: ignore[import-untyped]
import pytest

from holdfast.servers import db
from holdfast.servers.contextiq import Settings
from holdfast.servers.crews_and_sessions import create_app
from holdfast.servers.service import Storage
from holdfast.servers.sessions import store
from tests.support.postgres import Postgres
from tests.support.served import Served, serving_app

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
