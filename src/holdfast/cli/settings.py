"""Settings from files and environment variables, checked, with every problem named by its field."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.exits import refuse

if TYPE_CHECKING:
    from holdfast.config import ClientConfig

__all__ = ["Preset", "Problem", "SettingsError", "from_environment", "merged", "read_file", "validated"]

_PRIVATE = frozenset({"base_url", "cert", "headers", "proxy"})  # messages do not repeat their values


class Preset(Enum):
    """The presets of `ClientConfig`."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"
    HIGH_THROUGHPUT = "high_throughput"

    def settings(self) -> dict[str, Any]:
        """What it sets, without a base URL."""
        from holdfast.presets import PRESETS

        return merged(PRESETS[self.value], {})


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        field: dotted name of the setting, name of the variable, or empty if it is the file as a whole.
        message: what is wrong, on one line.
    """

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class SettingsError(Exception):
    """The settings cannot be used; `problems` says why, one by one."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(map(str, self.problems)))


def read_file(path: Path, where: str, table: str | None = None) -> dict[str, Any]:
    """Reads the settings in a TOML or JSON file, unchecked.

    Args:
        path: ends in .toml or .json.
        where: the option or argument that it was given by.
        table: dotted name of the table that holds them; None for the whole file.

    Raises:
        typer.BadParameter: there is no such file, or it cannot be read.
        SettingsError: it is not well formed, or has no such table.
    """
    kind = path.suffix.lower()
    if kind not in (".toml", ".json"):
        refuse(f"the file {str(path)!r} is neither .toml nor .json", where)
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        refuse(f"cannot read the file {str(path)!r}: {error.strerror}", where)
    except UnicodeDecodeError as error:
        raise SettingsError([Problem("", f"byte {error.start} is not UTF-8")]) from None
    try:
        data: Any = tomllib.loads(text) if kind == ".toml" else json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise SettingsError(
            [Problem("", f"not JSON: {error.msg} (at line {error.lineno}, column {error.colno})")]
        ) from None
    except ValueError as error:
        raise SettingsError([Problem("", f"not {kind[1:].upper()}: {error}")]) from None
    except RecursionError:
        raise SettingsError([Problem("", "is nested too deeply to be settings")]) from None
    for name in table.split(".") if table else ():
        if not isinstance(data, dict) or name not in data:
            raise SettingsError([Problem("", f"has no table {table!r}")])
        data = data[name]
    if not isinstance(data, dict):
        raise SettingsError([Problem("", f"must hold a table of settings, not {_kind(data)}")])
    if isinstance(data.get("cert"), list):
        data["cert"] = tuple(data["cert"])  # neither format has tuples
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is given twice in one object")
        found[name] = value
    return found


def _kind(value: object) -> str:
    return {list: "a list", str: "text", type(None): "null"}.get(type(value), f"{value!r}")


def merged(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `base` with the settings of `above` in front; in tables that both have, name by name."""
    result = {name: merged(value, {}) if isinstance(value, Mapping) else value for name, value in base.items()}
    for name, value in above.items():
        old = result.get(name)
        both = isinstance(value, Mapping) and name != "headers"
        result[name] = merged(old, value) if isinstance(old, Mapping) and both else value
    return result


def validated(data: Mapping[str, Any]) -> ClientConfig:
    """The configuration that these settings give.

    Raises:
        SettingsError: one problem for each field that cannot be used.
    """
    from pydantic import ValidationError

    from holdfast.config import ClientConfig

    try:
        return ClientConfig.model_validate(dict(data))
    except ValidationError as error:
        raise SettingsError(_problems(error.errors(include_url=False))) from None


def _problems(errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """What pydantic found, the branches of a union as one."""
    from holdfast.config import ClientConfig
    from holdfast.environment import variables

    known = {path for path, _ in variables(ClientConfig, "").values()}
    found: dict[str, list[str]] = {}
    for error in errors:
        place = tuple(str(step) for step in error["loc"])
        field = next((place[:end] for end in range(1, len(place)) if place[:end] in known), place)
        if field == ("headers",):
            field = place
        message = _said(error, place, known)
        said = found.setdefault(".".join(field), [])
        if message not in said:
            said.append(message)
    return [Problem(field, _joined(said)) for field, said in found.items()]


def _said(error: Mapping[str, Any], place: tuple[str, ...], known: Iterable[tuple[str, ...]]) -> str:
    if error["type"] == "extra_forbidden":
        siblings = {
            path[len(place) - 1]
            for path in known
            if len(path) >= len(place) and path[:-1][: len(place) - 1] == place[:-1]
        }
        close = difflib.get_close_matches(place[-1], siblings, n=1)
        return "is not a setting" + (f"; did you mean {close[0]}?" if close else "")
    cause = error.get("ctx", {}).get("error")
    if place == ("base_url",) and error.get("input") is None:
        return "is missing; give an absolute URL such as 'https://api.example.com'"
    if cause is not None:
        return str(cause)
    text = str(error["msg"]).replace("Input should be ", "must be ")
    text = re.sub(r"a valid dictionary or instance of \w+", "a table", text)
    value = error.get("input")
    if isinstance(value, (bool, int, float, str)) and place[0] not in _PRIVATE:
        text += f", not {value!r}"
    return text


def _joined(messages: list[str]) -> str:
    """Several of "must be X, not V" as "must be X or Y, not V"."""
    if len(messages) == 1:
        return messages[0]
    parts = [message.removeprefix("must be ").partition(", not ") for message in messages]
    ends = {separator + value for _, separator, value in parts}
    return f"must be {' or '.join(what for what, _, _ in parts)}" + (ends.pop() if len(ends) == 1 else "")


def from_environment(prefix: str, preset: Preset | None, base_url: str | None = None) -> ClientConfig:
    """The configuration that the environment variables with a prefix give, above those of a preset.

    Raises:
        SettingsError: one problem for each variable that cannot be used.
    """
    from holdfast.config import ClientConfig
    from holdfast.environment import variables

    given = {name: text for name, text in os.environ.items() if text.strip()}
    if base_url is not None:
        given.setdefault(f"{prefix}BASE_URL", base_url)
    if preset is not None:
        base = preset.settings()
        for name, (path, _) in variables(ClientConfig, prefix).items():
            value: Any = base
            for step in path:
                value = value.get(step) if isinstance(value, Mapping) else None
            if value is not None:
                given.setdefault(name, str(value))
    try:
        return ClientConfig.from_env(prefix, given)
    except ValueError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise SettingsError(_variable(line) for line in lines) from None


def _variable(line: str) -> Problem:
    name, colon, message = line.partition(": ")
    if not colon:
        name, _, message = line.partition(" ")
    return Problem(name, message)
