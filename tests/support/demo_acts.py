"""Acts of the demo as if they had been played: figures that are made up, and the same every time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from holdfast.cli.demo.acts import ACTS, Act
from holdfast.cli.demo.settings import BARE, GLUED, HOLDFAST
from holdfast.cli.demo.tally import Done, ServerLog, Tally
from holdfast.cli.demo.typed.clients import Traffic
from holdfast.cli.demo.typed.conversation import Conversation, Found, Match, Merge, Talk
from holdfast.cli.demo.typed.crews import Batch
from holdfast.cli.demo.typed.play import Typed
from holdfast.crews import CrewClientError

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


def typed() -> Typed:
    """What the acts with the typed clients could come to, and what they must not come to."""
    said = [("user", "I prefer <b>tea</b> & cake."), ("assistant", "Noted.")]
    talks = [Talk(day, said, 2, [Found("User prefers <b>tea</b> & cake", "preferences")]) for day in ("One", "Two")]
    conversation = Conversation(
        talks,
        [Match("User prefers <b>tea</b> & cake", 0.5), Match("User is unlike all others", -0.01)],
        [Merge("User prefers <b>tea</b> & cake", ("User prefers <b>tea</b> & cake",))],
        ["User prefers <b>tea</b> & cake"],
        traffic=Traffic(30, 40),
    )
    return Typed(conversation, [batch(keyed=True), batch(keyed=False)])


def batch(*, keyed: bool) -> Batch:
    """23 orders, of which the first five came to something else than a result."""
    orders = [f"order-{number}" for number in range(23)]
    ran = Counter(dict.fromkeys(orders, 1) | {orders[1]: 0, orders[2]: 0, orders[4]: 2})
    unsure = {orders[0]: True, orders[1]: True, orders[2]: False, orders[3]: False}
    errors = {order: CrewClientError("<b>no</b>", may_have_executed=told) for order, told in unsure.items()}
    return Batch(keyed, orders, ran, errors, Traffic(23, 31))
