"""Short ways to a Codegen server that is asked in process, whose time a test tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from holdfast.servers.codegen import create_app
from holdfast.servers.codegen.server import CodegenServer
from holdfast.servers.codegen.settings import Settings
from holdfast.servers.service import Storage
from tests.support.served import Clock, Served, serving_app

ORGANIZATION = "/v1/organizations/123"
RUN = f"{ORGANIZATION}/agent/run"
RUNS = f"{ORGANIZATION}/agent/runs"
SECRET = "a secret for webhooks"


class CodegenServed:
    """Asks the server; runs take three seconds of `clock`, and nothing is delivered but by `deliver`."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.clock = served.clock

    @property
    def server(self) -> CodegenServer:
        server: CodegenServer = self.served.app.state.codegen
        return server

    def __call__(self, method: str, path: str, json: Any = None, **options: Any) -> httpx2.Response:
        return self.served(method, path, json, **options)

    def ok(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        return self.served.ok(method, path, json, **options)

    def new_run(self, prompt: str = "Fix the bug", **fields: Any) -> Any:
        return self.ok("POST", RUN, {"prompt": prompt, **fields})

    def run(self, run_id: int) -> Any:
        return self.ok("GET", f"{RUN}/{run_id}")

    def logs(self, run_id: int, query: str = "") -> Any:
        return self.ok("GET", f"/v1/alpha/organizations/123/agent/run/{run_id}/logs{query}")

    def refused(self, method: str, path: str, json: Any = None, **options: Any) -> tuple[int, str]:
        """Status and message of an answer in the official shape of errors."""
        answer = self(method, path, json, **options)
        body = answer.json()
        assert answer.is_error, answer.text
        assert body.keys() == {"message", "status_code", "detail"}, body
        assert (body["status_code"], body["detail"]) == (answer.status_code, body["message"])
        return answer.status_code, body["message"]

    def problem(self, method: str, path: str, json: Any = None, **options: Any) -> dict[str, Any]:
        """The one thing that is wrong with a request."""
        answer = self(method, path, json, **options)
        assert answer.status_code == 422, answer.text
        (problem,) = answer.json()["detail"]
        assert problem.keys() == {"loc", "msg", "type"}
        return dict(problem)

    def webhook(self, url: str, **fields: Any) -> int:
        return int(self.ok("POST", "/v1/webhooks", {"url": url, "secret": SECRET, **fields})["id"])

    def deliver(self) -> None:
        """Everything that is due at the moment, until nothing is under way."""

        async def all_of_it() -> None:
            # The server turns by itself as well, and may have begun what this one then does not see yet.
            for _ in range(50):
                due = await self.server.turn()
                await self.server.courier.settle()
                if due is None or due > self.clock():
                    return
                await asyncio.sleep(0.01)

        self.served.run(all_of_it())

    def deliveries(self, status: str | None = None) -> list[Any]:
        """The oldest first."""
        query = f"?status={status}" if status else ""
        return list(reversed(self.ok("GET", f"/v1/webhooks/deliveries{query}")["items"]))


@contextmanager
def codegen_served(storage: Storage, clock: Clock | None = None, **settings: Any) -> Iterator[CodegenServed]:
    """The server while the block runs. Waits of deliveries are spread by nothing."""

    def make(*, clock: Clock) -> Any:
        return create_app(storage, Settings(**settings), clock=clock, chance=lambda: 0.5)

    with serving_app(make, clock=clock, headers={"Authorization": "Bearer any"}) as served:
        yield CodegenServed(served)
