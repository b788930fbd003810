"""The commands, put together. Each is a function in a module of its own, registered here and nowhere else."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast._version import __version__
from holdfast.cli import config
from holdfast.cli.demo import demo
from holdfast.cli.exits import EXIT_CODES
from holdfast.cli.request import EXAMPLES as REQUESTS
from holdfast.cli.request import RequestCommand, request
from holdfast.cli.serve import serve

__all__ = ["app"]

_EXAMPLES = """\
[bold]Examples[/bold]
  holdfast request https://api.example.com/users/7
  holdfast serve --faults
  holdfast config lint billing.toml

[bold]Shell completion[/bold]
  holdfast --install-completion              for the shell that it is typed in
  _HOLDFAST_COMPLETE=source_bash holdfast    its script; also _zsh, _fish

"""

_SERVES = """\
[bold]Examples[/bold]
  holdfast serve
  holdfast serve --faults --fault 'status=503;rate=0.1' --port-offset 1000
  SERVER_LOG_LEVEL=DEBUG holdfast serve --reload"""

_DEMOS = """\
[bold]Examples[/bold]
  holdfast demo
  holdfast demo --seconds 15
  holdfast demo --report /tmp/demo.html
  NO_COLOR=1 holdfast demo --no-report > demo.txt"""

app = typer.Typer(
    help="Call other people's services and survive them.",
    epilog=_EXAMPLES + EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


@app.callback()
def holdfast(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """What belongs to no single command."""


app.command("request", cls=RequestCommand, epilog=REQUESTS)(request)
app.command("serve", epilog=_SERVES)(serve)
app.command("demo", epilog=_DEMOS)(demo)
app.add_typer(config.app, name="config")
