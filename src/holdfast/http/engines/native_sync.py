"""The native engine in sync use: HTTP/1.1 on blocking sockets, at a fraction of what httpx2's connections cost."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from http.cookiejar import CookieJar
from time import monotonic
from typing import Any

import httpx2

from holdfast.core.effects import Job
from holdfast.http.content import head_sync, read_sync
from holdfast.http.engines.base import EngineError, SyncEngine
from holdfast.http.engines.h1_request import NotOurs, RequestHead
from holdfast.http.engines.httpx2_engine import engine_error, is_unreplaced_sync, keep_cookies
from holdfast.http.engines.native_coded import content_of
from holdfast.http.engines.native_request import Heads, name_request, stream_of
from holdfast.http.engines.native_sync_body import SyncNativeBody
from holdfast.http.engines.native_sync_connection import Connection
from holdfast.http.engines.native_sync_exchange import Exchange
from holdfast.http.engines.native_sync_pool import Lease, Pool
from holdfast.http.response import NativeResponse, SyncNativeResponse, streamed, whole


class SyncNativeEngine:
    """Performs attempts on the calling thread; any number of threads may do so at once.

    Each step is cut to what `holdfast.http.deadlines.limit` leaves the calling thread, besides the timeouts of the job.

    Args:
        ssl_context: for https.
        limits: of its connections.
        jar: takes the cookies that come.
        fallback: makes the engine for what this one leaves to others: HTTP/2, upgrades, tunnels, extensions of
            httpx2's requests, and everything while `httpx2.Client.request` is replaced, as by `mock.patch`.
        uds: path of a Unix domain socket to connect to instead of the host.
        local_address: to connect from.
    """

    caps = frozenset({"deadline", "sent", "stream", "http2", "ssl_context", "unix"})

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        limits: httpx2.Limits,
        jar: CookieJar | None,
        fallback: Callable[[], SyncEngine],
        *,
        uds: str | None = None,
        local_address: str | None = None,
    ) -> None:
        self._jar = jar
        self._make_fallback = fallback
        self._making = threading.Lock()
        self._fallback: SyncEngine | None = None
        self._pool = Pool(ssl_context, limits, uds=uds, local_address=local_address)
        self._heads: Heads[Connection] = Heads(self._pool.origin, self._pool.forget_unused)

    def send(self, job: Job) -> httpx2.Response:
        """See `SyncEngine.send`."""
        if job.context.extensions or not is_unreplaced_sync():
            return self._elsewhere(job)
        try:
            return self._send(job)
        except NotOurs:
            return self._elsewhere(job)
        except EngineError as error:
            name_request(error, job)
            raise

    def _send(self, job: Job) -> httpx2.Response:
        """As `send`, for requests like most."""
        origin, head = self._heads.of(job)
        lease = Lease(origin)
        try:
            try:
                return self._held(lease, job, head)
            except BaseException:
                self._pool.abandon(lease)
                raise
        except BaseException:
            self._pool.abandon(lease)  # again, for an interrupt may have come in between
            raise

    def _held(self, lease: Lease, job: Job, head: RequestHead) -> httpx2.Response:
        """As `send`, on a connection that whoever calls this gives back if it fails."""
        pool = self._pool
        connection = pool.take(lease) or pool.acquire(lease, job.timeouts)
        body = job.body
        if body.__class__ is not bytes:
            # Not before: one that can be sent only once may be for others to send.
            try:
                body = stream_of(body, sync=True)
            except EngineError:
                pool.settle(lease, reusable=True)
                raise
        response = self._exchanged(lease, connection, job, head, body)
        if response.sets_cookies() and self._jar is not None:
            keep_cookies(response, self._jar)
        return response if response.is_closed else _read(response, job)

    def _exchanged(
        self, lease: Lease, connection: Connection, job: Job, head: RequestHead, body: Any
    ) -> NativeResponse:
        """The response, whose body was read unless somebody else is to do so."""
        exchange = Exchange(connection, job)
        assembly = exchange.assembly
        try:
            exchange.send(head, body)
            while not assembly.complete and not exchange.readable:
                exchange.read()
        except EngineError:
            if assembly.head is None or assembly.head.status < 400 or job.stream:
                raise
            # The status says enough, whatever became of the explanation.
            self._pool.abandon(lease)
            content: bytes | None = b""
        else:
            content = content_of(assembly, job) if assembly.complete else None
        answer = assembly.head
        assert answer is not None  # noqa: S101  # it is complete, or has begun to be
        network = connection.network_stream
        if content is None:
            stream = SyncNativeBody(exchange, lease, self._pool)
            return streamed(answer, stream, job, body, network, SyncNativeResponse)
        self._pool.settle(lease, reusable=exchange.reusable)
        times = exchange.began, monotonic()
        return whole(answer, content, job, body, network, times, SyncNativeResponse, assembly.size)

    def _elsewhere(self, job: Job) -> httpx2.Response:
        with self._making:
            engine = self._fallback
            if engine is None:
                engine = self._fallback = self._make_fallback()
        return engine.send(job)

    def close(self) -> None:
        """Closes all connections; the requests on them fail, and the threads that wait for them are woken."""
        self._pool.close()
        if self._fallback is not None:
            self._fallback.close()


def _read(response: NativeResponse, job: Job) -> httpx2.Response:
    """The response with its body, or as its reader wants it."""
    try:
        if job.stream:
            return head_sync(response)
        response.hold(read_sync(response, job.cap).content)
    except Exception as error:
        if response.status_code < 400:
            raise engine_error(error, head=True) from error
        response.hold(b"")
    return response
