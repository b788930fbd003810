"""How rules are written: as JSON (an object or a list of them), or in a short form for people who type.

The short form is that of many HTTP headers (a list of items with parameters, RFC 9110, section 5.6):

    status=503;rate=0.3;count=2
    latency=0.2;up_to=2, reset=body;method=GET
    status=500;detail="Tea; with milk"

The first name is the kind, and its value that of the kind's main field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from holdfast.servers.faults.kinds import KINDS, AnyRule

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["FaultRuleError", "parse_rules"]

_ONE: TypeAdapter[AnyRule] = TypeAdapter(Annotated[AnyRule, Field(discriminator="kind")])
_MANY: TypeAdapter[list[AnyRule]] = TypeAdapter(
    Annotated[list[Annotated[AnyRule, Field(discriminator="kind")]], Field(min_length=1)]
)

# Possessive quantifiers (`*+`): without them a long run of spaces is tried in a quadratic number of ways.
_ITEM = re.compile(
    r'\s*+(?P<name>\w++)\s*+(?:=\s*+(?P<value>"(?:[^"\\]|\\.)*+"|[^;,"]*+)\s*+)?(?P<end>[;,]|\Z)', re.DOTALL
)
_SECONDS = frozenset({"seconds", "up_to", "interval", "retry_after", "from", "for"})
_SHOWN = 40
"""Characters of a wrong value that are shown."""


class FaultRuleError(ValueError):
    """A rule that cannot be used. The text is one line and says what is wrong where.

    Attributes:
        errors: for programs: `loc` (index of the rule, if there are several, and the field), `msg` and `type` of each
            problem.
    """

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        self.errors = [dict(error) for error in errors]
        super().__init__("; ".join(_line(error["loc"], error["msg"]) for error in self.errors))

    def inside(self, *loc: str) -> FaultRuleError:
        """The same error, told of a place around the text that was parsed."""
        return FaultRuleError([{**error, "loc": (*loc, *error["loc"])} for error in self.errors])


def parse_rules(text: str | bytes) -> list[AnyRule]:
    """The rules in a text, in JSON or in the short form; at least one.

    Raises:
        FaultRuleError: the text is no rule, or one that cannot be used.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise _syntax("not UTF-8") from error
    text = text.strip()
    if not text.startswith(("{", "[")):
        return _parse_short(text)
    try:
        return [_ONE.validate_json(text)] if text.startswith("{") else _MANY.validate_json(text)
    except ValidationError as error:
        raise _refused(error, ()) from error


def _parse_short(text: str) -> list[AnyRule]:
    written = _read_items(text)
    rules = []
    for index, fields in enumerate(written):
        try:
            rules.append(_ONE.validate_strings(fields))
        except ValidationError as error:
            raise _refused(error, (index,) if len(written) > 1 else ()) from error
    return rules


def _read_items(text: str) -> list[dict[str, str]]:
    """The fields of each rule, as strings."""
    if not text:
        raise _syntax("empty; write for example status=503;rate=0.1")
    rules: list[dict[str, str]] = [{}]
    at = 0
    while True:
        item = _ITEM.match(text, at)
        if item is None:
            raise _syntax(f"cannot be read from {_shown(text[at:])} on; write for example status=503;rate=0.1")
        name, value, fields = item["name"], item["value"], rules[-1]
        if value is not None:
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value.startswith('"') else value.rstrip()
        if not fields and name != "kind":
            fields["kind"] = name
            name = KINDS[name].main if name in KINDS else ""
        elif value is None:
            raise _syntax("has no value", name)
        if value is not None and name:
            if name in fields:
                raise _syntax("is given twice", name)
            fields[name] = value
        at = item.end()
        if not item["end"]:
            return rules
        if item["end"] == ",":
            rules.append({})


def _syntax(message: str, *loc: str) -> FaultRuleError:
    return FaultRuleError([{"loc": loc, "msg": message, "type": "syntax"}])


def _refused(error: ValidationError, where: tuple[int, ...]) -> FaultRuleError:
    return FaultRuleError([_explained(entry, where) for entry in error.errors()])


def _explained(entry: ErrorDetails, where: tuple[int, ...]) -> dict[str, Any]:
    """What pydantic found, in the words of somebody who wrote a rule and has not read its source."""
    loc, kind = entry["loc"], entry["type"]
    if loc and isinstance(loc[0], int):
        where, loc = (*where, loc[0]), loc[1:]
    # pydantic names the tag of the union before the field; who wrote the rule did not.
    tag, field = (str(loc[0]), loc[1:]) if loc else ("", ())
    given = f", not {_shown(entry['input'])}"
    if kind.startswith("union_tag"):
        field = ("kind",)
        message = "is missing" if kind == "union_tag_not_found" else f"there is no fault {_shown(entry['ctx']['tag'])}"
        message += f"; there are {', '.join(KINDS)}"
    elif kind == "extra_forbidden":
        message = f"{tag} has no such field; it has {', '.join(KINDS[tag].field_names())}"
    elif kind == "missing":
        message = "is required"
    elif kind == "value_error":
        message = entry["msg"].removeprefix("Value error, ")
    elif kind == "json_invalid":
        message = entry["msg"]
    elif kind == "too_short":
        message = "the list has no rule in it"
    elif kind in {"float_parsing", "float_type"} or (kind.startswith("int_") and field[:1] and field[0] in _SECONDS):
        number = "whole number" if kind.startswith("int_") else "number"
        message = f"must be a plain {number}{' of seconds' if field and field[0] in _SECONDS else ''}{given}"
    else:
        message = entry["msg"].replace("Input should be", "must be").replace("Input should", "must") + given
    return {"loc": (*where, *field), "msg": message, "type": kind}


def _line(loc: Sequence[int | str], message: str) -> str:
    places = [f"rule {part + 1}" if isinstance(part, int) else _name(part) for part in loc]
    return ": ".join([*places, message])


def _name(part: str) -> str:
    return part if re.fullmatch(r"[\w-]{1,40}", part, re.ASCII) else _shown(part)


def _shown(value: object) -> str:
    text = ascii(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
