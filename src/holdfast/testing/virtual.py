"""A clock that jumps: the production flows under discrete-event time, a thousand clients in about a second."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

import httpx2

from holdfast.config import ClientConfig
from holdfast.core.effects import FOREVER, Child, Failed, Flow, Io, Job, Park
from holdfast.core.events import Event, Observer
from holdfast.core.outcome import Stop
from holdfast.http.assembly import Assembly
from holdfast.http.bodies import BodySpent
from holdfast.http.engines.base import EngineError, Sent, deadline_passed
from holdfast.http.engines.httpx2_engine import engine_error
from holdfast.http.options import check
from holdfast.http.streams import StreamEnd
from holdfast.telemetry.metrics import Metrics
from holdfast.testing.transport import FaultTransport, Script, Step


class Fiber:
    """One flow under virtual time. Every resume carries the turn it was meant for; a stale one is dropped."""

    __slots__ = ("child", "done", "flow", "result", "send", "turn")

    def __init__(self, flow: Flow[Any], send: Callable[[Job], tuple[float, Any]], child: Child | None) -> None:
        self.flow = flow
        self.send = send
        self.child = child
        self.turn = 0
        self.done = False
        self.result: Any = None


class VirtualTime:
    """Drives flows under a clock that jumps to the next event.

    The same seed gives the same run, on every interpreter.

    Attributes:
        now: virtual seconds since the beginning.
        random: the only source of randomness.
    """

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.random = random.Random(seed)  # a simulation wants to be repeatable
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def clock(self) -> float:
        """The time, as a callable."""
        return self.now

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Runs `action` at a time, after everything that was planned for that time before."""
        heapq.heappush(self._events, (max(when, self.now), next(self._order), action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Runs `action` after `delay` seconds."""
        self.at(self.now + delay, action)

    def run(self, until: float = FOREVER) -> None:
        """Runs what is planned up to a time; without one, until nothing is."""
        events = self._events
        while events and events[0][0] <= until:
            when, _, action = heapq.heappop(events)
            self.now = when
            action()
        if until != FOREVER:
            self.now = max(self.now, until)

    def start(self, flow: Flow[Any], send: Callable[[Job], tuple[float, Any]], child: Child | None = None) -> Fiber:
        """Starts a flow. `send` answers its jobs: seconds, and the reply or a `Failed`."""
        fiber = Fiber(flow, send, child)
        self.at(self.now, lambda: self._step(fiber, 0, flow.send, None))
        return fiber

    def cancel(self, fiber: Fiber, error: BaseException | type[BaseException]) -> None:
        """Throws an exception into a flow, where it stands."""
        if not fiber.done:
            self._step(fiber, fiber.turn, fiber.flow.throw, error)

    def _resume(self, fiber: Fiber, value: Any) -> Callable[[], None]:
        turn = fiber.turn
        return lambda: self._step(fiber, turn, fiber.flow.send, value)

    def _step(self, fiber: Fiber, turn: int, step: Callable[[Any], Any], value: Any) -> None:
        if fiber.done or turn != fiber.turn:
            return
        fiber.turn += 1
        while True:
            try:
                effect = step(value)
            except StopIteration as stop:
                self._end(fiber, stop.value)
                return
            except BaseException as error:  # noqa: BLE001  # a thrown one comes out again
                self._end(fiber, error)
                return
            step = fiber.flow.send
            kind = effect.__class__
            if kind is Job:
                self._send(fiber, effect)
                return
            if kind is Park:
                self._park(fiber, effect)
                return
            if kind is Io:
                try:
                    value = effect.op(effect.arg)
                except Exception as error:  # noqa: BLE001  # that is what a Failed is for
                    value = Failed(error)
            else:
                child = Child()
                started = self.start(effect.flow, fiber.send, child)
                child.cancel = lambda started=started: self.cancel(started, GeneratorExit)  # type: ignore[misc]
                value = child

    def _send(self, fiber: Fiber, job: Job) -> None:
        delay, reply = fiber.send(job)
        if self.now + delay > job.deadline:
            delay = max(job.deadline - self.now, 0.0)
            late = deadline_passed()
            reply = Failed(late)
        self.after(delay, self._resume(fiber, reply))

    def _park(self, fiber: Fiber, park: Park) -> None:
        waiter = park.waiter
        if waiter is None:
            self.at(park.until, self._resume(fiber, value=False))
            return
        turn = fiber.turn
        woken = self._resume(fiber, value=True)

        def notify() -> bool:
            if fiber.done or fiber.turn != turn:
                return False
            self.at(self.now, woken)
            return True

        if waiter.woken:
            self.at(self.now, woken)
            return
        # The waiter itself must not be in there: a thousand clients make no time for the garbage collector.
        waiter.notify = notify
        if park.until != FOREVER:
            self.at(park.until, lambda: self._step(fiber, turn, fiber.flow.send, waiter.woken))

    def _end(self, fiber: Fiber, result: Any) -> None:
        fiber.done = True
        fiber.result = result
        child, fiber.child = fiber.child, None  # they refer to each other
        if child is not None:
            child.wake(Failed(result) if isinstance(result, Exception) else result)


class VirtualClient:
    """A client with the production policies and flow, under virtual time, against a script.

    Args:
        world: the clock; several clients may share one.
        script: what answers, as for `FaultTransport`.
    """

    def __init__(
        self, world: VirtualTime, config: ClientConfig, script: Script, observers: tuple[Observer, ...] = ()
    ) -> None:
        self.world = world
        self.transport = FaultTransport(script)
        self.metrics = Metrics()
        self.assembly = Assembly(
            config,
            logs=_silent,
            verbosity=lambda: 0,
            record=self.metrics.record,
            observers=observers,
            now=world.clock,
            rand=world.random.random,
        )

    def start(self, method: str, url: str, **options: Any) -> Fiber:
        """Starts a call. When time has run, its `result` is a response, a `Stop` or an exception."""
        return self.start_flow(self.flow(method, url, **options))

    def flow(self, method: str, url: str, *, ends: list[StreamEnd] | None = None, **options: Any) -> Flow[Any]:
        """The flow of a call, to be started or spawned; method, URL and options as for `ResilientClient.request`.

        An empty list as `ends` makes it a streamed call, and gets what ends the stream, to be called without arguments.
        """
        check(options)
        return self._observed(self.assembly.flow((method, url, options, ends), sync=True))

    def start_flow(self, flow: Flow[Any]) -> Fiber:
        """Starts a flow of your own that sends its jobs as the calls of this client do."""
        return self.world.start(flow, self._send)

    def _observed(self, flow: Flow[Any]) -> Flow[Any]:
        try:
            return (yield from flow)
        finally:
            if self.assembly.runtime.pending:
                self.assembly.runtime.settle()

    def _send(self, job: Job) -> tuple[float, Any]:
        delay = 0.0
        try:
            body = job.body
            stream = httpx2.ByteStream(body) if isinstance(body, bytes) else body.stream(sync=True)
            extensions = {"timeout": job.timeouts}
            request = httpx2.Request(job.method, job.url, headers=job.headers, stream=stream, extensions=extensions)
            step: Step = self.transport.step(request)
            delay = step.delay
            reply = step.response(request)
            if step.broken is not None and not job.stream:
                return delay, _read(reply)
            return delay, reply
        except BodySpent as error:
            return 0.0, Failed(EngineError(str(error), sent=Sent.NO, phase="build", cause=error))
        except httpx2.RequestError as error:
            return delay, Failed(engine_error(error, head=False))

    def error(self, fiber: Fiber) -> Exception | None:
        """The exception that the caller of a finished call would see, None if there is none."""
        if isinstance(fiber.result, Stop):
            return self.assembly.error(fiber.result)
        return fiber.result if isinstance(fiber.result, Exception) else None


def _read(reply: httpx2.Response) -> Any:
    try:
        reply.read()
    except httpx2.RequestError as error:
        return Failed(engine_error(error, head=True))
    return reply


def _silent(event: Event) -> None:
    """Nobody listens."""
