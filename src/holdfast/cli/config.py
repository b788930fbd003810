"""`holdfast config`: settings from a file or the environment, checked, shown, and described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.exits import EXIT_CODES, Exit, refuse
from holdfast.cli.output import Out
from holdfast.cli.settings import Preset, Problem, SettingsError, from_environment, merged, read_file, validated

if TYPE_CHECKING:
    from holdfast.config import ClientConfig

__all__ = ["app", "lint", "schema", "show"]

_LINTS = """\
[bold]Examples[/bold]
  holdfast config lint billing.toml
  holdfast config lint pyproject.toml --table tool.billing.client --strict
  holdfast config lint --env --prefix BILLING_ --preset production

[bold]A file[/bold] has the fields of ClientConfig:
  base_url = "https://api.example.com"
  deadline = 60.0
  \\[retry]
  max_attempts = 5

"""

_SHOWS = """\
[bold]Examples[/bold]
  holdfast config show billing.toml
  holdfast config show --env --preset production"""

_SCHEMAS = """\
[bold]Examples[/bold]
  holdfast config schema > holdfast.schema.json"""

app = typer.Typer(help="Check and show the settings of a client.", no_args_is_help=True, rich_markup_mode="rich")

_File = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="Settings as TOML or JSON, told apart by .toml and .json.")
]
_Env = Annotated[bool, typer.Option("--env", help="Read environment variables instead of a file.")]
_Prefix = Annotated[str, typer.Option(metavar="PREFIX", help="What the variables' names begin with.")]
_Table = Annotated[
    str | None, typer.Option(metavar="NAME", help="Table of the file that holds the settings, such as tool.billing.")
]
_Base = Annotated[Preset | None, typer.Option(help="Preset that the settings are put on top of.")]
_BaseURL = Annotated[str | None, typer.Option(metavar="URL", help="The base_url, where the program itself gives it.")]


def lint(
    file: _File = None,
    env: _Env = False,
    prefix: _Prefix = "HOLDFAST_",
    table: _Table = None,
    preset: _Base = None,
    base_url: _BaseURL = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 1 if there are warnings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")] = False,
) -> None:
    """Check settings: what cannot be used, and what cannot work as meant.

    Ends with exit code 2 if there are errors, which name file, field and reason. Warnings are about settings that are
    valid one by one but do not go together.
    """
    source = _source(file, env, prefix, table)
    out = Out(error=False)
    problems: list[Problem] = []
    warnings: list[Any] = []
    try:
        warnings = _load(file, prefix, table, preset, base_url).lint()
    except SettingsError as error:
        problems = error.problems
    if as_json:
        report = {
            "source": source,
            "ok": not problems,
            "errors": [{"field": one.field or None, "message": one.message} for one in problems],
            "warnings": [{"code": one.code, "fields": list(one.fields), "message": one.message} for one in warnings],
        }
        out.line(json.dumps(report, indent=2 if out.is_terminal else None))
    else:
        for problem in problems:
            out.line(f"{source}: error: {problem}", "red")
        for warning in warnings:
            out.line(f"{source}: warning: {', '.join(warning.fields)}: {warning}", "yellow")
        if not problems and not warnings:
            out.line(f"{source}: ok", "green")
    if problems:
        raise typer.Exit(Exit.BAD_INPUT)
    if warnings and strict:
        raise typer.Exit(Exit.FAILED)


def show(
    file: _File = None,
    env: _Env = False,
    prefix: _Prefix = "HOLDFAST_",
    table: _Table = None,
    preset: _Base = None,
    base_url: _BaseURL = None,
) -> None:
    """Print all settings as they take effect, defaults included, as JSON. Secrets are masked."""
    source = _source(file, env, prefix, table)
    try:
        config = _load(file, prefix, table, preset, base_url)
    except SettingsError as error:
        for problem in error.problems:
            Out(error=True).line(f"{source}: error: {problem}", "red")
        raise typer.Exit(Exit.BAD_INPUT) from None
    from holdfast.cli.body import write_json

    write_json(json.dumps(_masked(config)), Out(error=False))


def schema() -> None:
    """Print the JSON Schema of the settings, for editors that complete and check files by it."""
    from holdfast.cli.body import write_json
    from holdfast.cli.schema import settings_schema

    write_json(json.dumps(settings_schema()), Out(error=False))


def _source(file: Path | None, env: bool, prefix: str, table: str | None) -> str:
    """What the settings are read from, in words for messages; refuses what contradicts itself."""
    if env:
        if file is not None:
            refuse("give a file or --env, not both")
        if table is not None:
            refuse("belongs to a file", "--table")
        if not prefix:
            refuse("is empty: every variable of the environment would count as a setting", "--prefix")
        return f"environment ({prefix}*)"
    if file is None:
        refuse("give a file, or --env for environment variables", "FILE")
    return str(file)


def _load(
    file: Path | None, prefix: str, table: str | None, preset: Preset | None, base_url: str | None
) -> ClientConfig:
    if file is None:
        return from_environment(prefix, preset, base_url)
    given = read_file(file, "FILE", table)
    if base_url is not None and given.get("base_url") is None:
        given["base_url"] = base_url
    return validated(merged(preset.settings(), given) if preset is not None else given)


def _masked(config: ClientConfig) -> dict[str, Any]:
    """All settings without their secrets, as JSON can hold them."""
    from holdfast.redaction import REDACTED, redact_url

    values = config.model_dump()
    values["headers"] = dict.fromkeys(config.headers, REDACTED)
    if config.proxy is not None:
        values["proxy"] = redact_url(config.proxy)
    if isinstance(config.cert, tuple):
        values["cert"] = [*config.cert[:2], REDACTED][: len(config.cert)]
    # Code, which no file can give.
    del values["retry"]["retry_if"], values["circuit_breaker"]["key"], values["rate_limit"]["key"]
    return values


app.command("lint", epilog=_LINTS + EXIT_CODES)(lint)
app.command("show", epilog=_SHOWS)(show)
app.command("schema", epilog=_SCHEMAS)(schema)
