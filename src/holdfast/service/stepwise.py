"""Calls in steps: a generator yields one call after the other, and is sent what comes of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from holdfast.call import Call
from holdfast.core.effects import Flow
from holdfast.service.described import invalid
from holdfast.service.endpoint import FlowSource
from holdfast.service.inside import asked, inside
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
        try:
            while True:
                try:
                    made = yield from asked(_next(step), value)
                except (ValidationError, BadParameterError) as error:
                    raise self.translate(invalid(self.describe(request), error)) from None
                if isinstance(made, _Returned):
                    return made.value
                if not isinstance(made, Call):
                    raise TypeError(f"a step must be a call, not {type(made).__name__}")
                try:
                    step, value = steps.send, (yield from inside(made, self.assembly, sync=sync))
                except Exception as error:  # noqa: BLE001  # for the generator, which may know what to do
                    step, value = steps.throw, error
        except GeneratorExit:
            raise
        except BaseException:
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
