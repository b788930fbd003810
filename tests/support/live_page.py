"""What the live page needs: servers in a process, a service with a will of its own, and short ways to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.serving import Serving, request, serving
from tests.support.worker import Worker, working

PORT = 8005
JSON = {"Content-Type": "application/json"}

SCHEMA = {
    "type": "object",
    "required": ["document", "language"],
    "properties": {
        "document": {"type": "string", "description": "Where the document is."},
        "language": {"enum": ["en", "de"]},
        "limit": {"type": "integer"},
        "deep": {"type": "object", "properties": {"list": {"type": "array", "items": {"type": "integer"}}}},
    },
}


@dataclass
class Live:
    """A server with a registered service `worker`."""

    server: Serving
    worker: Worker

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{PORT + self.server.offset}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        status, text = request(
            f"{self.url}/api{path}", method, None if body is None else json.dumps(body).encode(), JSON
        )
        assert status < 300, f"{method} {path}: {status} {text}"
        return json.loads(text)

    def workflow(self, name: str, *actions: str) -> str:
        """The id of a new workflow: a step per action, named after it."""
        steps = [
            {"id": action, "service": "worker", "action": action, "next": following}
            for action, following in zip(actions, [*actions[1:], None], strict=True)
        ]
        return str(self.ask("POST", "/workflows", {"name": name, "steps": steps})["id"])

    def start(self, workflow: str, wait: float = 0, **input_data: Any) -> str:
        """The id of a new execution, which may have ended."""
        body = {"input_data": input_data, "wait": wait}
        return str(self.ask("POST", f"/workflows/{workflow}/execute", body)["id"])


@contextmanager
def live_page(data_dir: Path) -> Iterator[Live]:
    """The server and the service while the block runs."""
    with working() as worker, serving(data_dir) as server:
        live = Live(server, worker)
        actions: list[dict[str, Any]] = [{"name": name} for name in ("quick", "slow", "picky", "big")]
        actions.append({"name": "strict", "description": "Takes only what it knows.", "input_schema": SCHEMA})
        live.ask("POST", "/services", {"name": "worker", "endpoint": worker.url, "actions": actions})
        yield live
