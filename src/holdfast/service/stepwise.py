"""Calls in steps: a generator yields one call after the other, and is sent what comes of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from holdfast.call import Call
from holdfast.core.effects import Flow
from holdfast.core.flow import SAFE
from holdfast.exceptions import HoldfastError
from holdfast.service.described import invalid
from holdfast.service.endpoint import FlowSource
from holdfast.service.inside import asked, inside
from holdfast.service.repeat import method_of
from holdfast.service.sending import BadParameterError


class Stepwise(FlowSource):
    """A source of calls that are made of several, in an order that a generator decides on. Their requests make it."""

    def flow(self, request: Callable[[], Generator[Call[Any], Any, Any]], *, sync: bool) -> Flow[Any]:
        """See `FlowSource.flow`."""
        steps = yield from asked(lambda make: make(), request)
        if not isinstance(steps, Generator):
            raise TypeError(f"steps are a generator function that yields calls; this one returned {steps!r}")
        step: Callable[[Any], Any] = steps.send
        value: Any = None
        done: list[str] = []  # what may have been executed, and changed something
        try:
            while True:
                try:
                    made = yield from asked(_next(step), value)
                except (ValidationError, BadParameterError) as error:
                    came = f"stopped after {', '.join(done)}" if done else "was not sent"
                    raise self.translate(invalid(self.describe(request), error, came)) from None
                if isinstance(made, _Returned):
                    return made.value
                if not isinstance(made, Call):
                    raise TypeError(f"a step must be a call, not {type(made).__name__}")
                what = None if method_of(made) in SAFE else made.__name__
                try:
                    step, value = steps.send, (yield from inside(made, self.assembly, sync=sync))
                except Exception as error:  # noqa: BLE001  # for the generator, which may know what to do
                    step, value = steps.throw, error
                    if not getattr(error, "may_have_executed", True):
                        what = None
                if what is not None:
                    done.append(what)
        except GeneratorExit:
            raise
        except BaseException as error:
            if done and isinstance(error, HoldfastError):
                error.may_have_executed = True
                error.add_note(f"It ended {self.describe(request)}; sent by then: {', '.join(done)}.")
            # Outside of the lock, as its code always runs.
            yield from asked(lambda ended: ended.close(), steps)
            raise

    def describe(self, request: Any) -> str:
        """See `holdfast.call.Source`."""
        name: str = getattr(request, "__qualname__", repr(request))
        return name.replace(".<locals>", "")

    def raw(self, request: Any) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError("it is made of several responses, and has no single one")

    def changed(self, request: Any, options: Mapping[str, Any]) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError("it is made of several requests: take a view of the client with these options")


class _Returned:
    """What a generator has returned."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _next(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def following(value: Any) -> Any:
        try:
            return step(value)
        except StopIteration as stop:
            return _Returned(stop.value)

    return following
