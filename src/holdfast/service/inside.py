"""Calls inside of a call: how a composite sends them, in both colours and whoever's client they belong to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from holdfast.call import Call
from holdfast.core.effects import FOREVER, Failed, Flow, Io, Park, Spawn
from holdfast.core.outcome import Stop

if TYPE_CHECKING:
    from holdfast.http.assembly import Assembly
    from holdfast.http.runtime import Runtime

T = TypeVar("T")

_EARLY = 0.005  # seconds by which what was cut to a time may seem to end before it


class Home(Protocol):
    """Whose lock a flow is stepped under: a client's `Assembly`, or nobody's."""

    @property
    def runtime(self) -> Runtime: ...


class Expired(BaseException):
    """Thrown into a flow whose time is up; not an Exception, so that no flow takes it for a failure of its own."""


def passed(until: float, now: Callable[[], float]) -> bool:
    """Whether a time has come."""
    return now() >= until - _EARLY


def inside(call: Call[T], assembly: Home, *, sync: bool, until: float = FOREVER) -> Flow[T]:
    """The flow that sends a call and returns its result. The call has that outcome too, as if it had been awaited.

    A call of the client whose flow this becomes part of is sent by its own flow, which ends with what is around it. One
    of another client must not be stepped under this client's lock: it is awaited, or run, as users do it.

    Args:
        call: not sent yet; of one that was, the stored outcome is taken.
        assembly: of the client whose driver steps the flow.
        sync: whether that is a driver of sync code.
        until: when to give up, on the clock of `assembly`.

    Raises:
        Expired: it is not done by then. What it held is given back.
        Exception: what the call ends with.
    """
    now = assembly.runtime.now
    home = home_of(call)
    if home is assembly and call.take():
        result: T = yield from within(_sent(call, sync=sync), until, now)
        return result
    operation: Callable[[Any], Any]
    if not sync:
        operation = _itself
    elif home is None or home is assembly:
        operation = _result
    else:
        other = home

        def operation(mine: Call[T]) -> T:
            # Its own driver knows how to cut it; a time on its clock means nothing on another.
            end = until if until == FOREVER else other.runtime.now() + (until - now())
            try:
                return other.run_flow(inside(mine, other, sync=True, until=end))  # type: ignore[no-any-return]
            except BaseException as error:
                if mine.take():  # it did not come to that: the client has no driver for sync code
                    mine.fail(error)
                raise

    reply = yield from within(_asked(operation, call), until, now)
    return reply  # type: ignore[no-any-return]


def within(flow: Flow[T], until: float, now: Callable[[], float]) -> Flow[T]:
    """The same flow, given up at a time: what it waits for ends then, and it is thrown `Expired`.

    Args:
        flow: not started.
        until: on the clock `now`.
        now: monotonic seconds.
    """
    if until == FOREVER:
        return (yield from flow)
    step: Callable[[Any], Any] = flow.send
    value: Any = None
    while True:
        try:
            effect = step(value)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        if effect.__class__ is Park:
            effect.until = min(effect.until, until)
        elif effect.__class__ is not Spawn:
            effect.deadline = min(effect.deadline, until)
        step = flow.send
        try:
            value = yield effect
        except GeneratorExit:
            flow.close()
            raise
        except BaseException as error:  # noqa: BLE001  # it goes to where it belongs
            step, value = flow.throw, error
        else:
            # The handle on what was spawned must reach the flow, which cancels it when it ends.
            if effect.__class__ is not Spawn and passed(until, now):
                step, value = flow.throw, Expired()


def renewed(call: Call[T]) -> Callable[[], Call[T]]:
    """What makes the same call, as often as asked; the one that is given counts as used."""
    source, request = call._source, call.request  # noqa: SLF001  # of this package
    call._take_over()  # noqa: SLF001
    return lambda: type(call)(source, request)


def boxed(function: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    """The function with its result in a list: an operation of `Io` whose result is a call would have it sent."""
    return lambda argument: [function(argument)]


def asked(function: Callable[[Any], T], argument: Any = None, deadline: float = FOREVER) -> Flow[T]:
    """Calls a function of the user's outside of the lock. It raises what that raises."""
    reply = yield from _asked(boxed(function), argument, deadline)
    return reply[0]  # type: ignore[no-any-return]


def _asked(operation: Callable[[Any], Any], argument: Any, deadline: float = FOREVER) -> Flow[Any]:
    reply = yield Io(operation, argument, deadline)
    if reply.__class__ is Failed:
        raise reply.error
    return reply


def _sent(call: Call[T], *, sync: bool) -> Flow[T]:
    source: Any = call._source  # noqa: SLF001
    try:
        result = yield from source.flow(call.request, sync=sync)
        if result.__class__ is Stop:
            # Makes the error, which may be the service's own and take its time.
            yield from _asked(call.finish, result)
    except BaseException as error:
        call.fail(error)
        raise
    call.finish(result)
    return result  # type: ignore[no-any-return]


def home_of(call: Call[Any]) -> Assembly | None:
    """The assembly of the client that a call belongs to, None if its flow cannot be had."""
    source = call._source  # noqa: SLF001
    home: Any = getattr(source, "assembly", source)  # the plain calls of a client are made by the assembly itself
    return home if hasattr(home, "run_flow") else None


def _itself(call: Call[Any]) -> Call[Any]:
    """An awaitable result of an operation is awaited."""
    return call


def _result(call: Call[Any]) -> Any:
    return call.result()
