"""A bound on the size of request bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit"]


class BodyLimit:
    """ASGI middleware: a request with a body of more than `limit` bytes is answered 413.

    A length that is declared is believed, and nothing is read; otherwise the bytes are counted. After the answer the
    connection is closed: what is still to come on it is not read.
    """

    # Starlette has one too, but what it answers is no JSON.

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._detail = f"The body has more than {limit} bytes, the limit of this server"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("Content-Length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            await JSONResponse({"detail": self._detail}, 413, {"Connection": "close"})(scope, receive, send)
            return
        count = 0

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > self._limit:
                # FastAPI lets it through from wherever a body is read, and makes it the answer.
                raise HTTPException(413, self._detail, {"Connection": "close"})
            return message

        await self._app(scope, counted, send)
