"""The command `holdfast demo`."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.demo.settings import HOLDFAST
from holdfast.cli.exits import Exit, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.cli.demo.acts import Act
    from holdfast.cli.demo.screen import Screen
    from holdfast.cli.demo.tally import Tally
    from holdfast.cli.demo.typed.play import Typed

__all__ = ["demo"]

FULL_SECONDS = 40.0
"""About how long it takes at scale 1."""

TYPED_SECONDS = 7.0
"""How much of that the acts with the typed clients take, at any scale."""

REPORT = Path("holdfast-demo.html")


def demo(
    seconds: Annotated[
        float, typer.Option(min=15, max=300, help="About how long it takes. Shorter is rougher.", show_default=True)
    ] = FULL_SECONDS,
    report: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Where to write the report, an HTML file that works offline; replaced."),
    ] = REPORT,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
) -> None:
    """Compare bare httpx2, a stack glued by hand, and Holdfast against servers that misbehave; then typed clients."""
    from holdfast.cli.demo.acts import ACTS
    from holdfast.cli.demo.contestants import contestants
    from holdfast.cli.demo.play import perform
    from holdfast.cli.demo.screen import Screen
    from holdfast.cli.demo.tally import Tally
    from holdfast.cli.demo.verdicts import named

    if not no_report:
        _check(report)
    began = time.monotonic()
    screen = Screen()
    scale = (seconds - TYPED_SECONDS) / (FULL_SECONDS - TYPED_SECONDS)
    acts = [kind(scale) for kind in ACTS]
    players, left_out = contestants()
    names = [player.name for player in players]
    screen.say(
        f"The same calls, due at the same moments, through {', '.join(map(named, names[:-1]))} and {names[-1]}: side "
        "by side, each to a server of its own on this machine, with the same timeouts. Three of ten calls place an "
        "order."
    )
    if left_out:
        screen.say(left_out)
    try:
        for number, act in enumerate(acts, start=1):
            screen.say()
            screen.say(f"{number}. {act.title}: {act.trouble}.", style="bold")
            screen.say(f"{act.calls} calls in {act.seconds:.1f} s.")
            with screen.progress(act) as update:
                perform(act, players, update)
        totals = {name: Tally.total(act.tallies[name] for act in acts) for name in names}
        screen.results(acts, totals)
        screen.say()
        screen.say(
            "p50 and p99 are of the calls that succeeded, from the moment when they were due to the answer, waits and "
            "retries included; the worst wait is of all calls. Requests and orders were counted by the servers."
        )
        typed, missing = _play_typed(screen, len(acts) + 1, scale)
    except KeyboardInterrupt:
        print("holdfast demo: stopped", file=sys.stderr)
        raise typer.Exit(Exit.INTERRUPTED) from None
    screen.say()
    screen.say(_seen(totals, typed))
    if not no_report:
        notes = [note for note in (left_out, missing) if note]
        _write(report, acts, totals, typed, notes, time.monotonic() - began)
        screen.say()
        screen.say(f"Report: {report.absolute()}", wrap=False)


def _play_typed(screen: Screen, first: int, scale: float) -> tuple[Typed | None, str]:
    """What came of the typed clients' acts, or why they are left out."""
    from holdfast.cli.demo.typed.play import LeftOutError, play

    try:
        return play(screen, first, scale), ""
    except LeftOutError as reason:
        missing = f"The acts with the typed clients are left out: {reason}"
        screen.say()
        screen.say(missing)
        return None, missing


def _seen(totals: Mapping[str, Tally], typed: Typed | None) -> str:
    """What the demo was about, and what came of it, in the end."""
    from holdfast.cli.demo.verdicts import each

    ours = totals[HOLDFAST]
    share = each({name: tally.succeeded for name, tally in totals.items()})
    said = f"You saw {ours.planned} calls while servers misbehaved, of which {share} succeeded."
    return said if typed is None else f"{said} And with the typed clients: {typed.summary()}."


def _check(report: Path) -> None:
    """Refuses a path that could not be written to, before the demo rather than after it."""
    if report.is_dir():
        refuse(f"{report} is a directory; give the name of a file", "--report")
    if not report.parent.is_dir():
        refuse(f"there is no directory {report.parent}", "--report")
    if not os.access(report if report.exists() else report.parent, os.W_OK):
        refuse(f"{report} cannot be written; give another --report FILE, or --no-report", "--report")


def _write(
    report: Path,
    acts: Sequence[Act],
    totals: Mapping[str, Tally],
    typed: Typed | None,
    notes: Sequence[str],
    took: float,
) -> None:
    from holdfast.cli.demo.page import page

    when = datetime.now().astimezone()
    text = page(acts, totals, typed=typed, left_out=notes, when=when, took=took)
    try:
        report.write_text(text, encoding="utf-8")
    except OSError as error:
        refuse(f"{report} cannot be written: {error.strerror}", "--report")
