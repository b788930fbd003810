"""The body of a response of the native engine in sync use, read while it comes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from time import monotonic

import httpx2

from holdfast.http.engines.base import EngineError
from holdfast.http.engines.native_errors import given_up, public
from holdfast.http.engines.native_sync_exchange import Exchange
from holdfast.http.engines.native_sync_pool import Lease, Pool


class SyncNativeBody(httpx2.SyncByteStream):
    """The body of a response that is read on demand.

    Attributes:
        elapsed: the time from the request to the closing, once it was closed.
    """

    _lease: Lease | None = None  # of one whose making was interrupted

    def __init__(self, exchange: Exchange, lease: Lease, pool: Pool) -> None:
        self.elapsed: timedelta | None = None
        self._exchange = exchange
        self._lease = lease
        self._pool = pool
        self._error: EngineError | None = None
        if exchange.assembly.complete:
            self._end()

    def __iter__(self) -> Iterator[bytes]:
        assembly = self._exchange.assembly
        while True:
            while assembly.pieces:
                yield assembly.taken()
            if self._error is not None:
                error = public(self._error)
                raise error from error.__cause__
            if self._lease is None:
                return
            self._more()

    def _more(self) -> None:
        try:
            self._exchange.read()
            if self._exchange.assembly.complete:
                self._end()
        except EngineError as error:
            self._error = self._error or error
            self._give_up()
            # Closed by another thread meanwhile, it could not be closed for good before this one had left.
            self._pool.discard(self._exchange.connection)
        except BaseException:
            self._give_up()
            raise

    def _end(self) -> None:
        """All of it is there: the connection may serve others from now on."""
        lease = self._lease
        if lease is not None:
            self._pool.settle(lease, reusable=self._exchange.reusable)
            self._lease = None

    def _give_up(self) -> None:
        lease = self._lease
        self._exchange.assembly.pieces.clear()
        if lease is not None:
            self._error = self._error or given_up()
            self._pool.abandon(lease)
            self._lease = None

    def close(self) -> None:
        """Closes the connection, unless the whole body has come."""
        self.elapsed = timedelta(seconds=monotonic() - self._exchange.began)
        self._give_up()

    def __del__(self) -> None:
        if self._lease is not None:
            # Not here: this thread may hold the lock of the pool right now.
            self._pool.dropped.append(self._lease)
