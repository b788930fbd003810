"""A stand-in for the Service Integration server: its contract in memory, and executions that take as long as told.

It answers as a script of a `FaultTransport`, by whose clock its executions take their time, and by `answer` as a
handler of a `Loopback`, where they have ended at once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from holdfast.testing import Step
from tests.support.loopback import Answer, Seen, json_answer

MISSING = "00000000-0000-4000-8000-000000000000"


@dataclass
class Request:
    """What was asked for, below the prefix."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    key: str | None


@dataclass
class RefusalError(Exception):
    """An answer that is an error."""

    status: int
    body: dict[str, Any]


def _gone(kind: str, name: str) -> RefusalError:
    return RefusalError(404, {"detail": f"there is no {kind} {name}", "resource_type": kind, "resource_id": name})


def _invalid(*problems: tuple[list[Any], str]) -> RefusalError:
    return RefusalError(422, {"detail": [{"loc": ["body", *loc], "msg": text, "type": "x"} for loc, text in problems]})


@dataclass
class Happening:
    """An execution: what happens to it, each at a time of the clock."""

    facts: dict[str, Any]
    events: list[tuple[float, dict[str, Any]]]
    outcome: dict[str, Any]

    @property
    def end(self) -> float:
        return self.events[-1][0]

    def at(self, now: float) -> dict[str, Any]:
        return {**self.facts, **(self.outcome if now >= self.end else {"status": "RUNNING"})}


