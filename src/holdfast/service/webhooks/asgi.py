"""`WebhookApp`: receives webhooks over HTTP, under any ASGI server or framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from holdfast.service.webhooks.results import WebhookAnswer, answer

if TYPE_CHECKING:
    from holdfast.service.webhooks.receiver import Webhooks

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_READ_SECONDS = 30.0


class TooLarge(Exception):  # noqa: N818  # how reading ends
    """The body is longer than is taken."""


class Disconnected(Exception):  # noqa: N818  # how reading ends
    """The sender has gone before all of the body was there."""


class WebhookApp:
    """An ASGI application of one route, whatever the path: POST delivers a webhook.

    It runs by itself under uvicorn or hypercorn, as the endpoint of a route of Starlette and FastAPI
    (``Route("/webhooks", webhooks.asgi())``), and mounted below a path, where frameworks add a slash. The body
    is read up to the limit and not further; one that is not there within 30 s is answered with a 408.

    Args:
        webhooks: what processes them.
        answer_first: whether to answer with 202 once the webhook is verified, before the handlers run. For senders that
            do not wait. They do not hear of handlers that fail, and send no second time.
    """

    def __init__(self, webhooks: Webhooks, *, answer_first: bool = False) -> None:
        self._webhooks = webhooks
        self._answer_first = answer_first

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serves one scope, see the specification of ASGI.

        Raises:
            ValueError: a scope of another kind than http, websocket and lifespan.
        """
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await _lifespan(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
        else:
            raise ValueError(f"a webhook comes over http, not {kind!r}")

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            said = f"a webhook is sent with POST, not {scope['method']}"
            await _reply(send, answer(405, status="refused", reason="method", message=said))
            return
        webhooks = self._webhooks
        headers = scope["headers"]
        try:
            async with asyncio.timeout(_READ_SECONDS):
                body = await _read(receive, headers, webhooks.max_bytes)
        except TooLarge:
            await _reply(send, webhooks.refuse_too_large())
            return
        except TimeoutError:
            said = f"the body was not complete after {_READ_SECONDS:g} s"
            await _reply(send, answer(408, status="refused", reason="timeout", message=said))
            return
        except Disconnected:
            return
        if self._answer_first:
            await webhooks.answer_first(body, headers, lambda answered: _reply(send, answered))
        else:
            await _reply(send, await webhooks.respond(body, headers))


async def _read(receive: Receive, headers: list[tuple[bytes, bytes]], limit: int) -> bytes:
    for name, value in headers:
        # A length that is no number is the server's to refuse; here what arrives is counted.
        if name.lower() == b"content-length" and value.isdigit() and int(value[:20]) > limit:
            raise TooLarge
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise TooLarge
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _reply(send: Send, answered: WebhookAnswer) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answered.headers.items()]
    await send({"type": "http.response.start", "status": answered.status, "headers": headers})
    await send({"type": "http.response.body", "body": answered.content})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
