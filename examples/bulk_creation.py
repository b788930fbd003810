"""Agent runs created in bulk, with a progress bar, and the same runs awaited side by side.

    python examples/bulk_creation.py

It starts the servers by itself (`pip install 'holdfast[cli,servers]'`). The bar is drawn on a terminal only.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable

from holdfast.codegen import AgentRunResponse, AsyncCodegenClient, create_production_client
from holdfast.service import Call, ProgressBar
from servers import reference_servers

ISSUES = range(101, 109)  # no more than the service lets anybody create in a minute


async def main(url: str) -> None:
    """Creates the runs and waits for their ends."""
    configs = [{"prompt": f"Fix issue {issue}", "metadata": {"issue": issue}} for issue in ISSUES]
    configs[3]["prompt"] = ""
    token = f"example-{os.getpid()}"  # limits are counted by token
    async with create_production_client(token, 123, base_url=url, log_level="ERROR") as client:
        with ProgressBar("creating runs") as bar:
            made = await client.bulk_create_agent_runs(run_configs=configs, workers=4, progress=bar)
        print(f"{made.successful_items} of {made.total_items} runs created")
        for failure in made.errors:
            print(f"  number {failure.index} was not: {failure.error}")
        with ProgressBar("waiting for them") as bar:
            ended = await client.bulk(
                [run.id for run in made.results if run is not None], awaited(client), workers=8, progress=bar
            )
        print(dict(Counter(run.status for run in ended.results if run is not None)))


def awaited(client: AsyncCodegenClient) -> Callable[[int], Call[AgentRunResponse]]:
    """What waits for a run."""
    return lambda run_id: client.wait_for_agent_run_completion(run_id=run_id, timeout=60, poll_interval=1.0)


if __name__ == "__main__":
    with reference_servers() as servers:
        asyncio.run(main(servers.codegen))
