"""Which memories are nearest to a query? Three ways to find out, with the same result.

Every one compares the query with all memories in question: there is no index that is fast because it may miss some.
They compute in single precision, so their order is right up to its rounding; what they return is ranked again.

- `SqliteVec`: by SQLite, where this Python can load extensions and sqlite-vec is installed.
- `Pgvector`: by PostgreSQL, where the extension is installed, or may be installed by the server's user.
- `Scan`: by numpy, on what the database sends. Everywhere else.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from sqlalchemy import LargeBinary, column, exists, func, select, table, text, type_coerce
from sqlalchemy.exc import DBAPIError

from holdfast.servers.memory.tables import memories

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from holdfast.servers.db import Database
    from holdfast.servers.memory.vectors import Vector

__all__ = ["Pgvector", "Ranker", "Scan", "SqliteVec", "SqliteVecLoader", "choose_ranker"]

logger = logging.getLogger(__name__)

SCAN_ROWS = 500
"""Vectors compared at once. With 384 dimensions they fill 768 kB, which stays in the processor's cache, and take a
tenth of a millisecond."""


class Ranker(Protocol):
    """Finds the nearest memories.

    Attributes:
        name: for people.
    """

    name: str

    async def nearest(
        self, connection: AsyncConnection, query: Vector, conditions: Sequence[ColumnElement[bool]], count: int
    ) -> list[int]:
        """The `seq` of the `count` memories nearest to the query among those that fulfil the conditions.

        They all have an embedding with a direction and the query's number of dimensions.
        """
        ...

    async def keep(self, connection: AsyncConnection, seq: int, embedding: Vector | None) -> None:
        """Called when a memory's embedding is new; None where it has none, or one without direction."""
        ...


class Scan:
    """Compares with numpy."""

    name = "numpy"

    async def nearest(
        self, connection: AsyncConnection, query: Vector, conditions: Sequence[ColumnElement[bool]], count: int
    ) -> list[int]:
        vectors = type_coerce(memories.c.embedding, LargeBinary)
        rows = await connection.stream(select(memories.c.seq, vectors).where(*conditions))
        unit = _unit(query)
        numbers = [np.empty(0, np.int64)]
        similarities = [np.empty(0, np.float32)]
        async for part in rows.partitions(SCAN_ROWS):
            matrix = np.frombuffer(b"".join(row[1] for row in part), "<f4").reshape(len(part), len(query))
            numbers.append(np.array([row[0] for row in part], np.int64))
            # Not `matrix @ unit`: that is shared out to threads, which on busy processors wait for each other a hundred
            # times as long as this takes.
            similarities.append(np.vecdot(matrix, unit) / np.sqrt(np.vecdot(matrix, matrix)))
        return _best(np.concatenate(numbers), np.concatenate(similarities), count)

    async def keep(self, connection: AsyncConnection, seq: int, embedding: Vector | None) -> None:
        """The scan reads the memories themselves."""


class SqliteVec:
    """Lets SQLite compare, with sqlite-vec's function for it."""

    name = "sqlite-vec"

    async def nearest(
        self, connection: AsyncConnection, query: Vector, conditions: Sequence[ColumnElement[bool]], count: int
    ) -> list[int]:
        vectors = type_coerce(memories.c.embedding, LargeBinary)
        distance = func.vec_distance_cosine(vectors, _unit(query).tobytes())
        nearest = select(memories.c.seq).where(*conditions).order_by(distance, memories.c.seq).limit(count)
        return list(await connection.scalars(nearest))

    async def keep(self, connection: AsyncConnection, seq: int, embedding: Vector | None) -> None:
        """The function reads the memories themselves."""


class SqliteVecLoader:
    """Loads sqlite-vec into connections: `Database(..., on_connect=loader)`.

    Attributes:
        loaded: whether connections have it.
    """

    def __init__(self) -> None:
        self.loaded = False

    def __call__(self, connection: Any) -> None:
        """Load it, if that can be done, into one of SQLAlchemy's adapted connections."""
        if not hasattr(sqlite3.Connection, "enable_load_extension"):
            return
        try:
            import sqlite_vec  # type: ignore[import-untyped]

            connection.run_async(lambda bare: bare.enable_load_extension(True))
            connection.run_async(lambda bare: bare.load_extension(sqlite_vec.loadable_path()))
            connection.run_async(lambda bare: bare.enable_load_extension(False))
        except (ImportError, sqlite3.Error) as error:
            logger.warning("sqlite-vec cannot be loaded, numpy compares embeddings instead: %s", error)
        else:
            self.loaded = True


