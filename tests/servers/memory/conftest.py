"""The Memory server in process, and the ways it can search."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.servers.contextiq import Settings
from holdfast.servers.memory import create_app
from holdfast.servers.memory.rankers import SqliteVecLoader
from holdfast.servers.service import Storage
from tests.support.postgres import Postgres
from tests.support.served import Served, serving_app


@pytest.fixture
def served(storage: Storage) -> Iterator[Served]:
    with serving_app(create_app, storage, Settings()) as served:
        yield served


@pytest.fixture(params=["sqlite-vec", "numpy on sqlite", "pgvector", "numpy on postgresql"])
def searching(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """An empty server with each way of searching."""
    name, _, dialect = request.param.partition(" on ")
    # So that what numpy is given comes in more than one piece.
    monkeypatch.setattr("holdfast.servers.memory.rankers.SCAN_ROWS", 16)
    storage = Storage(tmp_path)
    if name == "sqlite-vec" and not hasattr(sqlite3.Connection, "enable_load_extension"):
        pytest.skip("this Python's sqlite3 cannot load extensions (built without --enable-loadable-sqlite-extensions)")
    if dialect == "sqlite":
        monkeypatch.setattr(SqliteVecLoader, "__call__", lambda self, connection: None)
    if name == "pgvector" or dialect == "postgresql":
        server: Postgres = request.getfixturevalue("postgres_server")
        storage = Storage(tmp_path, server.emptied())
        if name == "pgvector" and not server.has_pgvector:
            pytest.skip("this PostgreSQL has no extension pgvector (apt-get install postgresql-NN-pgvector)")
        if name == "numpy":
            monkeypatch.setattr("holdfast.servers.memory.rankers.Pgvector.prepare", _unprepared)
    with serving_app(create_app, storage, Settings()) as served:
        assert served.ok("GET", "/health")["search"] == name
        yield served


async def _unprepared(self: object, connection: object) -> bool:
    return False
