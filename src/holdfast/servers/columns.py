"""Column types that mean the same in SQLite and in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, DateTime, Integer
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

__all__ = ["Timestamp", "searchable_json", "sequence"]


class Timestamp(TypeDecorator[datetime]):
    """A point in time. Goes in and comes out aware, in UTC.

    SQLite has no such type: there it is text without an offset, which sorts as the times do.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


def sequence() -> TypeEngine[int]:
    """Of a primary key that counts up. In SQLite only `INTEGER` is the row's own number."""
    return BigInteger().with_variant(Integer, "sqlite")


def searchable_json() -> TypeEngine[Any]:
    """JSON that is searched by containment: binary in PostgreSQL. What is only kept is plain `JSON`."""
    return JSON().with_variant(JSONB, "postgresql")
