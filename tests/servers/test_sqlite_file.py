"""The file of an SQLite database that others use too."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from holdfast.servers.sqlite_file import prepare_file


def mode(path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_it_is_made(tmp_path):
    prepare_file(str(tmp_path / "a.db"), 1)
    assert mode(tmp_path / "a.db") == "wal"


@pytest.mark.parametrize("lock", ["DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
def test_another_that_uses_it_is_waited_for(tmp_path, lock):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE made (n int)")
        other.execute(f"BEGIN {lock}")
        other.execute("SELECT * FROM made").fetchall()
        later = threading.Timer(0.2, other.execute, ["COMMIT"])
        later.start()
        prepare_file(str(path), 60)
        later.join()
    assert mode(path) == "wal"


def test_but_not_for_ever(tmp_path):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            prepare_file(str(path), 0.1)


def test_what_is_no_database_is_told_at_once(tmp_path):
    path = tmp_path / "a.db"
    path.write_text("this is no database" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        prepare_file(str(path), 60)
