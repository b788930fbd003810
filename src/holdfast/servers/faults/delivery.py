"""One request on its way to the app, and the app's answer on its way back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from holdfast.servers.faults.answer import Answer, Header, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from holdfast.servers.faults.wire import Wire

__all__ = ["AnswerTooLargeError", "Exchange"]

MAX_COLLECTED = 64 * 2**20
"""Bytes of an answer that are kept in memory to be spoiled."""

MAX_STALL_SECONDS = 300.0
"""For so long a peer that does not read is waited for."""

MAX_READ_SECONDS = 2.0
"""For so long the rest of a request is read before its connection is closed; closing earlier would reset it."""

FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class AnswerTooLargeError(Exception):
    """The app's answer is too large to be kept and spoiled."""


class Exchange:
    """A request and the means to answer it: by ASGI, or on the wire.

    Args:
        scope: of ASGI.
        receive: of ASGI.
        send: of ASGI.
        wire: the connection, or None where the server has only ASGI to offer.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, wire: Wire | None) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._wire = wire
        self._request_read = False

    @property
    def is_head(self) -> bool:
        """Whether the request is a HEAD: its answer has no body."""
        return bool(self._scope["method"] == "HEAD")

    async def pass_on(self, app: ASGIApp) -> None:
        """Leaves request and answer to the app."""
        await app(self._scope, self._receive, self._send)

    async def ask(self, app: ASGIApp, spoil: Callable[[Answer], None]) -> None:
        """Has the app do its work, and delivers its answer, spoiled.

        What the app does after its answer, such as background tasks, goes on while and after the answer is delivered.

        Raises:
            AnswerTooLargeError: nothing was sent; the app was stopped.
        """
        collecting = _Collecting(to_head=self.is_head)
        running: asyncio.Future[None] = asyncio.ensure_future(app(self._scope, self.receive, collecting.send))
        try:
            waited: set[asyncio.Future[Any]] = {running, collecting.complete}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if collecting.complete.done():
                answer = collecting.complete.result()
                spoil(answer)
                await self.deliver(answer)
            await running
        finally:
            if not running.done():
                running.cancel()
                # Its own error, should it have one, is not the one to tell of.
                await asyncio.gather(running, return_exceptions=True)

    async def receive(self) -> Message:
        """What ASGI's `receive` gives, watched for the end of the request."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._request_read = True
        return message

    async def deliver(self, answer: Answer) -> None:
        """Sends or writes an answer as its faults want it."""
        if answer.delay:
            await self._while_peer_is_there(asyncio.sleep(answer.delay))
        if answer.is_http or self._wire is None:
            headers = [*answer.headers, *answer.framing_headers()]
            await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": answer.body})
            return
        wire = self._wire
        wire.take()
        try:
            await self._while_peer_is_there(_write(wire, answer))
            if answer.end == "reset":
                await wire.reset()
            elif answer.end == "close":
                await self._read_request()
                wire.end()
            elif answer.end == "hold":
                wire.end()
            # For uvicorn, and for middleware around this, the request is answered like any other.
            await self._send(
                {"type": "http.response.start", "status": answer.status, "headers": [(b"content-length", b"0")]}
            )
            await self._send({"type": "http.response.body"})
        except BaseException:
            wire.abort()
            raise
        wire.release()

    async def _while_peer_is_there(self, work: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._disconnected())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                await tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def _read_request(self) -> None:
        try:
            async with asyncio.timeout(MAX_READ_SECONDS):
                while not self._request_read:
                    await self.receive()
        except TimeoutError:
            pass


class _Collecting:
    """Takes an app's answer instead of the server.

    Attributes:
        complete: gets the answer when all of it is there, or why it cannot be had.
    """

    def __init__(self, *, to_head: bool) -> None:
        self.complete: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._to_head = to_head
        self._status = 200
        self._headers: list[Header] = []
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        # An app that sends without end, and is never made to wait, would keep everybody else from running.
        await asyncio.sleep(0)
        if self.complete.done():
            return
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if len(self._body) > MAX_COLLECTED:
                error = f"an answer of more than {MAX_COLLECTED} bytes cannot be spoiled"
                self.complete.set_exception(AnswerTooLargeError(error))
            elif not message.get("more_body", False):
                self.complete.set_result(self._answer())

    def _answer(self) -> Answer:
        lengths = [int(value) for name, value in self._headers if name.lower() == b"content-length"]
        return Answer(
            status=self._status,
            headers=[(name, value) for name, value in self._headers if name.lower() not in FRAMING],
            body=bytes(self._body),
            to_head=self._to_head,
            framing="length" if lengths else "chunked",
            declared=lengths[0] if lengths else None,
        )


async def _write(wire: Wire, answer: Answer) -> None:
    """Writes what there is to write, and holds the connection if it is to be held."""
    head, payload = answer.head(), answer.payload()
    if answer.head_pace is None and answer.body_pace is None:
        await _put(wire, head + payload)
    else:
        await _trickle(wire, head, answer.head_pace)
        await _trickle(wire, payload, answer.body_pace)
    if answer.end == "hold":
        await asyncio.sleep(answer.hold)


async def _trickle(wire: Wire, data: bytes, pace: Pace | None) -> None:
    if pace is None:
        await _put(wire, data)
        return
    now = asyncio.get_running_loop().time
    end = now() + pace.up_to
    at = 0
    while at < len(data):
        left = end - now()
        size = pace.size if left > 0 else len(data)
        await _put(wire, data[at : at + size])
        at += size
        if at < len(data):
            await asyncio.sleep(min(pace.interval, max(left, 0)))


async def _put(wire: Wire, data: bytes) -> None:
    try:
        async with asyncio.timeout(MAX_STALL_SECONDS):
            await wire.put(data)
    except TimeoutError:
        wire.abort()
