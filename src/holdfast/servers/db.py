"""One database of one service: SQLite in a file of its own, or PostgreSQL.

A transaction is either reading, and then sees one state of the database however long it takes, or writing. SQLite has
one writer at a time: writers of this process queue up in order, those of other processes are waited for, both for a
limited time.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from holdfast.servers.containment import SQL_FUNCTION, sql_contains
from holdfast.servers.service import ServerStartError, SettingsError, Storage
from holdfast.servers.sqlite_file import prepare_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sqlalchemy import Connection

__all__ = ["Database", "database_url"]

MIGRATIONS = Path(__file__).parent / "migrations"

POOL_SIZE = 8
"""Connections to one database. Readers beyond wait; writers hold one only while it is their turn."""

POOL_TIMEOUT_SECONDS = 30.0

LOCK_TIMEOUT_SECONDS = 10.0
"""For so long another process's lock is waited for; and, with SQLite, the writers of this one that came before."""

MIGRATION_TIMEOUT_SECONDS = 60.0
"""For so long a server that starts waits for others that start beside it, each of which looks at every migration."""

OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""

MIGRATION_LOCK = 0x686F6C64
"""PostgreSQL's advisory lock held while migrating: servers may start side by side."""

# Alembic works on global state (`alembic.op`), and at every query of a migration another task may get its turn. A lock
# of asyncio would belong to one event loop.
_migrating = threading.Lock()


def database_url(storage: Storage, service: str) -> URL:
    """Where a service keeps its data.

    Raises:
        SettingsError: the URL is not one of PostgreSQL.
    """
    if storage.database_url is None:
        return URL.create("sqlite+aiosqlite", database=str(storage.data_dir / f"{service}.db"))
    try:
        url = make_url(storage.database_url)
    except ArgumentError as error:
        # The text may hold a password, so it is not repeated.
        raise SettingsError("--database-url is no URL; write postgresql://user:password@host:5432/name") from error
    if url.drivername not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise SettingsError(
            f"--database-url: {url.drivername!r} is not supported; write postgresql://user:password@host:5432/name, "
            "or leave it out for SQLite in the data directory"
        )
    # What libpq calls sslmode, asyncpg calls ssl.
    query = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
    return url.set(drivername="postgresql+asyncpg", query=query)


