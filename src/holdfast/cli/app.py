"""The commands, put together. Each is a function in a module of its own, registered here and nowhere else."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast._version import __version__
from holdfast.cli.demo import demo
from holdfast.cli.serve import serve

__all__ = ["app"]

app = typer.Typer(
    help="Call other people's services and survive them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
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


app.command("serve")(serve)
app.command("demo")(demo)
