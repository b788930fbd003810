"""A retry storm under virtual time: many clients, one server, an outage."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from holdfast.config import CircuitBreakerConfig, ClientConfig, RetryBudgetConfig, RetryConfig
from holdfast.core.effects import Flow, Park, Spawn
from holdfast.core.outcome import Stop
from holdfast.testing import Step, VirtualClient, VirtualTime

URL = "https://api.example.com"
_NO_BREAKER = CircuitBreakerConfig(enabled=False)


def _config(budget: RetryBudgetConfig | None, breaker: CircuitBreakerConfig) -> ClientConfig:
    retry = RetryConfig(max_attempts=5, min_wait_seconds=0.5, max_wait_seconds=4.0, budget=budget)
    return ClientConfig(base_url=URL, retry=retry, circuit_breaker=breaker)


NAIVE: Final = _config(None, _NO_BREAKER)
BUDGETED: Final = _config(RetryBudgetConfig(floor=1), _NO_BREAKER)
GUARDED: Final = _config(RetryBudgetConfig(floor=1), CircuitBreakerConfig(recovery_timeout=10.0))
"""Five attempts without and with a budget, and with a circuit breaker besides."""


@dataclass(slots=True)
class Storm:
    """What came of it: outcomes of the calls, calls and requests by the second in which they began."""

    outcomes: Counter[str] = field(default_factory=Counter)
    calls: Counter[int] = field(default_factory=Counter)
    requests: Counter[int] = field(default_factory=Counter)
    ended: float = 0.0

    def load(self) -> float:
        """Requests per call in the outage, its first ten seconds left out."""
        seconds = range(30, 60)
        return sum(self.requests[second] for second in seconds) / sum(self.calls[second] for second in seconds)


def storm(clients: int, calls: int, config: ClientConfig, seed: int = 1) -> Storm:
    """Lets every client make a call a second, on average, whether or not the one before is done.

    The server answers everybody with 503 from the 20th second to the 60th.
    """
    world = VirtualTime(seed)
    seen = Storm()

    def answers(request: httpx2.Request) -> Step:
        seen.requests[int(world.now)] += 1
        return Step(503 if 20.0 <= world.now < 60.0 else 200, delay=0.05 + 0.1 * world.random.random())

    def counted(flow: Flow[Any]) -> Flow[None]:
        result = yield from flow
        seen.outcomes[result.reason.name if isinstance(result, Stop) else str(result.status_code)] += 1

    def lives(client: VirtualClient) -> Flow[None]:
        for _ in range(calls):
            yield Park(world.now + 2.0 * world.random.random())
            seen.calls[int(world.now)] += 1
            yield Spawn(counted(client.flow("GET", "/")))

    for _ in range(clients):
        client = VirtualClient(world, config, answers)
        client.start_flow(lives(client))
    world.run()
    seen.ended = world.now
    return seen
