"""The Service Integration server in process, in an event loop that runs all the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI

from holdfast.servers import webapp
from holdfast.servers.integration import create_app
from holdfast.servers.integration.settings import Settings
from holdfast.servers.service import Storage
from tests.support.workflows import CountingService, service_body, workflow_body

PATIENCE = 60.0


class Asked:
    """Asks a server that runs in the same event loop."""

    def __init__(self, app: FastAPI, client: httpx2.AsyncClient) -> None:
        self.app = app
        self.client = client

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {} if body is None else {"json": body}
        answer = await self.client.request(method, f"/api{path}", headers=named, **sent)
        return answer.status_code, answer.json()

    async def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        status, value = await self(method, path, body, **headers)
        assert status < 300, (status, value)
        return value

    async def workflow(self, service: CountingService, *actions: str, deduplicates: bool = True, **options: Any) -> str:
        """The id of a new workflow; its service is called as the actions are."""
        name = " ".join(actions)
        status, _ = await self(
            "POST", "/services", service_body(name, service.url, *actions, deduplicates=deduplicates)
        )
        assert status in {201, 409}
        return str((await self.ok("POST", "/workflows", workflow_body(name, *actions, **options)))["id"])

    async def execute(self, workflow: str, **body: Any) -> Any:
        return await self.ok("POST", f"/workflows/{workflow}/execute", body)

    async def get(self, execution: str, wait: float = 0) -> Any:
        return await self.ok("GET", f"/executions/{execution}?wait={wait}")

    async def until(self, execution: str, reached: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(PATIENCE):
            while not reached(found := await self.get(execution)):
                await asyncio.sleep(0.01)
        return found

    async def happened(self, execution: str) -> list[str]:
        """Kinds of the events, with the step if there is one."""
        found = await self.ok("GET", f"/executions/{execution}/events?limit=1000")
        assert [one["number"] for one in found["events"]] == list(range(1, len(found["events"]) + 1))
        return [" ".join(filter(None, (one["kind"], one["step"]))) for one in found["events"]]


@asynccontextmanager
async def serving(storage: Storage, clock: Callable[[], Any] = webapp.utc_now, **settings: Any) -> AsyncIterator[Asked]:
    """The server while the block runs."""
    app = create_app(storage, Settings(**{"action_attempts": 2, **settings}), clock=clock)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://server", timeout=PATIENCE) as client:
            yield Asked(app, client)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Runs a test to its end."""

    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await main()

    asyncio.run(limited())
