"""One request and its response on a connection, in sync use."""

from __future__ import annotations

from time import monotonic
from typing import Any

from holdfast.core.effects import Job
from holdfast.http.engines import native_errors as errors
from holdfast.http.engines.base import EngineError, Sent
from holdfast.http.engines.h1 import Assembly
from holdfast.http.engines.h1_request import Framing, RequestHead
from holdfast.http.engines.httpx2_engine import engine_error
from holdfast.http.engines.native_body import HIGH
from holdfast.http.engines.native_coded import is_for_a_reader
from holdfast.http.engines.native_request import AT_ONCE, PATIENCE
from holdfast.http.engines.native_sync_connection import Connection


class Exchange:
    """Sends a request, and reads its response.

    While a body goes out, what comes in is read too: the server may answer before it has seen all of it, or send so
    much that it waits for us to read.

    Attributes:
        assembly: of the response.
        began: when it began, in monotonic seconds.
        connection: what it goes over.
    """

    __slots__ = ("_closes", "_job", "_prepared", "_sent", "_timeouts", "assembly", "began", "connection")

    def __init__(self, connection: Connection, job: Job) -> None:
        self.assembly = Assembly(bodiless=job.method == "HEAD", most=job.cap)
        self.began = monotonic()
        self.connection = connection
        self._job = job
        self._timeouts = job.timeouts  # the very dict of the request, which may get other ones
        self._closes = False
        self._sent = False
        self._prepared = False  # whether the connection knows how long the next read may take

    @property
    def reusable(self) -> bool:
        """Whether the connection takes another request, now that the response is complete."""
        return self.assembly.reusable and self._sent and not self._closes

    def send(self, head: RequestHead, body: Any) -> None:
        """Sends the request, as far as the server lets it.

        Args:
            head: its head.
            body: bytes, or what gives them.

        Raises:
            EngineError: the server takes nothing, or the body is not as it should be.
        """
        self._closes = head.closes
        at_once = body.__class__ is bytes and len(body) <= AT_ONCE and not head.expects
        connection = self.connection
        try:
            # Not the timeout for writing, as there is room on a connection that waits for a request. What follows is
            # the reading.
            connection.prepare(self._timeouts["read"])
        except TimeoutError as error:
            raise EngineError(str(error), sent=Sent.NO, phase="connect", timed_out=True) from error
        except OSError:
            return  # as below
        data = head.data + body if at_once and body else head.data
        try:
            count = connection.send(data)
        except TimeoutError as error:
            raise errors.too_slow(self.assembly, sending=True) from error
        except OSError:
            return  # the server may have answered before it hung up
        if at_once and count == len(data):
            self._sent = self._prepared = True
            return
        if count < len(data) and not self._transmit(memoryview(data)[count:]):
            return
        if at_once:
            self._sent = True
            return
        try:
            self._sent = (not head.expects or self._wanted()) and self._send_body(head, body)
        except EngineError:
            raise
        except Exception as error:
            raise engine_error(error, head=False) from error

    def read(self) -> None:
        """Reads once.

        Raises:
            EngineError: there was nothing in time, the connection broke, or that is no response.
        """
        connection, assembly = self.connection, self.assembly
        try:
            if self._prepared:
                self._prepared = False
            else:
                connection.prepare(self._timeouts["read"])
            data = connection.receive()
        except TimeoutError as error:
            raise errors.too_slow(assembly, sending=False) from error
        except OSError as error:
            raise (errors.cut_off(assembly) if connection.ended else errors.broken(error, assembly)) from error
        self._take(data)

    def _take(self, data: bytes) -> None:
        if data:
            self.assembly.feed(data)
        else:
            self.assembly.end()

    def _send_body(self, head: RequestHead, body: Any) -> bool:
        """Whether all of it was sent."""
        if body.__class__ is bytes:
            return self._transmit(memoryview(body))
        framing = Framing(head.length)
        chunks = iter(body)
        try:
            for data in chunks:
                piece = framing.piece(data)
                if piece and not self._transmit(memoryview(piece)):
                    return False
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        return self._transmit(memoryview(framing.end()))

    def _transmit(self, left: memoryview) -> bool:
        """Sends all of that. False, if the response is complete before, or the connection takes no more."""
        connection, assembly = self.connection, self.assembly
        writing = True
        while left:
            try:
                readable, writable = connection.wait(
                    # If there is much of a body that nobody reads yet, the rest of it can wait.
                    read=not (writing and self.readable and assembly.size >= HIGH),
                    write=writing,
                    timeout=self._timeouts["write"],
                )
            except TimeoutError as error:
                raise errors.too_slow(assembly, sending=True) from error
            except OSError:
                return False  # reading says what has happened
            if not readable and not writable:
                raise errors.too_slow(assembly, sending=True)
            writing = True
            if readable and self._receive_now():
                return False
            if writable:
                try:
                    count = connection.send_now(left[:AT_ONCE])
                except OSError:
                    return False  # as above
                writing = count is not None
                left = left[count or 0 :]
        return True

    def _receive_now(self) -> bool:
        """Takes what there is. Whether the response is complete."""
        connection, assembly = self.connection, self.assembly
        try:
            data = connection.receive_now()
        except OSError as error:
            raise (errors.cut_off(assembly) if connection.ended else errors.broken(error, assembly)) from error
        if data is not None:
            self._take(data)
        return assembly.complete

    def _wanted(self) -> bool:
        """Waits until the server wants the body, or answers without it, for a while. Whether it is to be sent."""
        assembly = self.assembly
        until = self.began + PATIENCE
        while not assembly.interim:
            left = until - monotonic()
            if left <= 0.0:
                return True
            try:
                readable, _ = self.connection.wait(read=True, write=False, timeout=left)
            except TimeoutError as error:
                raise errors.too_slow(assembly, sending=True) from error
            except OSError:
                return False
            if readable and (self._receive_now() or assembly.head is not None):
                return False
        return True

    @property
    def readable(self) -> bool:
        """Whether the head of the response is there, and the body is for somebody else to read as it comes."""
        head = self.assembly.head
        return head is not None and is_for_a_reader(head, self._job)
