"""The bodies of streamed responses: slot and breaker are settled when one ends, and what breaks it is named."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import httpx2

from holdfast.core.effects import FOREVER, Flow, Job
from holdfast.core.outcome import Kind, Outcome, Reason, Stop
from holdfast.http.classify import kind_of_error
from holdfast.http.content import CodedResponse
from holdfast.http.deadlines import limit
from holdfast.http.engines.base import EngineError, deadline_passed
from holdfast.http.engines.httpx2_engine import engine_error
from holdfast.http.failures import Failures
from holdfast.http.runtime import Runtime


class StreamEnd:
    """Ends one stream, once: gives back its slot, tells the breaker, and names what broke it."""

    def __init__(
        self, job: Job, runtime: Runtime, failures: Failures, deadline: float, closed: Callable[[], bool]
    ) -> None:
        self.deadline = deadline
        self.runtime = runtime
        self._job = job
        self._failures = failures
        self._closed = closed
        self._end: Callable[[Kind | None], None] | None = job.on_end

    @property
    def open(self) -> bool:
        """Whether the stream has not ended yet."""
        return self._end is not None

    def __call__(self, kind: Kind | None = Kind.OK) -> None:
        """The stream is over; `kind` tells how."""
        end, self._end = self._end, None
        if end is not None:
            with self.runtime:
                end(kind)

    def broken(self, error: Exception) -> Exception:
        """The stream broke: the exception to raise for it."""
        broken = error if isinstance(error, EngineError) else engine_error(error, head=True)
        kind = Kind.LATE if broken.phase == "deadline" else kind_of_error(broken)
        closed = self._closed()
        self(None if closed else kind)
        job = self._job
        outcome = Outcome(kind, error=broken, timed_out=broken.timed_out, may_have_executed=True, attempt=job.attempts)
        if closed:
            return self._failures.error(Stop(Reason.CLOSED, job, outcome, job.attempts, True))
        reason = Reason.DEADLINE if kind is Kind.LATE else Reason.OUTCOME
        why = "the body was still being read" if kind is Kind.LATE else "part of the body was handed out already"
        last = None if kind is Kind.LATE else outcome
        return self._failures.error(Stop(reason, job, last, job.attempts, True, why))

    def late(self) -> Exception:
        """The deadline passed while the body was being read."""
        return self.broken(deadline_passed())

    def overdue(self) -> Exception | None:
        """As `late`, if it has passed."""
        return self.late() if self.runtime.now() > self.deadline else None

    def __del__(self) -> None:
        if self._end is not None:
            ending = _ending(self._end)
            next(ending)  # one that was never started would close without doing anything
            self.runtime.bury(ending)


def _ending(end: Callable[[Kind | None], None]) -> Flow[None]:
    """A flow whose closing ends a stream that was dropped without being closed."""
    try:
        yield cast("Any", None)
    finally:
        end(None)


class AsyncGuard(httpx2.AsyncByteStream):
    """The body of a streamed response under asyncio."""

    def __init__(self, stream: httpx2.AsyncByteStream, end: StreamEnd) -> None:
        self._stream = stream
        self._end = end
        self._loop = asyncio.get_running_loop()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        end = self._end
        chunks = self._stream.__aiter__()
        while True:
            try:
                if end.deadline == FOREVER:
                    chunk = await chunks.__anext__()
                else:
                    async with asyncio.timeout(end.deadline - end.runtime.now()):
                        chunk = await chunks.__anext__()
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise end.late() from error
            except Exception as error:
                raise end.broken(error) from error
            yield chunk

    async def aclose(self) -> None:
        """Closes the stream and gives back its slot."""
        try:
            await self._stream.aclose()
        finally:
            self._end()

    @property
    def elapsed(self) -> timedelta | None:
        """Where `httpx2.Response.elapsed` looks."""
        return getattr(self._stream, "elapsed", None)

    def __del__(self) -> None:
        if self._end.open and not self._loop.is_closed():
            # Unclosed, its connection would be missing in the pool for ever.
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._loop.call_soon_threadsafe(_close_dropped, self._loop, self._stream)


class SyncGuard(httpx2.SyncByteStream):
    """The body of a streamed response in sync use.

    A transport of the caller's own cannot be cut: the deadline is looked at after each chunk too.
    """

    def __init__(self, stream: httpx2.SyncByteStream, end: StreamEnd) -> None:
        self._stream = stream
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        end = self._end
        chunks = iter(self._stream)
        while True:
            try:
                with limit(end.deadline - end.runtime.now()):
                    chunk = next(chunks)
            except StopIteration:
                return
            except Exception as error:
                late = isinstance(error, httpx2.TimeoutException) and end.runtime.now() >= end.deadline
                raise (end.late() if late else end.broken(error)) from error
            if end.runtime.now() > end.deadline:
                raise end.late()
            yield chunk

    def close(self) -> None:
        """Closes the stream and gives back its slot."""
        try:
            self._stream.close()
        finally:
            self._end()

    @property
    def elapsed(self) -> timedelta | None:
        """Where `httpx2.Response.elapsed` looks."""
        return getattr(self._stream, "elapsed", None)

    def __del__(self) -> None:
        if self._end.open:
            # Not here: this thread may hold the lock of the pool right now.
            self._end.runtime.dropped.append(self._stream)


_closing: set[asyncio.Task[None]] = set()


def _close_dropped(loop: asyncio.AbstractEventLoop, stream: httpx2.AsyncByteStream) -> None:
    task = loop.create_task(_closed(stream))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _closed(stream: httpx2.AsyncByteStream) -> None:
    with contextlib.suppress(Exception):  # nobody is left to be told
        await stream.aclose()


def guarded(
    flow: Flow[Any],
    job: Job,
    runtime: Runtime,
    failures: Failures,
    ends: list[StreamEnd],
    *,
    deadline: bool,
    closed: Callable[[], bool],
) -> Flow[Any]:
    """The flow of a streamed call, whose reply's stream is guarded, and appended to `ends`.

    `deadline` tells whether that of the call holds for the body too, `closed` whether the client is.
    """
    timeouts = job.timeouts
    reply = yield from flow
    if isinstance(reply, httpx2.Response):
        if not deadline:
            _restore(reply, timeouts)
        end = StreamEnd(job, runtime, failures, job.deadline if deadline else FOREVER, closed)
        ends.append(end)
        if isinstance(reply, CodedResponse):
            reply.broken, reply.overdue = end.broken, end.overdue
        if isinstance(reply.stream, httpx2.AsyncByteStream) and not job.context.sync:
            reply.stream = AsyncGuard(reply.stream, end)
        elif isinstance(reply.stream, httpx2.SyncByteStream):
            reply.stream = SyncGuard(reply.stream, end)
    return reply


def _restore(reply: httpx2.Response, timeouts: dict[str, float | None]) -> None:
    """Gives the body the whole timeouts, after those for the head were cut to its deadline."""
    with contextlib.suppress(RuntimeError):  # a response that somebody made up may have no request
        current = reply.request.extensions.get("timeout")
        if isinstance(current, dict) and current is not timeouts:
            # The transport refers to this very dict.
            current.update(timeouts)
