"""Plays one act: all contestants at the same time, the same calls due at the same moments."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx2

from holdfast import _loops
from holdfast.cli.demo.contestants import NO_TLS
from holdfast.cli.demo.settings import Settings
from holdfast.cli.demo.shop import ARTICLES, ORDERS
from holdfast.cli.demo.stage import Stage
from holdfast.cli.demo.tally import Done, ServerLog, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.cli.demo.acts import Act
    from holdfast.cli.demo.contestants import Contestant, Send

__all__ = ["perform"]

_PATIENCE = 60.0  # for setting the servers up, on a machine that is busy
_LOOKS_SECONDS = 0.1


def perform(act: Act, contestants: Sequence[Contestant], watch: Callable[[], None]) -> None:
    """Plays an act on servers that are made for it; `act.tallies` tells how far it is.

    Args:
        act: what goes wrong.
        contestants: each gets a server of its own.
        watch: is called often meanwhile.
    """
    logs = [ServerLog() for _ in contestants]
    act.tallies = {one.name: Tally(act.calls, log) for one, log in zip(contestants, logs, strict=True)}
    with Stage([act.app(log) for log in logs]) as stage:
        _loops.run(_play(act, list(zip(contestants, stage.urls, strict=True)), watch))


async def _play(act: Act, sides: Sequence[tuple[Contestant, str]], watch: Callable[[], None]) -> None:
    tasks = [asyncio.create_task(_all(act, sides)), asyncio.create_task(_look(watch))]
    try:
        # Looking ends only by failing, as when whoever read the output has gone.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _all(act: Act, sides: Sequence[tuple[Contestant, str]]) -> None:
    ready = asyncio.Barrier(len(sides))
    async with asyncio.TaskGroup() as group:
        for contestant, url in sides:
            group.create_task(_side(act, contestant, url, ready))


async def _look(watch: Callable[[], None]) -> None:
    while True:
        watch()
        await asyncio.sleep(_LOOKS_SECONDS)


async def _side(act: Act, contestant: Contestant, url: str, ready: asyncio.Barrier) -> None:
    tally = act.tallies[contestant.name]
    # The first request of a kind loads modules, which can take longer than the timeouts of the act.
    async with contestant.connect(url, Settings.paced(_PATIENCE)) as patient:
        await patient("GET", "/health", None)
    async with (
        httpx2.AsyncClient(base_url=url, timeout=_PATIENCE, verify=NO_TLS, trust_env=False) as admin,
        contestant.connect(url, act.settings) as send,
    ):
        if rules := act.rules():
            (await admin.post("/_faults", json=list(rules))).raise_for_status()
        await ready.wait()
        tally.began, gap = time.monotonic(), act.seconds / act.calls
        trouble = asyncio.create_task(act.disturb(admin))
        # By the clock, not one after the other: who fails fast must not get through its calls during an outage.
        async with asyncio.TaskGroup() as group:
            for number in range(act.calls):
                due = number * gap
                await asyncio.sleep(tally.began + due - time.monotonic())
                group.create_task(_one(act, number, due, contestant, send))
        await trouble


async def _one(act: Act, number: int, due: float, contestant: Contestant, send: Send) -> None:
    order, path, body = "", f"{ARTICLES}/{number}", None
    if number % 10 in {2, 5, 8}:
        order, path = f"{act.key}-{number}", ORDERS
        body = {"order": order}
    failure, unsure = "", False
    tally = act.tallies[contestant.name]
    late = time.monotonic() - tally.began - due
    try:
        await send("POST" if order else "GET", path, body)
    except contestant.errors as error:
        failure = _name(error)
        unsure = bool(getattr(error, "may_have_executed", False))
    tally.done.append(Done(due, time.monotonic() - tally.began - due, failure, order, unsure, late))


def _name(error: Any) -> str:
    """The status, if there was an answer; all contestants call it the same."""
    status = getattr(error, "status_code", None)
    if isinstance(error, httpx2.HTTPStatusError):
        status = error.response.status_code
    return str(status) if status is not None and status >= 400 else type(error).__name__
