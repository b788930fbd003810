"""Which rules there are, how often each has matched and struck, and which of them strike a request."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.servers.faults.grammar import FaultRuleError, parse_rules
from holdfast.servers.faults.kinds import AnyRule

__all__ = ["HEADER", "Armed", "Ledger", "Strike"]

HEADER = "X-Holdfast-Fault"

MAX_REMEMBERED = 10_000
"""For so many header texts, and pairs of a text and a request id, the state of their rules is kept."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A rule that strikes a request, with what it has drawn for it."""

    rule: AnyRule
    delay: float


class Armed:
    """A rule, since when it has been there, and how often it has matched and struck.

    Attributes:
        number: by which it is known in the admin API; 0 for a rule from a header.
        matched: requests for which it stood, by method, path and time.
        struck: those of them that it struck.
    """

    def __init__(self, rule: AnyRule, since: float, rand: random.Random, number: int = 0) -> None:
        self.rule = rule
        self.number = number
        self.matched = 0
        self.struck = 0
        self._since = since
        self._rand = rand

    def strike(self, method: str, path: str, now: float) -> Strike | None:
        """What it does to a request, or None if it spares it. Counts."""
        rule = self.rule
        if not (rule.matches(method, path) and rule.is_open(now - self._since)):
            return None
        self.matched += 1
        if self.struck == rule.count or (rule.rate < 1 and self._rand.random() >= rule.rate):
            return None
        self.struck += 1
        return Strike(rule, rule.draw(self._rand))

    def report(self) -> dict[str, Any]:
        remaining = None if self.rule.count is None else self.rule.count - self.struck
        counts = {"matched": self.matched, "struck": self.struck, "remaining": remaining}
        return {"id": self.number, **self.rule.shown(), **counts}


class Ledger:
    """All rules of one app: those that were added, and those that came in headers.

    Args:
        rules: added at once.
        clock: monotonic seconds, for time windows.
    """

    def __init__(self, rules: Iterable[AnyRule], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._added: dict[int, Armed] = {}
        self._numbers = 0
        self._draws: OrderedDict[tuple[str, ...], list[tuple[AnyRule, random.Random]]] = OrderedDict()
        self._carried: OrderedDict[tuple[tuple[str, ...], str], list[Armed]] = OrderedDict()
        self.requests = 0
        self.struck: Counter[str] = Counter()
        self.add(rules)

    def add(self, rules: Iterable[AnyRule]) -> list[Armed]:
        """Adds rules behind those that are there.

        One without a seed is given one, so that its report is enough to repeat the run.
        """
        added = []
        for rule in rules:
            self._numbers += 1
            seed = random.getrandbits(32) if rule.seed is None else rule.seed
            seeded = rule.model_copy(update={"seed": seed})
            added.append(Armed(seeded, self._clock(), random.Random(seed), self._numbers))
            self._added[self._numbers] = added[-1]
        return added

    @property
    def added(self) -> list[Armed]:
        """The rules that were added, in that order."""
        return list(self._added.values())

    def get(self, number: int) -> Armed | None:
        return self._added.get(number)

    def remove(self, number: int) -> bool:
        """Whether there was such a rule."""
        return self._added.pop(number, None) is not None

    def clear(self) -> int:
        """Removes all rules and forgets everything that was counted; how many rules there were."""
        cleared = len(self._added)
        self._added.clear()
        self._draws.clear()
        self._carried.clear()
        self.struck.clear()
        self.requests = 0
        return cleared

    def strikes(self, method: str, path: str, texts: Sequence[str], request_id: str) -> list[Strike]:
        """What strikes one request, in order: the added rules, then those of its header.

        Args:
            method: of the request.
            path: of the request.
            texts: the values of its `X-Holdfast-Fault` headers.
            request_id: its `X-Request-ID`, or an empty string.

        Raises:
            FaultRuleError: the header cannot be used; nothing was counted but the request.
        """
        self.requests += 1
        rules = [*self._added.values(), *(self._carry(tuple(texts), request_id) if texts else ())]
        now = self._clock()
        struck = [strike for armed in rules if (strike := armed.strike(method, path, now))]
        self.struck.update(strike.rule.kind for strike in struck)
        return struck

    def _carry(self, texts: tuple[str, ...], request_id: str) -> list[Armed]:
        """The rules of a header, as far used up as earlier attempts with the same request id left them.

        Their random numbers go on from request to request, whatever the ids: every call would draw the same ones
        otherwise.
        """
        armed = self._carried.get((texts, request_id)) if request_id else None
        if armed is None:
            drawn = self._draws.get(texts)
            if drawn is None:
                drawn = [(rule, random.Random(rule.seed)) for rule in _read_header(texts)]
                _remember(self._draws, texts, drawn)
            now = self._clock()
            armed = [Armed(rule, now, rand) for rule, rand in drawn]
            if request_id:
                _remember(self._carried, (texts, request_id), armed)
        return armed


def _read_header(texts: Sequence[str]) -> list[AnyRule]:
    rules: list[AnyRule] = []
    for text in texts:
        try:
            rules += parse_rules(text.encode("latin-1"))
        except FaultRuleError as error:
            raise error.inside("header", HEADER) from error
    return rules


def _remember(kept: OrderedDict[Any, Any], key: object, value: object) -> None:
    kept[key] = value
    if len(kept) > MAX_REMEMBERED:
        kept.popitem(last=False)
