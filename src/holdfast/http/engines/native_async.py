"""The native engine under asyncio: HTTP/1.1 on connections of its own, at a fraction of what httpx2's cost."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from http.cookiejar import CookieJar
from typing import Any

import httpx2

from holdfast.core.effects import Job
from holdfast.http.content import head as readable
from holdfast.http.content import read
from holdfast.http.engines.base import Engine, EngineError
from holdfast.http.engines.h1_request import Framing, NotOurs, RequestHead
from holdfast.http.engines.httpx2_engine import engine_error, is_unreplaced, keep_cookies
from holdfast.http.engines.native_connection import Connection, Origin
from holdfast.http.engines.native_pool import Pool
from holdfast.http.engines.native_request import AT_ONCE, PATIENCE, Heads, name_request, stream_of
from holdfast.http.response import NativeResponse


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
        self._heads: Heads[Connection] = Heads(self._origin, self._forget_unused)
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
            name_request(error, job)
            raise

    async def _send(self, job: Job) -> httpx2.Response:
        """As `send`, for requests like most."""
        origin, head = self._heads.of(job)
        body = job.body
        pool = self._pool
        assert pool is not None  # noqa: S101  # whose the origin is
        connection = pool.take(origin)
        if connection is None:
            connection = await pool.acquire(origin, job.timeouts)
        sent = body
        if body.__class__ is not bytes:
            # Not before: one that can be sent only once may be for others to send.
            try:
                sent = stream_of(body, sync=False)
            except EngineError:
                pool.release(connection)
                raise
        if sent.__class__ is bytes and len(sent) <= AT_ONCE and not head.expects:
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

    def _origin(self, name: str, url: httpx2.URL) -> Origin:
        pool = self._pool
        if pool is None:
            context, limits, uds, local_address = self._settings
            loop = asyncio.get_running_loop()
            pool = self._pool = Pool(loop, context, limits, uds=uds, local_address=local_address)
            if self._closed:
                pool.close()
        return pool.origin(name, url)

    def _forget_unused(self) -> None:
        if self._pool is not None:
            self._pool.forget_unused()

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
    if head.expects and not await _wanted(connection, turn):
        return
    write = job.timeouts["write"]
    if body.__class__ is bytes:
        view = memoryview(body)
        for at in range(0, len(body), AT_ONCE):
            if not connection.serves(turn):
                return
            connection.send(view[at : at + AT_ONCE])
            await connection.flushed(write)
    else:
        framing = Framing(head.length)
        chunks = aiter(body)
        try:
            async for data in chunks:
                if not connection.serves(turn):
                    return
                if data:
                    connection.send(framing.piece(data))
                    await connection.flushed(write)
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        end = framing.end()
        if end and connection.serves(turn):
            connection.send(end)
    if connection.serves(turn):
        connection.sent()


async def _wanted(connection: Connection, turn: int) -> bool:
    """Waits until the server wants the body, or answers without it, for a while."""
    try:
        async with asyncio.timeout(PATIENCE):
            while connection.serves(turn) and not connection.interim():
                await connection.waited()
    except TimeoutError:
        pass
    if connection.serves(turn) and connection.answered():
        connection.sent(whole=False)
    return connection.serves(turn) and not connection.answered()
