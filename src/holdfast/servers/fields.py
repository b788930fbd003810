"""Values in requests, and what databases cannot keep of them.

A value that would fail in the database is refused here, with the field's name, instead of becoming a 500.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

__all__ = [
    "AS_IN_JSON",
    "MAX_DEPTH",
    "MAX_OFFSET",
    "SCOPE_COLUMNS",
    "JsonObject",
    "Number",
    "Offset",
    "Scope",
    "ScopeValue",
    "Text",
    "storable_text",
]

MAX_DEPTH = 100
"""How deep JSON values may be nested. Encoders and databases give up at depths of their own, with less to say."""

MAX_OFFSET = 2**31 - 1

SCOPE_COLUMNS = {"user_id": "scope_user_id", "org_id": "scope_org_id", "agent_id": "scope_agent_id"}
"""Keys of a scope that are searched for by an index, and their columns."""

MAX_SCOPE_VALUE = 255
"""Characters of a value that is indexed; PostgreSQL's indexes have no room for long ones."""


def storable_text(value: str) -> str:
    """The same text.

    Raises:
        ValueError: no database can keep it.
    """
    if "\x00" in value:
        raise ValueError("must not contain the character U+0000, which a database cannot keep")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must not contain half of a surrogate pair, which is no character") from error
    return value


def _storable_object(value: dict[str, Any]) -> dict[str, Any]:
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"must not be nested more than {MAX_DEPTH} deep")
        if isinstance(item, dict):
            for key, inner in item.items():
                storable_text(key)
                waiting.append((inner, depth + 1))
        elif isinstance(item, list):
            waiting += [(inner, depth + 1) for inner in item]
        elif isinstance(item, str):
            storable_text(item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("must not contain NaN or Infinity, which are not JSON (RFC 8259, section 6)")
    return value


def _storable_scope(value: dict[str, Any]) -> dict[str, Any]:
    for key in SCOPE_COLUMNS:
        inner = value.get(key)
        if isinstance(inner, str) and len(inner) > MAX_SCOPE_VALUE:
            raise ValueError(f"{key} must not be longer than {MAX_SCOPE_VALUE} characters")
    return _storable_object(value)


def _json_integer(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("must be an integer")  # noqa: TRY004 - pydantic makes a ValidationError of this one only
    return value


AS_IN_JSON = BeforeValidator(_json_integer)
"""Behind an `int`, after its limits: an integer as JSON Schema knows it, 7 and 7.0, but not true or "7"."""

Number = Annotated[float, Strict()]
"""A number, but not true or "7"."""

Text = Annotated[str, AfterValidator(storable_text)]
"""Text that every database can keep."""

JsonObject = Annotated[dict[str, Any], AfterValidator(_storable_object)]
"""A JSON object with anything in it."""

_SCOPE_SCHEMA = {
    "type": "object",
    "description": "Whose it is. A search for a scope finds whatever contains it.",
    "properties": {key: {"maxLength": MAX_SCOPE_VALUE} for key in SCOPE_COLUMNS},
    "additionalProperties": True,
    "examples": [{"user_id": "123"}],
}

Scope = Annotated[dict[str, Any], AfterValidator(_storable_scope), WithJsonSchema(_SCOPE_SCHEMA)]
"""Whose something is, such as `{"user_id": "123"}`."""

ScopeValue = Annotated[
    Annotated[str, Field(min_length=1, max_length=MAX_SCOPE_VALUE), AfterValidator(storable_text)] | None, Query()
]
"""One value of a scope as a query parameter; None where it is not given."""

Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="How many to skip.")]
"""Where a page begins."""
