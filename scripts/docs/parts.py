"""The parts of the pages that are made from the code: tables of settings, transitions, events, errors and so on."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

import typer.main

import holdfast
from holdfast import config as settings
from holdfast.cli.app import app
from holdfast.core import events
from holdfast.core.breaker import TRANSITIONS, Trigger
from holdfast.core.replay import TABLE
from holdfast.environment import variables
from holdfast.exceptions import HoldfastError
from holdfast.http.options import RequestOptions
from holdfast.parts import MEBIBYTE, Part
from holdfast.presets import PRESETS
from holdfast.servers.faults.kinds import KINDS
from scripts.docs import tried
from scripts.docs.machines import machines
from scripts.docs.markdown import table


def parts() -> dict[str, Callable[[], str]]:
    """What makes each part, by its name in the pages' markers."""
    made: dict[str, Callable[[], str]] = {
        "replay": _replay,
        "breaker-transitions": _breaker_transitions,
        "presets": _presets,
        "variables": _variables,
        "exceptions": _exceptions,
        "events": _events,
        "options": _options,
        "faults": _faults,
        "redirects": tried.redirects,
        "deadlines": tried.deadlines,
        "refusals": tried.refusals,
    }
    for cls in (
        settings.ClientConfig,
        settings.TimeoutConfig,
        settings.RetryConfig,
        settings.RetryBudgetConfig,
        settings.CircuitBreakerConfig,
        settings.BulkheadConfig,
        settings.RateLimitConfig,
        settings.CacheConfig,
        settings.LoggingConfig,
    ):
        made[f"settings {cls.__name__}"] = lambda cls=cls: _settings(cls)  # type: ignore[misc]
    for name, machine in machines().items():
        made[f"transitions {name}"] = lambda machine=machine: table(  # type: ignore[misc]
            ("from", "what happens", "to"), ((e.old, "; ".join(e.labels), e.new) for e in machine.edges)
        )
    return made


def described(cls: type) -> dict[str, str]:
    """The attributes that a docstring describes, by name."""
    text = inspect.getdoc(cls) or ""
    section = re.search(r"^Attributes:\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (section[1] if section else "").splitlines():
        entry = re.match(r" {4}(\w[\w, ]*): (.*)", line)
        if entry:
            names = [name.strip() for name in entry[1].split(",")]
            found.update(dict.fromkeys(names, entry[2]))
        elif line.strip():
            for name in names:
                found[name] += " " + line.strip()
    return {name: _sentence(said) for name, said in found.items()}


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:] if text[:1].islower() else text
    return text if text.endswith(".") else text + "."


