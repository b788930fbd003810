"""Runs flows on the calling thread."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from asyncio.events import _get_running_loop  # in its __all__
from collections.abc import Callable
from typing import Any

from holdfast.core.effects import FOREVER, CannotWait, Child, Failed, Flow, Io, Job, Park, Sleeper, Waiter
from holdfast.http.deadlines import limit
from holdfast.http.engines.base import EngineError, Sent, SyncEngine, deadline_passed
from holdfast.http.runtime import Runtime


class Cancelled(BaseException):
    """Thrown into a spawned flow to cancel it. Never leaves the driver."""


class Stop:
    """Whether a spawned flow was cancelled, and where it waits."""

    __slots__ = ("asked", "waiter")

    def __init__(self) -> None:
        self.asked = False
        self.waiter: Waiter | None = None

    def ask(self) -> None:
        """Cancels it: it performs no effect any more, and waits no longer."""
        self.asked = True
        waiter = self.waiter
        if waiter is not None and waiter.notify is not None:
            waiter.notify()


_REFUSAL = (
    "waiting for other calls here would block the running event loop, and with it those that run in it. Await the call"
)


class SyncDriver:
    """Drives the flows of one client; any number of threads may do so at once.

    On a thread whose event loop is running, it waits for answers and for times, as that is asked for by looking into a
    call (see `holdfast.service.readable`), but for no other call: that may be a task of the loop, and never end.
    """

    def __init__(self, runtime: Runtime, engine: SyncEngine) -> None:
        self.engine = engine
        self._runtime = runtime

    def drive(self, flow: Flow[Any], stop: Stop | None = None) -> Any:  # noqa: C901, PLR0915  # one loop, a branch per effect
        """Runs `flow` to its end and returns its result.

        Raises:
            KeyboardInterrupt: Ctrl-C; the flow has given back what it held.
            Exception: whatever the flow raises.
        """
        runtime = self._runtime
        pending = runtime.pending
        step: Callable[[Any], Any] = flow.send
        value: Any = None
        parked: Waiter | None = None
        gate: Any = None
        streams: list[Any] | None = None
        result: Any = None
        try:
            while True:
                runtime.acquire()
                try:
                    if parked is not None:
                        if value is None:
                            value = parked.woken
                        parked = None
                    effect = step(value)
                    if effect.__class__ is Park:
                        # In the same locked step that yielded it, so that no wake-up falls in between.
                        parked = effect.waiter or Waiter()
                        gate = self._bind(parked)
                        if stop is not None:
                            stop.waiter = parked
                except StopIteration as end:
                    result = end.value
                    return result
                finally:
                    runtime.release()
                    if pending:
                        runtime.settle()
                step = flow.send
                try:
                    if stop is not None and stop.asked:
                        # Before, not after: what was cancelled under the lock then performs no effect any more.
                        raise Cancelled
                    kind = effect.__class__
                    if kind is Job:
                        if runtime.dropped:
                            runtime.close_dropped()
                        try:
                            with limit(effect.deadline - runtime.now()):
                                value = self.engine.send(effect)
                            if not effect.stream and runtime.now() > effect.deadline:
                                # Not everything can be cut, but the answer counts no more than it would under asyncio.
                                value = Failed(deadline_passed())
                        except EngineError as error:
                            value = Failed(error)
                        if effect.stream and value.__class__ is not Failed:
                            streams = [value] if streams is None else [*streams, value]
                    elif kind is Park:
                        value = None
                        runtime.tidy()
                        if _takes_others(effect.waiter) and _get_running_loop() is not None:
                            raise CannotWait(_REFUSAL)
                        self._wait(effect.until, gate)
                        if stop is not None and stop.asked:
                            raise Cancelled
                    elif kind is Io:
                        with limit(effect.deadline - runtime.now()):
                            value = _io(effect)
                    else:
                        value = self._spawn(effect.flow)
                except BaseException as error:
                    step = flow.throw
                    value = error
        except BaseException:
            # Ctrl-C outside of the flow, as in an observer, leaves it where it was. One that has ended does not mind.
            runtime.bury(flow)
            raise
        finally:
            if streams is not None:
                for reply in streams:
                    if reply is not result and not reply.is_closed:
                        reply.close()

    def _bind(self, waiter: Waiter) -> Any:
        """Connects a waiter to a lock that its waking releases. Runs under the client's lock."""
        gate = threading.Lock()
        gate.acquire()

        def notify() -> bool:
            # Not always under the client's lock: what several clients share may wake it while it is bound, and twice.
            with contextlib.suppress(RuntimeError):
                gate.release()
            return True

        waiter.notify = notify
        if waiter.woken:
            notify()
        return gate

    def _wait(self, until: float, gate: Any) -> None:
        """Waits until the time, or until what `_bind` returned is released."""
        if until == FOREVER:
            gate.acquire()
            return
        left = until - self._runtime.now()
        if left > 0.0:
            gate.acquire(timeout=min(left, threading.TIMEOUT_MAX))

    def _spawn(self, flow: Flow[Any]) -> Child:
        child = Child()
        stop = Stop()
        child.cancel = stop.ask

        def run() -> None:
            try:
                outcome = self.drive(flow, stop)
            except Cancelled:
                outcome = Failed(EngineError("cancelled", sent=Sent.MAYBE, phase="deadline"))
            except Exception as error:
                outcome = Failed(error)
            with self._runtime:
                child.wake(outcome)

        # As a task does, it goes on in the context of whoever spawned it, which tells the request that is being served.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(run,), name="holdfast-background", daemon=True).start()
        return child

    def close(self) -> None:
        """Closes the engine."""
        self.engine.close()
        self._runtime.close_dropped()


def _takes_others(waiter: Waiter | None) -> bool:
    """Whether it is for somebody else to end a wait, rather than for time."""
    return waiter is not None and not waiter.woken and not isinstance(waiter, Sleeper)


def _io(effect: Io) -> Any:
    try:
        return effect.op(effect.arg)
    except Exception as error:
        return Failed(error)
