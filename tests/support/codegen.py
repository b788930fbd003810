"""A scripted Codegen API: users, organizations, runs that progress, and a count of all that is asked."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx2

from holdfast.codegen import AsyncCodegenClient, ClientConfig
from holdfast.testing import FaultTransport, Step

TOKEN = "a-token-of-codegens-0123456789"
BASE = "/v1/organizations/123"
RUN = f"{BASE}/agent/run"


class Service:
    """Answers as the API does.

    Attributes:
        users: how many there are, with the ids from 1 on.
        runs: the runs that exist, by id, as they are answered.
        states: what a run goes through: with each look at it, it is in the next one.
        asked: how often each endpoint was asked, by method and path.
        broken: what is answered in place of the right answer, by method and path; taken in turn.
    """

    def __init__(self, users: int = 25, states: tuple[str, ...] = ("PENDING", "ACTIVE", "COMPLETE")) -> None:
        self.users = users
        self.states = states
        self.runs: dict[int, dict[str, Any]] = {}
        self.looks: Counter[int] = Counter()
        self.asked: Counter[str] = Counter()
        self.broken: dict[str, list[Any]] = {}
        self.transport = FaultTransport(self._answer)

    @property
    def requests(self) -> list[httpx2.Request]:
        return self.transport.requests

    def client(self, **settings: Any) -> AsyncCodegenClient:
        """A client with these settings in place of the defaults."""
        known = {"api_token": TOKEN, "org_id": 123, "log_level": "CRITICAL"}
        return AsyncCodegenClient(ClientConfig(**{**known, **settings}), transport=self.transport)

    def user(self, number: int) -> dict[str, Any]:
        return {
            "id": number,
            "github_user_id": f"g{number}",
            "github_username": f"user-{number}",
            "new_field": [number],
        }

    def _answer(self, request: httpx2.Request) -> Any:
        method, path = request.method, request.url.path
        self.asked[f"{method} {path}"] += 1
        broken = self.broken.get(f"{method} {path}")
        if broken:
            return broken.pop(0)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return problem(403, "You do not have access to this organization.")
        return self._get(path, request) if method == "GET" else self._post(path, json.loads(request.content))

    def _get(self, path: str, request: httpx2.Request) -> Step:
        if path == "/v1/users/me":
            return Step(json=self.user(1))
        if path == "/v1/organizations":
            return self._page(
                [{"id": number, "name": f"org {number}", "settings": {}} for number in (122, 123)], request
            )
        if path == f"{BASE}/users":
            return self._page([self.user(number) for number in range(1, self.users + 1)], request)
        if path == f"{BASE}/repos":
            return self._page([{"id": 7, "name": "kit", "full_name": "ada/kit"}], request)
        if path == f"{RUN}s":
            return self._page(list(self.runs.values())[::-1], request)
        number = int(path.removesuffix("/logs").rsplit("/", 1)[1])
        if path == f"{BASE}/users/{number}":
            known = number <= self.users
            return Step(json=self.user(number)) if known else problem(404, "User not found.")
        if number not in self.runs:
            return problem(404, "Agent run not found.")
        run = self.runs[number]
        if path.endswith("/logs"):
            return Step(json={**run, "logs": [{"agent_run_id": number, "thought": "so"}], "total_logs": 1})
        run["status"] = self.states[min(self.looks[number], len(self.states) - 1)]
        self.looks[number] += 1
        return Step(json=run)

    def _post(self, path: str, body: dict[str, Any]) -> Step:
        if path == f"{RUN}/resume":
            number = body["agent_run_id"]
            if number not in self.runs:
                return problem(404, "Agent run not found.")
            self.looks[number] = 0
        else:
            number = len(self.runs) + 1
            self.runs[number] = {"id": number, "organization_id": 123, "metadata": body.get("metadata")}
        self.runs[number]["status"] = self.states[0]
        return Step(json=self.runs[number])

    def _page(self, items: list[Any], request: httpx2.Request) -> Step:
        skip, limit = int(request.url.params["skip"]), int(request.url.params["limit"])
        pages = -(-len(items) // limit)
        about = {"total": len(items), "page": skip // limit + 1, "size": limit, "pages": pages}
        return Step(json={"items": items[skip : skip + limit], **about})


def problem(status: int, message: str, **headers: str) -> Step:
    """An error as the API words it."""
    return Step(status, json={"message": message, "status_code": status}, headers=headers)


def body_of(request: httpx2.Request) -> Any:
    return json.loads(request.content)
