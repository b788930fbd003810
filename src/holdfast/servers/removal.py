"""Removes rows that have become old, without keeping anybody from writing for long."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Integer, delete, literal_column, select, tuple_

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
        table: with a primary key, of one column or more.
        old: looked at again in the transaction that removes, so what has changed meanwhile stays.
    """
    # SQLite looks through a whole table for a key of several columns that is one of a list.
    columns = [literal_column("rowid", Integer)] if database.dialect == "sqlite" else list(table.primary_key)
    key = columns[0] if len(columns) == 1 else tuple_(*columns)
    removed = 0
    while True:
        async with database.reading() as connection:
            rows = (await connection.execute(select(*columns).where(old).limit(AT_ONCE))).all()
        if not rows:
            return removed
        found = [row[0] if len(columns) == 1 else tuple(row) for row in rows]
        async with database.writing() as connection:
            removed += (await connection.execute(delete(table).where(key.in_(found), old))).rowcount
