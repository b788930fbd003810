"""Path templates such as ``/pets/{pet_id}``, whose parameters are quoted."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from string import Formatter
from typing import Any
from urllib.parse import quote
from uuid import UUID

from holdfast.service.sending import BadParameterError


class PathTemplate:
    """A path with parameters in braces, each a whole segment or a part of one.

    Attributes:
        names: of the parameters.

    Raises:
        ValueError: a brace without its partner, a parameter without a name or with a format.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[tuple[str, str | None]] = []
        for literal, name, form, conversion in Formatter().parse(text):
            if name is not None and (not name.isidentifier() or form or conversion):
                raise ValueError(f"{text!r}: {{{name}}} is not the name of a parameter")
            self._parts.append((literal, name))
        self.names = frozenset(name for _, name in self._parts if name is not None)

    def fill(self, values: Mapping[str, Any]) -> str:
        """The path with these values, quoted (RFC 3986, section 2): a slash in a value begins no new segment.

        Raises:
            BadParameterError: an empty value, a dot segment, or one that is neither text, a number, a UUID nor an enum.
        """
        return "".join(
            literal if name is None else literal + _quoted(name, values[name]) for literal, name in self._parts
        )


@lru_cache(maxsize=1024)
def template(text: str) -> PathTemplate:
    """The template for a text, made once."""
    return PathTemplate(text)


def _quoted(name: str, value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool) or not isinstance(value, (str, int, float, UUID)):
        raise BadParameterError(name, f"must be text, a number or a UUID, not {type(value).__name__}")
    text = str(value)
    if not text:
        raise BadParameterError(name, "must not be empty: it stands in a path")
    if text in {".", ".."}:
        raise BadParameterError(name, f"must not be {text!r}: it would lead to another path")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise BadParameterError(name, "contains what cannot be encoded as UTF-8") from None
