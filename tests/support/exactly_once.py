"""Many executions at a time through `CrewClient`, of a server that loses connections and refuses requests.

Every fault of `FAULTS` strikes so often that `SHARE` of all requests are struck.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.crews import CrewClient, CrewClientConfig, CrewClientError
from tests.support.crews import DIARY
from tests.support.serving import request, serving

SHARE = 0.3
FAULTS = ("reset=before", "reset=after", "reset=body", "status=503")
RATE = 1 - (1 - SHARE) ** (1 / len(FAULTS))


@dataclass
class Seen:
    """What came of it.

    Attributes:
        calls: how many were made.
        results: numbers whose result was delivered, and is the right one.
        errors: of the others.
        executed: how often each number was executed.
        requests, struck: at the server, of its own counting.
        seconds: that it took.
    """

    calls: int
    results: set[int] = field(default_factory=set)
    errors: dict[int, CrewClientError] = field(default_factory=dict)
    executed: Counter[int] = field(default_factory=Counter)
    requests: int = 0
    struck: int = 0
    seconds: float = 0.0

    def more_than_once(self) -> list[int]:
        return [number for number, times in self.executed.items() if times > 1]

    def unaccounted(self) -> list[int]:
        """Executed, but neither is there a result, nor an error that says so."""
        return [
            number
            for number in self.executed
            if number not in self.results and not (number in self.errors and self.errors[number].may_have_executed)
        ]


def execute(data_dir: Path, calls: int, *, server_deduplicates: bool, **settings: Any) -> Seen:
    """`calls` executions at the same time, 10 attempts each, without budget and breaker.

    Args:
        data_dir: empty, for the server and the crew's diary.
        calls: how many.
        server_deduplicates: whether the client is told what is true: that the server executes a key once.
        settings: more of the client's.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    diary = data_dir / "diary"
    diary.touch()
    rules = [
        part
        for seed, fault in enumerate(FAULTS)
        for part in ("--fault", f"{fault};rate={RATE:.4f};seed={seed};path=/execute_crew")
    ]
    env = {"HOLDFAST_CREWS_MODULES": "tests.support.crews:counted", DIARY: str(diary)}
    seen = Seen(calls)

    async def main(url: str) -> None:
        config = CrewClientConfig(
            url=url,
            max_retries=10,
            retry_budget=False,
            circuit_breaker=False,
            acquisition_timeout=60,
            server_deduplicates=server_deduplicates,
            log_level="CRITICAL",
            **settings,
        )

        async def one(client: CrewClient, number: int) -> None:
            inputs = {"number": number, "seconds": 0.05}
            try:
                answer = await client.execute_crew("counted", inputs, timeout=30)
            except CrewClientError as error:
                seen.errors[number] = error
            else:
                assert answer["result"] == inputs
                seen.results.add(number)

        async with CrewClient(config) as client:
            await asyncio.gather(*(one(client, number) for number in range(calls)))

    with serving(data_dir / "server", "--faults", *rules, env=env) as server:
        url = f"http://127.0.0.1:{8001 + server.offset}"
        began = time.perf_counter()
        asyncio.run(main(url))
        seen.seconds = time.perf_counter() - began
        stats = json.loads(request(f"{url}/_faults/stats")[1])
    seen.requests, seen.struck = stats["requests"], sum(stats["struck"].values())
    seen.executed.update(int(line) for line in diary.read_text().splitlines())
    return seen
