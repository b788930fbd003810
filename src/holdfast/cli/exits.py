"""The exit codes of all commands. They are part of the interface: scripts rely on them."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

import typer

__all__ = ["EXIT_CODES", "Exit", "refuse"]


class Exit(IntEnum):
    """What the shell sees as ``$?``."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    NO_ANSWER = 3
    DEADLINE = 4
    INTERRUPTED = 130  # 128 + SIGINT
    PIPE_CLOSED = 141  # 128 + SIGPIPE


EXIT_CODES = """\
[bold]Exit codes[/bold]
  0    all went well
  1    the server answered with an error status, servers could not be started, or --strict found warnings
  2    bad input: an argument, a file, or settings that cannot be used
  3    no usable answer: connection, TLS, timeout, a body that broke off
  4    the deadline passed
  130  Ctrl-C
  141  whoever read the output has closed it"""
"""The same for people, as markup of rich, for ``--help``."""


class _Refusal(typer.BadParameter):
    """Says where and what, without typer's "Invalid value for"."""

    def format_message(self) -> str:
        return f"{self.param_hint}: {self.message}" if self.param_hint else self.message


def refuse(what: str, where: str | None = None) -> NoReturn:
    """Ends the command because of bad input.

    Args:
        what: is wrong, and what to give instead.
        where: the option or argument at fault, as it is typed.

    Raises:
        typer.BadParameter: always; `holdfast.cli.main` makes one line and exit code 2 of it.
    """
    raise _Refusal(what, param_hint=where)
