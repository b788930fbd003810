"""Refuses requests that are beyond a rate limit, and tells every caller how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse

from holdfast.servers.codegen.tokens import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from holdfast.servers.codegen.limits import Limit, Quotas

__all__ = ["RateLimits"]


class RateLimits:
    """ASGI middleware inside that of the tokens: what is beyond a limit is answered 429, before its body is read.

    Every answer of a limited operation has the headers, also one that refuses the request for another reason: it was
    counted.
    """

    def __init__(self, app: ASGIApp, *, limits: Sequence[Limit], quotas: Quotas, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._limits = limits
        self._quotas = quotas
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        limit = self._limit_of(scope) if scope["type"] == "http" else None
        if limit is None:
            await self._app(scope, receive, send)
            return
        standing = self._quotas.take(scope["state"]["caller"], limit, self._clock().timestamp())
        told = standing.headers()
        if not standing.accepted:
            message = (
                f"Rate limit exceeded: {limit.name} allows {limit.quota} requests in {limit.window} s per token. "
                f"Try again in {standing.wait} s."
            )
            await JSONResponse(problem(429, message), 429, told)(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(told)
            await send(message)

        await self._app(scope, receive, telling)

    def _limit_of(self, scope: Scope) -> Limit | None:
        method, path = scope["method"], scope["path"].removesuffix("\n")
        return next((limit for limit in self._limits if limit.matches(method, path)), None)
