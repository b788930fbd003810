"""JSON Schemas of actions: whether they can be used, and what violates them.

The dialect is what `$schema` says, else draft 2020-12. `format` is asserted. Nothing is ever fetched. What a check may
cost is bounded: by the size of schemas, by what they make of a value (see `schema_growth.py`), and by the steps that a
regular expression may take.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import jsonschema_rs

from holdfast.servers.fields import MAX_DEPTH
from holdfast.servers.integration.schema_growth import Growth, GrowthError, Path, growth

__all__ = ["MAX_SCHEMA_BYTES", "Violation", "check_schema", "violations"]

MAX_SCHEMA_BYTES = 64 * 1024
"""Of a schema, as JSON without spaces."""

MOST_PATTERNS = 100
"""Regular expressions of a schema. Each compiled one takes memory."""

MOST_TOLD = 20
"""Violations of one value, or problems of one schema, that are told."""

MOST_WORK = 20_000_000
"""Subschemas applied in one check: about a second, in which the server does nothing else."""

LOCATED_WORK = 20_000
"""Beyond it is only told that a value is invalid, not where: that costs a thousand times as much as finding out."""

_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000, size_limit=512 * 1024)

_DIALECTS = {
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-04/schema",
}
_NEWEST = "https://json-schema.org/draft/2020-12/schema"


class Violation(NamedTuple):
    """What is wrong, and where in the value or schema."""

    path: Path
    message: str


class _Compiled(NamedTuple):
    """A schema that can be used."""

    validator: jsonschema_rs.Validator
    growth: Growth


class _UnusableError(Exception):
    """A schema that cannot be used.

    Attributes:
        problems: why not.
    """

    def __init__(self, problems: list[Violation]) -> None:
        super().__init__(problems)
        self.problems = problems


def check_schema(schema: Any) -> list[Violation]:
    """What keeps a schema from being used; nothing if it can be."""
    if not isinstance(schema, dict | bool):
        return [Violation((), "a JSON Schema is an object, or true or false")]
    try:
        text = json.dumps(schema, separators=(",", ":"), allow_nan=False)
        size = len(text.encode())
    except (ValueError, RecursionError) as error:
        return [Violation((), f"cannot be written as JSON: {error}")]
    if size > MAX_SCHEMA_BYTES:
        return [Violation((), f"has {size} bytes, and may have {MAX_SCHEMA_BYTES}")]
    try:
        _compiled(text)
    except _UnusableError as error:
        return error.problems
    return []


def violations(schema: Any, instance: Any) -> list[Violation]:
    """What of a JSON value does not fit a schema, as far as it is told; nothing if the value is valid.

    Args:
        schema: in which `check_schema` finds nothing.
        instance: a JSON value, not nested beyond `MAX_DEPTH`.
    """
    if schema in ({}, True):
        return []
    try:
        compiled = _compiled(json.dumps(schema, separators=(",", ":")))
    except _UnusableError as error:
        # Stored by another version, which had other limits.
        return [Violation((), f"cannot be checked, the schema is not usable: {error.problems[0].message}")]
    depth, places = _extent(instance)
    deepest = compiled.growth.deepest
    if depth > MAX_DEPTH or (deepest is not None and depth > deepest):
        most = MAX_DEPTH if deepest is None else deepest
        return [Violation((), f"is nested {depth} deep, too deep to be checked under this schema: at most {most}")]
    work = places * compiled.growth.at_most(depth)
    if work > MOST_WORK:
        return [Violation((), f"has {places} values in it, too many to be checked under this schema")]
    try:
        if compiled.validator.is_valid(instance):
            return []
        if work > LOCATED_WORK:
            return [Violation((), "is not valid under the schema; it is too large to say where")]
        found = [_told(error) for error in islice(compiled.validator.iter_errors(instance), MOST_TOLD)]
    except ValueError as error:
        return [Violation((), f"cannot be checked: {_line(str(error))}")]
    return found or [Violation((), "is not valid under the schema")]


@lru_cache(maxsize=128)
def _compiled(text: str) -> _Compiled:
    schema = json.loads(text)
    dialect = schema.get("$schema", _NEWEST) if isinstance(schema, dict) else _NEWEST
    if not isinstance(dialect, str) or dialect.rstrip("#") not in _DIALECTS:
        known = ", ".join(sorted(_DIALECTS, reverse=True))
        raise _UnusableError(
            [Violation(("$schema",), f"{dialect!r} is no dialect that is known here; known are {known}")]
        )
    wrong = [_told(error) for error in islice(_dialect(dialect.rstrip("#")).iter_errors(schema), MOST_TOLD)]
    if wrong:
        raise _UnusableError(wrong)
    try:
        found = growth(schema)
    except GrowthError as error:
        raise _UnusableError([Violation(error.path, str(error))]) from error
    if found.patterns > MOST_PATTERNS:
        message = f"has {found.patterns} regular expressions, and may have {MOST_PATTERNS}"
        raise _UnusableError([Violation((), message)])
    try:
        validator = jsonschema_rs.validator_for(
            schema, validate_formats=True, pattern_options=_PATTERNS, offline=True, mask="this value"
        )
    except jsonschema_rs.ValidationError as error:
        raise _UnusableError([_told(error)]) from error
    except ValueError as error:
        raise _UnusableError([Violation((), _line(str(error)))]) from error
    return _Compiled(validator, found)


@lru_cache(maxsize=len(_DIALECTS))
def _dialect(uri: str) -> jsonschema_rs.Validator:
    """What schemas of a dialect have to be valid under."""
    mark = "#" if "draft-0" in uri else ""
    return jsonschema_rs.validator_for({"$schema": uri + mark, "$ref": uri + mark}, offline=True)


def _told(error: jsonschema_rs.ValidationError) -> Violation:
    return Violation(tuple(error.instance_path), _line(error.message))


def _line(text: str) -> str:
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= 300 else line[:299] + "…"


def _extent(instance: Any) -> tuple[int, int]:
    """How deep a value is nested, a number being 0 deep, and how many values are in it."""
    deepest = places = 0
    waiting = [(instance, 0)]
    while waiting:
        item, depth = waiting.pop()
        places += 1
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            waiting += [(inner, depth + 1) for inner in item.values()]
        elif isinstance(item, list):
            waiting += [(inner, depth + 1) for inner in item]
    return deepest, places
