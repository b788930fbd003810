"""What became of the calls of one contestant, as it saw them and as its server did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Done", "ServerLog", "Tally", "percentile"]


@dataclass(frozen=True, slots=True)
class Done:
    """How one call ended.

    Attributes:
        due: seconds from the beginning of the act to the moment at which the call had to be made.
        seconds: from then to its end.
        failure: a status or the name of an exception; empty if it succeeded.
        order: the order that a POST placed; empty for a GET.
        unsure: whether the error said that the server may have acted. Only Holdfast's errors do.
        late: seconds from when it was due to when the machine got round to it.
    """

    due: float
    seconds: float
    failure: str = ""
    order: str = ""
    unsure: bool = False
    late: float = 0.0


@dataclass(slots=True)
class ServerLog:
    """What a server counts. Its thread writes, and others read.

    Attributes:
        arrivals: when each request for the work came, in seconds of `time.monotonic`.
        executed: how often each order was placed.
    """

    arrivals: list[float] = field(default_factory=list)
    executed: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Tally:
    """The calls of one contestant in one act, or in all of them.

    Attributes:
        planned: how many calls there are.
        server: what its server has counted.
        began: the beginning of the act, in seconds of `time.monotonic`.
        done: the calls that have ended.
    """

    planned: int
    server: ServerLog
    began: float = 0.0
    done: list[Done] = field(default_factory=list)

    @property
    def succeeded(self) -> int:
        return sum(not one.failure for one in self.done)

    @property
    def failed(self) -> int:
        return len(self.done) - self.succeeded

    @property
    def share(self) -> float:
        """Of the calls that succeeded, 0 to 1."""
        return self.succeeded / len(self.done) if self.done else 0.0

    @property
    def sent(self) -> int:
        return len(self.server.arrivals)

    @property
    def answered(self) -> list[float]:
        """Seconds of the calls that succeeded, ascending."""
        return sorted(one.seconds for one in self.done if not one.failure)

    @property
    def p50(self) -> float | None:
        return percentile(self.answered, 0.5)

    @property
    def p99(self) -> float | None:
        return percentile(self.answered, 0.99)

    @property
    def worst_wait(self) -> float | None:
        """Seconds of the call that took longest, whatever its end; None if none has ended."""
        return max((one.seconds for one in self.done), default=None)

    @property
    def executed_twice(self) -> int:
        """Orders that the server has placed more than once."""
        return sum(times > 1 for times in self.server.executed.values())

    @property
    def lateness(self) -> float:
        """Seconds by which the machine was late with one call of ten, or more: it had too much to do."""
        return percentile(sorted(one.late for one in self.done), 0.9) or 0.0

    @property
    def failures(self) -> Counter[str]:
        """How many calls failed in which way."""
        return Counter(one.failure for one in self.done if one.failure)

    @property
    def placed_but_failed(self) -> list[Done]:
        """POSTs that failed although the server has placed the order."""
        return [one for one in self.done if one.failure and self.server.executed[one.order] > 0]

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """All acts of one contestant together; orders of different acts have different names."""
        whole = cls(0, ServerLog())
        for tally in tallies:
            whole.planned += tally.planned
            whole.done += tally.done
            whole.server.arrivals += tally.server.arrivals
            whole.server.executed += tally.server.executed
        return whole


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The value that this share of the values is not above; None if there are none."""
    if not ascending:
        return None
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)]
