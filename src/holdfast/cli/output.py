"""Writing to the terminal or the pipe that standard output and standard error are."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import typer

from holdfast.cli.exits import Exit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["Out", "muted", "visible"]

# C0 and C1 but tab and line feed: what a server sends must not drive the terminal it is shown on.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    """Writes control characters out as ``\\x1b``; tabs and line feeds stay."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\r\n", "\n"))


def muted() -> None:
    """Sends the rest of standard output nowhere: what is in its buffer would be tried again at exit, and fail there."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


class Out:
    """One of the two streams. Colours only on a terminal, and not if NO_COLOR is set or TERM is "dumb"."""

    def __init__(self, *, error: bool) -> None:
        self._error = error
        # Asked for again at every write, like print does: tests and embedding programs replace them.
        self.is_terminal = bool(self._file is not None and self._file.isatty())
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self.coloured = self.is_terminal and not plain
        self._console: Console | None = None

    @property
    def _file(self) -> Any:
        """None if the stream was closed before the program started."""
        return sys.stderr if self._error else sys.stdout

    def line(self, text: str = "", style: str = "") -> None:
        """Writes one line, control characters made visible; `style` is one of rich's."""
        text = visible(text)
        if self.coloured and style:
            from rich.text import Text

            self.styled(Text(text, style=style))
        else:
            self._write(f"{text}\n")

    def styled(self, text: Text) -> None:
        """Writes text with styles, which are left out where there are no colours."""
        if not self.coloured:
            self._write(f"{text.plain}\n")
            return
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=self._error, highlight=False)
        self._console.print(text, soft_wrap=True)

    def raw(self, data: bytes) -> None:
        """Writes bytes as they are.

        Raises:
            typer.Exit: whoever read them has gone, or they cannot be written; said in one line if it is the latter.
        """
        file = self._file
        if file is None:
            return
        try:
            file.flush()
            left = memoryview(data)
            while left:
                # With PYTHONUNBUFFERED there is no buffer that would go on after a part was taken.
                left = left[file.buffer.write(left) :]
            file.buffer.flush()
        except OSError as error:
            self._give_up(error)

    def _write(self, text: str) -> None:
        file = self._file
        if file is not None:
            self.raw(text.encode(file.encoding or "utf-8", "backslashreplace"))

    def _give_up(self, error: OSError) -> None:
        if self._error:
            return  # nobody hears of it; the result on standard output and the exit code still count
        muted()
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(Exit.PIPE_CLOSED)
        Out(error=True).line(f"holdfast: cannot write to standard output: {error.strerror}")
        raise typer.Exit(Exit.BAD_INPUT)
