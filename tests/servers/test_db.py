"""Databases of the servers: the schema's history, transactions, and what cannot be used."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from holdfast.servers import db, idempotency
from holdfast.servers.codegen import tables as codegen
from holdfast.servers.db import Database, database_url
from holdfast.servers.integration import tables as registry
from holdfast.servers.integration.executions import tables as executions
from holdfast.servers.memory import tables as memory
from holdfast.servers.service import ServerStartError, Storage
from holdfast.servers.sessions import tables as sessions

PARTS = {
    "idempotency": idempotency.metadata,
    "sessions": sessions.metadata,
    "memory": memory.metadata,
    "codegen": codegen.metadata,
    "registry": registry.metadata,
    "executions": executions.metadata,
}

POSTGRESQL_ONLY = {"memories_by_scope"}
"""Indexes with a `ddl_if`, which Alembic's comparison does not look at."""


def database(storage: Storage, *parts: str) -> Database:
    return Database(database_url(storage, "test"), parts or tuple(PARTS))


@pytest.mark.parametrize("part", PARTS)
def test_the_migrations_make_the_tables_that_the_code_uses(storage, part):
    metadata: MetaData = PARTS[part]

    def differences(connection) -> list[object]:
        def ours(name: str | None, kind: str, parents: object) -> bool:
            return kind != "table" or name in metadata.tables

        def here(item: object, name: str, kind: str, *known: object) -> bool:
            return connection.dialect.name == "postgresql" or name not in POSTGRESQL_ONLY

        opts = {"compare_type": True, "include_name": ours, "include_object": here}
        return list(compare_metadata(MigrationContext.configure(connection, opts=opts), metadata))

    async def main() -> None:
        opened = database(storage)
        await opened.open()
        async with opened.reading() as connection:
            assert await connection.run_sync(differences) == []
        await opened.close()

    asyncio.run(main())


def test_what_was_written_is_there_after_opening_again(storage):
    async def main() -> None:
        for expected in (0, 1, 2):
            opened = database(storage, "sessions")
            await opened.open()
            async with opened.writing() as connection:
                found = (await connection.execute(text("SELECT count(*) FROM holdfast_revision_sessions"))).scalar_one()
                assert found == 1
                await connection.execute(text(f"CREATE TABLE made_{expected} (n int)"))
            await opened.close()

    asyncio.run(main())


def test_servers_that_start_side_by_side_do_not_disturb_each_other(storage):
    async def main() -> None:
        all_of_them = [database(storage) for _ in range(4)]
        await asyncio.gather(*[one.open() for one in all_of_them])
        for one in all_of_them:
            await one.check()
            await one.close()

    asyncio.run(main())


def test_one_that_starts_is_patient_with_another_that_migrates(storage, monkeypatch):
    # Less than the other takes, which is what a busy machine makes of ten seconds.
    monkeypatch.setattr(db, "LOCK_TIMEOUT_SECONDS", 0.1)

    async def main() -> None:
        first, second = database(storage), database(storage)
        await first.open()
        async with first.writing() as connection:
            if first.dialect == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": db.MIGRATION_LOCK})
            opening = asyncio.create_task(second.open())
            await asyncio.sleep(0.5)
            assert not opening.done()
        await opening
        await second.check()
        await first.close()
        await second.close()

    asyncio.run(main())


OPEN = """
import asyncio, pathlib, sys
from holdfast.servers.db import Database, database_url
from holdfast.servers.service import Storage

async def main():
    database = Database(database_url(Storage(pathlib.Path(sys.argv[1]), sys.argv[2] or None), "test"), sys.argv[3:])
    print("ready", flush=True)
    sys.stdin.readline()
    await database.open()
    await database.close()

asyncio.run(main())
"""


@pytest.mark.slow
def test_processes_that_start_side_by_side_do_not_disturb_each_other(storage):
    command = [sys.executable, "-c", OPEN, str(storage.data_dir), storage.database_url or "", *PARTS]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, text=True, **pipes)) for _ in range(4)]
        for process in processes:
            assert process.stdout and process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [(process.communicate(timeout=60)[0], process.returncode) for process in processes] == [("", 0)] * 4


def test_a_migration_that_fails_leaves_nothing_behind(storage, tmp_path, monkeypatch):
    migrations = tmp_path / "100% new"
    shutil.copytree(db.MIGRATIONS, migrations)
    monkeypatch.setattr(db, "MIGRATIONS", migrations)
    (migrations / "sessions" / "r0002.py").write_text(
        'revision, down_revision = "0002", "0001"\n\n\n'
        "def upgrade():\n"
        "    from alembic import op\n"
        '    op.execute("CREATE TABLE half_done (n int)")\n'
        '    op.execute("CREATE TABLE sessions (n int)")\n'
    )

    async def main() -> None:
        broken = database(storage, "sessions")
        with pytest.raises(ServerStartError, match=r"sessions.* already exists"):
            await broken.open()
        with pytest.raises(RuntimeError, match="not open"):
            await broken.check()
        (migrations / "sessions" / "r0002.py").unlink()
        mended = database(storage, "sessions")
        await mended.open()
        async with mended.writing() as connection:
            await connection.execute(text("CREATE TABLE half_done (n int)"))
        await mended.close()

    asyncio.run(main())


