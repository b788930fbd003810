"""The Crews server in process, with crews that a test brings along; and crews for servers that run as processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from holdfast.auth import internal_auth
from holdfast.servers.contextiq import Settings as ContextSettings
from holdfast.servers.crews.server import CrewsServer
from holdfast.servers.crews.settings import Settings
from holdfast.servers.crews_and_sessions import create_app
from holdfast.servers.executions import Executions
from holdfast.servers.service import Storage
from tests.support.served import Clock, Served, serving_app

DIARY = "HOLDFAST_TEST_DIARY"
"""Names the file in which the crews below say what they do, a line each time."""


class ServedCrews:
    """Asks a Crews server."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.server: CrewsServer = served.app.state.crews

    @property
    def executions(self) -> Executions:
        return self.server.executions

    def add(self, **crews: Any) -> None:
        for name, target in crews.items():
            self.server.registry.add(name, target)

    async def ask(self, crew: str, key: str | None = None, timeout: float = 30, **inputs: Any) -> httpx2.Response:
        """A request that executes a crew."""
        headers = {} if key is None else {"Idempotency-Key": key}
        body = {"crew_name": crew, "inputs": inputs, "timeout": timeout}
        return await self.served.ask("POST", "/execute_crew", body, headers=headers)

    def __call__(self, crew: str, key: str | None = None, timeout: float = 30, **inputs: Any) -> Any:
        """What came of it, as a dict."""
        answer = self.served.run(self.ask(crew, key, timeout, **inputs))
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def serving_crews(
    storage: Storage,
    settings: Mapping[str, Any] | None = None,
    *,
    clock: Clock | None = None,
    context: ContextSettings | None = None,
) -> Iterator[ServedCrews]:
    given = Settings(**(settings or {}))
    headers = {"Authorization": f"Bearer {internal_auth().mint()}"}
    with serving_app(create_app, storage, context or ContextSettings(), given, clock=clock, headers=headers) as served:
        yield ServedCrews(served)


# For HOLDFAST_CREWS_MODULES


def write_down(what: str) -> None:
    with Path(os.environ[DIARY]).open("a", encoding="utf-8") as diary:
        diary.write(f"{what}\n")


async def counted(inputs: dict[str, Any]) -> dict[str, Any]:
    """Says that it is executed, and returns its inputs."""
    write_down(str(inputs["number"]))
    await asyncio.sleep(inputs.get("seconds", 0))
    return inputs


def blocking(inputs: dict[str, Any]) -> str:
    """As long as its inputs say it can be stopped by nobody."""
    write_down(f"began {inputs['number']}")
    time.sleep(inputs["seconds"])
    write_down(f"ended {inputs['number']}")
    return "done"


async def deaf(inputs: dict[str, Any]) -> None:
    """Blocks the event loop, as no crew should."""
    write_down("deaf")
    time.sleep(600)


async def stubborn(inputs: dict[str, Any]) -> None:
    """Does not let itself be cancelled."""
    write_down("stubborn")
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
