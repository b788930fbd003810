"""Prints how long the Memory server takes to list and to search many memories, and whether it finds the right ones.

    python benchmarks/memories.py [--count N] [--seconds S] [--database sqlite|postgresql]

The server is a process of its own, asked over the loopback interface by the typed client. The memories are put into its
database directly; their embeddings are random, which is the hardest case for an order by similarity. PostgreSQL is left
out where it is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.contextiq import MemoryServiceClient
from holdfast.servers.db import Database, database_url
from holdfast.servers.memory.rankers import SqliteVecLoader, choose_ranker
from holdfast.servers.memory.tables import memories
from holdfast.servers.service import Storage
from in_process import quiet
from tests.support.postgres import binaries, postgres
from tests.support.serving import serving
from timing import Times

COUNT = 100_000
KINDS = ("sqlite", "postgresql")
DIMENSIONS = 384
USERS = 100
EXACT = 20
"""Searches that are compared with numpy's."""

AT_A_TIME = 10_000


@dataclass
class Measured:
    """Of one database: seconds per request, and how many of the searches found exactly what numpy did."""

    database: str
    search: str
    count: int
    times: Times
    exact: int
    loading: float

    def p99(self, name: str) -> float:
        return float(np.quantile(self.times.rounds[name], 0.99))


class Vectors:
    """What is in the database, and what is looked for."""

    def __init__(self, count: int) -> None:
        random = np.random.default_rng(7)
        self.all = random.standard_normal((count, DIMENSIONS), dtype=np.float32)
        self.queries = random.standard_normal((1_000, DIMENSIONS), dtype=np.float32)
        self.lengths = np.sqrt(np.einsum("ij,ij->i", self.all, self.all))

    def nearest(self, query: Any) -> list[UUID]:
        """Top ten, in single precision, as fast as numpy can with everything in memory."""
        similarities = self.all @ query / self.lengths
        best = np.argpartition(-similarities, 10)[:10]
        return [_id(number) for number in best[np.argsort(-similarities[best])]]

    def exactly(self, query: Any, user: int | None = None) -> list[UUID]:
        """Top ten of all, or of one user, in double precision."""
        numbers = np.arange(len(self.all)) if user is None else np.arange(user, len(self.all), USERS)
        rows = self.all if user is None else self.all[user::USERS]
        # Single precision is wrong by a millionth at most: what it puts behind a thousand others is not among ten.
        near = np.argsort(-(rows @ query) / self.lengths[numbers])[:1_000]
        exact, wanted = rows[near].astype(np.float64), query.astype(np.float64)
        order = np.argsort(-(exact @ wanted) / np.linalg.norm(exact, axis=1))[:10]
        return [_id(numbers[near[place]]) for place in order]


def _id(number: int) -> UUID:
    return UUID(int=int(number) + 1)


async def load(storage: Storage, vectors: Vectors) -> None:
    """Puts the memories into the database, past everything that looks at each of their values."""
    database = Database(database_url(storage, "memory"), ("idempotency", "memory"))
    await database.open()
    try:
        for start in range(0, len(vectors.all), AT_A_TIME):
            async with database.writing() as connection:
                await _insert(connection, vectors, range(start, min(start + AT_A_TIME, len(vectors.all))))
        # Where PostgreSQL has pgvector, it needs vectors of its own; a server that starts is not waited for so long.
        await choose_ranker(database, SqliteVecLoader())
        if database.dialect == "postgresql":
            # It would do so by itself, within a minute.
            async with database.writing() as connection:
                await connection.execute(text("ANALYZE"))
    finally:
        await database.close()


async def _insert(connection: AsyncConnection, vectors: Vectors, numbers: range) -> None:
    now = datetime.now(UTC)
    same = {
        "topic": "benchmark",
        "embedding_dimensions": DIMENSIONS,
        "confidence": 1.0,
        "importance": 0.5,
        "source_type": "extracted",
        "access_count": 0,
        "revision_count": 0,
        "expires_at": now + timedelta(days=365),
        "created_at": now,
        "updated_at": now,
    }
    dialect = connection.dialect

    def processor(column: str) -> Callable[[Any], Any]:
        """Makes of a value what the database's driver wants."""
        return memories.c[column].type.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value)

    columns = ["id", "fact", "embedding", "scope", "scope_user_id", *same]
    rest = [processor(column)(value) for column, value in same.items()]
    scope, identity = processor("scope"), processor("id")
    users = [(scope({"user_id": user}), user) for user in (f"user-{number}" for number in range(USERS))]
    rows = [
        (identity(_id(number)), f"Fact {number}", vectors.all[number].tobytes(), *users[number % USERS], *rest)
        for number in numbers
    ]
    if dialect.name == "postgresql":
        driver = (await connection.get_raw_connection()).driver_connection
        await driver.copy_records_to_table("memories", records=rows, columns=columns)
    else:
        places = ", ".join("?" * len(columns))
        await connection.exec_driver_sql(f"INSERT INTO memories ({', '.join(columns)}) VALUES ({places})", rows)


