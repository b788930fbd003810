"""kill -9 in the middle of writing: what was acknowledged is there, and nothing is half-done."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.postgres import Postgres
from tests.support.serving import Serving, serving

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

WRITES = 1_000
SIDE_BY_SIDE = 8
SCOPE = {"user_id": "crash"}


def memory(number: int) -> dict[str, Any]:
    return {"scope": SCOPE, "fact": f"fact {number}", "source_type": "test", "embedding": [number, 1.0]}


async def write(server: Serving, numbers: Iterator[int], kill_after: int | None = None) -> dict[int, str]:
    """Memories that were acknowledged, by number. The server is killed in the middle, if it is to be."""
    acknowledged: dict[int, str] = {}
    url = f"http://127.0.0.1:{8002 + server.offset}/api/v1"

    async def writer(client: httpx2.AsyncClient) -> None:
        for number in numbers:
            try:
                answer = await client.post(
                    f"{url}/memories", json=memory(number), headers={"Idempotency-Key": f"write-{number}"}
                )
            except httpx2.TransportError:
                assert kill_after is not None
                return
            assert answer.status_code == 201, answer.text
            acknowledged[number] = answer.json()["id"]
            if len(acknowledged) == kill_after:
                server.process.send_signal(signal.SIGKILL)

    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client, asyncio.TaskGroup() as group:
        for _ in range(SIDE_BY_SIDE):
            group.create_task(writer(client))
    return acknowledged


def killed(server: Serving) -> None:
    server.process.communicate(timeout=10)
    assert server.process.returncode == -signal.SIGKILL


def stored(server: Serving) -> dict[str, str]:
    """Facts by id, as the server lists them."""
    url = f"http://127.0.0.1:{8002 + server.offset}/api/v1/memories"
    with httpx2.Client(trust_env=False) as client:
        page = client.get(url, params={"scope_user_id": SCOPE["user_id"], "limit": 1000}, timeout=60).json()
    assert page["total"] == len(page["memories"])
    assert all(len(one["embedding"]) == 2 for one in page["memories"])
    return {one["id"]: one["fact"] for one in page["memories"]}


@pytest.fixture(params=["sqlite", "postgresql"])
def options(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "sqlite":
        return []
    server: Postgres = request.getfixturevalue("postgres_server")
    return ["--database-url", server.emptied()]


def test_what_was_acknowledged_survives_and_the_rest_can_be_repeated(tmp_path, options):
    numbers = iter(range(WRITES))
    with serving(tmp_path, *options) as server:
        before = asyncio.run(write(server, numbers, kill_after=WRITES // 3))
        killed(server)
    assert WRITES // 3 <= len(before) < WRITES
    with serving(tmp_path, *options) as server:
        found = stored(server)
        assert {number: found.get(one) for number, one in before.items()} == {n: f"fact {n}" for n in before}
        # Besides those, at most what was under way in that moment.
        assert len(found) - len(before) <= SIDE_BY_SIDE
        # Every write once more: those that were done are answered, the others done.
        after = asyncio.run(write(server, iter(range(WRITES))))
        assert {number: after[number] for number in before} == before
        assert set(found) <= set(after.values())
        assert stored(server) == {one: f"fact {number}" for number, one in after.items()}
        assert len(after) == WRITES
    if not options:
        whole(tmp_path / "memory.db")


def whole(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        keys = connection.execute("SELECT count(*), count(status) FROM idempotency_keys").fetchone()
        assert keys == (WRITES, WRITES)


def test_the_server_can_be_killed_over_and_over(tmp_path):
    numbers = itertools.count()
    acknowledged: dict[int, str] = {}
    for _ in range(3):
        with serving(tmp_path) as server:
            acknowledged |= asyncio.run(write(server, numbers, kill_after=20))
            killed(server)
    with serving(tmp_path) as server:
        found = stored(server)
        assert {one: found.get(one) for one in acknowledged.values()} == {
            one: f"fact {number}" for number, one in acknowledged.items()
        }
