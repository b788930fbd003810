"""`holdfast demo`: the same calls through bare httpx2 and through Holdfast, while a server misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.cli.acts import Act
    from holdfast.cli.screen import Screen

__all__ = ["demo"]

FULL_SECONDS = 25.0
"""About how long it takes at scale 1."""

_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def demo(
    seconds: Annotated[
        float, typer.Option(min=3, max=250, help="About how long it takes. Shorter is rougher.", show_default=True)
    ] = FULL_SECONDS,
) -> None:
    """Compare bare httpx2 and Holdfast against servers that fail, go down, or limit the rate."""
    from holdfast.cli.acts import ACTS
    from holdfast.cli.screen import Screen

    screen = Screen()
    acts = [kind(seconds / FULL_SECONDS) for kind in ACTS]
    screen.say(
        "The same calls, due at the same moments, through bare httpx2 and through Holdfast: side by side, each to a "
        "server of its own on this machine, both with 50 connections and a read timeout of 15 s."
    )
    try:
        for number, act in enumerate(acts, start=1):
            screen.say()
            screen.say(f"{number}. {act.title}: {act.trouble}.", style="bold")
            screen.say(f"{act.calls} calls in {act.seconds:.1f} s. Holdfast has {act.settings}.")
            _perform(act, screen)
    except KeyboardInterrupt:
        print("holdfast demo: stopped", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from None
    screen.results(acts)
    screen.say()
    screen.say(
        "p50 and p99 are of the calls that succeeded, from the moment when they were due to the answer, waits and "
        "retries included. Requests were counted by the servers."
    )


def _perform(act: Act, screen: Screen) -> None:
    """Plays one act on servers that are made for it."""
    from holdfast.cli.acts import BARE, HOLDFAST, Server, play
    from holdfast.cli.stage import Counted, Stage

    counted = {name: Counted(act.app()) for name in (BARE, HOLDFAST)}
    with Stage(list(counted.values())) as stage:
        servers = {name: Server(url, app) for (name, app), url in zip(counted.items(), stage.urls, strict=True)}

        async def main() -> None:
            with screen.progress(act) as update:
                watching = asyncio.create_task(_watch(update))
                try:
                    await play(act, servers)
                finally:
                    watching.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await watching

        asyncio.run(main())


async def _watch(update: Callable[[], None]) -> None:
    while True:
        update()
        await asyncio.sleep(0.1)
