"""A crew under failures: the same orders booked with and without a promise that the server recognises repetitions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from holdfast.cli.demo.typed.clients import Traffic, crew_client, misbehave
from holdfast.crews import CrewClientError

if TYPE_CHECKING:
    from holdfast.cli.demo.typed.reference import Reference

__all__ = ["CREW", "HEAD", "TITLE", "Batch", "Bookings", "Fate", "book", "explained", "figures", "trouble"]

TITLE = "A crew under failures"
CREW = "book_order"
HEAD = ("server_deduplicates", "True", "False")
SECONDS = 0.02
"""What the crew takes for each order."""

RULES: Sequence[Mapping[str, Any]] = (
    {"kind": "reset", "at": "before", "rate": 0.1, "seed": 7, "path": "/execute_crew"},
    {"kind": "reset", "at": "after", "rate": 0.1, "seed": 8, "path": "/execute_crew"},
    {"kind": "status", "status": 503, "rate": 0.1, "seed": 9, "path": "/execute_crew"},
)


def trouble(orders: int) -> str:
    """What happens, for people."""
    return (
        f"{orders} executions at once, each of which books an order, while at random 10 % of all requests are reset "
        "before the crew has run, 10 % after that and before its result is delivered, and 10 % are answered with a 503"
    )


class Bookings:
    """A crew that must not run twice for an order, or somebody pays twice.

    Attributes:
        executed: how often it ran for each order. The server's thread writes, and others read.
    """

    def __init__(self) -> None:
        self.executed: Counter[str] = Counter()

    async def book(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Books an order."""
        await asyncio.sleep(SECONDS)
        self.executed[inputs["order"]] += 1
        return {"order": inputs["order"], "booked": True}


class Fate(Enum):
    """What became of an order; the value is for people."""

    DELIVERED = "result delivered"
    TOLD = "error says that it may have run, and it has"
    UNSURE = "error says that it may have run, and it has not"
    SAFE = "error says that it has not run, and so it is"
    LOST = "has run, and nobody was told"
    TWICE = "ran twice"


@dataclass(slots=True)
class Batch:
    """What came of some executions.

    Attributes:
        keyed: whether the client was told that the server executes a repeated request once (`server_deduplicates`).
        orders: their names, one execution each.
        executed: how often each was executed, as the crew counted.
        errors: of those whose result was not delivered.
        traffic: calls and requests.
    """

    keyed: bool
    orders: Sequence[str]
    executed: Counter[str] = field(default_factory=Counter)
    errors: dict[str, CrewClientError] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def name(self) -> str:
        return f"server_deduplicates={self.keyed}"

    def fate(self, order: str) -> Fate:
        """What became of one order."""
        ran, error = self.executed[order], self.errors.get(order)
        if ran > 1:
            return Fate.TWICE
        if error is None:
            return Fate.DELIVERED
        if error.may_have_executed:
            return Fate.TOLD if ran else Fate.UNSURE
        return Fate.LOST if ran else Fate.SAFE

    @property
    def booked(self) -> list[str]:
        """The orders for which the crew ran."""
        return [order for order in self.orders if self.executed[order]]

    @property
    def fates(self) -> Counter[Fate]:
        return Counter(map(self.fate, self.orders))

    @property
    def example(self) -> str:
        """What an error says; empty if there is none."""
        return next((str(error) for error in self.errors.values()), "")


async def book(reference: Reference, bookings: Bookings, count: int, *, keyed: bool) -> Batch:
    """Books orders, all at once."""
    batch = Batch(keyed, [f"{'keyed' if keyed else 'plain'}-{number}" for number in range(count)])
    await misbehave([reference.crews], RULES)
    async with crew_client(reference, batch.traffic, in_flight=count, server_deduplicates=keyed) as client:

        async def one(order: str) -> None:
            try:
                await client.execute_crew(CREW, {"order": order}, timeout=10)
            except CrewClientError as error:
                batch.errors[order] = error

        await asyncio.gather(*map(one, batch.orders))
    await batch.traffic.read([reference.crews])
    batch.executed = Counter({order: bookings.executed[order] for order in batch.orders})
    return batch


def figures(batches: Sequence[Batch]) -> list[tuple[str, ...]]:
    """The rows of a table below `HEAD`: a name, and the figure of each batch."""

    def row(name: str, *values: int) -> tuple[str, ...]:
        return (name, *map(str, values))

    fates = [batch.fates for batch in batches]
    return [
        row("results delivered", *(len(batch.orders) - len(batch.errors) for batch in batches)),
        row("orders booked", *(len(batch.booked) for batch in batches)),
        row("booked twice", *(one[Fate.TWICE] for one in fates)),
        row("failed, may have run", *(one[Fate.TOLD] + one[Fate.UNSURE] for one in fates)),
        row("of these, had run", *(one[Fate.TOLD] for one in fates)),
        row("failed, has not run", *(one[Fate.SAFE] for one in fates)),
        row("ran, and nobody was told", *(one[Fate.LOST] for one in fates)),
        row("requests sent", *(batch.traffic.requests for batch in batches)),
    ]


def explained(batches: Sequence[Batch]) -> list[str]:
    """What the figures mean, in sentences."""
    said = [
        (
            "With server_deduplicates the client relies on the server to execute a repeated request once, and repeats "
            "what may have run. Without it such a call fails, and its error says so (may_have_executed), so that "
            "somebody can look before ordering again."
        )
    ]
    if example := next(filter(None, (batch.example for batch in batches)), ""):
        said.append(f"Such an error says: {example}")
    return said
