"""Times things against each other: in the same process, in turns, so that a slow moment of the machine hits them all."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median

Async = Callable[[int], Awaitable[None]]
Sync = Callable[[int], None]


@dataclass
class Times:
    """Seconds per call of each contestant, one figure per round."""

    rounds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.rounds.setdefault(name, []).append(seconds)

    def median(self, name: str) -> float:
        return median(self.rounds[name])

    def ratio(self, name: str, base: str) -> float:
        """The median of the ratios of each round: what drifts from round to round cancels out."""
        return median(one / other for one, other in zip(self.rounds[name], self.rounds[base], strict=True))

    def best_ratio(self, name: str, base: str) -> float:
        """The ratio of the fastest rounds: on a busy machine the figure with the least noise in it."""
        return min(self.rounds[name]) / min(self.rounds[base])


def _orders(names: list[str], rounds: int) -> list[list[str]]:
    """Another one begins each round, so that none always comes after the same neighbour's garbage."""
    return [names[start:] + names[:start] for start in (number % len(names) for number in range(rounds))]


async def contest(contestants: dict[str, Async], *, calls: int, rounds: int) -> Times:
    """Runs each contestant for so many calls, in so many rounds, after one that is not counted."""
    times = Times()
    for run in contestants.values():
        await run(calls)
    gc.collect()
    gc.freeze()
    for order in _orders(list(contestants), rounds):
        for name in order:
            run = contestants[name]
            began = time.perf_counter()
            await run(calls)
            times.add(name, (time.perf_counter() - began) / calls)
    gc.unfreeze()
    return times


def contest_sync(contestants: dict[str, Sync], *, calls: int, rounds: int) -> Times:
    """As `contest`."""
    times = Times()
    for run in contestants.values():
        run(calls)
    gc.collect()
    gc.freeze()
    for order in _orders(list(contestants), rounds):
        for name in order:
            run = contestants[name]
            began = time.perf_counter()
            run(calls)
            times.add(name, (time.perf_counter() - began) / calls)
    gc.unfreeze()
    return times