@contextmanager
def storages(kinds: tuple[str, ...]) -> Iterator[dict[str, Storage]]:
    """An empty database of each kind that there is."""
    with ExitStack() as stack:
        found = {}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-memories-")))
        if "sqlite" in kinds:
            found["sqlite"] = Storage(folder)
        programs = binaries()
        if "postgresql" in kinds and programs is not None:
            server = stack.enter_context(postgres(programs))
            found["postgresql"] = Storage(folder, server.url)
        yield found


def measure(seconds: float, count: int = COUNT, kinds: tuple[str, ...] = KINDS) -> Iterator[Measured]:
    """Each database in turn, for so many seconds each."""
    quiet()
    vectors = Vectors(count)
    with storages(kinds) as found:
        for name, storage in found.items():
            began = time.perf_counter()
            asyncio.run(load(storage, vectors))
            loading = time.perf_counter() - began
            options = ["--database-url", storage.database_url] if storage.database_url else []
            with (
                serving(storage.data_dir, *options) as server,
                MemoryServiceClient(base_url=f"http://127.0.0.1:{8002 + server.offset}") as client,
            ):
                how = client.health().result().get("search", "?")
                exact = sum(_exact(client, vectors, number) for number in range(EXACT))
                yield Measured(name, how, count, _times(client, vectors, seconds), exact, loading)


def _exact(client: MemoryServiceClient, vectors: Vectors, number: int) -> bool:
    """Whether a search finds what numpy does. Every fifth is among all memories, the others among those of a user."""
    user = None if number % 5 == 0 else number % USERS
    query = vectors.queries[-number - 1]
    scope = None if user is None else {"user_id": f"user-{user}"}
    found = client.search_memories(query.tolist(), scope=scope).result()
    return [UUID(match.memory.id) for match in found] == vectors.exactly(query, user)


def _times(client: MemoryServiceClient, vectors: Vectors, seconds: float) -> Times:
    """In turns; what takes long once in each, the others five times."""

    def search_all(query: Any, _user: str) -> None:
        client.search_memories(query.tolist()).result()

    def search_user(query: Any, user: str) -> None:
        client.search_memories(query.tolist(), scope={"user_id": user}).result()

    def list_user(_query: Any, user: str) -> None:
        client.list_memories(scope_user_id=user, limit=100).result()

    def numpy(query: Any, _user: str) -> None:
        vectors.nearest(query)

    def health(_query: Any, _user: str) -> None:
        client.health().result()

    turns = [search_all, *[search_user, list_user, numpy, health] * 5]
    times = Times()
    asked = 0

    def turn() -> None:
        nonlocal asked
        for run in turns:
            asked += 1
            query, user = vectors.queries[asked % len(vectors.queries)], f"user-{asked % USERS}"
            began = time.perf_counter()
            run(query, user)
            times.add(run.__name__, time.perf_counter() - began)

    turn()
    times.rounds.clear()
    until = time.monotonic() + seconds
    while not times.rounds or time.monotonic() < until:
        turn()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="How long the Memory server takes.")
    parser.add_argument("--count", type=int, default=COUNT, help="memories in the database")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each database")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error("--count must be at least 1")
    kinds = tuple(arguments.database or KINDS)
    for one in measure(arguments.seconds, arguments.count, kinds):
        print(f"{one.count:,} memories in {one.database} (search by {one.search}), loaded in {one.loading:.0f} s")
        for name, what in FIGURES.items():
            median, p99 = one.times.median(name) * 1e3, one.p99(name) * 1e3
            print(f"  {what:<44}{median:9.1f} ms median{p99:9.1f} ms p99 of {len(one.times.rounds[name])}")
        print(f"  {one.exact} of {EXACT} searches found exactly what numpy does, in the same order\n", flush=True)


FIGURES = {
    "list_user": "100 memories of one user, with embeddings",
    "search_user": f"the 10 nearest of one user's (1/{USERS} of all)",
    "search_all": "the 10 nearest of all",
    "numpy": "numpy alone, on a matrix in memory",
    "health": "GET /health, for comparison",
}

SHORT = {
    "list_user": "a user's 100",
    "search_user": "top 10 of a user",
    "search_all": "top 10",
    "numpy": "numpy",
    "health": "/health",
}


if __name__ == "__main__":
    main()
