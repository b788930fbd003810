"""Containment of JSON values, compared with PostgreSQL, whose rules these are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from holdfast.servers.containment import REMEMBERED_CHARACTERS, contains, scope_conditions, sql_contains
from holdfast.servers.db import Database, database_url
from holdfast.servers.memory.tables import memories
from holdfast.servers.service import Storage

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, "a", "b", ""])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)


@pytest.mark.parametrize(
    ("whole", "part", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {}, True),
        ({"a": {"b": [1, 2, {"c": 3, "d": 4}]}}, {"a": {"b": [{"c": 3}, 1]}}, True),
        ({"a": [1, 2]}, {"a": [2, 2, 1]}, True),
        ({"a": [1, 2]}, {"a": 1}, False),
        ({"a": {}}, {"a": []}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": None}, {"a": None}, True),
        ({}, {"a": None}, False),
    ],
)
def test_containment(whole, part, expected):
    assert contains(whole, part) is expected
    assert sql_contains(json.dumps(whole), json.dumps(part)) is expected


@pytest.mark.parametrize("length", [1, 2 * REMEMBERED_CHARACTERS])
def test_long_values_are_compared_as_short_ones_are(length):
    whole = json.dumps({"a": "x" * length, "b": True})
    for part, expected in [({"a": "x" * length}, True), ({"a": "x" * length, "b": 1}, False), ({"b": True}, True)]:
        assert [sql_contains(whole, json.dumps(part)) for _ in range(2)] == [expected] * 2


@pytest.mark.parametrize(
    ("scope", "index"),
    [
        ({"org_id": "1"}, "memories_by_org"),
        ({"org_id": "1", "agent_id": "2"}, "memories_by_agent"),
        ({"org_id": "1", "agent_id": "2", "user_id": "3"}, "memories_by_user"),
    ],
)
def test_sqlite_searches_by_the_narrowest_key(tmp_path, scope, index):
    async def plan() -> str:
        database = Database(database_url(Storage(tmp_path), "memory"), ["memory"])
        await database.open()
        try:
            async with database.reading() as connection:
                found = select(memories).where(*scope_conditions(memories, scope, "sqlite"))
                page = found.order_by(memories.c.seq.desc()).limit(100)
                explained = str(page.compile(connection.sync_connection, compile_kwargs={"literal_binds": True}))
                return str((await connection.execute(text(f"EXPLAIN QUERY PLAN {explained}"))).all())
        finally:
            await database.close()

    assert f"USING INDEX {index} " in asyncio.run(plan())


def test_postgresql_agrees(postgres_server):
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(postgres_server.url))

        @given(VALUES, VALUES)
        @settings(suppress_health_check=[HealthCheck.too_slow])
        def check(whole: Any, part: Any) -> None:
            # Inside an object, as scopes are: at the top an array is said to contain its elements themselves.
            documents = [json.dumps({"x": value}) for value in (whole, part)]
            asked = connection.fetchval("SELECT $1::jsonb @> $2::jsonb", *documents)
            assert runner.run(asked) is sql_contains(*documents)

        check()
        runner.run(connection.close())
