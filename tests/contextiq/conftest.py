"""The two clients, joined to the reference servers in process, with something in between that can go wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast.contextiq import Memory, MemoryServiceClient, SessionsServiceClient
from holdfast.servers import crews_and_sessions, memory
from holdfast.servers.contextiq import Settings
from holdfast.servers.service import Storage

Fault = Callable[[httpx2.Request], bool]


class Unsteady(httpx2.AsyncBaseTransport):
    """Asks an app, unless a test says otherwise.

    Attributes:
        counts: what was asked for, as method and path below /api/v1 without ids.
        before: requests for which it is true do not arrive. `after`: requests that are executed, and whose answer is
            lost. `answer`: gives an answer in place of the app's, or None.
        keys: whether the header Idempotency-Key is passed on, as it is to a server that knows nothing of it.
    """

    def __init__(self, app: Any) -> None:
        self._inner = httpx2.ASGITransport(app, raise_app_exceptions=False)
        self.counts: Counter[str] = Counter()
        self.requests: list[httpx2.Request] = []
        self.before: Fault = lambda request: False
        self.after: Fault = lambda request: False
        self.answer: Callable[[httpx2.Request], httpx2.Response | None] = lambda request: None
        self.keys = True

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        self.requests.append(request)
        segments = request.url.path.removeprefix("/api/v1/").split("/")
        self.counts[f"{request.method} {'/'.join(part for part in segments if len(part) < 20)}"] += 1
        if self.before(request):
            raise httpx2.ConnectError("refused", request=request)
        answer = self.answer(request)
        if answer is not None:
            return answer
        if not self.keys:
            for name in ("idempotency-key", "x-request-id"):
                request.headers.pop(name, None)
        reply = await self._inner.handle_async_request(request)
        if self.after(request):
            await reply.aread()
            raise httpx2.ReadError("reset", request=request)
        return reply


class Services:
    """Both services and their clients, on one event loop."""

    def __init__(self, runner: asyncio.Runner, sessions: Unsteady, memories: Unsteady) -> None:
        self.run = runner.run
        self.sessions_transport, self.memory_transport = sessions, memories
        self.sessions = SessionsServiceClient(transport=sessions, max_retries=1)
        self.memories = MemoryServiceClient(transport=memories, max_retries=1)

    def conversation(self, *said: str, user_id: str = "u1") -> str:
        """The id of a session in which a user says this."""

        async def make() -> str:
            session = await self.sessions.create_session({"user_id": user_id})
            for text in said:
                await self.sessions.create_event(session.id, "message", {"role": "user", "content": text})
            return session.id

        return self.run(make())

    def stored(self, user_id: str = "u1", **more: Any) -> list[Memory]:
        """The memories of a user, the oldest first."""

        async def load() -> list[Memory]:
            return (await self.memories.list_memories(scope_user_id=user_id, **more).all())[::-1]

        return self.run(load())

    def facts(self, **more: Any) -> list[str]:
        return [memory.fact for memory in self.stored(**more)]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    apps = [make(Storage(tmp_path), Settings()) for make in (crews_and_sessions.create_app, memory.create_app)]
    with asyncio.Runner() as runner:
        lifespans = [app.router.lifespan_context(app) for app in apps]
        for lifespan in lifespans:
            runner.run(lifespan.__aenter__())
        services = Services(runner, *(Unsteady(app) for app in apps))
        try:
            yield services
        finally:
            runner.run(_closed(services))
            for lifespan in reversed(lifespans):
                runner.run(lifespan.__aexit__(None, None, None))


async def _closed(services: Services) -> None:
    await services.sessions.close()
    await services.memories.close()