@dataclass
class StubRegistry:
    """The stand-in.

    Attributes:
        now: its clock. `lasts`: seconds that each step of an execution takes.
        outcome: what executions end with. `outputs`: what actions give, by name.
        counts: requests as method and path without ids. `waits`: seconds that requests asked it to wait.
        started: bodies of executions that were really started.
    """

    prefix: str = "/api"
    now: Callable[[], float] = lambda: 0.0
    lasts: float = 0.0
    outcome: dict[str, Any] = field(default_factory=lambda: {"status": "COMPLETED", "result": {"sentiment": "good"}})
    outputs: dict[str, Any] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    workflows: dict[str, dict[str, Any]] = field(default_factory=dict)
    executions: dict[str, Happening] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    started: list[Any] = field(default_factory=list)
    _kept: dict[tuple[str, str], tuple[int, Any, float]] = field(default_factory=dict)
    _number: int = 0

    # How it is asked

    def __call__(self, request: httpx2.Request) -> Step:
        """As a script."""
        url = request.url
        query = dict(url.params.multi_items())
        status, body, until = self.asked(
            request.method, url.path, query, request.content, request.headers.get("idempotency-key")
        )
        return Step(status, json=body, delay=max(0.0, until - self.now()))

    def answer(self, seen: Seen) -> Answer:
        """As a handler, without any wait."""
        query = {name: values[-1] for name, values in parse_qs(urlsplit(seen.target).query).items()}
        status, body, _ = self.asked(seen.method, seen.path, query, seen.body, seen.get("Idempotency-Key"))
        return json_answer(status, json.dumps(body))

    def asked(
        self, method: str, path: str, query: dict[str, str], content: bytes, key: str | None
    ) -> tuple[int, Any, float]:
        """Status and body, and when they are to be sent."""
        below = path.removeprefix(self.prefix)
        self.counts[f"{method} {re.sub('/[0-9a-f-]{36}', '/*', below)}"] += 1
        request = Request(method, below, query, json.loads(content) if content else None, key)
        if key is not None and (below, key) in self._kept:
            return self._kept[below, key]
        try:
            made = self._routed(request)
        except RefusalError as refusal:
            made = refusal.status, refusal.body, self.now()
        if key is not None:
            self._kept[below, key] = made
        return made

    def _routed(self, request: Request) -> tuple[int, Any, float]:
        for method, pattern, handle in _ROUTES:
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                status, body, *until = handle(self, request, *found.groups())
                return status, body, until[0] if until else self.now()
        raise RefusalError(404, {"detail": "Not Found"})

    def new_id(self) -> str:
        self._number += 1
        return f"{self._number:08d}-0000-4000-8000-000000000000"

    # What it can do

    def health(self, request: Request) -> tuple[int, Any]:
        return 200, {"status": "healthy", "service": "integration", "services": {"total": len(self.services)}}

    def register(self, request: Request) -> tuple[int, Any]:
        new = request.body
        if any(service["name"] == new["name"] for service in self.services.values()):
            raise RefusalError(409, {"detail": f"the name {new['name']!r} is taken"})
        made = {"deduplicates": False, "metadata": {}, **new, "id": self.new_id(), "status": "ACTIVE"}
        self.services[made["id"]] = made
        return 201, made

    def list_services(self, request: Request) -> tuple[int, Any]:
        return 200, self._page(list(self.services.values()), request.query)

    def get_service(self, request: Request, name: str) -> tuple[int, Any]:
        return 200, self._found(self.services, "service", name)

    def update_service(self, request: Request, name: str) -> tuple[int, Any]:
        service = self._found(self.services, "service", name)
        service.update(request.body)
        return 200, service

    def deregister(self, request: Request, name: str) -> tuple[int, Any]:
        service = self._found(self.services, "service", name)
        if any(step["service"] == service["name"] for one in self.workflows.values() for step in one["steps"]):
            raise RefusalError(409, {"detail": f"workflows use {service['name']!r}"})
        del self.services[name]
        return 200, {"success": True, "message": f"{service['name']} is deregistered"}

    def service_health(self, request: Request, name: str) -> tuple[int, Any]:
        service = self._found(self.services, "service", name)
        well = service["endpoint"].endswith("/api")
        return 200, {
            "service_id": name,
            "name": service["name"],
            "status": "healthy" if well else "unhealthy",
            "status_code": 200 if well else None,
            "seconds": 0.01,
            "error": None if well else "connection refused",
            "circuit": "closed",
            "checked_at": "2026-01-01T00:00:00Z",
        }

    def act(self, request: Request, name: str, action: str) -> tuple[int, Any]:
        service = self._found(self.services, "service", name)
        if action not in [one["name"] for one in service["actions"]]:
            raise _gone("action", action)
        output = self.outputs.get(action, {"echo": request.body["input_data"]})
        if isinstance(output, RefusalError):
            raise output
        return 200, output

    def create_workflow(self, request: Request) -> tuple[int, Any]:
        self._check_steps(request.body["steps"])
        made = {"metadata": {}, **request.body, "id": self.new_id(), "status": "ACTIVE"}
        self.workflows[made["id"]] = made
        return 201, made

    def list_workflows(self, request: Request) -> tuple[int, Any]:
        return 200, self._page(list(self.workflows.values()), request.query)

    def get_workflow(self, request: Request, name: str) -> tuple[int, Any]:
        return 200, self._found(self.workflows, "workflow", name)

    def update_workflow(self, request: Request, name: str) -> tuple[int, Any]:
        workflow = self._found(self.workflows, "workflow", name)
        if "steps" in request.body:
            self._check_steps(request.body["steps"])
        workflow.update(request.body)
        return 200, workflow

    def delete_workflow(self, request: Request, name: str) -> tuple[int, Any]:
        self._found(self.workflows, "workflow", name)
        del self.workflows[name]
        return 200, {"success": True, "message": "deleted"}

    def execute(self, request: Request, name: str) -> tuple[int, Any, float]:
        workflow = self._found(self.workflows, "workflow", name)
        if workflow["status"] != "ACTIVE":
            raise RefusalError(409, {"detail": f"the workflow {workflow['name']!r} is INACTIVE"})
        body = request.body
        self.started.append(body)
        at = self.now()
        events = [(at, "execution.created", None), (at, "execution.started", None)]
        for step in workflow["steps"]:
            events += [(at, "step.started", step["id"]), (at + self.lasts, "step.completed", step["id"])]
            at += self.lasts
        events.append((at, f"execution.{self.outcome['status'].lower()}", None))
        facts = {"workflow_id": name, "input_data": body["input_data"], "context": body.get("context"), "run": 1}
        facts |= {"id": self.new_id(), "request_id": request.key, "result": None, "error": None, "steps": []}
        told = [
            (when, {"number": number, "at": "2026-01-01T00:00:00Z", "kind": kind, "step": step, "message": None})
            for number, (when, kind, step) in enumerate(events, start=1)
        ]
        happening = self.executions[facts["id"]] = Happening(facts, told, self.outcome)
        return self._when_ended(happening, body.get("wait", 0.0), accepted=202)

    def get_execution(self, request: Request, name: str) -> tuple[int, Any, float]:
        happening = self._found(self.executions, "execution", name)
        return self._when_ended(happening, float(request.query.get("wait", 0)), accepted=200)

    def list_executions(self, request: Request, name: str | None = None) -> tuple[int, Any]:
        if name is not None:
            self._found(self.workflows, "workflow", name)
        wanted = name or request.query.get("workflow_id")
        all_of_them = [one.at(self.now()) for one in self.executions.values()]
        return 200, self._page([one for one in all_of_them if wanted in (None, one["workflow_id"])], request.query)

    def events(self, request: Request, name: str) -> tuple[int, Any, float]:
        happening = self._found(self.executions, "execution", name)
        after, limit = int(request.query.get("after", 0)), int(request.query.get("limit", 100))
        at = now = self.now()
        waits = float(request.query.get("wait", 0))
        self.waits.append(waits)
        beyond = [(when, event) for when, event in happening.events if event["number"] > after]
        if beyond:
            at = min(max(now, beyond[0][0]), now + waits)
        found = [event for when, event in beyond if when <= at][:limit]
        last = found[-1]["number"] if found else after
        done = last >= len(happening.events)
        return 200, {"events": found, "last": last, "status": happening.at(at)["status"], "done": done}, at

    def cancel(self, request: Request, name: str) -> tuple[int, Any]:
        happening = self._found(self.executions, "execution", name)
        if self.now() >= happening.end:
            raise RefusalError(409, {"detail": "it has ended"})
        number = len([when for when, _ in happening.events if when <= self.now()])
        cancelled = {"number": number + 1, "kind": "execution.cancelled", "step": None, "message": None}
        happening.events[number:] = [(self.now(), cancelled)]
        happening.outcome = {"status": "CANCELLED"}
        return 200, happening.at(self.now())

    def resume(self, request: Request, name: str) -> tuple[int, Any]:
        happening = self._found(self.executions, "execution", name)
        if happening.outcome["status"] == "COMPLETED":
            raise RefusalError(409, {"detail": "it is COMPLETED"})
        happening.outcome = {"status": "COMPLETED", "result": {"resumed": True}}
        return 202, {**happening.facts, "status": "PENDING", "run": 2}

    # What these share

    def _found(self, among: dict[str, Any], kind: str, name: str) -> Any:
        try:
            return among[name]
        except KeyError:
            raise _gone(kind, name) from None

    def _when_ended(self, happening: Happening, wait: float, accepted: int) -> tuple[int, Any, float]:
        self.waits.append(wait)
        at = max(self.now(), min(happening.end, self.now() + wait))
        return (200 if at >= happening.end else accepted), happening.at(at), at

    def _page(self, items: list[Any], query: dict[str, str]) -> dict[str, Any]:
        page, size = int(query.get("page", 1)), int(query.get("per_page", 10))
        wanted = [one for one in reversed(items) if query.get("status") in (None, one["status"])]
        pages = -(-len(wanted) // size)
        part = wanted[(page - 1) * size : page * size]
        return {"items": part, "total": len(wanted), "page": page, "per_page": size, "pages": pages}

    def _check_steps(self, steps: list[dict[str, Any]]) -> None:
        known = {service["name"] for service in self.services.values()}
        problems: list[tuple[list[Any], str]] = [
            (["steps", index, "service"], f"step {step['id']!r}: no service is called {step['service']!r}")
            for index, step in enumerate(steps)
            if step["service"] not in known
        ]
        if problems:
            raise _invalid(*problems)


_ID = "/([^/]+)"
_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/health", StubRegistry.health),
    ("POST", "/services", StubRegistry.register),
    ("GET", "/services", StubRegistry.list_services),
    ("GET", f"/services{_ID}", StubRegistry.get_service),
    ("PUT", f"/services{_ID}", StubRegistry.update_service),
    ("DELETE", f"/services{_ID}", StubRegistry.deregister),
    ("GET", f"/services{_ID}/health", StubRegistry.service_health),
    ("POST", f"/services{_ID}/actions{_ID}", StubRegistry.act),
    ("POST", "/workflows", StubRegistry.create_workflow),
    ("GET", "/workflows", StubRegistry.list_workflows),
    ("GET", f"/workflows{_ID}", StubRegistry.get_workflow),
    ("PUT", f"/workflows{_ID}", StubRegistry.update_workflow),
    ("DELETE", f"/workflows{_ID}", StubRegistry.delete_workflow),
    ("POST", f"/workflows{_ID}/execute", StubRegistry.execute),
    ("GET", f"/workflows{_ID}/executions", StubRegistry.list_executions),
    ("GET", "/executions", StubRegistry.list_executions),
    ("GET", f"/executions{_ID}", StubRegistry.get_execution),
    ("GET", f"/executions{_ID}/events", StubRegistry.events),
    ("POST", f"/executions{_ID}/cancel", StubRegistry.cancel),
    ("POST", f"/executions{_ID}/resume", StubRegistry.resume),
]
