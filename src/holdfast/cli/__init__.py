"""The command `holdfast`. It needs the extra `cli`; commands that start servers also need `servers`.

Exit codes: 0 all went well; 1 the server answered with an error status, or `config lint --strict` found something; 2
bad input, said in one line; 3 no usable answer (connection, TLS, timeout, broken body); 4 the deadline passed; 130
Ctrl-C; 141 whoever read the output has closed it. They are in `holdfast.cli.exits` too.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line. Always leaves through SystemExit.

    Bad input ends in one line that says what is wrong where, and so does a missing optional dependency, with what to
    install.

    Args:
        arguments: what follows the program's name; None for those of the process.
    """
    try:
        import typer

        from holdfast.cli.app import app

        stdout = sys.stdout
        try:
            code = app(args=arguments, prog_name="holdfast", standalone_mode=False)
        except typer.Abort:
            code = 130
        except SystemExit:
            if sys.stdout is stdout:
                raise
            code = 141  # typer ends so when a pipe was closed, and has replaced the streams then
        except _refusals(typer.BadParameter) as error:
            code = _refused(error)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO) or error.filename is not None:
                raise
            code = _unwritable(error)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "holdfast":
            raise
        sys.exit(
            f'holdfast: the package "{error.name}" is missing. Install it with: pip install "holdfast[cli,servers]"'
        )
    sys.exit(code if isinstance(code, int) else 0)


def _refusals(known: type[Exception]) -> type[Exception]:
    """The base, in click, of everything that a user gets wrong. Newer versions of typer carry a click of their own."""
    return next(cls for cls in known.__mro__ if cls.__name__ == "ClickException")


def _unwritable(error: OSError) -> int:
    """Help and version are written by typer; what the commands write themselves goes through `Out`."""
    from holdfast.cli.output import Out, muted

    muted()
    Out(error=True).line(f"holdfast: cannot write to standard output: {error.strerror}")
    return 2


def _refused(error: Any) -> int:
    """One line instead of click's several, so that it can be found in a log."""
    from holdfast.cli.output import Out

    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "holdfast"
    message = " ".join(error.format_message().replace("Value error, ", "").split())
    if message:
        Out(error=True).line(f"{command}: {message.rstrip('.')}")
    code: int = error.exit_code
    return code
