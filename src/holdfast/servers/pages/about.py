"""What there is to say about one port, as data: asked of the app itself, so it cannot disagree with it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp

__all__ = ["About", "Endpoint", "Health", "Neighbour", "find_out"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""The health endpoint gets so long."""

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Health:
    """What /health answers.

    Attributes:
        ok: whether it is a success.
        status: in a word, the server's own where it has one.
        details: the rest of the answer.
    """

    ok: bool
    status: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the OpenAPI document.

    Attributes:
        group: its tag, "" without one.
        opens: whether a browser can show it by following a link: nothing has to be filled in.
    """

    method: str
    path: str
    summary: str
    group: str
    opens: bool


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What another port of the same process has."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class About:
    """Everything about one port.

    Attributes:
        service: its name.
        version: of Holdfast.
        page: path of a page that the service has itself, None without one.
        openapi: path of its OpenAPI document, None without one.
        faults: path of the admin API of failure injection, None where that is off.
    """

    service: str
    version: str
    health: Health
    endpoints: tuple[Endpoint, ...]
    neighbours: tuple[Neighbour, ...]
    page: str | None
    openapi: str | None
    faults: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def find_out(
    app: ASGIApp,
    *,
    service: str,
    version: str,
    neighbours: tuple[Neighbour, ...],
    page: str | None = None,
    faults: str | None = None,
) -> About:
    """Ask an app about itself, within this process."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        document = await _json(client, "/openapi.json")
        health = await _health(client)
    described = document if isinstance(document, dict) else None
    return About(
        service=service,
        version=version,
        health=health,
        endpoints=tuple(_endpoints(described or {})),
        neighbours=neighbours,
        page=page,
        openapi="/openapi.json" if described else None,
        faults=faults,
    )


async def _health(client: httpx2.AsyncClient) -> Health:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await client.get("/health")
    except TimeoutError:
        return Health(ok=False, status=f"no answer within {PATIENCE_SECONDS:g} s")
    try:
        details = answer.json()
    except ValueError:
        details = None
    if not isinstance(details, dict):
        details = {}
    status = details.pop("status", None)
    if not isinstance(status, str):
        status = "healthy" if answer.is_success else f"answers {answer.status_code}"
    return Health(ok=answer.is_success, status=status, details=details)


async def _json(client: httpx2.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    try:
        return answer.json() if answer.is_success else None
    except ValueError:
        return None


def _endpoints(document: Mapping[str, Any]) -> list[Endpoint]:
    found = []
    for path, operations in document.get("paths", {}).items():
        for method in METHODS:
            operation = operations.get(method)
            if operation is None:
                continue
            required = any(parameter.get("required") for parameter in operation.get("parameters", ()))
            # The docstring's first sentence says more than a summary made from the function's name.
            says = (operation.get("description") or "").partition("\n")[0] or operation.get("summary", "")
            group = next(iter(operation.get("tags", ())), "")
            opens = method == "get" and not required and "{" not in path
            found.append(Endpoint(method.upper(), path, says, group, opens))
    return found
