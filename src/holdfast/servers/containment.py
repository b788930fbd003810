"""Does one JSON value contain another? PostgreSQL's `@>`, for scopes, and the same for SQLite.

The rules are those of PostgreSQL's documentation of jsonb, "jsonb Containment and Existence": an object contains one
with fewer keys, an array one whose elements are each contained in one of its own, everything else itself.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, ColumnElement, Table, func, literal
from sqlalchemy.dialects.postgresql import JSONB

from holdfast.servers.fields import SCOPE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SQL_FUNCTION", "contains", "scope_columns", "scope_conditions", "sql_contains"]

SQL_FUNCTION = "holdfast_json_contains"
"""Name under which `sql_contains` is known to a SQLite connection."""


REMEMBERED_CHARACTERS = 1000
"""Answers about longer JSON texts are not remembered: they would take too much memory."""

NARROWEST_FIRST = ("scope_user_id", "scope_agent_id", "scope_org_id")
"""Columns with an index, the one with the fewest rows per value first."""


def contains(whole: Any, part: Any) -> bool:
    """Whether `whole @> part`."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(one, wanted) for one in whole) for wanted in part)
    # To Python True is 1, to JSON it is not.
    return isinstance(whole, bool) == isinstance(part, bool) and bool(whole == part)


def sql_contains(whole: str, part: str) -> bool:
    """`contains` for JSON texts, as a SQL function."""
    return _remembered(whole, part) if len(whole) + len(part) <= REMEMBERED_CHARACTERS else _sql_contains(whole, part)


def _sql_contains(whole: str, part: str) -> bool:
    return contains(json.loads(whole), _parsed(part))


# Many rows have the same scope. Looking an answer up takes a tenth of the time in which it is found.
_remembered = lru_cache(maxsize=1024)(_sql_contains)


@lru_cache(maxsize=64)
def _parsed(part: str) -> Any:
    # The same for every row of a search. Nobody changes it.
    return json.loads(part)


def scope_columns(scope: Mapping[str, Any]) -> dict[str, str | None]:
    """The values of a scope that have columns of their own, with an index."""
    values = {column: scope.get(key) for key, column in SCOPE_COLUMNS.items()}
    return {column: value if isinstance(value, str) else None for column, value in values.items()}


def scope_conditions(table: Table, scope: Mapping[str, Any], dialect: str) -> list[ColumnElement[bool]]:
    """What a row of a table with a `scope` and its columns must fulfil to contain the scope.

    Args:
        table: with a column `scope` and those of `SCOPE_COLUMNS`.
        scope: what has to be contained; an empty one is contained in every other.
        dialect: SQLAlchemy's name of the database.
    """
    values = scope_columns(scope)
    indexed = [column for column in NARROWEST_FIRST if values[column] is not None]
    conditions: list[ColumnElement[bool]] = [table.c[column] == values[column] for column in indexed]
    if dialect == "sqlite":
        # It uses one index, and does not count rows to find out which is best (https://sqlite.org/lang_corefunc.html#likely).
        conditions[1:] = [func.likely(condition, type_=Boolean) for condition in conditions[1:]]
    others = {key: value for key, value in scope.items() if SCOPE_COLUMNS.get(key) not in indexed}
    if others and dialect == "postgresql":
        conditions.append(table.c.scope.op("@>", is_comparison=True)(literal(others, JSONB)))
    elif others:
        conditions.append(getattr(func, SQL_FUNCTION)(table.c.scope, json.dumps(others)))
    return conditions
