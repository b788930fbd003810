"""The body of a response of the native engine under asyncio, read while it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta
from time import monotonic
from typing import Protocol

import httpx2

from holdfast.http.engines.base import EngineError
from holdfast.http.engines.native_errors import given_up, public

HIGH = 256 * 1024
"""Bytes of a streamed body that wait for their reader before no more are read from the connection."""
_LOW = 64 * 1024


class Source(Protocol):
    """Where a body comes from: the connection, as long as the request is its own."""

    def wanted(self, timeout: float | None) -> None:
        """Somebody waits for more of it, so many seconds."""
        ...

    def unwanted(self) -> None:
        """Nobody does."""
        ...

    def pause(self) -> None:
        """Reads no more."""
        ...

    def resume(self) -> None:
        """Reads on."""
        ...

    def abort(self) -> None:
        """Gives up the request, and with it the connection."""
        ...


class NativeBody(httpx2.AsyncByteStream):
    """The body of a response that is read while it comes.

    Attributes:
        elapsed: the time from the request to the closing, once it was closed.
    """

    def __init__(self, connection: Source, timeouts: dict[str, float | None], began: float) -> None:
        self.elapsed: timedelta | None = None
        self._connection: Source | None = connection
        self._timeouts = timeouts  # the very dict of the request, which may get other ones
        self._began = began
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._error: EngineError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # By the connection

    def add(self, piece: bytes) -> None:
        """More of it came."""
        self._pieces.append(piece)
        self._size += len(piece)
        connection = self._connection
        if self._size > HIGH and not self._paused and connection is not None:
            self._paused = True
            connection.pause()
        self._wake()

    def end(self, piece: bytes) -> None:
        """The rest of it came. The connection may serve others from now on."""
        connection, self._connection = self._connection, None
        if self._paused and connection is not None:
            self._paused = False
            connection.resume()
        if piece:
            self._pieces.append(piece)
        self._wake()

    def fail(self, error: EngineError) -> None:
        """No more of it will come."""
        self._connection = None
        self._error = error
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # By the reader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = self._pieces
        while True:
            while pieces:
                piece = pieces.popleft()
                self._size -= len(piece)
                connection = self._connection
                if self._paused and self._size < _LOW and connection is not None:
                    self._paused = False
                    connection.resume()
                yield piece
            if self._error is not None:
                error = public(self._error)
                raise error from error.__cause__
            if self._connection is None:
                return
            await self._more(self._connection)

    async def _more(self, connection: Source) -> None:
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        connection.wanted(self._timeouts["read"])
        try:
            await waiter
        except BaseException:
            self._give_up()
            raise
        finally:
            self._waiter = None
            if self._connection is not None:
                connection.unwanted()

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._error is None:
            self._error = given_up()
        connection.abort()

    async def aclose(self) -> None:
        """Closes the connection, unless the whole body has come."""
        self.elapsed = timedelta(seconds=monotonic() - self._began)
        self._give_up()
        self._pieces.clear()
