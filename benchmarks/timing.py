"""Times things against each other: in turns, so that a slow moment of the machine hits them all."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

Async = Callable[[int], Awaitable[None]]
Sync = Callable[[int], None]
Clock = Callable[[], float]

LEAST_ROUNDS = 3


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


class Turns:
    """Says who runs next, round by round, until the time is up.

    Another one begins each round, so that none always comes after the same neighbour's garbage.
    """

    def __init__(self, names: list[str], seconds: float) -> None:
        self._names = names
        self._until = time.monotonic() + seconds

    def __iter__(self) -> Iterator[str]:
        names = self._names
        done = 0
        while done < LEAST_ROUNDS or time.monotonic() < self._until:
            yield from names
            names = [*names[1:], names[0]]
            done += 1


@contextmanager
def _settled() -> Iterator[None]:
    """With what is there kept out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def contest(contestants: dict[str, Async], *, calls: int, seconds: float, clock: Clock) -> Times:
    """Runs each contestant for so many calls in turns, for so many seconds, after one run that is not counted.

    The clock has to be that of the processor where nothing waits: it leaves out what other programs take.
    """
    times = Times()
    turns = Turns(list(contestants), seconds)
    for run in contestants.values():
        await run(calls)
    with _settled():
        for name in turns:
            run = contestants[name]
            began = clock()
            await run(calls)
            times.add(name, (clock() - began) / calls)
    return times


def contest_sync(contestants: dict[str, Sync], *, calls: int, seconds: float, clock: Clock) -> Times:
    """As `contest`."""
    times = Times()
    turns = Turns(list(contestants), seconds)
    for run in contestants.values():
        run(calls)
    with _settled():
        for name in turns:
            run = contestants[name]
            began = clock()
            run(calls)
            times.add(name, (clock() - began) / calls)
    return times
