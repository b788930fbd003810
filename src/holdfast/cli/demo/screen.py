"""What the demo shows in the terminal: how far an act is, and at the end a table for each and one for all."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from holdfast.cli.demo.settings import BARE, GLUED, HOLDFAST
from holdfast.cli.demo.verdicts import FIGURES, OVERALL, drawbacks, summary, together, too_busy
from holdfast.cli.exits import Exit
from holdfast.cli.output import muted

if TYPE_CHECKING:
    from holdfast.cli.demo.acts import Act
    from holdfast.cli.demo.tally import Tally

__all__ = ["Screen"]

_PLAIN_SECONDS = 2.0
_NAME_WIDTH = max(map(len, (BARE, GLUED, HOLDFAST)))
_HEADINGS = {"requests sent": "requests\nsent", "worst wait": "worst\nwait", "executed twice": "executed\ntwice"}


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Ends as all commands do when whoever read the output has closed it."""
        self.quiet = True
        muted()
        raise typer.Exit(Exit.PIPE_CLOSED)


class Screen:
    """The terminal; plain lines where there is none, it cannot move the cursor, or NO_COLOR is set."""

    def __init__(self) -> None:
        self._plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        if self._plain:
            self._console = _Console(force_terminal=False, no_color=True, highlight=False)
        else:
            self._console = _Console(highlight=False)

    def say(self, text: str = "", style: str = "", *, wrap: bool = True) -> None:
        """Prints a paragraph, in one line if it is not to be wrapped."""
        self._console.print(text, style=style, markup=False, soft_wrap=not wrap)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Prints a table: a name in each row, and figures."""
        self._console.print(_filled("", head, rows))

    def working(self, what: str) -> AbstractContextManager[object]:
        """Shows on a terminal that something takes a moment."""
        return nullcontext() if self._plain else self._console.status(what)

    @contextmanager
    def progress(self, act: Act) -> Iterator[Callable[[], None]]:
        """Shows how far an act is; the function brings the picture up to date and is to be called often."""
        if self._plain:
            yield self._lines(act)
            return
        with Live(console=self._console, auto_refresh=False) as live:

            def draw() -> None:
                live.update(_bars(act), refresh=True)

            yield draw
            draw()

    def _lines(self, act: Act) -> Callable[[], None]:
        following = time.monotonic() + _PLAIN_SECONDS

        def line() -> None:
            nonlocal following
            if time.monotonic() >= following:
                following += _PLAIN_SECONDS
                states = (f"{name}: {_state(tally)}" for name, tally in act.tallies.items())
                self._console.print("   ".join(states), markup=False, soft_wrap=True)

        return line

    def results(self, acts: Sequence[Act], totals: Mapping[str, Tally]) -> None:
        """The figures of every act and of all together, and what they say."""
        for number, act in enumerate(acts, start=1):
            self.say()
            self._console.print(_table(f"{number}. {act.title}", act.tallies))
            for fact in act.facts():
                self.say(fact)
            self._worse(drawbacks(act.tallies, act.reasons))
        self.say()
        self._console.print(_table(together(len(acts)), totals))
        for sentence in summary(totals):
            self.say(sentence)
        self._worse(drawbacks(totals, OVERALL))
        if busy := too_busy(totals):
            self.say()
            self.say(busy)

    def _worse(self, sentences: Sequence[str]) -> None:
        if sentences:
            self.say("Where Holdfast is not better:")
        for sentence in sentences:
            self.say(f"- {sentence}")


def _bars(act: Act) -> Table:
    grid = Table.grid(padding=(0, 1))
    for name, tally in act.tallies.items():
        grid.add_row(f"{name:{_NAME_WIDTH}}", ProgressBar(tally.planned, len(tally.done), width=24), _state(tally))
    return grid


def _state(tally: Tally) -> str:
    return f"{len(tally.done)} of {tally.planned} done, {tally.failed} failed, {tally.sent} sent"


def _table(title: str, tallies: Mapping[str, Tally]) -> Table:
    head = ("", *(_HEADINGS.get(figure.title, figure.title) for figure in FIGURES))
    return _filled(title, head, [(name, *(figure.of(tally) for figure in FIGURES)) for name, tally in tallies.items()])


def _filled(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 0, 0, 1),
    )
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