def test_a_database_of_a_newer_version_is_refused(storage):
    async def main() -> None:
        opened = database(storage, "sessions")
        await opened.open()
        async with opened.writing() as connection:
            await connection.execute(text("UPDATE holdfast_revision_sessions SET version_num = '9999'"))
        await opened.close()
        with pytest.raises(ServerStartError, match=r"'9999'.*another version of Holdfast"):
            await opened.open()

    asyncio.run(main())


def test_what_fails_is_undone_and_what_is_read_stands_still(storage):
    key = {
        "service": "s",
        "caller": "",
        "operation": "o",
        "key": "k",
        "fingerprint": b"",
        "created_at": datetime.now(UTC),
    }
    table = idempotency.idempotency_keys

    async def main() -> None:
        opened = database(storage, "idempotency")
        await opened.open()
        with pytest.raises(ZeroDivisionError):
            async with opened.writing() as connection:
                await connection.execute(insert(table).values(key))
                raise ZeroDivisionError
        async with opened.reading() as reader:
            assert (await reader.execute(select(table))).all() == []
            async with opened.writing() as writer:
                await writer.execute(insert(table).values(key))
            # The writer is through, and the reader sees what it saw.
            assert (await reader.execute(select(table))).all() == []
        async with opened.reading() as reader:
            assert len((await reader.execute(select(table))).all()) == 1
        await opened.close()

    asyncio.run(main())


def test_readers_cannot_write(postgres_server, tmp_path):
    opened = database(Storage(tmp_path, postgres_server.emptied()), "sessions")

    async def main() -> None:
        await opened.open()
        with pytest.raises(Exception, match="read-only transaction"):
            async with opened.reading() as connection:
                await connection.execute(text("DELETE FROM sessions"))
        await opened.close()

    asyncio.run(main())


def test_a_sqlite_file_survives_its_processes(tmp_path):
    opened = database(Storage(tmp_path), "sessions")

    async def main() -> list[tuple[str, object]]:
        await opened.open()
        async with opened.reading() as connection:
            pragmas = ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
            found = [(name, (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()) for name in pragmas]
        await opened.close()
        return found

    wanted = [("journal_mode", "wal"), ("foreign_keys", 1), ("busy_timeout", 10_000), ("synchronous", 1)]
    assert asyncio.run(main()) == wanted
    # Closed properly: everything is in the one file.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.db"]


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, but a letter to a friend" * 100)


def of_somebody_else(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sessions (name text)")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(garbage, "not a database"), (Path.mkdir, "unable to open"), (of_somebody_else, "already exists")],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, spoil, says):
    spoil(tmp_path / "test.db")
    with pytest.raises(ServerStartError) as caught:
        asyncio.run(database(Storage(tmp_path), "sessions").open())
    message = str(caught.value)
    assert str(tmp_path / "test.db") in message and says in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@127.0.0.1:1/name", "postgres://u:secret@no.such.host.invalid/n"]
)
def test_a_server_that_is_not_there_is_named_but_not_the_password(tmp_path, url):
    with pytest.raises(ServerStartError, match=r"cannot use the database postgresql://u:\*\*\*@") as caught:
        asyncio.run(database(Storage(tmp_path, url)).open())
    assert "secret" not in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/n", "sqlite:///x.db", "no url: secret", "", "postgresql+psycopg://h"]
)
def test_other_databases_are_refused(tmp_path, url):
    with pytest.raises(ServerStartError, match="--database-url") as caught:
        database(Storage(tmp_path, url))
    assert "secret" not in str(caught.value) and "postgresql://" in str(caught.value)


def test_the_names_that_libpq_knows_are_understood(tmp_path):
    url = database_url(Storage(tmp_path, "postgres://u:p@h:1/n?sslmode=require"), "test")
    assert url.render_as_string(hide_password=False) == "postgresql+asyncpg://u:p@h:1/n?ssl=require"


def test_an_old_sqlite_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(ServerStartError, match=r"SQLite 3\.35\.0 or later is needed; this Python has 3\.34\.1"):
        asyncio.run(database(Storage(tmp_path)).open())


def test_two_processes_of_sqlite_take_turns(tmp_path):
    async def main() -> None:
        databases = [database(Storage(tmp_path), "sessions") for _ in range(2)]
        for one in databases:
            await one.open()
        async with databases[0].writing() as connection:
            await connection.execute(text("CREATE TABLE counter AS SELECT 0 AS n"))

        async def count(one: Database) -> None:
            async with one.writing() as connection:
                n = (await connection.execute(text("SELECT n FROM counter"))).scalar_one()
                await asyncio.sleep(0.001)
                await connection.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})

        await asyncio.gather(*[count(one) for one in databases * 20])
        async with databases[0].reading() as connection:
            assert (await connection.execute(text("SELECT n FROM counter"))).scalar_one() == 40
        for one in databases:
            await one.close()

    asyncio.run(main())


def test_nobody_waits_for_the_sum_of_what_the_writers_before_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(db, "LOCK_TIMEOUT_SECONDS", 0.2)

    async def write(one: Database) -> None:
        async with one.writing():
            pass

    async def main() -> None:
        one = database(Storage(tmp_path))
        await one.open()
        with closing(sqlite3.connect(tmp_path / "test.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(15):  # in turns they would take 20
                results = await asyncio.gather(*[write(one) for _ in range(100)], return_exceptions=True)
            assert all(isinstance(result, SQLAlchemyError) for result in results), results
            assert "did not end within 0.2 s" in str(results[-1])
        # Who gave up holds nobody up.
        await write(one)
        await one.close()

    asyncio.run(main())
