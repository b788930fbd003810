"""Removes rows that have become old, without keeping anybody from writing for long."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table

    from holdfast.servers.db import Database

__all__ = ["EXPIRED_KEPT", "remove"]

EXPIRED_KEPT = timedelta(days=30)
"""For so long what has expired can still be asked for. Then it is removed."""

AT_ONCE = 500
"""Rows in one transaction."""


async def remove(database: Database, table: Table, old: ColumnElement[bool]) -> int:
    """Removes the rows that fulfil a condition; how many there were.

    They are looked for in transactions that only read: SQLite has one writer at a time.

    Args:
        database: where the table is.
        table: with a primary key `seq`.
        old: looked at again in the transaction that removes, so what has changed meanwhile stays.
    """
    removed = 0
    while True:
        async with database.reading() as connection:
            found = list(await connection.scalars(select(table.c.seq).where(old).limit(AT_ONCE)))
        if not found:
            return removed
        async with database.writing() as connection:
            removed += (await connection.execute(delete(table).where(table.c.seq.in_(found), old))).rowcount
