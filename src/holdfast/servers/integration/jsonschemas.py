"""JSON Schemas of actions: whether they can be used, and what violates them.

The dialect is what `$schema` says, else draft 2020-12. `format` is asserted. Nothing is ever fetched. What a check may
cost is bounded: by the size of schemas, by what they make of a value (see `schema_growth.py`), and by the texts and
numbers in the value where a regular expression or `multipleOf` may take more than a moment for each.
"""

from __future__ import annotations

import json
from collections import OrderedDict
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

MOST_CACHED = 128
"""Compiled schemas that are kept."""

MOST_PATTERNS_CACHED = 400
"""Regular expressions in all that are kept. Half a megabyte each, they may be far more than schemas are."""

MOST_TOLD = 20
"""Violations of one value, or problems of one schema, that are told."""

LONGEST_NAME = 200
"""Characters that are told of a name in the path of a violation."""

MOST_WORK = 20_000_000
"""Subschemas applied in one check: about a second, in which the server does nothing else."""

LOCATED_WORK = 20_000
"""Beyond it is only told that a value is invalid, not where: that costs a thousand times as much as finding out."""

BACKTRACKING = 10_000
"""Places at which a regular expression that looks around, or back, is tried. From each it may read all of a text."""

CHARACTERS_PER_UNIT = 25
"""Read by such a one while one subschema is applied."""

_SIZE_LIMIT = 512 * 1024
_LINEAR = jsonschema_rs.RegexOptions(size_limit=_SIZE_LIMIT)
_BACKTRACKING = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKING, size_limit=_SIZE_LIMIT)

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
    """A schema that can be used.

    Attributes:
        backtracks: whether it has regular expressions that take longer than their text is long.
    """

    validator: jsonschema_rs.Validator
    growth: Growth
    backtracks: bool


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
    depth, places, extra = _extent(instance, multiples=compiled.growth.multiples, backtracks=compiled.backtracks)
    deepest = compiled.growth.deepest
    if depth > MAX_DEPTH or (deepest is not None and depth > deepest):
        most = MAX_DEPTH if deepest is None else deepest
        return [Violation((), f"is nested {depth} deep, too deep to be checked under this schema: at most {most}")]
    work = (places + extra) * compiled.growth.at_most(depth)
    if work > MOST_WORK:
        what = "many or too long" if extra > places else "many"
        return [Violation((), f"has {places} values in it, too {what} to be checked under this schema")]
    try:
        if compiled.validator.is_valid(instance):
            return []
        if work > LOCATED_WORK:
            return [Violation((), "is not valid under the schema; it is too large to say where")]
        found = [_told(error) for error in islice(compiled.validator.iter_errors(instance), MOST_TOLD)]
    except ValueError as error:
        return [Violation((), f"cannot be checked: {_line(str(error))}")]
    return found or [Violation((), "is not valid under the schema")]


def _compiled(text: str) -> _Compiled:
    """The schema, compiled now or before.

    Raises:
        _UnusableError: it cannot be.
    """
    found = _cache.pop(text, None) or _compile(text)
    _cache[text] = found
    while len(_cache) > MOST_CACHED or (
        len(_cache) > 1 and sum(one.growth.patterns for one in _cache.values()) > MOST_PATTERNS_CACHED
    ):
        _cache.popitem(last=False)
    return found


_cache: OrderedDict[str, _Compiled] = OrderedDict()


def _compile(text: str) -> _Compiled:
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
        return _Compiled(_validator(schema, _LINEAR), found, backtracks=False)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        if not found.patterns:
            raise _unusable(error) from error
    try:
        return _Compiled(_validator(schema, _BACKTRACKING), found, backtracks=True)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise _unusable(error) from error


def _validator(schema: Any, patterns: Any) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        schema, validate_formats=True, pattern_options=patterns, offline=True, mask="this value"
    )


def _unusable(error: Exception) -> _UnusableError:
    told = _told(error) if isinstance(error, jsonschema_rs.ValidationError) else Violation((), _line(str(error)))
    return _UnusableError([told])


@lru_cache(maxsize=len(_DIALECTS))
def _dialect(uri: str) -> jsonschema_rs.Validator:
    """What schemas of a dialect have to be valid under."""
    mark = "#" if "draft-0" in uri else ""
    return jsonschema_rs.validator_for({"$schema": uri + mark, "$ref": uri + mark}, offline=True)


def _told(error: jsonschema_rs.ValidationError) -> Violation:
    # A name in a value may be as long as the value.
    path = tuple(_shortened(part, LONGEST_NAME) if isinstance(part, str) else part for part in error.instance_path)
    return Violation(path, _line(error.message))


def _line(text: str) -> str:
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return _shortened(line, 300)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _extent(instance: Any, *, multiples: bool, backtracks: bool) -> tuple[int, int, int]:
    """How deep a value is nested, a number being 0 deep, how many values are in it, and what they weigh besides.

    Args:
        instance: the value.
        multiples: whether its numbers are divided.
        backtracks: whether its texts are searched by regular expressions that are slow.
    """
    deepest = places = extra = 0
    waiting = [(instance, 0)]
    while waiting:
        item, depth = waiting.pop()
        places += 1
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            waiting += [(inner, depth + 1) for inner in item.values()]
            extra += sum(map(_searching, item)) if backtracks else 0
        elif isinstance(item, list):
            waiting += [(inner, depth + 1) for inner in item]
        elif isinstance(item, str):
            extra += _searching(item) if backtracks else 0
        elif isinstance(item, int | float):
            extra += _dividing(item) if multiples else 0
    return deepest, places, extra


def _searching(text: str) -> int:
    """What it weighs to search a text from each of its places to its end."""
    return len(text) * min(len(text), BACKTRACKING) // CHARACTERS_PER_UNIT


def _dividing(number: float) -> int:
    """What it weighs to divide a number exactly; as measured."""
    if isinstance(number, int):
        return 100 + (number.bit_length() // 32) ** 2
    return 100 if number == 0 or 1e-30 < abs(number) < 1e30 else 4_000
