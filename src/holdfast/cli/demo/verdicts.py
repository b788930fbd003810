"""Where Holdfast is not better: found by comparing the figures, not written beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.cli.demo.settings import BARE, GLUED, HOLDFAST

if TYPE_CHECKING:
    from holdfast.cli.demo.tally import Tally

__all__ = ["FIGURES", "OVERALL", "Figure", "drawbacks", "each", "named", "seconds", "summary", "together", "too_busy"]


_LATE_SECONDS = 0.1


def seconds(value: float | None) -> str:
    """A time for people; a dash for None."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.1f} s"


def named(name: str) -> str:
    """The name of a contestant inside a sentence."""
    return f"the {name}" if name == GLUED else name


def each(said: Mapping[str, object]) -> str:
    """Such as "3 with Holdfast, 5 with the glued stack and 40 with bare httpx2"."""
    parts = [f"{said[name]} with {named(name)}" for name in (HOLDFAST, GLUED, BARE) if name in said]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a contestant.

    Attributes:
        key, title: what it is called, by the acts' reasons and by people.
        value: reads it; None if there is none.
        show: writes it for people.
        more_is_better: which way round.
        slack, least: shares and amounts below which a difference says nothing.
    """

    key: str
    title: str
    value: Callable[[Tally], float | None]
    show: Callable[[float | None], str] = seconds
    more_is_better: bool = False
    slack: float = 0.0
    least: float = 0.0

    def of(self, tally: Tally) -> str:
        return self.show(self.value(tally))

    def is_worse(self, ours: Tally, other: Tally) -> bool:
        """Whether ours is worse than the other's, by more than chance on a busy machine explains."""
        one, two = self.value(ours), self.value(other)
        if one is None or two is None:
            return two is not None
        lead = two - one if self.more_is_better else one - two
        return lead > max(self.least, self.slack * abs(two))


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


FIGURES: tuple[Figure, ...] = (
    Figure("succeeded", "succeeded", lambda tally: tally.succeeded, _count, more_is_better=True),
    Figure("failed", "failed", lambda tally: tally.failed, _count),
    Figure("p50", "p50", lambda tally: tally.p50, slack=0.25, least=0.03),
    Figure("p99", "p99", lambda tally: tally.p99, slack=0.2, least=0.05),
    Figure("sent", "requests sent", lambda tally: tally.sent, _count, slack=0.02, least=2),
    Figure("worst_wait", "worst wait", lambda tally: tally.worst_wait, slack=0.1, least=0.1),
    Figure("twice", "executed twice", lambda tally: tally.executed_twice, _count),
)
"""All that the tables show, in their order."""


def drawbacks(tallies: Mapping[str, Tally], reasons: Mapping[str, str]) -> list[str]:
    """A sentence for each figure in which a rival did better than Holdfast, with the reason."""
    found = []
    ours = tallies[HOLDFAST]
    for figure in FIGURES:
        better = [name for name, tally in tallies.items() if name != HOLDFAST and figure.is_worse(ours, tally)]
        if figure.key == "failed" or not better:
            continue  # failed says the same as succeeded
        theirs = " and ".join(f"{figure.of(tallies[name])} of {named(name)}" for name in better)
        reason = f": {reasons[figure.key]}" if figure.key in reasons else ""
        found.append(f"{figure.title}: {figure.of(ours)}, to {theirs}{reason}.")
    return found


def together(acts: int) -> str:
    """What the table of all these acts is called; others may follow them."""
    return f"Acts 1 to {acts} together" if acts > 1 else "Act 1"


def summary(totals: Mapping[str, Tally]) -> list[str]:
    """What there is to say of all acts together."""
    ours = totals[HOLDFAST]
    rivals = [name for name in (GLUED, BARE) if name in totals]
    more = " and ".join(_lead(ours.succeeded - totals[name].succeeded, name) for name in rivals)
    waits = {name: seconds(tally.worst_wait) for name, tally in totals.items()}
    return [
        f"With Holdfast {ours.succeeded} of {ours.planned} calls succeeded: {more}.",
        f"Requests that it took: {each({name: tally.sent for name, tally in totals.items()})}.",
        f"Orders that were placed twice: {each({name: tally.executed_twice for name, tally in totals.items()})}.",
        f"The longest that anybody waited for a call: {each(waits)}.",
    ]


def too_busy(totals: Mapping[str, Tally]) -> str:
    """A warning if the machine was too busy for the times to mean much; else empty."""
    late = max(tally.lateness for tally in totals.values())
    if late < _LATE_SECONDS:
        return ""
    return (
        f"This machine was busy with other things: one call of ten began {seconds(late)} or more after it was due. "
        "That is in all times above, of all contestants."
    )


def _lead(lead: int, name: str) -> str:
    if lead == 0:
        return f"as many as with {named(name)}"
    return f"{abs(lead)} {'more' if lead > 0 else 'fewer'} than with {named(name)}"


OVERALL: Mapping[str, str] = {
    "succeeded": (
        "it does not repeat an order that may have been placed, ends calls at their deadline, and refuses calls while "
        "its breaker is open"
    ),
    "p50": "calls wait for their turn, or are repeated, instead of failing; a failed call counts in no percentile",
    "p99": "calls wait for their turn, or are repeated, instead of failing; a failed call counts in no percentile",
    "sent": "retries are requests",
    "worst_wait": "a call that fails at once waits for nothing",
    "twice": 'it repeats a POST that was answered with a 5xx, unless it is told replay="when_safe"',
}
"""Reasons as an act has them, for all acts together."""
