"""One connection of the native engine: sends one request at a time, and gives its response to whoever waits for it."""

from __future__ import annotations

import asyncio
import select
from time import monotonic
from typing import Any, Protocol, TypeAlias

from holdfast.core.effects import FOREVER, Job
from holdfast.http.engines import native_errors as errors
from holdfast.http.engines import native_request
from holdfast.http.engines.base import EngineError
from holdfast.http.engines.h1 import Assembly
from holdfast.http.engines.native_body import NativeBody
from holdfast.http.engines.native_coded import content_of, is_for_a_reader
from holdfast.http.engines.native_network import NetworkStream
from holdfast.http.engines.wire import HUNG_UP, has_hung_up
from holdfast.http.response import NativeResponse, streamed, whole


class Keeper(Protocol):
    """Who keeps connections, and is told what becomes of them."""

    next: float

    def arm(self, when: float) -> None:
        """Looks at `Connection.due` at this time."""
        ...

    def release(self, connection: Connection) -> None:
        """It is free for the next request."""
        ...

    def lost(self, connection: Connection) -> None:
        """It is gone. Told once."""
        ...


Origin: TypeAlias = "native_request.Origin[Connection]"


class Connection(asyncio.Protocol):
    """A connection to one origin.

    Attributes:
        assembly: of the response that is being waited for, or read; None if there is none.
        due: when whatever it waits for takes too long: an answer, room to write, or the next request.
        handed: whether it was given to one who has not begun yet.
        gone: whether it takes no more requests, because it was closed, or is about to be.
        turn: counts the requests.
    """

    __slots__ = (
        "_began", "_body", "_closes", "_full", "_future", "_job", "_keeper", "_loop", "_poll", "_read",
        "_sending", "_stream", "_transport", "_waiter", "assembly", "due", "gone", "handed", "origin", "turn",
    )  # fmt: skip

    def __init__(self, keeper: Keeper, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.due = FOREVER
        self.handed = False
        self.gone = False
        self.turn = 0
        self._keeper = keeper
        self._loop = loop
        self._transport: Any = None
        self._poll: select.poll | None = None
        self._full = False
        # Of the request that is being served:
        self.assembly: Assembly | None = None
        self._job: Job | None = None
        self._body: Any = b""
        self._future: asyncio.Future[list[NativeResponse]] | None = None
        self._stream: NativeBody | None = None
        self._read: float = FOREVER
        self._began = 0.0
        self._closes = False
        self._sending = False
        self._waiter: asyncio.Future[None] | None = None  # of who sends the body

    # A request

    def usable(self) -> bool:
        """Whether a request may be sent. What the server has done meanwhile is looked for."""
        if self.gone or self._transport.is_closing():
            return False
        poll = self._poll
        if poll is None:
            made = self._transport.get_extra_info("socket")
            if self._transport.get_extra_info("ssl_object") is not None:
                # What there is to read may be a ticket for the next session.
                return not has_hung_up(made)
            if not hasattr(select, "poll"):
                return True
            poll = self._poll = select.poll()
            poll.register(made.fileno(), select.POLLIN)
        # Nothing was asked, so that whatever there is to read is the end, or no answer.
        return not poll.poll(0)

    def begin(
        self, job: Job, data: bytes, body: Any, *, closes: bool, sending: bool
    ) -> asyncio.Future[list[NativeResponse]]:
        """Sends a request, or its beginning. Returns where the response will be, to be popped.

        A future is held by the handle that wakes its task, as long as that runs: its result must not be the response,
        which is to be closed when it is dropped.

        Args:
            job: what is sent.
            data: its head, and as much of its body as goes out at once.
            body: as `NativeResponse.request` is to show it.
            closes: whether the connection ends with it.
            sending: whether the rest of the body follows, by `send`, `sent` and `waited`.
        """
        self.turn += 1
        self._job = job
        self._body = body
        self._closes = closes
        self._sending = sending
        self.assembly = Assembly(bodiless=job.method == "HEAD", most=job.cap)
        future = self._future = self._loop.create_future()
        read = job.timeouts["read"]
        self._read = FOREVER if read is None else read
        now = self._began = monotonic()
        if sending:
            self.due = FOREVER
        else:
            due = self.due = now + self._read
            if due < self._keeper.next:
                self._keeper.arm(due)
        self._transport.write(data)
        return future

    def serves(self, turn: int) -> bool:
        """Whether the request of this turn has not come to its end."""
        return self.turn == turn and self.assembly is not None

    def interim(self) -> bool:
        """Whether an answer has begun, be it an informational one."""
        assembly = self.assembly
        return assembly is None or assembly.interim > 0 or assembly.head is not None

    def answered(self) -> bool:
        """Whether the head of the answer is there."""
        assembly = self.assembly
        return assembly is None or assembly.head is not None

    def send(self, data: bytes | memoryview) -> None:
        """Sends more of the body."""
        self._transport.write(data)

    async def flushed(self, timeout: float | None) -> None:  # noqa: ASYNC109  # kept by the keeper's timer
        """Waits until there is room for more, or the request has come to its end."""
        if not self._full:
            return
        self._wait_until(FOREVER if timeout is None else monotonic() + timeout)
        await self.waited()
        if self._sending:
            self.due = FOREVER

    async def waited(self) -> None:
        """Waits for something to happen."""
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def sent(self, *, whole: bool = True) -> None:
        """The body was handed to `send`, or what the server wants of it, after which it gets no more requests."""
        self._sending = False
        self._closes = self._closes or not whole
        if self.assembly is not None and self._stream is None:
            self._wait_until(monotonic() + self._read)

    def abort(self) -> None:
        """Gives up the request that is being served, and with it the connection."""
        self._clear()
        self.drop()

    def drop(self) -> None:
        """Closes the connection."""
        if self.gone:
            return
        self.gone = True
        self._full = False
        self.due = FOREVER
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()
        self._keeper.lost(self)
        self._wake()

    def fail(self, error: EngineError) -> None:
        """Ends the request that is being served."""
        future, stream, job, assembly = self._future, self._stream, self._job, self.assembly
        body, began = self._body, self._began
        self._clear()
        self.drop()
        if stream is not None:
            stream.fail(error)
        elif future is not None and not future.done():
            head = None if assembly is None else assembly.head
            if head is not None and head.status >= 400 and job is not None and not job.stream:
                # The status says enough, whatever became of the explanation.
                future.set_result([whole(head, b"", job, body, self.network_stream, (began, monotonic()))])
            else:
                future.set_exception(error)

    def expire(self) -> None:
        """It has taken too long."""
        assembly = self.assembly
        if assembly is None:
            self.drop()
        else:
            self.fail(errors.too_slow(assembly, sending=self._sending))

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assembly = self.assembly
        if assembly is None:
            # Not asked for: it must not be taken for the answer to what is asked next.
            self.drop()
            return
        try:
            complete = assembly.feed(data)
        except EngineError as error:
            self.fail(error)
            return
        if complete:
            self._complete(assembly)
            return
        stream = self._stream
        if stream is not None:
            if assembly.pieces:
                stream.add(assembly.taken())
        elif assembly.head is not None and is_for_a_reader(assembly.head, self._job):  # type: ignore[arg-type]
            self._hand_over(assembly)
        elif not self._sending:
            self.due = monotonic() + self._read
        self._wake()

    def eof_received(self) -> None:
        assembly = self.assembly
        if assembly is None:
            self.drop()
            return
        try:
            assembly.end()
        except EngineError as error:
            self.fail(error)
        else:
            self._complete(assembly)

    def connection_lost(self, exc: Exception | None) -> None:
        assembly = self.assembly
        if assembly is None:
            self.drop()
        elif exc is None:
            self.eof_received()
        else:
            self.fail(errors.broken(exc, assembly))

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    # The rest

    def _complete(self, assembly: Assembly) -> None:
        stream, future, job, body = self._stream, self._future, self._job, self._body
        head = assembly.head
        assert head is not None  # noqa: S101  # it is complete
        assert job is not None  # noqa: S101  # whose response it is
        content = None
        if stream is None:
            content = content_of(assembly, job)
            if content is None:
                self._hand_over(assembly)
                stream = self._stream
        reusable = assembly.reusable and not self._closes and not self._sending
        self._clear()
        if stream is not None:
            stream.end(assembly.taken())
        elif future is not None and not future.done():
            times = self._began, monotonic()
            future.set_result([whole(head, content or b"", job, body, self.network_stream, times, size=assembly.size)])
        if reusable:
            self._keeper.release(self)
        else:
            self.drop()

    def _hand_over(self, assembly: Assembly) -> None:
        """The head is there, and the body is for somebody to read."""
        job, future = self._job, self._future
        assert job is not None  # noqa: S101  # as above
        assert future is not None  # noqa: S101  # as above
        assert assembly.head is not None  # noqa: S101  # as above
        stream = self._stream = NativeBody(self, job.timeouts, self._began)
        if assembly.pieces:
            stream.add(assembly.taken())
        if not self._sending:
            self.due = FOREVER
        if not future.done():
            future.set_result([streamed(assembly.head, stream, job, self._body, self.network_stream)])

    def _clear(self) -> None:
        self.assembly = self._job = self._future = self._stream = None
        self._body = b""
        self._sending = False
        self.due = FOREVER
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _wait_until(self, due: float) -> None:
        self.due = due
        if due < self._keeper.next:
            self._keeper.arm(due)

    # For a body that is read

    def wanted(self, timeout: float | None) -> None:
        """Somebody waits for more of the body."""
        self._wait_until(FOREVER if timeout is None else monotonic() + timeout)

    def unwanted(self) -> None:
        """Nobody does."""
        self.due = FOREVER

    def pause(self) -> None:
        """Reads no more."""
        if not self.gone:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        if not self.gone:
            self._transport.resume_reading()

    def told_of(self, name: str) -> Any:
        """See `NetworkStream.get_extra_info`."""
        transport = self._transport
        if name == "client_addr":
            return transport.get_extra_info("sockname")
        if name == "server_addr":
            return transport.get_extra_info("peername")
        if name == "is_readable":
            return self.gone or not self.usable()
        if name == HUNG_UP:
            return self.gone or has_hung_up(transport.get_extra_info("socket"))
        return transport.get_extra_info(name) if name in ("ssl_object", "socket") else None

    def network_stream(self) -> NetworkStream:
        """What a response tells of the connection that it came over."""
        return NetworkStream(self)
