"""The servers of the demo: the failure test server and a rate-limited one, in a thread of their own."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from starlette.responses import JSONResponse

from holdfast.servers.faults import FaultInjection
from holdfast.servers.flaky.app import create_app
from holdfast.servers.flaky.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["WORK", "Counted", "Limited", "Stage", "flaky_server"]

WORK = "/msg"
"""The path that the demo calls; what goes elsewhere sets a server up and is not counted."""

_START_SECONDS = 20.0


def flaky_server() -> ASGIApp:
    """The failure test server with its own defaults, whatever the environment says, and with failure injection."""
    return FaultInjection(create_app(Settings.model_construct()))


class Counted:
    """ASGI middleware that counts the requests for `WORK`: what was sent, as the server saw it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] == WORK:
            self.requests += 1
        await self._app(scope, receive, send)


class Limited:
    """ASGI middleware: `limit` requests in each `window` seconds, the others get a 429.

    Every answer says what is left, in ``RateLimit`` and ``RateLimit-Policy`` as in the IETF's draft; a 429 says
    with Retry-After when to come back. Both in whole seconds, as there is nothing else.
    """

    def __init__(self, app: ASGIApp, limit: int, window: int) -> None:
        self._app = app
        self._limit = limit
        self._window = window
        self._ends = 0.0
        self._left = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, if the window has room for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        now = time.monotonic()
        if now >= self._ends:
            self._ends = now + self._window
            self._left = self._limit
        reset = math.ceil(self._ends - now)
        allowed = self._left > 0
        if allowed:
            self._left -= 1
        told = {
            "RateLimit-Policy": f'"demo";q={self._limit};w={self._window}',
            "RateLimit": f'"demo";r={self._left};t={reset}',
        }
        if not allowed:
            told["Retry-After"] = str(reset)
            await JSONResponse({"detail": "Too many requests"}, status_code=429, headers=told)(scope, receive, send)
            return

        async def telling(message: Any) -> None:
            if message["type"] == "http.response.start":
                pairs = [(name.lower().encode(), value.encode()) for name, value in told.items()]
                message = {**message, "headers": [*message["headers"], *pairs]}
            await send(message)

        await self._app(scope, receive, telling)


class Stage:
    """Serves apps on free ports of the loopback interface while the block runs.

    Args:
        apps: one server for each.

    Attributes:
        urls: where they answer, in the order of `apps`.
    """

    def __init__(self, apps: Sequence[ASGIApp]) -> None:
        self._sockets = [_listener() for _ in apps]
        self.urls = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in self._sockets]
        self._servers = [uvicorn.Server(_config(app)) for app in apps]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="holdfast-demo", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until = time.monotonic() + _START_SECONDS
        while not all(server.started for server in self._servers):
            if not self._thread.is_alive() or time.monotonic() > until:
                raise RuntimeError("the servers of the demo did not start")
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.should_exit = True
        self._thread.join(5.0)

    async def _serve(self) -> None:
        # In a thread that is not the main one, uvicorn leaves signals alone.
        await asyncio.gather(
            *(server.serve([listener]) for server, listener in zip(self._servers, self._sockets, strict=True))
        )


def _listener() -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it every answer takes 40 ms more.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
