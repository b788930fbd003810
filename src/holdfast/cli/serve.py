"""`holdfast serve`: the reference servers in the foreground."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from holdfast.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.servers.app import ServeOptions
    from holdfast.servers.faults import AnyRule

__all__ = ["serve"]

DATABASE_URL = "HOLDFAST_DATABASE_URL"
"""Environment variable for `--database-url`; other users of the machine cannot read it, as they can a command line."""


def serve(
    host: Annotated[
        str, typer.Option(envvar="SERVER_HOST", help="Address or name to listen on.", show_default=True)
    ] = "127.0.0.1",
    data_dir: Annotated[
        Path, typer.Option(file_okay=False, help="Where services keep their data; created if it is missing.")
    ] = Path(".holdfast"),
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar=DATABASE_URL,
            metavar="URL",
            help="A PostgreSQL database that all services use, instead of SQLite files in the data directory.",
            show_default=False,
        ),
    ] = None,
    port_offset: Annotated[int, typer.Option(min=0, max=57_000, help="Added to the port of every service.")] = 0,
    faults: Annotated[
        bool, typer.Option("--faults", help="Let failures be injected: /_faults and the header X-Holdfast-Fault.")
    ] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="RULE",
            help="A failure to inject from the start, such as 'status=503;rate=0.1'; may be repeated; needs --faults.",
        ),
    ] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Restart when the package's sources change.")] = False,
) -> None:
    """Start the reference servers, one port each, and serve until SIGTERM or Ctrl-C."""
    from holdfast.servers.app import ServeOptions, ServerStartError, check_ports
    from holdfast.servers.app import serve as run
    from holdfast.servers.service import SettingsError

    texts = fault or []
    if texts and not faults:
        raise typer.BadParameter("needs --faults", param_hint="--fault")
    rules = _read_rules(texts)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _stop(f"cannot use the data directory {data_dir}: {error.strerror}", Exit.BAD_INPUT)
    options = ServeOptions(host, data_dir, database_url, port_offset=port_offset, faults=faults, rules=rules)
    try:
        if reload:
            check_ports(options)
            _serve_reloading(options, texts)
        else:
            run(options, lambda line: print(line, flush=True))
    except ServerStartError as error:
        _stop(str(error), Exit.BAD_INPUT if isinstance(error, SettingsError) else Exit.FAILED)


def _read_rules(texts: Sequence[str]) -> tuple[AnyRule, ...]:
    from holdfast.servers.faults import FaultRuleError, parse_rules

    rules: list[AnyRule] = []
    for text in texts:
        try:
            rules += parse_rules(text)
        except FaultRuleError as error:
            raise typer.BadParameter(f"{text!r}: {error}", param_hint="--fault") from error
    return tuple(rules)


def _serve_reloading(options: ServeOptions, faults: Sequence[str]) -> None:
    """Run the servers in a child process that is replaced whenever a source file of the package changes."""
    from watchfiles import PythonFilter, run_process

    command = [sys.executable, "-m", "holdfast", "serve", "--host", options.host, "--data-dir", str(options.data_dir)]
    command += ["--port-offset", str(options.port_offset), *(["--faults"] if options.faults else [])]
    command += [part for text in faults for part in ("--fault", text)]
    if options.database_url is not None:
        os.environ[DATABASE_URL] = options.database_url
    package = Path(__file__).resolve().parent.parent
    run_process(
        package,
        target=shlex.join(command),
        target_type="command",
        watch_filter=PythonFilter(),
        callback=lambda changes: print(f"restarting: {', '.join(sorted({path for _, path in changes}))}", flush=True),
    )


def _stop(message: str, code: Exit) -> NoReturn:
    for line in message.splitlines():
        print(f"holdfast serve: {line}", file=sys.stderr)
    raise typer.Exit(code)
