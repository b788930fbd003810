"""A service that counts what it does, and workflows of steps that call it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

from tests.support.serving import Serving, request

PATIENCE = 60.0

Behave = Callable[[dict[str, Any]], tuple[int, Any]]


@dataclass(frozen=True)
class Called:
    """One request that the service was sent."""

    action: str
    key: str | None
    correlation_id: str | None
    body: dict[str, Any]


@dataclass
class CountingService:
    """A service on the loopback interface, with any number of actions: `POST /keyed/{action}`, `POST /plain/{action}`.

    Below /keyed a repeated `Idempotency-Key` is answered with the first answer, and nothing is done; below /plain it is
    done again. What an action answers is in `actions`, else `{action: number of fields it was sent}`.

    Attributes:
        effects: how often something was done, by `(action, key)`.
        requests: how often it was asked for, by the same.
        held: actions that do what they do, and answer only when the event is set.
    """

    seconds: float = 0.0
    actions: dict[str, Behave] = field(default_factory=dict)
    held: dict[str, threading.Event] = field(default_factory=dict)
    effects: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    requests: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    called: list[Called] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.answers: dict[str, tuple[int, Any]] = {}

    def do(self, action: str, body: dict[str, Any]) -> tuple[int, Any]:
        behave = self.actions.get(action)
        return (200, {action: len(body)}) if behave is None else behave(body)

    def answer(self, kind: str, called: Called) -> tuple[int, Any]:
        time.sleep(self.seconds)
        named = (called.action, called.key)
        with self.lock:
            self.called.append(called)
            self.requests[named] += 1
            known = self.answers.get(called.key) if kind == "keyed" and called.key else None
            if known is None:
                self.effects[named] += 1
                known = self.do(called.action, called.body)
                if called.key:
                    self.answers[called.key] = known
        if (held := self.held.get(called.action)) is not None:
            held.wait(PATIENCE)
        return known


@contextmanager
def counting_service(seconds: float = 0.0) -> Iterator[CountingService]:
    """The service, while the block runs. It takes `seconds` for each request."""
    service = CountingService(seconds)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            _, kind, action = self.path.split("/")
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            called = Called(action, self.headers["Idempotency-Key"], self.headers["X-Correlation-ID"], body)
            status, value = service.answer(kind, called)
            text = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing is printed."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whoever asked has gone, which is what the tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    # Closing it does not wait for requests that are held.
    server.block_on_close = False
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        for held in service.held.values():
            held.set()
        server.shutdown()
        server.server_close()
        thread.join()


def service_body(name: str, url: str, *actions: str, deduplicates: bool = True, **schemas: Any) -> dict[str, Any]:
    """What registers the service. `schemas` are output schemas by action."""
    kind = "keyed" if deduplicates else "plain"
    described = [{"name": action, "output_schema": schemas.get(action, {})} for action in actions]
    return {"name": name, "endpoint": f"{url}/{kind}", "deduplicates": deduplicates, "actions": described}


def workflow_body(service: str, *actions: str, **options: Any) -> dict[str, Any]:
    """What creates a workflow of these actions, one after the other; its steps are s0, s1, ..."""
    steps = [
        {"id": f"s{number}", "service": service, "action": action, "next": f"s{number + 1}", **options}
        for number, action in enumerate(actions)
    ]
    steps[-1]["next"] = None
    return {"name": " then ".join(actions), "steps": steps}


class Api:
    """Asks a server of port 8005 that is a process."""

    def __init__(self, server: Serving) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{8005 + server.offset}/api"

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = None if body is None else json.dumps(body).encode()
        status, text = request(f"{self.url}{path}", method, sent, {"Content-Type": "application/json", **headers})
        return status, json.loads(text)

    def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        status, value = self(method, path, body, **headers)
        assert status < 300, (status, value)
        return value

    def workflow(self, service: str, url: str, *actions: str, deduplicates: bool = True, **options: Any) -> str:
        """The id of a new workflow of a new service."""
        self.ok("POST", "/services", service_body(service, url, *actions, deduplicates=deduplicates))
        return str(self.ok("POST", "/workflows", workflow_body(service, *actions, **options))["id"])

    def execute(self, workflow: str, **body: Any) -> Any:
        return self.ok("POST", f"/workflows/{workflow}/execute", body)

    def ended(self, execution: str, patience: float = PATIENCE) -> Any:
        """The execution, when it has ended."""
        deadline = time.monotonic() + patience
        while (found := self.ok("GET", f"/executions/{execution}?wait=5"))["status"] in {"PENDING", "RUNNING"}:
            assert time.monotonic() < deadline, found
        return found

    def until(self, execution: str, reached: Callable[[Any], bool], patience: float = PATIENCE) -> Any:
        """The execution, when it has come so far."""
        deadline = time.monotonic() + patience
        while not reached(found := self.ok("GET", f"/executions/{execution}")):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found


async def begin_many(url: str, workflow: str, count: int) -> list[str]:
    """Ids of so many new executions."""

    async def one(client: httpx2.AsyncClient, number: int) -> str:
        body = {"input_data": {"number": number}}
        answer = await client.post(f"{url}/workflows/{workflow}/execute", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    limits = httpx2.Limits(max_connections=16)
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE, limits=limits) as client:
        return await asyncio.gather(*[one(client, number) for number in range(count)])
