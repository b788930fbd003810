"""Runs flows under asyncio."""

from __future__ import annotations

import asyncio
import inspect
from asyncio.events import _get_running_loop  # in its __all__
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Protocol, cast

from holdfast.core.effects import FOREVER, Child, Failed, Flow, Io, Job, Park, Waiter
from holdfast.http.deadlines import DeadlineTable
from holdfast.http.engines.base import Engine, EngineError, Sent, deadline_passed
from holdfast.http.engines.interrupted import cut_by_deadline
from holdfast.http.runtime import Runtime


class Owner(Protocol):
    """Who is told how a flow ended, before anybody else."""

    def finish(self, value: Any) -> Any:
        """The result; returns, or raises, what the driver is to end with."""
        ...

    def fail(self, error: BaseException) -> None:
        """An exception."""
        ...


class AsyncDriver:
    """Drives the flows of one client on one event loop."""

    def __init__(self, runtime: Runtime, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self.deadlines = DeadlineTable(loop)
        self._runtime = runtime
        # In one, because looking up one thing is faster than five. It holds until a fork, which no driver survives.
        self._hot = runtime.acquire, runtime.release, runtime.pending, self.deadlines, self.deadlines.busy
        self.loop = loop
        self._background: set[asyncio.Task[Any]] = set()

    async def drive(  # noqa: C901, PLR0915  # one loop, a branch per effect
        self, flow: Flow[Any], task: asyncio.Task[Any], owner: Owner | None = None
    ) -> Any:
        """Runs `flow` to its end, in the current `task`, and returns its result, or what `owner` makes of it.

        Raises:
            asyncio.CancelledError: the task was cancelled; the flow has given back what it held.
            Exception: whatever the flow raises.
        """
        acquire, release, pending, deadlines, busy = self._hot
        before = task.cancelling()
        send = flow.send
        step: Callable[[Any], Any] = send
        value: Any = None
        woken: Any = None
        streams: list[Any] | None = None
        late = False
        try:
            while True:
                effect: Any
                acquire()
                try:
                    effect = step(value)
                    kind = effect.__class__
                    if kind is Park:
                        # In the same locked step that yielded it, so that no wake-up falls in between.
                        woken = self._bind(effect)
                except StopIteration as stop:
                    value = stop.value
                    break
                finally:
                    release()
                    if pending:
                        self._runtime.settle()
                step = send
                try:
                    if kind is Job:
                        busy[effect] = task, flow
                        if effect.deadline < deadlines.next:
                            deadlines.arm(effect.deadline)
                        try:
                            value = await self.engine.send(effect)
                        finally:
                            del busy[effect]
                            if deadlines.expired:
                                late = deadlines.was_late(effect, task, before)
                        if effect.stream:
                            streams = [value] if streams is None else [*streams, value]
                    elif kind is Park:
                        await self._park(effect.until, woken)
                        step, value = partial(_resume, step), effect.waiter
                    elif kind is Io:
                        value = await self._io(effect, task, flow, before)
                    else:
                        value = self._spawn(effect.flow)
                except GeneratorExit:
                    # Nobody drives this flow any more, and nothing can be awaited here.
                    self._runtime.bury(flow)
                    streams = None
                    raise
                except BaseException as error:
                    if kind is Job and isinstance(error, EngineError):
                        value = Failed(error)
                    elif kind is Job and isinstance(error, asyncio.CancelledError) and late:
                        value = Failed(cut_by_deadline(error))
                    else:
                        step = flow.throw
                        value = error
                    late = False
            return value if owner is None else owner.finish(value)
        except BaseException as error:
            # Ctrl-C outside of the flow, as in an observer, leaves it where it was. One that has ended does not mind.
            self._runtime.bury(flow)
            value = None
            if owner is not None:
                owner.fail(error)
            raise
        finally:
            if streams is not None:
                for reply in streams:
                    if reply is not value and not reply.is_closed:
                        await reply.aclose()

    async def _io(self, effect: Io, task: asyncio.Task[Any], flow: Flow[Any], before: int) -> Any:
        late = False
        try:
            self.deadlines.add(effect, task, flow)
            try:
                result = effect.op(effect.arg)
                return await result if inspect.isawaitable(result) else result
            finally:
                del self.deadlines.busy[effect]
                late = self.deadlines.was_late(effect, task, before)
        except asyncio.CancelledError as error:
            if late:
                return Failed(_late(error))
            raise
        except Exception as error:
            return Failed(error)

    def _bind(self, park: Park) -> asyncio.Future[None]:
        """Connects its waiter to a future of this loop. Runs under the lock, in the step that yielded the park."""
        loop = self.loop
        waiter = park.waiter
        if waiter is None:
            waiter = park.waiter = Waiter()
        woken: asyncio.Future[None] = loop.create_future()

        def notify() -> bool:
            if _get_running_loop() is loop:
                _set(woken)
                return True
            try:
                loop.call_soon_threadsafe(_set, woken)
            except RuntimeError:  # the loop is closed
                return False
            return True

        waiter.notify = notify
        if waiter.woken:
            _set(woken)
        return woken

    async def _park(self, until: float, woken: asyncio.Future[None]) -> None:
        if until == FOREVER:
            await woken
            return
        self._runtime.tidy()
        timer = self.loop.call_later(max(until - monotonic(), 0.0), _set, woken)
        try:
            await woken
        finally:
            timer.cancel()

    def _spawn(self, flow: Flow[Any]) -> Child:
        child = Child()
        task = self.loop.create_task(self._run_child(flow, child))
        self._background.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._background.discard(task)
            if not child.woken:
                # Cancelled before its first step: nothing of `_run_child` has run.
                with self._runtime:
                    child.wake(_cancelled())

        task.add_done_callback(ended)

        def cancel() -> None:
            if self.loop.is_closed():
                return
            self.loop.call_soon_threadsafe(task.cancel)

        child.cancel = cancel
        return child

    async def _run_child(self, flow: Flow[Any], child: Child) -> None:
        try:
            result = await self.drive(flow, cast("asyncio.Task[Any]", asyncio.current_task()))
        except asyncio.CancelledError:
            with self._runtime:
                child.wake(_cancelled())
            raise
        except Exception as error:
            result = Failed(error)
        with self._runtime:
            child.wake(result)

    async def aclose(self) -> None:
        """Cancels what runs in the background, and closes the engine."""
        for task in list(self._background):
            task.cancel()
        if self._background:
            await asyncio.gather(*self._background, return_exceptions=True)
        self.deadlines.close()
        await self.engine.aclose()


def _cancelled() -> Failed:
    return Failed(EngineError("cancelled", sent=Sent.MAYBE, phase="deadline"))


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _resume(step: Callable[[Any], Any], waiter: Waiter) -> Any:
    """Goes on after a park. Runs under the lock: so a grant and a timeout are never both seen."""
    return step(waiter.woken)


def _late(error: BaseException) -> EngineError:
    late = deadline_passed()
    late.__cause__ = error
    return late
