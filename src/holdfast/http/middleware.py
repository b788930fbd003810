"""`RequestIdMiddleware`: gives each request that an ASGI app serves an id, and all that is done for it the same one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from holdfast.http.context import is_request_id, is_traceparent, request_context

__all__ = ["RequestIdMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = b"x-request-id"
_TRACEPARENT = b"traceparent"


class RequestIdMiddleware:
    """An ASGI middleware that marks what an app does for one request as done for that one.

    ::

        app.add_middleware(RequestIdMiddleware)  # FastAPI, Starlette
        app = RequestIdMiddleware(app)  # any ASGI app; so also answers to errors that nothing inside has handled

    The id is the ``X-Request-ID`` that came with the request, if there is one of 1 to 200 visible ASCII characters,
    else a new one. It goes back in the answer's ``X-Request-ID``, in place of one that the app may have set. Meanwhile,
    also while the answer is streamed, `get_request_id` gives it, calls by Holdfast send it as ``X-Correlation-ID``,
    and their log lines have it. A ``traceparent`` that came along is sent with these calls as it is.

    Lifespan and WebSocket scopes pass unchanged.

    Args:
        app: what serves the requests.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection, see the ASGI specification 3.0."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        came = _only(scope["headers"], _REQUEST_ID)
        parent = _only(scope["headers"], _TRACEPARENT)
        with request_context(
            came if is_request_id(came) else None, traceparent=parent if is_traceparent(parent) else None
        ) as request_id:
            mark = (_REQUEST_ID, request_id.encode("ascii"))

            async def marked(message: Message) -> None:
                if message["type"] == "http.response.start":
                    others = [pair for pair in message.get("headers", ()) if pair[0].lower() != _REQUEST_ID]
                    message = {**message, "headers": [*others, mark]}
                await send(message)

            await self.app(scope, receive, marked)


def _only(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The value of a header; empty if it is not there, or there more than once."""
    found = [value for known, value in headers if known.lower() == name]
    return found[0].decode("latin-1") if len(found) == 1 else ""
