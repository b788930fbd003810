"""Containment of JSON values, compared with PostgreSQL, whose rules these are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.servers.containment import contains, sql_contains

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
