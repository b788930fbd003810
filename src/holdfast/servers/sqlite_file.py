"""The file of an SQLite database, before anything else uses it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

__all__ = ["prepare_file"]

PAUSE_SECONDS = 0.02


def prepare_file(path: str, timeout: float) -> None:
    """Makes the file if it is missing, and lets its readers and a writer not wait for each other.

    Blocks, so under asyncio it belongs into a thread.

    Args:
        path: of the database.
        timeout: seconds for which another process's lock is waited for.

    Raises:
        sqlite3.Error: it cannot be used.
    """
    until = time.monotonic() + timeout
    with closing(sqlite3.connect(path, timeout=timeout)) as connection:
        while True:
            try:
                # Remembered by the file.
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # While another process is about to write in the old mode SQLite fails at once, whatever its timeout.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            else:
                return
            time.sleep(PAUSE_SECONDS)
