"""Asks a Service Integration server of a test what its registry has."""

from __future__ import annotations

from typing import Any

from tests.support.served import Served

TEXT_IN = {"type": "object", "properties": {"url": {"type": "string", "format": "uri"}}, "required": ["url"]}
TEXT_OUT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


class Registry:
    """Asks a server, below /api."""

    def __init__(self, served: Served) -> None:
        self.served = served

    def __call__(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        return self.served(method, f"/api{path}", json, **options)

    def ok(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        return self.served.ok(method, f"/api{path}", json, **options)

    def refused(self, method: str, path: str, json: Any = None, **options: Any) -> tuple[int, Any]:
        return self.served.refused(method, f"/api{path}", json, **options)

    def problems(self, method: str, path: str, json: Any) -> dict[str, str]:
        """The messages of a 422, by their places in the body."""
        status, detail = self.refused(method, path, json)
        assert status == 422, detail
        assert all(one.keys() == {"loc", "msg", "type"} and one["loc"][0] == "body" for one in detail)
        return {".".join(map(str, one["loc"][1:])): one["msg"] for one in detail}

    def service(self, name: str = "text", endpoint: str = "http://text.invalid/api", **fields: Any) -> dict[str, Any]:
        actions = [{"name": "extract"}, {"name": "clean"}]
        return dict(self.ok("POST", "/services", {"name": name, "endpoint": endpoint, "actions": actions, **fields}))

    def workflow(self, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
        given = list(steps) or [step("a", "b"), step("b", None)]
        return dict(self.ok("POST", "/workflows", {"name": "w", "steps": given, **fields}))


def step(name: str, following: str | None, service: str = "text", action: str = "extract") -> dict[str, Any]:
    return {"id": name, "service": service, "action": action, "next": following}
