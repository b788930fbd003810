"""The connections of the native engine in sync use: opened, kept, and handed on in turn among threads."""

from __future__ import annotations

import os
import ssl
import threading
import weakref
from collections import deque
from contextlib import suppress
from time import monotonic

import httpx2

from holdfast.core.effects import FOREVER
from holdfast.http.deadlines import within
from holdfast.http.engines import native_errors as errors
from holdfast.http.engines import native_request
from holdfast.http.engines.dialing_sync import Dialing
from holdfast.http.engines.h1_request import NotOurs
from holdfast.http.engines.native_sync_connection import Connection, Origin

_UNLIMITED = 1 << 62


class Lease:
    """What one request holds of a pool: a place in the queue, leave to open a connection, or a connection.

    `Pool.abandon` gives back whichever it is, so that an interrupt may come at any time.

    Attributes:
        connection: its own, as long as it has one.
        dialing: how it makes one.
        gate: what it waits at in the queue.
    """

    __slots__ = ("connection", "dialing", "gate", "origin")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.connection: Connection | None = None
        self.dialing: Dialing | None = None
        self.gate: threading.Lock | None = None

    def wake(self) -> None:
        """Lets it go on from its gate."""
        if self.gate is not None:
            with suppress(RuntimeError):  # it was woken before
                self.gate.release()


