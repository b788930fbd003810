"""The acts of the demo: what goes wrong in each, and what is to be said about its figures."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from holdfast.cli.demo.settings import HOLDFAST, Settings
from holdfast.cli.demo.shop import WORK, Counted, Limited, shop
from holdfast.cli.demo.tally import ServerLog, Tally
from holdfast.cli.demo.verdicts import each, seconds
from holdfast.servers.faults import FaultInjection

if TYPE_CHECKING:
    import httpx2
    from starlette.types import ASGIApp

__all__ = ["ACTS", "Act", "Broken", "Flaky", "Outage", "Overload", "Rules"]

Rules = Sequence[Mapping[str, Any]]
"""As the admin API of the failure injection takes them."""


class Act(ABC):
    """One kind of trouble, and a plan of calls through it.

    Args:
        scale: 1 for the full length.

    Attributes:
        key, title: what it is called, by the report and by people.
        rate: calls that become due per second; three of ten place an order.
        seconds: for how long.
        calls: how many that makes.
        settings: what the contestants are given.
        tallies: by the contestants' names, once the act has begun.
        reasons: why a figure of Holdfast may be worse than another's, by the name of the figure.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    rate: ClassVar[float]
    length: ClassVar[float]
    reasons: ClassVar[Mapping[str, str]] = {}

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.pace = min(max(scale, 0.5), 1.0)
        self.seconds = self.length * scale
        self.calls = max(round(self.rate * self.seconds), 10)
        self.settings = Settings.paced(self.pace)
        self.tallies: dict[str, Tally] = {}

    @property
    @abstractmethod
    def trouble(self) -> str:
        """What the server does, for people."""

    @property
    def down(self) -> tuple[float, float] | None:
        """From when to when nothing was answered, in seconds from the beginning; None if there was no such time."""
        return None

    @property
    def limit(self) -> float | None:
        """Requests per second that the server takes; None if it takes any number."""
        return None

    def rules(self) -> Rules:
        """The faults that are injected into each server before the first call."""
        return ()

    def app(self, log: ServerLog) -> ASGIApp:
        """What each contestant gets a server of its own of."""
        return Counted(FaultInjection(shop(log)), log)

    async def disturb(self, admin: httpx2.AsyncClient) -> None:
        """Makes the trouble that comes and goes; started together with the calls."""
        del admin

    @abstractmethod
    def facts(self) -> list[str]:
        """What the figures say, in sentences."""

    def _failed(self) -> str:
        failed = {name: tally.failed for name, tally in self.tallies.items()}
        return f"Calls that failed, of {self.calls}: {each(failed)}."


class Flaky(Act):
    """A share of all requests fails, at random."""

    key = "flaky"
    title = "Flaky server"
    rate = 25.0
    length = 8.0
    reasons: ClassVar[Mapping[str, str]] = {
        "p99": "calls that were repeated, and waited for that, are its slowest; without retries these calls fail",
        "sent": "retries are requests",
        "worst_wait": "a call that fails at once waits for nothing",
        "twice": (
            "it too repeats a POST that was answered with a 5xx, and some of these answers came when the order was "
            'placed. replay="when_safe" in its RetryConfig lets such calls fail instead'
        ),
    }

    @property
    def trouble(self) -> str:
        return (
            "at random, 8 % of all requests are answered with a 503 and 3 % with a 500 before anything is done, and "
            "5 % with a 502 after it was done"
        )

    def rules(self) -> Rules:
        return (
            {"kind": "status", "status": 503, "rate": 0.08, "seed": 27, "path": WORK},
            {"kind": "status", "status": 500, "rate": 0.03, "seed": 13, "path": WORK},
            {"kind": "status", "status": 502, "rate": 0.05, "seed": 176, "path": WORK, "at": "after"},
        )

    def facts(self) -> list[str]:
        sent = {name: tally.sent for name, tally in self.tallies.items()}
        return [self._failed(), f"Requests that it took: {each(sent)}."]


class Outage(Act):
    """The server fails every request for some time."""

    key = "outage"
    title = "Outage"
    rate = 24.0
    length = 10.0
    begins, ends = 0.25, 0.75  # shares of the act
    reasons: ClassVar[Mapping[str, str]] = {
        "succeeded": (
            "calls made just before its end survive an outage if they are sent again; Holdfast's breaker refuses them, "
            "and goes on refusing until its next probe finds the server well"
        ),
        "p99": "calls that were repeated are its slowest",
        "worst_wait": "calls that were made before the breaker opened were repeated, and waited for that",
        "sent": "retries and probes are requests",
    }

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self._down = (self.seconds * self.begins, self.seconds * self.ends)

    @property
    def down(self) -> tuple[float, float]:
        return self._down

    @property
    def trouble(self) -> str:
        seconds = self.seconds * (self.ends - self.begins)
        return (
            f"for {seconds:.1f} s every request is answered with a 503: an outage of 20 s, played "
            f"{20 / seconds:.0f} times as fast"
        )

    async def disturb(self, admin: httpx2.AsyncClient) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        await asyncio.sleep(self.seconds * self.begins)
        down = {"kind": "status", "status": 503, "path": WORK}
        (await admin.post("/_faults", json=down)).raise_for_status()
        from_ = clock() - began
        await asyncio.sleep(self.seconds * self.ends - from_)
        (await admin.delete("/_faults")).raise_for_status()
        self._down = (from_, clock() - began)

    def facts(self) -> list[str]:
        begin, end = self.down
        hit, back = {}, {}
        for name, tally in self.tallies.items():
            hit[name] = sum(begin <= at - tally.began < end for at in tally.server.arrivals)
            again = [one.due + one.seconds - end for one in tally.done if not one.failure]
            back[name] = f"{min((late for late in again if late > 0), default=0.0):.2f} s"
        refused = self.tallies[HOLDFAST].failures["CircuitOpenError"]
        return [
            self._failed() + " Nobody gets an answer from a server that is down.",
            (
                f"Requests that arrived while it was down: {each(hit)}. Holdfast failed {refused} calls at once "
                "and unsent; its probes go out one at a time."
            ),
            f"The first call succeeded after the outage: {each(back)}.",
        ]


