"""The limits that stand before everything else: a concurrency slot, then the timeout's clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Container

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Gate"]


class Gate:
    """ASGI middleware: at most `slots` requests at once, each answered within `timeout` seconds or with a 408.

    Waiting for a slot is not on the clock. Paths in `exempt` pass by both.
    """

    def __init__(self, app: ASGIApp, *, slots: int, timeout: float, exempt: Container[str]) -> None:
        self._app = app
        self._slots = asyncio.Semaphore(slots)
        self._timeout = timeout
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async with self._slots:
            clock = asyncio.timeout(self._timeout)
            try:
                async with clock:
                    await self._app(scope, receive, watched_send)
            except TimeoutError:
                if started or not clock.expired():
                    raise
                await JSONResponse({"detail": "Request timeout"}, status_code=408)(scope, receive, send)