class Database:
    """The database of one service.

    Args:
        url: from `database_url`.
        parts: folders of `migrations/` whose tables it has.
        on_connect: called with each new connection to SQLite (SQLAlchemy's adapted one), to load an extension.

    Attributes:
        dialect: `sqlite` or `postgresql`.
    """

    def __init__(self, url: URL, parts: Sequence[str], *, on_connect: Callable[[Any], None] | None = None) -> None:
        self.dialect = url.get_backend_name()
        self._url = url
        self._parts = tuple(parts)
        self._on_connect = on_connect
        self._engine: AsyncEngine | None = None
        self._turn = asyncio.Lock()

    def __str__(self) -> str:
        if self.dialect == "sqlite":
            return str(self._url.database)
        return self._url.set(drivername=self.dialect).render_as_string(hide_password=True)

    async def open(self) -> None:
        """Connect, and bring the schema up to date.

        Raises:
            ServerStartError: the database cannot be used; nothing stays open.
        """
        if self.dialect == "sqlite" and sqlite3.sqlite_version_info < OLDEST_SQLITE:
            oldest = ".".join(map(str, OLDEST_SQLITE))
            raise ServerStartError(f"SQLite {oldest} or later is needed; this Python has {sqlite3.sqlite_version}")
        self._turn = asyncio.Lock()
        try:
            if self.dialect == "sqlite":
                # aiosqlite cannot fail without a mess.
                await asyncio.to_thread(prepare_file, str(self._url.database), MIGRATION_TIMEOUT_SECONDS)
            self._engine = self._made(MIGRATION_TIMEOUT_SECONDS)
            await self._migrate()
            await self.close()
            self._engine = self._made(LOCK_TIMEOUT_SECONDS)
        except BaseException as error:
            await self.close()
            if isinstance(error, CommandError):
                advice = "it was made by another version of Holdfast, or by hand"
                raise ServerStartError(f"cannot use the database {self}: {_reason(error)}; {advice}") from error
            if isinstance(error, SQLAlchemyError | sqlite3.Error | OSError):
                raise ServerStartError(f"cannot use the database {self}: {_reason(error)}") from error
            raise

    async def close(self) -> None:
        """Close every connection. What is still running on one fails."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database and changes nothing."""
        postgresql = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        async with self._connect() as connected:
            connection = await connected.execution_options(**(postgresql if self.dialect == "postgresql" else {}))
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end of the block, or not at all."""
        if self.dialect == "postgresql":
            async with self._connect() as connection, connection.begin():
                yield connection
        else:
            async with self._its_turn(), self._connect() as connected:
                connection = await connected.execution_options(writing=True)
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def _its_turn(self) -> AsyncIterator[None]:
        # Bounded for each writer: behind another process's lock all of them would wait the sum of their waits.
        try:
            async with asyncio.timeout(LOCK_TIMEOUT_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            message = f"the writers before this one did not end within {LOCK_TIMEOUT_SECONDS:g} s"
            raise PoolTimeoutError(message) from None
        try:
            yield
        finally:
            self._turn.release()

    async def check(self) -> None:
        """Ask the database anything.

        Raises:
            sqlalchemy.exc.SQLAlchemyError | OSError: it does not answer.
        """
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def _migrate(self) -> None:
        while not _migrating.acquire(blocking=False):  # noqa: ASYNC110 - another event loop's release wakes nobody here
            await asyncio.sleep(0.01)
        try:
            async with self.writing() as connection:
                if self.dialect == "postgresql":
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                for part in self._parts:
                    await connection.run_sync(_migrate, part)
        finally:
            _migrating.release()

    def _connect(self) -> AsyncConnection:
        if self._engine is None:
            raise RuntimeError(f"the database {self} is not open")
        return self._engine.connect()

    def _made(self, lock_timeout: float) -> AsyncEngine:
        return self._sqlite(lock_timeout) if self.dialect == "sqlite" else self._postgresql(lock_timeout)

    def _sqlite(self, lock_timeout: float) -> AsyncEngine:
        engine = create_async_engine(
            self._url,
            # sqlite3 begins transactions by rules of its own, and none before DDL: `_begin` does it instead.
            connect_args={"isolation_level": None, "timeout": lock_timeout},
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_SECONDS,
        )
        event.listen(engine.sync_engine, "connect", self._set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin)
        return engine

    def _set_up_sqlite(self, connection: Any, record: object) -> None:
        cursor = connection.cursor()
        # What was acknowledged survives the death of the process. A power cut damages nothing, but may cost the last
        # moments' writes; waiting for the disk at every commit would make each several times as slow.
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()
        connection.create_function(SQL_FUNCTION, 2, sql_contains, deterministic=True)
        if self._on_connect is not None:
            self._on_connect(connection)

    def _postgresql(self, lock_timeout: float) -> AsyncEngine:
        return create_async_engine(
            self._url,
            connect_args={
                "timeout": LOCK_TIMEOUT_SECONDS,
                "server_settings": {
                    "lock_timeout": f"{lock_timeout * 1000:.0f}ms",
                    "timezone": "UTC",
                },
            },
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            pool_pre_ping=True,
        )


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later can fail for good if another one wrote meanwhile.
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _migrate(connection: Connection, part: str) -> None:
    config = Config()
    config.set_main_option("script_location", _literal(MIGRATIONS))
    config.set_main_option("version_locations", _literal(MIGRATIONS / part))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, version_table=f"holdfast_revision_{part}")
    command.upgrade(config, "head")


def _literal(path: Path) -> str:
    return str(path).replace("%", "%%")


def _reason(error: BaseException) -> str:
    """The first line of what the database said; SQLAlchemy adds the statement and a link to its pages."""
    said = str(getattr(error, "orig", None) or error) or type(error).__name__
    return said.splitlines()[0].strip()
