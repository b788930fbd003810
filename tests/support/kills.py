"""Executions whose servers are killed over and over, and what became of each of their steps."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.support.serving import Serving, serving
from tests.support.workflows import Api, begin_many, counting_service

ENVIRONMENT = {"INTEGRATION_LEASE_SECONDS": "1", "INTEGRATION_ACTION_TIMEOUT": "300"}
ACTIONS = ("a", "b", "c")
PATIENCE = 600.0


@dataclass(frozen=True)
class Survived:
    """What came of it.

    Attributes:
        completed: executions that ended well, with every step completed and the right result.
        effects: how often each step was done, over all executions.
        requests: that the service was sent.
        kills: servers that were killed.
        errors: of executions that did not end well.
    """

    executions: int
    completed: int
    effects: tuple[int, ...]
    requests: int
    kills: int
    seconds: float
    errors: tuple[str, ...] = ()

    @property
    def times_done(self) -> dict[int, int]:
        """Of how many steps there are so many effects."""
        return dict(sorted(Counter(self.effects).items()))


def kill(server: Serving) -> None:
    """As if the machine had failed."""
    server.process.send_signal(signal.SIGKILL)
    server.process.communicate(timeout=10)


def survive(
    folder: Path,
    options: Sequence[str],
    *,
    servers: int,
    executions: int,
    kills: int,
    deduplicates: bool,
    seconds: float = 0.05,
) -> Survived:
    """Executions of three steps, while the servers are killed in turns and replaced by new ones.

    Args:
        folder: data directory.
        options: of `holdfast serve`.
        servers: how many there are at a time, on one database.
        executions: how many.
        kills: how often a server is killed; evenly over the time in which there is something to do.
        deduplicates: whether the service answers a repeated key with its first answer.
        seconds: that the service takes for a step.
    """
    began = time.monotonic()
    with counting_service(seconds) as service, ExitStack() as stack:
        alive = [stack.enter_context(serving(folder, *options, env=ENVIRONMENT)) for _ in range(servers)]
        api = Api(alive[0])
        workflow = api.workflow(f"survivor {uuid4()}", service.url, *ACTIONS, deduplicates=deduplicates)
        begun = asyncio.run(begin_many(api.url, workflow, executions))
        for number in range(1, kills + 1):
            wanted = executions * len(ACTIONS) * number // (kills + 1)
            while len(service.effects) < wanted:
                time.sleep(0.005)
            kill(alive.pop(0))
            alive.append(stack.enter_context(serving(folder, *options, env=ENVIRONMENT)))
        api = Api(alive[0])
        completed, errors = 0, []
        for one in begun:
            found = api.ended(one, PATIENCE)
            well = [step["status"] for step in found["steps"]] == ["COMPLETED"] * len(ACTIONS)
            if found["status"] == "COMPLETED" and found["result"] == {"c": 3} and well:
                completed += 1
            else:
                errors.append(f"{found['status']}, run {found['run']}: {found['error']}")
        keys = [(action, f"{one}:s{place}") for one in begun for place, action in enumerate(ACTIONS)]
        assert set(service.requests) <= set(keys), "a request with a key that no step has"
        effects = tuple(service.effects[key] for key in keys)
        took = time.monotonic() - began
        return Survived(executions, completed, effects, service.requests.total(), kills, took, tuple(errors))
