"""Many agent runs created through `AsyncCodegenClient`, by a server that loses connections before and after it acts."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

from holdfast.codegen import AsyncCodegenClient, ClientConfig, CodegenAPIError
from tests.support.serving import request

SHARE = 0.3
FAULTS = ("reset=before", "reset=after", "reset=body")
RATE = 1 - (1 - SHARE) ** (1 / len(FAULTS))
TOKEN = "a-token-of-codegens-0123456789"


@dataclass
class Created:
    """What came of it. Runs go by the number in their metadata.

    Attributes:
        runs: how many were to be created.
        returned: numbers of those whose call has returned a run.
        doubtful: of those whose call has failed and says that there may be one. `refused`: of the other failures.
        existing: how many runs there are of each number, as the server tells.
        requests, struck: at the server, of its own counting.
        seconds: that it took.
    """

    runs: int
    returned: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    existing: Counter[int] = field(default_factory=Counter)
    requests: int = 0
    struck: int = 0
    seconds: float = 0.0

    @property
    def twice(self) -> list[int]:
        return [number for number, times in self.existing.items() if times > 1]

    @property
    def unaccounted(self) -> list[int]:
        """Those that exist, and whose caller does not know that it may be so; or returned, and do not exist."""
        known = self.returned | self.doubtful
        return [*(set(self.existing) - known), *(self.returned - set(self.existing))]


def create(url: str, runs: int) -> Created:
    """Creates so many runs at once, while 30 % of the requests for it are reset.

    Args:
        url: of a server with failure injection, relaxed limits and the token `TOKEN`.
        runs: how many.
    """
    seen = Created(runs)
    asyncio.run(_create(url, seen))
    return seen


async def _create(url: str, seen: Created) -> None:
    config = ClientConfig(
        api_token=TOKEN,
        org_id=123,
        base_url=f"{url}/v1",
        rate_limit_requests_per_period=6000,
        circuit_breaker=False,
        acquisition_timeout=60,
        log_level="CRITICAL",
    )

    async def one(client: AsyncCodegenClient, number: int) -> None:
        try:
            run = await client.create_agent_run(prompt=f"Do {number}", metadata={"number": number})
        except CodegenAPIError as error:
            (seen.doubtful if error.may_have_executed else seen.refused).add(number)
        else:
            assert run.metadata == {"number": number}
            seen.returned.add(number)

    async with AsyncCodegenClient(config) as client:
        before = {run.id async for run in client.get_all_agent_runs()}
        _misbehave(url)
        began = time.perf_counter()
        await asyncio.gather(*(one(client, number) for number in range(seen.runs)))
        seen.seconds = time.perf_counter() - began
        stats = json.loads(request(f"{url}/_faults/stats")[1])
        seen.requests, seen.struck = stats["requests"], sum(stats["struck"].values())
        request(f"{url}/_faults", "DELETE")
        async for run in client.get_all_agent_runs():
            if run.id not in before:
                seen.existing[(run.metadata or {})["number"]] += 1


def _misbehave(url: str) -> None:
    for seed, fault in enumerate(FAULTS):
        rule = f"{fault};rate={RATE:.4f};seed={seed};path=/v1/organizations/123/agent/run"
        status, said = request(f"{url}/_faults", "POST", rule.encode(), {"Content-Type": "text/plain"})
        assert status < 300, said
