"""The connections of the native engine on one event loop: opened, kept, handed on in turn, and timed by one timer."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from time import monotonic
from typing import Any

import httpx2

from holdfast.core.effects import FOREVER
from holdfast.http.engines import native_errors as errors
from holdfast.http.engines import native_request
from holdfast.http.engines.dialing import dialed
from holdfast.http.engines.h1_request import NotOurs
from holdfast.http.engines.interrupted import before_sending
from holdfast.http.engines.native_connection import Connection, Origin

_UNLIMITED = 1 << 62


class _Waiter:
    """One who waits for a connection. It is given one, or None for leave to open one."""

    __slots__ = ("due", "future", "origin")

    def __init__(self, origin: Origin, due: float, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.due = due
        self.future: asyncio.Future[Connection | None] = loop.create_future()


class Pool:
    """The connections to all origins.

    Whoever finds none free waits in one queue, first come, first served, whatever the origin. A connection never serves
    another origin than the one it was opened to.

    Args:
        ssl_context: for https.
        limits: of the number of connections, of those among them that are idle, and of the time that they are.
        uds: path of a Unix domain socket to connect to instead of the host.
        local_address: to connect from.

    Attributes:
        next: when the timer fires.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ssl_context: ssl.SSLContext,
        limits: httpx2.Limits,
        *,
        uds: str | None = None,
        local_address: str | None = None,
    ) -> None:
        self.next = FOREVER
        self._loop = loop
        self._ssl_context = ssl_context
        self._uds = uds
        self._local_address = local_address
        self._most = _UNLIMITED if limits.max_connections is None else limits.max_connections
        idle = limits.max_keepalive_connections
        self._most_idle = _UNLIMITED if idle is None else idle
        self._expiry = FOREVER if limits.keepalive_expiry is None else limits.keepalive_expiry
        self._origins: dict[str, Origin] = {}
        self._connections: set[Connection] = set()
        self._opening = 0
        self._idle = 0
        self._waiters: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def origin(self, name: str, url: httpx2.URL) -> Origin:
        """The origin of a URL. There is one of each name."""
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = native_request.Origin(name, url)
        return origin

    def forget_unused(self) -> None:
        """Forgets origins that there are no connections to, so that their number does not grow for ever."""
        if self._opening or self._waiters:
            return
        used = {connection.origin.name for connection in self._connections}
        self._origins = {name: one for name, one in self._origins.items() if name in used or one.foreign}

    # Getting a connection

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection, if there is one: the one that was used last, which the server has most likely kept."""
        idle = origin.idle
        now = monotonic()
        while idle:
            connection = idle.pop()
            self._idle -= 1
            if connection.due > now and connection.usable():
                return connection
            connection.drop()
        return None

    @before_sending
    async def acquire(self, origin: Origin, timeouts: dict[str, float | None]) -> Connection:
        """A connection, when there is none idle: a new one, or the next one in turn that becomes free.

        Raises:
            EngineError: there was none in time, or it could not be opened. Nothing was sent.
            NotOurs: the server speaks HTTP/2 only.
        """
        if self._closed:
            raise errors.closed()
        if self._waiters or not self._has_room():
            connection = await self._turn(origin, timeouts["pool"])
            if connection is not None:
                if connection.usable():
                    connection.handed = False
                    return connection
                connection.drop()  # its place is ours
        else:
            self._opening += 1
        try:
            made = await self._opened(origin, timeouts["connect"])
        finally:
            self._opening -= 1
            self._vacate()
        return made

    async def _turn(self, origin: Origin, timeout: float | None) -> Connection | None:  # noqa: ASYNC109  # by the timer
        due = FOREVER if timeout is None else monotonic() + timeout
        waiter = _Waiter(origin, due, self._loop)
        self._waiters.append(waiter)
        if due < self.next:
            self.arm(due)
        try:
            return await waiter.future
        except BaseException:
            future = waiter.future
            if self._loop.is_closed():
                raise
            if not future.done():
                future.cancel()
            if future.cancelled():
                self._drop_waiter(waiter)
            elif future.exception() is None:
                self._give_back(future.result())
            raise

    def _drop_waiter(self, waiter: _Waiter) -> None:
        try:
            self._waiters.remove(waiter)
        except ValueError:
            pass  # whoever served the queue has passed it over

    def _give_back(self, granted: Connection | None) -> None:
        """Somebody was served who is not there any more."""
        if granted is None:
            self._opening -= 1
            self._vacate()
        elif granted.gone:
            self._opening -= 1  # see `lost`
            self._vacate()
        else:
            granted.handed = False
            self.release(granted)

    def _has_room(self) -> bool:
        """Whether one more may be opened; for that, one that is idle elsewhere is closed."""
        if len(self._connections) + self._opening < self._most:
            return True
        if not self._idle:
            return False
        self._drop_oldest()
        return len(self._connections) + self._opening < self._most

    def _drop_oldest(self) -> None:
        oldest = min((one.idle[0] for one in self._origins.values() if one.idle), key=lambda one: one.due)
        oldest.origin.idle.remove(oldest)
        self._idle -= 1
        oldest.drop()

    async def _opened(self, origin: Origin, timeout: float | None) -> Connection:  # noqa: ASYNC109  # for all its steps
        try:
            async with asyncio.timeout(timeout):
                connection = await self._connected(origin)
        except OSError as error:
            raise errors.not_connected(error) from error
        if connection.gone or self._closed:
            connection.drop()
            raise errors.closed() if self._closed else errors.ended()
        if not native_request.speaks_http1(connection.told_of("ssl_object")):
            connection.drop()
            origin.foreign = True
            raise NotOurs("the server chose another version of HTTP")
        self._connections.add(connection)
        return connection

    async def _connected(self, origin: Origin) -> Connection:
        connection = Connection(self, origin, self._loop)
        if self._uds is not None:
            await self._loop.create_unix_connection(lambda: connection, self._uds, **self._security(origin))
            return connection
        made = await dialed(origin.host, origin.port, self._local_address)
        try:
            await self._loop.create_connection(lambda: connection, sock=made, **self._security(origin))
        except BaseException:
            connection.drop()
            made.close()
            raise
        return connection

    def _security(self, origin: Origin) -> dict[str, Any]:
        """What a connection to an origin is made with. To be asked at the last moment."""
        if not origin.tls:
            return {}
        return {"ssl": native_request.offering_http1(self._ssl_context), "server_hostname": origin.host}

    # What connections tell

    def release(self, connection: Connection) -> None:
        """It is free for the next request: of the first in the queue, or later."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if waiter.future.done():
                continue
            if waiter.origin is connection.origin:
                connection.handed = True
                connection.due = FOREVER
                waiter.future.set_result(connection)
            else:
                self._opening += 1  # before its place is free for others
                waiter.future.set_result(None)
                connection.drop()
            return
        if self._closed or self._most_idle == 0 or self._expiry <= 0.0:
            connection.drop()
            return
        if self._idle >= self._most_idle:
            self._drop_oldest()
        connection.origin.idle.append(connection)
        self._idle += 1
        due = connection.due = monotonic() + self._expiry
        if due < self.next:
            self.arm(due)

    def lost(self, connection: Connection) -> None:
        """It is gone, and its place is free."""
        if connection not in self._connections or self._loop.is_closed():
            return  # it was never quite open, or nobody is left
        self._connections.discard(connection)
        if connection.handed:
            self._opening += 1  # in its place, whoever it was handed to opens another one
            return
        idle = connection.origin.idle
        if connection in idle:
            idle.remove(connection)
            self._idle -= 1
        self._vacate()

    def _vacate(self) -> None:
        """Lets those in the queue have the places that are free."""
        if self._loop.is_closed():
            return
        while self._waiters and len(self._connections) + self._opening < self._most:
            waiter = self._waiters.popleft()
            if not waiter.future.done():
                self._opening += 1
                waiter.future.set_result(None)

    # Time

    def arm(self, when: float) -> None:
        """Looks at what is due at this time."""
        if self._timer is not None:
            self._timer.cancel()
        self.next = when
        self._timer = self._loop.call_later(max(when - monotonic(), 0.0), self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        self.next = FOREVER
        now = monotonic()
        following = FOREVER
        for connection in list(self._connections):
            if connection.due <= now:
                connection.expire()
            elif connection.due < following:
                following = connection.due
        for waiter in list(self._waiters):
            if waiter.due <= now:
                self._drop_waiter(waiter)
                if not waiter.future.done():
                    waiter.future.set_exception(errors.none_free())
            elif waiter.due < following:
                following = waiter.due
        if following < self.next:
            self.arm(following)

    def close(self) -> None:
        """Closes all connections; the requests on them fail, and so do those in the queue."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.future.done():
                waiter.future.set_exception(errors.closed())
        for connection in list(self._connections):
            connection.fail(errors.cut_off(connection.assembly))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.next = FOREVER

    async def aclose(self) -> None:
        """As `close`, and waits until the sockets are closed too."""
        self.close()
        # A transport lets go of its socket one turn of the loop after it was told to; one with TLS, two.
        for _ in range(3):
            await asyncio.sleep(0)