def _value(value: Any) -> str:
    if isinstance(value, Part):
        return f"[`{type(value).__name__}`](budget.md#settings)"
    if value == settings.USER_AGENT:
        return "`holdfast/` and the version"
    if value == 64 * MEBIBYTE:
        return "64 MiB"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value!r}`".replace("'", '"')


def _settings(cls: type[Part]) -> str:
    said = described(cls)
    rows = []
    for name, field in cls.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if name not in said:
            continue  # a part, which has a table of its own
        shown = "required" if name == "base_url" else _value(default)
        rows.append((f"`{name}`", shown, said[name]))
    return table(("setting", "default", "meaning"), rows)


def _replay() -> str:
    again, yes = {True: "again", False: "**no**"}, {True: "yes", False: "no"}
    return table(
        ("failure", "GET HEAD OPTIONS PUT DELETE TRACE", "POST PATCH keyed", "POST PATCH", "may have been executed"),
        (
            (row.label, again[row.idempotent], again[row.keyed], again[row.plain], yes[row.may_have_executed])
            for row in TABLE
        ),
    )


def _breaker_transitions() -> str:
    rows = [(old, trigger.name.lower(), new) for (old, trigger), new in TRANSITIONS.items() if old != new]
    meanings = table(("event", "meaning"), ((trigger.name.lower(), _sentence(trigger.value)) for trigger in Trigger))
    return table(("from", "event", "to"), rows) + "\n\n" + meanings


def _presets() -> str:
    paths: list[tuple[str, str]] = []
    for preset in PRESETS.values():
        for part, values in preset.items():
            paths += [(part, name) for name in values if (part, name) not in paths]
    default = settings.ClientConfig(base_url="https://api.example.com")

    def cell(name: str, part: str, field: str) -> str:
        value = PRESETS[name].get(part, {}).get(field)
        return "" if value is None else _value(value)

    return table(
        ("setting", "default", *PRESETS),
        (
            (
                f"`{part}.{field}`",
                _value(getattr(getattr(default, part), field)),
                *(cell(one, part, field) for one in PRESETS),
            )
            for part, field in sorted(paths)
        ),
    )


def _variables() -> str:
    rows = []
    for name, (path, _) in variables(settings.ClientConfig, "HOLDFAST_").items():
        cls: Any = settings.ClientConfig
        for step in path[:-1]:
            cls = type(cls.model_fields[step].get_default(call_default_factory=True))
        default = cls.model_fields[path[-1]].get_default(call_default_factory=True)
        shown = "required" if path == ("base_url",) else "" if isinstance(default, Part) else _value(default)
        rows.append((f"`{name}`", f"`{'.'.join(path)}`", shown))
    return table(("variable", "setting", "default"), rows)


def _exceptions() -> str:
    lines = []

    def add(cls: type[BaseException], depth: int) -> None:
        says = (inspect.getdoc(cls) or "").splitlines()[0]
        if cls is HoldfastError:
            says = "The base of every error of this package; also called MyAPIError."
        lines.append(f"{'    ' * depth}- [`{cls.__name__}`](reference/exceptions.md): {says}")
        for sub in cls.__subclasses__():
            # Not those that were made of several when errors were raised here, and have the name of one.
            if getattr(holdfast, sub.__name__, None) is sub:
                add(sub, depth + 1)

    add(HoldfastError, 0)
    return "\n".join(lines)


def _events() -> str:
    rows = []
    for cls in vars(events).values():
        if isinstance(cls, type) and issubclass(cls, events.Event) and cls is not events.Event:
            own = [f"`{f.name}`" for f in dataclasses.fields(cls) if f.name not in _COMMON]
            says = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
            rows.append((f"`{cls.__name__}`", ", ".join(own), says))
    return table(("event", "fields of its own", "meaning"), rows)


_COMMON = {field.name for field in dataclasses.fields(events.Event)}


def _options() -> str:
    text = inspect.getdoc(RequestOptions) or ""
    found = re.findall(r"^- `(\w+)`: (.*(?:\n  .*)*)", text, re.MULTILINE)
    return table(
        ("keyword", "meaning"),
        ((f"`{name}`", _sentence(" ".join(said.split()).replace("``", "`"))) for name, said in found),
    )


def _faults() -> str:
    rows = []
    for name, cls in KINDS.items():
        common = {"kind", *_RULE}
        own = [f"`{field}`" for field in cls.model_fields if field not in common]
        says = (inspect.getdoc(cls) or "").split("\n\n")[0]
        rows.append((f"`{name}`", ", ".join(own) or "none", " ".join(says.split())))
    return table(("kind", "fields of its own", "what happens"), rows)


_RULE = {name for cls in KINDS.values() for name in cls.__mro__[1].model_fields}  # type: ignore[attr-defined]


# The command line


def commands() -> str:
    """The commands and their options, as they describe themselves."""
    root = typer.main.get_command(app)
    return "\n\n".join(_command(root, ["holdfast"])) + "\n"


def _command(command: Any, path: list[str]) -> list[str]:
    found: list[str] = []
    if hasattr(command, "commands"):
        for name, sub in command.commands.items():
            if not sub.hidden:
                found += _command(sub, [*path, name])
        return found
    arguments = [_names(one).strip("`") for one in command.params if one.param_type_name == "argument"]
    usage = " ".join([*path, "[OPTIONS]", *arguments])
    found += [f"## `{' '.join(path)}`", f"```text\n{usage}\n```", _plain(command.help or "")]
    panels: dict[str, list[tuple[str, str]]] = {}
    for one in command.params:
        if getattr(one, "hidden", False) or one.name in ("help", "install_completion", "show_completion"):
            continue
        panel = getattr(one, "rich_help_panel", None) or f"{one.param_type_name}s".capitalize()
        panels.setdefault(panel, []).append((_names(one), _plain(getattr(one, "help", None) or "")))
    for panel, rows in panels.items():
        found += [f"**{panel}**", table(("option" if rows[0][0].startswith("`-") else "argument", "meaning"), rows)]
    return found


def _names(parameter: Any) -> str:
    metavar = parameter.metavar or (parameter.name or "").upper()
    if parameter.param_type_name == "argument":
        return f"`{metavar}`"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} `{metavar}`"


def _plain(text: str) -> str:
    text = re.sub(r"\[/?[a-z ]+\]", "", text)  # rich's markup
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))
