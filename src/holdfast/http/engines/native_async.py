"""The native engine under asyncio: HTTP/1.1 on connections of its own, at a fraction of what httpx2's cost."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from http.cookiejar import CookieJar
from typing import Any

import httpx2

from holdfast.core.effects import Job
from holdfast.http.bodies import BodySpent
from holdfast.http.content import head as readable
from holdfast.http.content import read
from holdfast.http.engines.base import Engine, EngineError, Sent
from holdfast.http.engines.h1_request import CHUNKED, LAST_CHUNK, Encoder, NotOurs, RequestHead, chunk
from holdfast.http.engines.httpx2_engine import engine_error, is_unreplaced, keep_cookies
from holdfast.http.engines.native_connection import Connection
from holdfast.http.engines.native_pool import Origin, Pool
from holdfast.http.response import NativeResponse

_AT_ONCE = 64 * 1024
"""Bytes of a body that go out together with their head, and in one piece."""
_PATIENCE = 1.0
"""Seconds that a body waits for a 100 (RFC 9110, section 10.1.1: it must not wait for ever)."""
_MOST_KNOWN = 1024


class _Known:
    """What is the same for all requests to a URL."""

    __slots__ = ("lines", "origin", "url")

    def __init__(self, url: httpx2.URL, origin: Origin) -> None:
        self.url = url
        self.origin = origin
        self.lines: dict[str, bytes] = {}


class AsyncNativeEngine:
    """Performs attempts on one event loop.

    Args:
        ssl_context: for https.
        limits: of its connections.
        jar: takes the cookies that come.
        fallback: makes the engine for what this one leaves to others: HTTP/2, upgrades, tunnels, extensions of
            httpx2's requests, and everything while `httpx2.AsyncClient.request` is replaced, as by `mock.patch`.
        uds: path of a Unix domain socket to connect to instead of the host.
        local_address: to connect from.
    """

    caps = frozenset({"cancel", "deadline", "sent", "stream", "http2", "ssl_context", "unix"})

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        limits: httpx2.Limits,
        jar: CookieJar | None,
        fallback: Callable[[], Engine],
        *,
        uds: str | None = None,
        local_address: str | None = None,
    ) -> None:
        self._jar = jar
        self._make_fallback = fallback
        self._fallback: Engine | None = None
        self._encoder = Encoder()
        self._known: dict[Any, _Known] = {}
        self._pool: Pool | None = None
        self._settings = ssl_context, limits, uds, local_address
        self._closed = False

    async def send(self, job: Job) -> httpx2.Response:
        """See `Engine.send`."""
        if job.context.extensions or not is_unreplaced():
            return await self._elsewhere(job)
        try:
            return await self._send(job)
        except NotOurs:
            return await self._elsewhere(job)
        except EngineError as error:
            cause = error.cause
            if isinstance(cause, httpx2.RequestError):
                cause.request = _request(job)
            raise

    async def _send(self, job: Job) -> httpx2.Response:
        """As `send`, for requests like most."""
        context = job.context
        body = job.body
        known = self._known.get(context)
        if known is None or known.url is not job.url:
            known = self._look(job)
        line = known.lines.get(job.method)
        if line is None:
            line = known.lines[job.method] = self._encoder.request_line(job.method, job.url.raw_path)
        head = self._encoder.encode(line, job.headers, len(body) if body.__class__ is bytes else None)
        origin = known.origin
        if origin.foreign:
            raise NotOurs("the server speaks another version of HTTP")
        pool = self._pool
        assert pool is not None  # noqa: S101  # whose the origin is
        connection = pool.take(origin)
        if connection is None:
            connection = await pool.acquire(origin, job.timeouts)
        sent = body
        if body.__class__ is not bytes:
            # Not before: one that can be sent only once may be for others to send.
            try:
                sent = _stream(body)
            except EngineError:
                pool.release(connection)
                raise
        if sent.__class__ is bytes and len(sent) <= _AT_ONCE and not head.expects:
            data = head.data + sent if sent else head.data
            future = connection.begin(job, data, sent, closes=head.closes, sending=False)
            turn = connection.turn
            try:
                response = (await future).pop()
            except BaseException:
                _abandon(connection, turn, future)
                raise
        else:
            response = await _send_slowly(connection, job, head, sent)
        if response.sets_cookies() and self._jar is not None:
            keep_cookies(response, self._jar)
        if response.is_closed:
            return response
        try:
            if job.stream:
                return await readable(response)
            response.hold((await read(response, job.cap)).content)
        except Exception as error:
            if response.status_code < 400:
                raise engine_error(error, head=True) from error
            response.hold(b"")  # the status says enough, whatever became of the explanation
        return response

    def _look(self, job: Job) -> _Known:
        """What is to be known about a URL that was not sent to before."""
        pool = self._pool
        if pool is None:
            context, limits, uds, local_address = self._settings
            loop = asyncio.get_running_loop()
            pool = self._pool = Pool(loop, context, limits, uds=uds, local_address=local_address)
            if self._closed:
                pool.close()
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
            pool.forget_unused()
        known = _Known(job.url, pool.origin(job.context.origin, job.url))
        self._known[job.context] = known
        return known

    async def _elsewhere(self, job: Job) -> httpx2.Response:
        engine = self._fallback
        if engine is None:
            engine = self._fallback = self._make_fallback()
        return await engine.send(job)

    async def aclose(self) -> None:
        """Closes all connections; the requests on them fail."""
        self._closed = True
        if self._pool is not None:
            await self._pool.aclose()
        if self._fallback is not None:
            await self._fallback.aclose()


def _request(job: Job) -> httpx2.Request:
    """What an exception says that it was about."""
    stream = httpx2.ByteStream(job.body if job.body.__class__ is bytes else b"")
    return httpx2.Request(job.method, job.url, headers=job.headers, stream=stream)


def _stream(body: Any) -> Any:
    """What one attempt sends of a body that is not in memory."""
    try:
        stream = body.stream(sync=False)
    except (BodySpent, TypeError, ValueError) as error:
        raise EngineError(str(error), sent=Sent.NO, phase="build", cause=error) from error
    if not hasattr(stream, "__aiter__"):
        raise EngineError("the body is one for sync use", sent=Sent.NO, phase="build")
    return stream


def _abandon(connection: Connection, turn: int, future: asyncio.Future[list[NativeResponse]]) -> None:
    """Nobody waits for the response any more."""
    if connection.serves(turn):
        connection.abort()
    if future.done() and not future.cancelled():
        future.exception()  # it is nobody's, and not to be complained about


async def _send_slowly(connection: Connection, job: Job, head: RequestHead, body: Any) -> NativeResponse:
    """Sends what does not go out at once. The response may come before that is done."""
    future = connection.begin(job, head.data, body, closes=head.closes, sending=True)
    turn = connection.turn
    try:
        await _send_body(connection, turn, job, head, body)
        return (await future).pop()
    except EngineError:
        raise
    except BaseException as error:
        _abandon(connection, turn, future)
        if isinstance(error, Exception):
            raise engine_error(error, head=False) from error
        raise


async def _send_body(connection: Connection, turn: int, job: Job, head: RequestHead, body: Any) -> None:
    if head.expects:
        await _continued(connection, turn)
    write = job.timeouts["write"]
    if body.__class__ is bytes:
        whole = memoryview(body)
        for at in range(0, len(body), _AT_ONCE):
            if not connection.serves(turn):
                return
            connection.send(whole[at : at + _AT_ONCE])
            await connection.flushed(write)
    else:
        left = head.length
        chunks = aiter(body)
        try:
            async for data in chunks:
                if not connection.serves(turn):
                    return
                if not data:
                    continue
                if left == CHUNKED:
                    connection.send(chunk(data))
                elif len(data) > left:
                    raise httpx2.LocalProtocolError("the body is longer than its Content-Length")
                else:
                    left -= len(data)
                    connection.send(data)
                await connection.flushed(write)
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        if left > 0:
            raise httpx2.LocalProtocolError("the body is shorter than its Content-Length")
        if left == CHUNKED and connection.serves(turn):
            connection.send(LAST_CHUNK)
    if connection.serves(turn):
        connection.sent()


async def _continued(connection: Connection, turn: int) -> None:
    """Waits until the server wants the body, or answers without it, for a while."""
    try:
        async with asyncio.timeout(_PATIENCE):
            while connection.serves(turn) and not connection.interim():
                await connection.waited()
    except TimeoutError:
        pass
