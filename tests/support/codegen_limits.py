"""Codegen clients under virtual time against a service that enforces its limits: what it refuses, what gets done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import httpx2

from holdfast.codegen import ClientConfig
from holdfast.core.effects import Flow
from holdfast.servers.codegen.limits import LIMITS, Quotas
from holdfast.testing import Step, VirtualClient, VirtualTime

URL = "http://codegen.test/v1"
PATHS = {"GET": "/organizations/123/users/7", "POST": "/organizations/123/agent/run"}


@dataclass
class Load:
    """What came of it.

    Attributes:
        accepted: requests that the service answered well.
        ideal: those that it would have, of somebody who asks whenever there is room.
        refusals: when it answered 429, in seconds since the beginning.
        rates: those of the clients' limiters in the end, in requests a minute.
    """

    ideal: int
    accepted: int = 0
    refusals: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    @property
    def refused(self) -> int:
        return len(self.refusals)

    def refused_after(self, seconds: float) -> int:
        return sum(when >= seconds for when in self.refusals)


def load(
    clients: int, workers: int, method: Literal["GET", "POST"], seconds: float, *, headers: bool = True, seed: int = 1
) -> Load:
    """Clients that share a token and nothing else, against the limits as the reference server enforces them.

    Args:
        clients: how many. `workers`: of each, asking again as soon as they are answered.
        method: GET for users, POST for runs.
        seconds: of virtual time.
        headers: whether answers tell the limits, or only a 429 when to come back.
        seed: of the time that answers take.
    """
    world, quotas = VirtualTime(seed), Quotas()
    path = PATHS[method]
    limit = next(one for one in LIMITS if one.matches(method, f"/v1{path}"))
    seen = Load(ideal=int(seconds / limit.window) * limit.quota)

    def answers(request: httpx2.Request) -> Step:
        standing = quotas.take("token", limit, world.now)
        if standing.accepted:
            seen.accepted += 1
        else:
            seen.refusals.append(world.now)
        told = standing.headers()
        shown = {name: value for name, value in told.items() if headers or name == "Retry-After"}
        return Step(200 if standing.accepted else 429, headers=shown, delay=0.05 + 0.2 * world.random.random())

    def work(client: VirtualClient) -> Flow[None]:
        while world.now < seconds:
            yield from client.flow(method, path)

    config = ClientConfig(api_token="token", base_url=URL, log_level="CRITICAL").client_config()
    made = [VirtualClient(world, config, answers) for _ in range(clients)]
    for client in made:
        for _ in range(workers):
            client.start_flow(work(client))
    world.run(seconds)
    lane = None if config.rate_limit.key is None else config.rate_limit.key(method, path)
    limiters = [client.assembly.pipeline.limiter(client.assembly.origins.own, lane) for client in made]
    seen.rates = [limiter.rate or 0.0 for limiter in limiters]
    return seen
