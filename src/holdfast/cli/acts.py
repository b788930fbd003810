"""The acts of the demo: the same calls, at the same times, through bare httpx2 and through Holdfast."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import httpx2

from holdfast import (
    CircuitBreakerConfig,
    ClientConfig,
    HoldfastError,
    LoggingConfig,
    RateLimitConfig,
    ResilientClient,
    RetryConfig,
)
from holdfast.cli.stage import WORK, Counted, Limited, flaky_server

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["ACTS", "BARE", "HOLDFAST", "Act", "Flaky", "Outage", "Overload", "Server", "Tally", "play"]

BARE = "bare httpx2"
HOLDFAST = "Holdfast"

CALL = f"{WORK}?delay=20"
"""Each call takes the server 20 ms, if it answers."""

_POOL = 50  # connections, for both; that of Holdfast has the size of its bulkhead
_READ_SECONDS = 15.0
_PATIENCE = 60.0  # for setting the servers up, on a machine that is busy

Send = Callable[[str], Awaitable[httpx2.Response]]


@dataclass(frozen=True)
class Server:
    """The server of one side: where it answers, and what it has counted."""

    url: str
    counted: Counted


@dataclass
class Tally:
    """What became of the calls of one side in one act.

    Attributes:
        planned: how many there are.
        seconds: of each call that succeeded, from the moment it was due to its answer.
        failures: how many failed, by status or exception.
        server: counts what was sent.
    """

    planned: int
    server: Counted
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def succeeded(self) -> int:
        return len(self.seconds)

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def sent(self) -> int:
        return self.server.requests

    @property
    def done(self) -> int:
        return self.succeeded + self.failed

    def percentile(self, share: float) -> float | None:
        """Seconds within which this share of the successful calls was answered; None if there are none."""
        if not self.seconds:
            return None
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class Act(ABC):
    """One kind of trouble, and a plan of calls through it.

    Args:
        scale: 1 for the full length.

    Attributes:
        title, trouble: what it is called, and what the server does, for people.
        rate: calls that become due per second.
        seconds: for how long.
    """

    title: ClassVar[str]
    rate: ClassVar[float] = 40.0
    length: ClassVar[float] = 6.0

    def __init__(self, scale: float) -> None:
        self.seconds = self.length * scale
        self.calls = max(round(self.rate * self.seconds), 10)
        self.tallies: dict[str, Tally] = {}

    @property
    @abstractmethod
    def trouble(self) -> str: ...

    @abstractmethod
    def config(self, url: str) -> ClientConfig:
        """Holdfast's settings."""

    @property
    def settings(self) -> str:
        """What of Holdfast's settings differs from the defaults, for people."""
        return "its defaults, with retry waits of 0.1 to 2 s"

    def app(self) -> ASGIApp:
        """What each side gets a server of its own of."""
        return flaky_server()

    async def prepare(self, admin: httpx2.AsyncClient) -> None:
        """Sets the server up, before the first call."""
        del admin

    async def disturb(self, admin: httpx2.AsyncClient) -> None:
        """Makes the trouble that comes and goes; started together with the calls."""
        del admin

    @abstractmethod
    def verdict(self, bare: Tally, hold: Tally) -> str:
        """What the figures say, and what they do not."""


class Flaky(Act):
    """A share of all requests fails, at random."""

    title = "Flaky server"
    share = 0.1

    @property
    def trouble(self) -> str:
        return f"{self.share:.0%} of all requests are answered with a 500, at random"

    def config(self, url: str) -> ClientConfig:
        return _config(url)

    async def prepare(self, admin: httpx2.AsyncClient) -> None:
        rule = {"kind": "status", "status": 500, "path": WORK, "rate": self.share, "seed": 3}
        (await admin.post("/_faults", json=rule)).raise_for_status()

    def verdict(self, bare: Tally, hold: Tally) -> str:
        more = hold.sent - hold.planned
        text = f"{_failed(hold, bare)}, at the price of {more} more requests"
        return f"{text} and of the waits between attempts, which are Holdfast's p99."


