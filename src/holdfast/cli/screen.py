"""What the demo shows: how far an act is, and at the end a table for each."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from holdfast.cli.acts import BARE, HOLDFAST, Act, Tally

__all__ = ["Screen"]

_PLAIN_SECONDS = 2.0
_NAME_WIDTH = max(len(BARE), len(HOLDFAST))


class Screen:
    """The terminal; plain lines where there is none, it cannot move the cursor, or NO_COLOR is set."""

    def __init__(self) -> None:
        self._plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        if self._plain:
            self._console = Console(force_terminal=False, no_color=True, highlight=False)
        else:
            self._console = Console(highlight=False)

    def say(self, text: str = "", style: str = "") -> None:
        """Prints a paragraph."""
        self._console.print(text, style=style, markup=False)

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

    def results(self, acts: Sequence[Act]) -> None:
        """The figures of every act, and what they say."""
        for number, act in enumerate(acts, start=1):
            self.say()
            self._console.print(_table(number, act))
            self.say(act.verdict(act.tallies[BARE], act.tallies[HOLDFAST]))


def _bars(act: Act) -> Table:
    grid = Table.grid(padding=(0, 1))
    for name, tally in act.tallies.items():
        grid.add_row(f"{name:{_NAME_WIDTH}}", ProgressBar(tally.planned, tally.done, width=24), _state(tally))
    return grid


def _state(tally: Tally) -> str:
    return f"{tally.done} of {tally.planned} done, {tally.failed} failed, {tally.sent} sent"


def _table(number: int, act: Act) -> Table:
    table = Table(title=f"{number}. {act.title}", title_justify="left", title_style="bold")
    table.add_column("")
    for heading in ("succeeded", "failed", "p50", "p99", "requests sent"):
        table.add_column(heading, justify="right")
    for name, tally in act.tallies.items():
        figures = (str(tally.succeeded), str(tally.failed), _time(tally, 0.5), _time(tally, 0.99), str(tally.sent))
        table.add_row(name, *figures)
    return table


def _time(tally: Tally, share: float) -> str:
    seconds = tally.percentile(share)
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
