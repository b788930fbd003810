"""A PostgreSQL of our own on a free port, for the time of the tests."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]

PATIENCE = 60.0
FOLDER = "HOLDFAST_TEST_POSTGRES"

# Of dbos's own schema the tables stay: it takes a second to make them.
EMPTY_WORKFLOWS = """
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
              WHERE schemaname = 'holdfast_workflows' AND tablename <> 'dbos_migrations'
  LOOP EXECUTE 'TRUNCATE ' || name || ' CASCADE'; END LOOP;
END $$
"""


def binaries() -> Path | None:
    """The folder with `postgres` and `initdb`: where the environment variable says, Debian's, or what PATH has."""
    if given := os.environ.get(FOLDER):
        return Path(given)
    found = list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return max(found, key=lambda path: float(re.sub(r"[^\d.]", "", path.parent.parent.name) or 0)).parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def has_pgvector(folder: Path) -> bool:
    """Whether this PostgreSQL could have the extension."""
    shared = subprocess.run([folder / "pg_config", "--sharedir"], capture_output=True, text=True, check=True).stdout
    return (Path(shared.strip()) / "extension" / "vector.control").is_file()


class Postgres:
    """A running server with one database, which one test after the other has to itself."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url = f"postgresql://holdfast@127.0.0.1:{port}/postgres"
        self.has_pgvector = has_pgvector(folder)

    def emptied(self) -> str:
        """The URL of the database, with nothing and nobody in it. A new database each time would take seconds."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port <> inet_client_port()")
        self.execute(
            "DROP SCHEMA IF EXISTS holdfast_workflows CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        )
        return self.url

    def execute(self, statement: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.url)
            await connection.execute(statement)
            await connection.close()

        asyncio.run(run())


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Make a cluster, serve it while the block runs, and remove it."""
    # PostgreSQL refuses to run as root, and whoever else runs it must be able to reach its data.
    user = "postgres" if _exists("postgres") else "nobody"
    owner: dict[str, Any] = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    as_user = owner if os.getuid() == 0 else {}
    data = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
    try:
        if as_user:
            shutil.chown(data, user)
        cluster = data / "cluster"
        subprocess.run(
            [
                folder / "initdb",
                "-D",
                cluster,
                "-U",
                "holdfast",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=data,
            **as_user,
        )
        port = _free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            # Nothing in it has to outlive the machine.
            "fsync": "off",
            "max_connections": "100",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (data / "log").open("wb") as log:
            process = subprocess.Popen(
                [folder / "postgres", "-D", cluster, *options], stdout=log, stderr=log, cwd=data, **as_user
            )
        try:
            server = Postgres(port, folder)
            _wait(server, process, data / "log")
            yield server
        finally:
            # Its immediate shutdown: nothing is written that would be thrown away in a moment.
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Postgres, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return server.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError):
            running = process.poll() is None and time.monotonic() < deadline
            assert running, f"PostgreSQL did not start:\n{log.read_text(errors='replace')}"
            time.sleep(0.1)
