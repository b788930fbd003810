"""A reference server's app, entered and asked in process, by tests that read from top to bottom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx2
from fastapi import FastAPI

T = TypeVar("T")

OUTSIDE = ("/health", "/openapi", "/crews", "/execute_crew", "/api/", "/v1/")


class Clock:
    """Tells the time that a test gives it."""

    def __init__(self) -> None:
        self.now = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **units: float) -> None:
        self.now += timedelta(**units)


class Served:
    """Asks an app. `served("GET", "/sessions")` is a request below /api/v1."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner, client: httpx2.AsyncClient, clock: Clock) -> None:
        self.app = app
        self.clock = clock
        self._runner = runner
        self._client = client

    def __call__(self, method: str, path: str, json: Any = None, **options: Any) -> httpx2.Response:
        return self.run(self.ask(method, path, json, **options))

    def ok(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        """The JSON of an answer, which must be a success."""
        answer = self(method, path, json, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def refused(self, method: str, path: str, json: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and detail of an answer, which must be an error."""
        answer = self(method, path, json, **options)
        assert answer.is_error, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.status_code, answer.json()["detail"]

    def together(self, *asked: Coroutine[Any, Any, httpx2.Response]) -> list[httpx2.Response]:
        """The answers to requests that are under way at the same time."""

        async def all_of_them() -> list[httpx2.Response]:
            return list(await asyncio.gather(*asked))

        return self.run(all_of_them())

    async def ask(self, method: str, path: str, json: Any = None, **options: Any) -> httpx2.Response:
        """A request that is not sent yet."""
        full = path if path.startswith(OUTSIDE) else f"/api/v1{path}"
        body = {} if json is None else {"json": json}
        return await self._client.request(method, full, **body, **options)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)


@contextmanager
def serving_app(
    make: Callable[..., FastAPI], *arguments: Any, clock: Clock | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """The app that `make(*arguments, clock=clock)` gives, for the time of the block."""
    clock = clock or Clock()
    app = make(*arguments, clock=clock)
    with asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        # An unexpected error is an answer here too, as it is with a real server.
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        client = httpx2.AsyncClient(transport=transport, base_url="http://server", headers=headers)
        try:
            yield Served(app, runner, client, clock)
        finally:
            runner.run(client.aclose())
            runner.run(lifespan.__aexit__(None, None, None))