class Pgvector:
    """Lets PostgreSQL compare, with the extension pgvector.

    It has a type of its own for vectors, so they are kept a second time, in the table `memory_vectors`. It is no part
    of the migrations: whether the extension is there may change from one start to the next.
    """

    name = "pgvector"

    async def nearest(
        self, connection: AsyncConnection, query: Vector, conditions: Sequence[ColumnElement[bool]], count: int
    ) -> list[int]:
        # The query is read in a SELECT of its own, and so only once. After five searches PostgreSQL makes a plan for
        # any query (its documentation of PREPARE), and would read it for each row, which takes longer than to compare.
        distance = text("memory_vectors.embedding <=> (SELECT CAST(CAST(:query AS real[]) AS vector))").bindparams(
            query=_unit(query).tolist()
        )
        joined = memories.join(_VECTORS, _VECTORS.c.seq == memories.c.seq)
        nearest = select(memories.c.seq).select_from(joined).where(*conditions)
        return list(await connection.scalars(nearest.order_by(distance, memories.c.seq).limit(count)))

    async def keep(self, connection: AsyncConnection, seq: int, embedding: Vector | None) -> None:
        if embedding is None:
            await connection.execute(text("DELETE FROM memory_vectors WHERE seq = :seq"), {"seq": seq})
        else:
            await connection.execute(_KEEP, {"seq": seq, "embedding": embedding.tolist()})

    async def prepare(self, connection: AsyncConnection) -> bool:
        """Make the extension and its table ready; whether that could be done."""
        try:
            async with connection.begin_nested():
                await connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
                await connection.execute(_TABLE)
        except DBAPIError as error:
            logger.info("no pgvector, numpy compares embeddings instead: %s", error.orig)
            return False
        await self._keep_missing(connection)
        return True

    async def _keep_missing(self, connection: AsyncConnection) -> None:
        """Keeps the embeddings of memories that were stored by a server without the extension."""
        there = exists().where(_VECTORS.c.seq == memories.c.seq)
        has_direction = memories.c.embedding_dimensions.is_not(None)
        rows = await connection.stream(select(memories.c.seq, memories.c.embedding).where(has_direction, ~there))
        # There may be very many, so numbers are not encoded one by one, as asyncpg does it.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        schema = await connection.scalar(_SCHEMA)
        await driver.set_type_codec("vector", schema=schema, encoder=_binary, decoder=bytes, format="binary")
        try:
            async for part in rows.partitions(SCAN_ROWS):
                await driver.executemany(_KEEP_MISSING, [tuple(row) for row in part])
        finally:
            await driver.reset_type_codec("vector", schema=schema)


_VECTORS = table("memory_vectors", column("seq"))

_TABLE = text(
    "CREATE TABLE IF NOT EXISTS memory_vectors "
    "(seq bigint PRIMARY KEY REFERENCES memories (seq) ON DELETE CASCADE, embedding vector NOT NULL)"
)

# asyncpg does not know the type, but the one of arrays that pgvector makes vectors of.
_KEEP = text(
    "INSERT INTO memory_vectors (seq, embedding) VALUES (:seq, CAST(CAST(:embedding AS real[]) AS vector)) "
    "ON CONFLICT (seq) DO UPDATE SET embedding = excluded.embedding"
)

# Where another server was faster, its vector is the newer one.
_KEEP_MISSING = "INSERT INTO memory_vectors (seq, embedding) VALUES ($1, $2) ON CONFLICT (seq) DO NOTHING"

_SCHEMA = text(
    "SELECT nspname FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace "
    "WHERE pg_type.oid = CAST('vector' AS regtype)"
)


def _binary(vector: Vector) -> bytes:
    """As pgvector's `vector_recv` reads it: how many numbers, two bytes for later, the numbers."""
    return struct.pack(">HH", len(vector), 0) + vector.astype(">f4").tobytes()


async def choose_ranker(database: Database, loader: SqliteVecLoader) -> Ranker:
    """The best way to search an open database."""
    if database.dialect == "sqlite":
        return SqliteVec() if loader.loaded else Scan()
    pgvector = Pgvector()
    async with database.writing() as connection:
        return pgvector if await pgvector.prepare(connection) else Scan()


def _best(numbers: NDArray[np.int64], similarities: NDArray[np.float32], count: int) -> list[int]:
    """The `count` numbers with the largest similarities, the smaller number first of equals."""
    if len(numbers) > count:
        near = similarities >= np.partition(similarities, -count)[-count]
        numbers, similarities = numbers[near], similarities[near]
    best = np.lexsort((numbers, -similarities))[:count]
    return [int(number) for number in numbers[best]]


def _unit(query: Vector) -> Vector:
    """The query's direction: its length does not matter, and could be too large or too small for single precision."""
    exact = query.astype(np.float64)
    return (exact / np.linalg.norm(exact)).astype("<f4")
