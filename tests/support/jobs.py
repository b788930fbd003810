"""Jobs as engines are given them, and an engine that is given what another one leaves."""

from __future__ import annotations

from typing import Any

import httpx2

from holdfast.core.effects import Job
from holdfast.http.origins import Origins, Target
from holdfast.http.requests import CallContext

PATIENT: dict[str, float | None] = {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": 10.0}


def job(
    url: str,
    *,
    method: str = "GET",
    body: Any = b"",
    stream: bool = False,
    extensions: Any = None,
    sync: bool = False,
    **more: Any,
) -> Job:
    """A job for one request. What is not named here is a timeout, apart from `headers`."""
    target: Target = Origins(url).target(url)
    headers = [(b"Host", target.host), *more.pop("headers", [])]
    context = CallContext(target, extensions or {}, sync=sync)
    made = Job(method, target.url, headers, body, {**PATIENT, **more}, None, target.origin, f"{method} /", "1", context)
    made.stream = stream
    return made


class Elsewhere:
    """Stands where the httpx2 engine would, under asyncio."""

    caps: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.closed = False

    async def send(self, job: Job) -> httpx2.Response:
        self.jobs.append(job)
        return httpx2.Response(299)

    async def aclose(self) -> None:
        self.closed = True


class ElsewhereSync:
    """The same in sync use."""

    caps: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.closed = False

    def send(self, job: Job) -> httpx2.Response:
        self.jobs.append(job)
        return httpx2.Response(299)

    def close(self) -> None:
        self.closed = True
