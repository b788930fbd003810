"""The service that the demo calls: articles to look at, and orders to place.

Like most services it does not recognise a repeated order: what is sent twice is placed twice, and counted.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from holdfast.cli.demo.tally import ServerLog

__all__ = ["ARTICLES", "ORDERS", "WORK", "Counted", "Limited", "shop"]

WORK = "/shop"
"""Below it is what the contestants ask for. What goes elsewhere sets a server up, is not counted and never fails."""

ARTICLES = f"{WORK}/articles"
ORDERS = f"{WORK}/orders"

WORK_SECONDS = 0.02
"""What the service takes for each answer, if nothing is wrong with it."""

_TEXT = "Holds whatever it is given, in any weather, for as long as the thread lasts. " * 24


def shop(log: ServerLog) -> ASGIApp:
    """The service; orders are counted in `log`."""

    async def article(request: Request) -> JSONResponse:
        await asyncio.sleep(WORK_SECONDS)
        return JSONResponse({"article": request.path_params["number"], "text": _TEXT})

    async def order(request: Request) -> JSONResponse:
        name = str((await request.json())["order"])
        await asyncio.sleep(WORK_SECONDS)
        log.executed[name] += 1
        return JSONResponse({"order": name, "placed": True}, status_code=201)

    async def health(_: Request) -> PlainTextResponse:
        return PlainTextResponse("well")

    return Starlette(
        routes=[
            Route(f"{ARTICLES}/{{number:int}}", article),
            Route(ORDERS, order, methods=["POST"]),
            Route("/health", health),
        ]
    )


class Counted:
    """ASGI middleware that notes when requests for articles and orders come: what was sent, as the server saw it."""

    def __init__(self, app: ASGIApp, log: ServerLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(WORK):
            self._log.arrivals.append(time.monotonic())
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
        if scope["type"] != "http" or not scope["path"].startswith(WORK):
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
