"""Reads a configuration from environment variables whose names follow from its fields.

pydantic-settings is not used: with one underscore between the parts of a name it splits field names that contain one
(`CIRCUIT_BREAKER_...`), and it passes over variables that it does not know.
"""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError

from holdfast.parts import Part

P = TypeVar("P", bound=Part)

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NONE = frozenset({"none", "null"})


class _UnreadableError(Exception):
    """The text does not stand for a value of the field."""


def read(cls: type[P], prefix: str, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> P:
    """Builds a `cls` from the variables of `environ` that begin with `prefix`; `overrides` win.

    Raises:
        ValueError: lists every variable that is unknown, of the wrong type or refused by the configuration.
    """
    known = variables(cls, prefix)
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name in sorted(environ):
        text = environ[name].strip()
        if not name.startswith(prefix) or not text:
            continue
        if name not in known:
            problems.append(_unknown(name, prefix, known))
            continue
        path, annotation = known[name]
        try:
            _put(values, path, _parse(text, annotation), prefix)
        except _UnreadableError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ValueError(_message(problems))
    try:
        return cls.model_validate(_merge(values, overrides))
    except ValidationError as error:
        refused = [_refused(item, overrides, known) for item in error.errors(include_input=False)]
        raise ValueError(_message(refused)) from None


def variables(cls: type[Part], prefix: str) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Returns every variable name with the path of its field and the field's type."""
    return {_variable(prefix, path): (path, annotation) for path, annotation in _leaves(cls, ())}


def _leaves(cls: type[Part], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, field in cls.model_fields.items():
        options = _options(field.annotation)
        parts = [option for option in options if isinstance(option, type) and issubclass(option, Part)]
        for part in parts:
            yield from _leaves(part, (*path, name))
        if not parts or type(None) in options:
            yield (*path, name), field.annotation


def _options(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, without `Annotated`."""
    origin = get_origin(annotation)
    if origin is Union or origin is types.UnionType:
        return tuple(option for member in get_args(annotation) for option in _options(member))
    return _options(annotation.__origin__) if hasattr(annotation, "__metadata__") else (annotation,)


def _parse(text: str, annotation: Any) -> Any:
    """Reads `text` as the first of the field's types that it fits; messages repeat it only where it is no secret."""
    options = _options(annotation)
    word = text.lower()
    if type(None) in options and word in _NONE:
        return None
    if bool in options and word in _TRUE | _FALSE:
        return word in _TRUE
    words = [choice for option in options if get_origin(option) is Literal for choice in get_args(option)]
    for choice in words:
        if word == choice.lower():
            return choice
    for kind, number in ((int, "a whole number"), (float, "a number")):
        if kind in options:
            try:
                return kind(text)
            except ValueError:
                raise _UnreadableError(f"{text!r} is not {number}{_or_none(options)}") from None
    if text[0] in "[{" and any(get_origin(option) in (dict, tuple) for option in options):
        return _json(text)
    if str in options:
        return text
    raise _UnreadableError(_expected(text, options, words))


def _json(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        raise _UnreadableError("is not valid JSON") from None
    return tuple(value) if isinstance(value, list) else value


def _expected(text: str, options: tuple[Any, ...], words: list[str]) -> str:
    if any(get_origin(option) is dict for option in options):
        return "is not a JSON object"
    choices = (["true", "false"] if bool in options else []) + words
    if choices:
        return f"{text!r} is not one of {', '.join(choices)}"
    if type(None) in options and any(isinstance(option, type) and issubclass(option, Part) for option in options):
        return "can only be none; its parts have variables of their own"
    return "cannot be set by an environment variable, it takes Python code"


def _or_none(options: tuple[Any, ...]) -> str:
    return ", nor none" if type(None) in options else ""


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any, prefix: str) -> None:
    for depth, name in enumerate(path[:-1], start=1):
        values = values.setdefault(name, {})
        if values is None:
            raise _UnreadableError(f"contradicts {_variable(prefix, path[:depth])}, which is none")
    values[path[-1]] = value


def _variable(prefix: str, path: tuple[str, ...]) -> str:
    return prefix + "_".join(path).upper()


def _merge(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, value in overrides.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _unknown(name: str, prefix: str, known: Mapping[str, Any]) -> str:
    settings = {other.removeprefix(prefix): other for other in known}
    close = difflib.get_close_matches(name.removeprefix(prefix), settings, n=1)
    return f"{name} is not a setting" + (f"; did you mean {settings[close[0]]}?" if close else "")


def _refused(error: Mapping[str, Any], overrides: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """One error of pydantic's, with the variable in front unless an override was refused."""
    place = tuple(str(step) for step in error["loc"])
    cause = error.get("ctx", {}).get("error") or error["msg"]
    if not _overridden(place, overrides):
        for name, (path, _) in known.items():
            if place[: len(path)] == path:
                return f"{name}: {cause}"
    return f"{'.'.join(place)}: {cause}"


def _overridden(place: tuple[str, ...], overrides: Any) -> bool:
    for step in place:
        if not isinstance(overrides, Mapping):
            return True
        if step not in overrides:
            return False
        overrides = overrides[step]
    return True


def _message(problems: list[str]) -> str:
    return "the configuration cannot be read from the environment:" + "".join(f"\n  {problem}" for problem in problems)
