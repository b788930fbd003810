"""The production client on a `VirtualClock`: the parts of it that read the time or wait, and nothing else, differ."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2

from holdfast.config import ClientConfig
from holdfast.core.effects import FOREVER, Child, Flow, Job, Park, Waiter
from holdfast.http import assembly
from holdfast.http.connections import Connections
from holdfast.http.cookies import OriginJar
from holdfast.http.deadlines import DeadlineTable
from holdfast.http.drive_async import AsyncDriver, Owner
from holdfast.http.drive_sync import Stop, SyncDriver
from holdfast.http.engines.base import Engine, SyncEngine
from holdfast.http.runtime import Runtime
from holdfast.testing.clock import Timer, VirtualClock, Wait, set_done
from holdfast.testing.transport import FaultTransport

_REAL = assembly.Assembly


def assembling(clock: VirtualClock | None) -> None:
    """Makes new clients live by a clock; by the real one for None."""
    made: Any = _REAL if clock is None else partial(ClockedAssembly, clock)
    assembly.Assembly = made  # type: ignore[misc]  # what `ResilientClient` looks up when one is made


class ClockedAssembly(_REAL):
    """An assembly on a virtual clock."""

    def __init__(
        self,
        clock: VirtualClock,
        config: ClientConfig,
        *,
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
        **others: Any,
    ) -> None:
        super().__init__(
            config,
            http_client=http_client,
            transport=transport,
            now=clock.now,
            rand=clock.random.random,
            **others,
        )
        self.runtime.now = clock.now
        self.connections = ClockedConnections(
            clock, config, self.runtime, self.jar, http_client=http_client, transport=transport
        )


class ClockedConnections(Connections):
    """Connections whose drivers wait on a virtual clock."""

    def __init__(
        self,
        clock: VirtualClock,
        config: ClientConfig,
        runtime: Runtime,
        jar: OriginJar,
        *,
        http_client: httpx2.AsyncClient | httpx2.Client | None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None,
    ) -> None:
        super().__init__(config, runtime, jar, http_client=http_client, transport=transport)
        self._clock = clock

    def driver(self, loop: asyncio.AbstractEventLoop) -> AsyncDriver:
        """See `Connections.driver`."""
        with self._making:
            driver = self._by_loop.get(loop)
            if driver is None:
                self.let_go()
                engine: Engine = self._async_engine()
                if not isinstance(self._transport, FaultTransport):
                    engine = _AsyncRealTime(engine, self._clock)
                driver = self._by_loop[loop] = ClockedAsyncDriver(self._clock, self._runtime, engine, loop)
            self.last = driver
        return driver

    def sync_driver(self) -> SyncDriver:
        """See `Connections.sync_driver`."""
        with self._making:
            if self._sync is None:
                engine: SyncEngine = self._sync_engine()
                if not isinstance(self._transport, FaultTransport):
                    engine = _SyncRealTime(engine, self._clock)
                self._sync = ClockedSyncDriver(self._clock, self._runtime, engine)
            return self._sync


class ClockedAsyncDriver(AsyncDriver):
    """An `AsyncDriver` that waits on a virtual clock."""

    def __init__(self, clock: VirtualClock, runtime: Runtime, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(runtime, engine, loop)
        table, self.deadlines = self.deadlines, _Deadlines(clock, loop)
        # The driver keeps what it needs for every call together.
        self.deadlines.busy = table.busy
        self._hot = tuple(self.deadlines if one is table else one for one in self._hot)  # type: ignore[assignment]
        self._clock = clock
        self._bound: dict[asyncio.Future[None], Wait] = {}

    async def drive(self, flow: Flow[Any], task: asyncio.Task[Any], owner: Owner | None = None) -> Any:
        """See `AsyncDriver.drive`."""
        with self._clock.party(task):
            self._clock.took_over(flow, task)
            return await super().drive(flow, task, owner)

    def _bind(self, park: Park) -> asyncio.Future[None]:
        waiter = park.waiter = park.waiter or Waiter()
        woken = super()._bind(park)
        wait = self._bound[woken] = Wait(asyncio.current_task(), partial(set_done, woken), noted=True)
        _tell(waiter, partial(self._clock.wake, wait))
        return woken

    async def _park(self, until: float, woken: asyncio.Future[None]) -> None:
        self._runtime.tidy()
        await self._clock.wait_async(self._bound.pop(woken), woken, until, self.loop)

    def _spawn(self, flow: Flow[Any]) -> Child:
        self._clock.background(flow)
        return super()._spawn(flow)


class ClockedSyncDriver(SyncDriver):
    """A `SyncDriver` that waits on a virtual clock."""

    def __init__(self, clock: VirtualClock, runtime: Runtime, engine: SyncEngine) -> None:
        super().__init__(runtime, engine)
        self._clock = clock

    def drive(self, flow: Flow[Any], stop: Stop | None = None) -> Any:
        """See `SyncDriver.drive`."""
        thread = threading.get_ident()
        with self._clock.party(thread):
            self._clock.took_over(flow, thread)
            return super().drive(flow, stop)

    def _bind(self, waiter: Waiter) -> tuple[Wait, threading.Event]:
        over = threading.Event()
        wait = Wait(threading.get_ident(), over.set, noted=True)
        waiter.notify = _there
        _tell(waiter, partial(self._clock.wake, wait))
        return wait, over

    def _wait(self, until: float, gate: tuple[Wait, threading.Event]) -> None:
        self._clock.wait_sync(*gate, until)

    def _spawn(self, flow: Flow[Any]) -> Child:
        self._clock.background(flow)
        return super()._spawn(flow)


class _Deadlines(DeadlineTable):
    """Deadlines on a virtual clock."""

    __slots__ = ("_clock", "_mark", "_real_loop")

    def __init__(self, clock: VirtualClock, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._clock = clock
        self._real_loop = loop
        self._mark: Timer | None = None

    def arm(self, when: float) -> None:
        """See `DeadlineTable.arm`."""
        self.close_timer()
        self.next = when
        self._mark = self._clock.timer(when, self._due, self._real_loop)

    def _due(self) -> None:
        if not self._real_loop.is_closed():
            self._real_loop.call_soon_threadsafe(self._sweep)

    def _sweep(self) -> None:
        self._mark = None
        self.cut(self._clock.now())

    def close_timer(self) -> None:
        """Takes the timer back."""
        if self._mark is not None:
            self._mark.cancel()
            self._mark = None

    def close(self) -> None:
        """See `DeadlineTable.close`."""
        if not self.busy:
            self.close_timer()
            self.next = FOREVER


class _AsyncRealTime:
    """An engine whose requests take real time."""

    def __init__(self, engine: Engine, clock: VirtualClock) -> None:
        self.caps = engine.caps
        self._engine = engine
        self._clock = clock

    async def send(self, job: Job) -> httpx2.Response:
        with self._clock.sending():
            return await self._engine.send(job)

    async def aclose(self) -> None:
        await self._engine.aclose()


class _SyncRealTime:
    """The same for threads."""

    def __init__(self, engine: SyncEngine, clock: VirtualClock) -> None:
        self.caps = engine.caps
        self._engine = engine
        self._clock = clock

    def send(self, job: Job) -> httpx2.Response:
        with self._clock.sending():
            return self._engine.send(job)

    def close(self) -> None:
        self._engine.close()


def _there() -> bool:
    return True


def _tell(waiter: Waiter, wake: Callable[[], None]) -> None:
    """Lets `wake` be called when the waiter is woken, now if it was."""
    reach = waiter.notify

    def notify() -> bool:
        there = reach is None or reach()
        if there:
            wake()
        return there

    waiter.notify = notify
    if waiter.woken:
        wake()