class Pool:
    """The connections to all origins.

    Whoever finds none free waits in one queue, first come, first served, whatever the origin. A connection never serves
    another origin than the one it was opened to. One that has been idle for too long is closed when the next request is
    sent or has ended: no thread waits for that.

    An interrupt (Ctrl-C) may come between any two steps. So the numbers are those of sets, which a step leaves right or
    `abandon` does; and what is handed on is in the new hand before it leaves the old one.

    Args:
        ssl_context: for https.
        limits: of the number of connections, of those among them that are idle, and of the time that they are.
        uds: path of a Unix domain socket to connect to instead of the host.
        local_address: to connect from.

    Attributes:
        dropped: leases whose responses were never closed. They are given back when the next connection is asked for.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        limits: httpx2.Limits,
        *,
        uds: str | None = None,
        local_address: str | None = None,
    ) -> None:
        self.dropped: deque[Lease] = deque()
        self._ssl_context = ssl_context
        self._uds = uds
        self._local_address = local_address
        self._most = _UNLIMITED if limits.max_connections is None else limits.max_connections
        idle = limits.max_keepalive_connections
        self._most_idle = _UNLIMITED if idle is None else idle
        self._expiry = FOREVER if limits.keepalive_expiry is None else limits.keepalive_expiry
        self._lock = threading.Lock()
        self._origins: dict[str, Origin] = {}
        self._connections: set[Connection] = set()
        self._opening: set[Lease] = set()
        self._idle: dict[Connection, None] = {}  # those of all origins, the one that was used last at the end
        self._waiters: deque[Lease] = deque()
        self._closed = False
        _pools.add(self)

    def origin(self, name: str, url: httpx2.URL) -> Origin:
        """The origin of a URL. There is one of each name."""
        with self._lock:
            origin = self._origins.get(name)
            if origin is None:
                origin = self._origins[name] = native_request.Origin(name, url)
            return origin

    def forget_unused(self) -> None:
        """Forgets origins that there are no connections to, so that their number does not grow for ever."""
        with self._lock:
            used = {one.origin.name for some in (self._connections, self._opening, self._waiters) for one in some}
            self._origins = {name: one for name, one in self._origins.items() if name in used or one.foreign}

    # Getting a connection

    def take(self, lease: Lease) -> Connection | None:
        """An idle connection, if there is one: the one that was used last, which the server has most likely kept."""
        idle = lease.origin.idle
        while idle:
            with self._lock:
                if not idle:
                    break
                connection = lease.connection = idle[-1]
                del idle[-1]
                self._idle.pop(connection, None)
            if connection.due > monotonic() and connection.usable():
                return connection
            self.abandon(lease)
        return None

    def acquire(self, lease: Lease, timeouts: dict[str, float | None]) -> Connection:
        """A connection, when there is none idle: a new one, or the next one in turn that becomes free.

        Raises:
            EngineError: there was none in time, or it could not be opened. Nothing was sent.
            NotOurs: the server speaks HTTP/2 only.
        """
        while self.dropped:
            with suppress(IndexError):  # another thread was faster
                self.abandon(self.dropped.popleft())
        with self._lock:
            if self._closed:
                raise errors.closed()
            if self._waiters or not self._has_room():
                lease.gate = threading.Lock()
                lease.gate.acquire()
                self._waiters.append(lease)
            else:
                self._opening.add(lease)
        if lease.gate is not None:
            self._wait(lease, timeouts["pool"])
            connection = lease.connection
            if connection is not None:
                if connection.usable():
                    return connection
                with self._lock:
                    self._opening.add(lease)  # its place is ours
                    self._drop(connection)
                    lease.connection = None
        return self._opened(lease, timeouts["connect"])

    def _wait(self, lease: Lease, timeout: float | None) -> None:
        assert lease.gate is not None  # noqa: S101  # it waits there
        try:
            seconds = within(timeout)
        except TimeoutError as error:
            raise errors.none_free() from error
        lease.gate.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX))
        with self._lock:
            if lease in self._waiters:
                self._waiters.remove(lease)
            if not self._is_served(lease):
                raise errors.closed() if self._closed else errors.none_free()

    def _opened(self, lease: Lease, timeout: float | None) -> Connection:
        origin = lease.origin
        try:
            seconds = within(timeout)
            dialing = lease.dialing = Dialing(FOREVER if seconds is None else monotonic() + seconds)
            if self._closed:
                raise errors.closed()
            if self._uds is not None:
                made = dialing.unix(self._uds)
            else:
                made = dialing.tcp(origin.host, origin.port, self._local_address)
            if origin.tls:
                made = dialing.secured(made, native_request.offering_http1(self._ssl_context), origin.host)
            connection = Connection(origin, made)
        except OSError as error:
            raise (errors.closed() if self._closed else errors.not_connected(error)) from error
        with self._lock:
            if self._closed:
                raise errors.closed()
            lease.connection = connection
            self._connections.add(connection)
            self._opening.discard(lease)
        dialing.handed_out()
        lease.dialing = None
        if not native_request.speaks_http1(connection.told_of("ssl_object")):
            origin.foreign = True
            raise NotOurs("the server chose another version of HTTP")
        return connection

    # Giving it back

    def settle(self, lease: Lease, *, reusable: bool) -> None:
        """The request is over. Its connection is for the first in the queue, for later, or of no use any more."""
        if not reusable:
            self.abandon(lease)
            return
        with self._lock:
            connection = lease.connection
            if connection is None:
                return
            if self._closed or connection.ended:
                self._release(lease)
            elif not self._hand_on(lease, connection):
                if self._most_idle == 0 or self._expiry <= 0.0:
                    self._release(lease)
                else:
                    self._keep(connection)
                    lease.connection = None

    def abandon(self, lease: Lease) -> None:
        """The request is over, and its connection with it, or its waiting for one. Does nothing the second time."""
        with self._lock:
            self._release(lease)
        dialing, lease.dialing = lease.dialing, None
        if dialing is not None:
            dialing.close()

    def discard(self, connection: Connection) -> None:
        """Closes a connection that was cut off while a thread was inside, who calls this when it has left."""
        with self._lock:
            if connection.ended:
                self._drop(connection)

    def _release(self, lease: Lease) -> None:
        if lease.connection is not None:
            self._drop(lease.connection)
            lease.connection = None
        self._opening.discard(lease)
        if lease.gate is not None and lease in self._waiters:
            self._waiters.remove(lease)
        # Lets those in the queue have the places that are free.
        while self._waiters and len(self._connections) + len(self._opening) < self._most:
            self._serve(None)

    def _hand_on(self, lease: Lease, connection: Connection) -> bool:
        """Whether somebody in the queue has got the connection, or its place."""
        while self._waiters:
            waiter = self._waiters[0]
            if not self._is_served(waiter):
                if waiter.origin is connection.origin:
                    connection.due = FOREVER
                    waiter.connection, lease.connection = connection, None
                    self._serve(waiter)
                else:
                    self._release(lease)
                return True
            self._waiters.popleft()
        return False

    def _serve(self, waiter: Lease | None) -> None:
        """Takes the first out of the queue, who has got a connection, or else gets leave to open one."""
        if waiter is None:
            waiter = self._waiters[0]
            if not self._is_served(waiter):
                self._opening.add(waiter)
        waiter.wake()
        self._waiters.popleft()

    def _is_served(self, waiter: Lease) -> bool:
        return waiter.connection is not None or waiter in self._opening

    def _keep(self, connection: Connection) -> None:
        now = monotonic()
        connection.due = now + self._expiry
        if len(self._idle) >= self._most_idle:
            self._drop(next(iter(self._idle)))
        self._drop_expired(now)
        origin = connection.origin
        if self._origins.get(origin.name) is not origin:
            # It was forgotten while this connection was made.
            origin = connection.origin = self._origins.setdefault(origin.name, origin)
        origin.idle.append(connection)
        self._idle[connection] = None

    def _drop(self, connection: Connection) -> None:
        connection.cut()
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        idle = connection.origin.idle
        if connection in idle:
            idle.remove(connection)

    def _drop_expired(self, now: float) -> None:
        while self._idle:
            oldest = next(iter(self._idle))
            if oldest.due > now:
                break
            self._drop(oldest)

    def _has_room(self) -> bool:
        """Whether one more may be opened; for that, one that is idle elsewhere is closed."""
        self._drop_expired(monotonic())
        if len(self._connections) + len(self._opening) < self._most:
            return True
        if not self._idle:
            return False
        self._drop(next(iter(self._idle)))
        return len(self._connections) + len(self._opening) < self._most

    # The end

    def close(self) -> None:
        """Closes all connections; the threads that use them are woken, and those in the queue."""
        with self._lock:
            self._closed = True
            while self._waiters:
                self._waiters[0].wake()
                self._waiters.popleft()
            for connection in list(self._connections):
                if connection in self._idle:
                    self._drop(connection)
                else:
                    connection.cut()  # for its user to drop
            opening = list(self._opening)
        for lease in opening:
            dialing = lease.dialing
            if dialing is not None:
                dialing.give_up()

    def forked(self) -> None:
        """In the child of a fork: the connections are the parent's, and a thread that is no more may hold the lock."""
        self._lock = threading.Lock()
        self._closed = True
        for connection in self._connections:
            connection.disown()
        self._waiters.clear()
        self._opening.clear()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.forked()


os.register_at_fork(after_in_child=_after_fork)
