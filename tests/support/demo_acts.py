"""Acts of the demo as if they had been played: figures that are made up, and the same every time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from holdfast.cli.demo.acts import ACTS, Act
from holdfast.cli.demo.settings import BARE, GLUED, HOLDFAST
from holdfast.cli.demo.tally import Done, ServerLog, Tally

NAMES = (BARE, GLUED, HOLDFAST)


def played(names: Sequence[str] = NAMES) -> list[Act]:
    """Every act, with a tally for each of these contestants."""
    rand = random.Random(1)
    acts = [kind(1.0) for kind in ACTS]
    for act in acts:
        act.tallies = {name: _tally(act, rand) for name in names}
    return acts


def _tally(act: Act, rand: random.Random) -> Tally:
    tally = Tally(act.calls, ServerLog(), 100.0)
    for number in range(act.calls):
        due = number * act.seconds / act.calls
        failure = rand.choice(["503", "CircuitOpenError", "<b>odd & long</b>"]) if rand.random() < 0.2 else ""
        order = f"{act.key}-{number}" if number % 10 in {2, 5, 8} else ""
        seconds = 10 ** rand.uniform(-2, 0.9)
        tally.done.append(Done(due, seconds, failure, order, unsure=bool(failure)))
        tally.server.arrivals.append(100.0 + due)
        if order:
            tally.server.executed[order] += 1 + (rand.random() < 0.1)
    return tally


def totals(acts: Sequence[Act]) -> dict[str, Tally]:
    """All acts together, by contestant."""
    return {name: Tally.total(act.tallies[name] for act in acts) for name in acts[0].tallies}