class Overload(Act):
    """More calls than the server's rate limit allows."""

    key = "overload"
    title = "Overload"
    rate = 21.0
    length = 6.0
    per_second = 15
    reasons: ClassVar[Mapping[str, str]] = {
        "succeeded": "calls that would have to wait beyond their deadline, or have used up the retry budget, fail",
        "p50": "its calls wait for the server's next window; those of bare httpx2 fail",
        "p99": "its calls wait for the server's next window; those of bare httpx2 fail",
        "sent": "calls that were refused in spite of it are sent again",
        "worst_wait": "the wait grows for as long as the overload lasts",
    }

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self.window = max(round(3 * scale), 1)

    @property
    def limit(self) -> float:
        return float(self.per_second)

    def app(self, log: ServerLog) -> ASGIApp:
        return Counted(Limited(FaultInjection(shop(log)), self.per_second * self.window, self.window), log)

    @property
    def trouble(self) -> str:
        return (
            f"{self.rate:g} calls a second, while the server takes {self.per_second * self.window} in {self.window} s "
            "and answers the others with a 429 and Retry-After. No contestant was told the limit"
        )

    def facts(self) -> list[str]:
        refused = {
            name: tally.sent - sum(not one.failure for one in tally.done) for name, tally in self.tallies.items()
        }
        return [
            self._failed(),
            (
                f"Requests that the server had to refuse: {each(refused)}. Every answer says how many requests "
                "are left, and how many a window takes (RateLimit, RateLimit-Policy). Holdfast keeps to it, and "
                "spreads the calls that wait over the windows to come."
            ),
        ]


class Broken(Act):
    """Connections are reset, bodies break off or come slowly."""

    key = "broken"
    title = "Resets and slow bodies"
    rate = 24.0
    length = 6.0
    reasons: ClassVar[Mapping[str, str]] = {
        "succeeded": (
            "it does not repeat an order that may have been placed, and ends a call at its deadline; both count as "
            "failed here"
        ),
        "p99": "calls that were repeated are its slowest; without retries these fail",
        "worst_wait": "calls that are repeated, or cut off at their deadline, take that long",
        "sent": "retries are requests",
    }

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self.slow = 7.0 * self.pace

    @property
    def trouble(self) -> str:
        return (
            "at random, 8 % of all requests are carried out, and then the connection is reset without an answer; 4 % "
            "of the answers are reset in the body and 4 % end early; a few articles trickle in over "
            f"{self.slow:g} s, never pausing for long enough to be a timeout"
        )

    def rules(self) -> Rules:
        pieces = 30
        return (
            {"kind": "reset", "at": "after", "rate": 0.08, "seed": 58, "path": WORK},
            {"kind": "reset", "at": "body", "rate": 0.04, "seed": 323, "path": WORK},
            {"kind": "truncate", "rate": 0.04, "seed": 168, "path": WORK},
            {
                "kind": "trickle",
                "bytes": 64,
                "interval": self.slow / pieces,
                "up_to": self.slow,
                "rate": 0.06,
                # None of them late in the act, which would then go on for long.
                "count": max(round(4 * self.scale), 1),
                "seed": 28,
                "path": WORK,
                "method": "GET",
            },
        )

    def facts(self) -> list[str]:
        twice = {name: tally.executed_twice for name, tally in self.tallies.items()}
        lost = {name: len(tally.placed_but_failed) for name, tally in self.tallies.items()}
        told = sum(one.unsure for one in self.tallies[HOLDFAST].placed_but_failed)
        worst = {name: seconds(tally.worst_wait) for name, tally in self.tallies.items()}
        return [
            self._failed(),
            f"Orders that were placed twice: {each(twice)}.",
            (
                f"Orders that were placed and yet failed for the caller: {each(lost)}. Holdfast's "
                f"errors say so for {told} of its {lost[HOLDFAST]} (may_have_executed), so that somebody can look "
                "before ordering again; the errors of the others do not tell."
            ),
            f"The longest that anybody waited for a call: {each(worst)}.",
        ]


ACTS: tuple[type[Act], ...] = (Flaky, Outage, Overload, Broken)