class Outage(Act):
    """The server fails every request for some time."""

    title = "Outage"
    rate = 30.0
    length = 8.0
    begins, ends = 0.25, 0.625  # shares of the act

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self.recovery = round(max(0.5 * scale, 0.1), 2)

    @property
    def down(self) -> float:
        """For how long the server is down, in seconds."""
        return self.seconds * (self.ends - self.begins)

    @property
    def trouble(self) -> str:
        return f"for {self.down:.1f} s in the middle every request is answered with a 500"

    @property
    def settings(self) -> str:
        return f"{super().settings}, and a breaker that probes every {self.recovery:g} s instead of 30"

    def config(self, url: str) -> ClientConfig:
        return _config(url, circuit_breaker=CircuitBreakerConfig(recovery_timeout=self.recovery))

    async def disturb(self, admin: httpx2.AsyncClient) -> None:
        await asyncio.sleep(self.seconds * self.begins)
        (await admin.post("/fail/duration/3600")).raise_for_status()
        await asyncio.sleep(self.down)
        (await admin.post("/fail/reset")).raise_for_status()

    def verdict(self, bare: Tally, hold: Tally) -> str:
        wasted, spared = bare.sent - bare.succeeded, hold.sent - hold.succeeded
        refused = hold.failures["CircuitOpenError"]
        return (
            f"{_failed(hold, bare)}, for nobody gets answers from a server that is down; but it had to refuse {spared} "
            f"requests instead of {wasted}, because Holdfast's breaker failed {refused} calls at once, unsent, "
            "until a probe found the server well."
        )


class Overload(Act):
    """More calls than the server's rate limit allows."""

    title = "Overload"
    rate = 30.0
    length = 5.0
    per_second = 20
    own_rate = 18.0

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self.window = 2 if scale >= 0.5 else 1
        self.limit = self.per_second * self.window

    def app(self) -> ASGIApp:
        return Limited(flaky_server(), self.limit, self.window)

    @property
    def trouble(self) -> str:
        return f"{self.rate:g} calls/s, of which the server takes {self.limit} in {self.window} s; the others get a 429"

    @property
    def settings(self) -> str:
        return f"{super().settings}, and a rate limit of {self.own_rate:g}/s, a little below the server's"

    def config(self, url: str) -> ClientConfig:
        return _config(url, rate_limit=RateLimitConfig(rate=self.own_rate, burst=1))

    def verdict(self, bare: Tally, hold: Tally) -> str:
        median = hold.percentile(0.5) or 0.0
        return (
            f"{_failed(hold, bare)}, because Holdfast kept to the limit that it was told; the price is waiting, "
            f"{median:.1f} s for a typical call, which grows while the overload lasts, and beyond 30 s calls fail too."
        )


ACTS: tuple[type[Act], ...] = (Flaky, Outage, Overload)


def _failed(hold: Tally, bare: Tally) -> str:
    return f"Failed calls: {hold.failed} with Holdfast, {bare.failed} without"


def _config(url: str, **more: Any) -> ClientConfig:
    return ClientConfig(
        base_url=url,
        retry=RetryConfig(min_wait_seconds=0.1, max_wait_seconds=2.0),
        logging=LoggingConfig(level="CRITICAL"),
        trust_env=False,
        **more,
    )


async def play(act: Act, servers: Mapping[str, Server]) -> None:
    """Runs all sides of an act at the same time; `act.tallies` tells how far they are."""
    act.tallies = {name: Tally(act.calls, server.counted) for name, server in servers.items()}
    ready = asyncio.Barrier(len(servers))
    async with asyncio.TaskGroup() as group:
        for name, server in servers.items():
            sender = _bare(server.url) if name == BARE else _holdfast(act.config(server.url))
            group.create_task(_side(act, server.url, sender, act.tallies[name], ready))


async def _side(
    act: Act, url: str, sender: AbstractAsyncContextManager[Send], tally: Tally, ready: asyncio.Barrier
) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=_PATIENCE, trust_env=False) as admin, sender as send:
        await act.prepare(admin)
        await send("/health")
        await ready.wait()
        trouble = asyncio.create_task(act.disturb(admin))
        began, gap = time.monotonic(), act.seconds / act.calls
        # By the clock, not one after the other: who fails fast must not get through its calls during an outage.
        async with asyncio.TaskGroup() as group:
            for number in range(act.calls):
                due = began + number * gap
                await asyncio.sleep(due - time.monotonic())
                group.create_task(_one(send, tally, due))
        await trouble


async def _one(send: Send, tally: Tally, due: float) -> None:
    """One call. For bare httpx2 a status of 400 and above is a failure; Holdfast raises it."""
    try:
        response = await send(CALL)
    except HoldfastError as error:
        tally.failures[type(error).__name__] += 1
    except httpx2.HTTPError as error:
        tally.failures[type(error).__name__] += 1
    else:
        if response.is_success:
            tally.seconds.append(time.monotonic() - due)
        else:
            tally.failures[str(response.status_code)] += 1


@asynccontextmanager
async def _bare(url: str) -> AsyncIterator[Send]:
    limits = httpx2.Limits(max_connections=_POOL, max_keepalive_connections=_POOL)
    timeout = httpx2.Timeout(_READ_SECONDS, connect=60.0, pool=5.0)
    async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=timeout, trust_env=False) as client:
        yield client.get


@asynccontextmanager
async def _holdfast(config: ClientConfig) -> AsyncIterator[Send]:
    async with ResilientClient(config) as client:
        yield client.get
