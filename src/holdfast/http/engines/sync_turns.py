"""HTTP/2 and proxies in sync use: one request at a time on a connection, which is closed unless that ends well.

Two threads on one connection would depend on each other. httpcore2's sync connection lets the one wait, without any
timeout, for what the other one reads, for a stream to become free, or for the connection to be made: no deadline could
hold. And a read that runs into the timeout of one ends the requests of all. So a connection that is busy is passed
over, as with HTTP/1.1, and each read is made for the one request whose deadline cuts it. Under asyncio, where a wait
can be cut at any point, requests share connections as usual.

HTTP/1.1 serves one request at a time anyway. Through a proxy, the closing is what counts: httpcore2 forgets to close a
connection to a proxy that was made when what was asked of the proxy, or the TLS handshake through it, fails.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import httpcore2

from holdfast.http.engines.wire import HUNG_UP


class Turns(httpcore2.ConnectionInterface):
    """A connection that is used by one request at a time, and closed unless that one ends well.

    What is left of a response that was not read to its end would come in on the next request's time.
    """

    def __init__(self, connection: httpcore2.ConnectionInterface) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        self._stream: httpcore2.NetworkStream | None = None

    def handle_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Sends a request and returns the head of its response.

        Raises:
            httpcore2.ConnectionNotAvailable: the connection is busy; the pool takes another one.
        """
        if not self._turn.acquire(blocking=False):
            raise httpcore2.ConnectionNotAvailable
        try:
            response = self._connection.handle_request(request)
        except BaseException:
            self._connection.close()
            self._turn.release()
            raise
        self._stream = response.extensions.get("network_stream")
        assert isinstance(response.stream, Iterable)  # noqa: S101  # it is, in sync use
        body = _Body(response.stream, self)
        return httpcore2.Response(
            response.status, headers=response.headers, content=body, extensions=response.extensions
        )

    def done(self, *, complete: bool) -> None:
        """The request is over, and its response was read to its end or not."""
        if not complete:
            self._connection.close()
        self._turn.release()

    def can_handle_request(self, origin: httpcore2.Origin) -> bool:
        return self._connection.can_handle_request(origin)

    def close(self) -> None:
        self._connection.close()

    def info(self) -> str:
        return self._connection.info()

    def is_connected(self) -> bool:
        return self._connection.is_connected()

    def is_available(self) -> bool:
        return not self._turn.locked() and self._connection.is_idle() and self._connection.is_available()

    def has_expired(self) -> bool:
        # httpcore2 does not look whether an idle HTTP/2 connection is still there; a request on it would be lost.
        return self._connection.has_expired() or (
            self._stream is not None and self.is_idle() and bool(self._stream.get_extra_info(HUNG_UP))
        )

    def is_idle(self) -> bool:
        return not self._turn.locked() and self._connection.is_idle()

    def is_closed(self) -> bool:
        return self._connection.is_closed()

    def can_multiplex(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.info()}]>"


class _Body:
    """The body of a response, which ends the turn of its request."""

    def __init__(self, stream: Iterable[bytes], turns: Turns) -> None:
        self._stream = stream
        self._turns: Turns | None = turns
        self._complete = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream
        self._complete = True

    def close(self) -> None:
        turns, self._turns = self._turns, None
        if turns is None:
            return
        try:
            close = getattr(self._stream, "close", None)
            if close is not None:
                close()
        finally:
            turns.done(complete=self._complete)
