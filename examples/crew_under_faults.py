"""Crews executed while the server fails: what a promise of the server's is worth, and what is left without it.

    python examples/crew_under_faults.py

It starts the servers by itself (`pip install 'holdfast[cli,servers]'`), with failure injection on, and tells them to
fail every third time: connections are reset before a crew has run, or after it has run and before its result is
delivered, or the server answers 503. Then a batch of orders is booked, one crew each, twice over:

- with `server_deduplicates`, for a server that executes a repeated request id once, as this one does: everything is
  retried, so every result arrives, and no order is booked twice;
- without it, for servers that do not: what may have run is not sent again. No order is booked twice either, but some
  calls fail, and say whether the crew may have run.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

from holdfast.crews import CrewClient, CrewClientConfig, CrewClientError
from servers import reference_servers

ORDERS = 60
FAULTS = (
    "reset=before;rate=0.1;path=/execute_crew",
    "reset=after;rate=0.1;path=/execute_crew",
    "status=503;rate=0.1;path=/execute_crew",
)


def settings(url: str, *, server_deduplicates: bool) -> CrewClientConfig:
    """Patient ones: with so many failures on purpose, a budget or a breaker would, rightly, give up."""
    return CrewClientConfig(
        url=url,
        max_retries=12,
        retry_delay=0.05,
        retry_max_wait=0.5,
        retry_budget=False,
        circuit_breaker=False,
        acquisition_timeout=60,
        log_level="CRITICAL",
        server_deduplicates=server_deduplicates,
    )


async def misbehave(url: str, rules: tuple[str, ...]) -> None:
    """Tells the server how to fail; without rules, no longer to."""
    async with httpx2.AsyncClient(trust_env=False) as admin:
        (await admin.delete(f"{url}/_faults")).raise_for_status()
        for rule in rules:
            (await admin.post(f"{url}/_faults", content=rule)).raise_for_status()


async def book(url: str, batch: str, *, server_deduplicates: bool) -> None:
    """Books a batch of orders side by side while the server fails, and prints what became of them."""
    orders = [f"{batch}-{number}" for number in range(ORDERS)]
    async with CrewClient(settings(url, server_deduplicates=server_deduplicates)) as client:
        await misbehave(url, FAULTS)
        calls = [client.execute_crew("book_order", {"order": order}) for order in orders]
        done = await asyncio.gather(*calls, return_exceptions=True)
        await misbehave(url, ())
        booked: dict[str, int] = (await client.execute_crew("booked_orders", {"batch": f"{batch}-"}))["result"]

    outcomes: Counter[str] = Counter()
    lost: list[Any] = []
    for order, outcome in zip(orders, done, strict=True):
        if isinstance(outcome, CrewClientError):
            outcomes["failed, may have run" if outcome.may_have_executed else "failed, has not run"] += 1
            lost += [(order, outcome)] if order in booked and not outcome.may_have_executed else []
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            outcomes["delivered"] += 1
    print(f"server_deduplicates={server_deduplicates}: {ORDERS} orders")
    for name, count in outcomes.most_common():
        print(f"  {count:3} {name}")
    print(f"  {len(booked):3} booked by the server, {sum(times > 1 for times in booked.values())} of them twice")
    print(f"  {len(lost):3} booked without anybody being told that it may be so")
    example = next((one for one in done if isinstance(one, CrewClientError)), None)
    if example is not None:
        print(f"  such as: {example}")
    print()


async def main(url: str) -> None:
    """Both batches."""
    await book(url, f"keyed-{os.getpid()}", server_deduplicates=True)
    await book(url, f"plain-{os.getpid()}", server_deduplicates=False)


if __name__ == "__main__":
    here = str(Path(__file__).parent)
    with reference_servers("--faults", HOLDFAST_CREWS_MODULES="orders", PYTHONPATH=here) as servers:
        asyncio.run(main(servers.crews))
