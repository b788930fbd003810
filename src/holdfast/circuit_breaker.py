"""`CircuitBreaker`: the circuit breaker by itself, around any function or block of code."""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from contextvars import ContextVar
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from holdfast.core.breaker import Breaker, BreakerPolicy, StateName
from holdfast.exceptions import CircuitOpenError

__all__ = ["CircuitBreaker"]

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("holdfast")


class CircuitBreaker:
    """Stops calling what keeps failing, and finds out by probes whether it is back.

    It is the breaker of `ResilientClient` for everything else: another library's client, a database, a device. One
    breaker stands for one thing that may be down, whoever calls it, on any number of threads and event loops::

        payments = CircuitBreaker(failure_threshold=5, recovery_timeout=30.0, name="payments")

        @payments
        async def charge(order: Order) -> Receipt: ...

        with payments:
            ledger.write(receipt)

    *Closed*, it lets all calls through. After `failure_threshold` failures in a row it is *open*: calls are not made
    but fail with a CircuitOpenError. After `recovery_timeout` it is *half open*: `half_open_probes` calls are let
    through at a time, however many ask. As many successes close it, and one failure opens it again.

    A call that was begun before a change of state changes nothing when it ends. A cancelled one is neither success nor
    failure, and as a probe it leaves its place to the next; so does one that ends by Ctrl-C or by closing a generator.

    Args:
        failure_threshold: failures in a row that open it.
        recovery_timeout: seconds from then to the first probe.
        half_open_probes: probes at a time, and successes of probes that close it.
        expected_exceptions: a class of exceptions, or several, that are failures. Any other one counts as a success:
            what was called has answered. Cancellation does not count, whatever is given.
        name: what messages and logs call it; None: the name of the function that it decorates.
        clock: gives monotonic seconds. For tests, such as ``VirtualClock().now``.

    Attributes:
        name: as given.

    Raises:
        TypeError, ValueError: names the argument that is wrong.

    After M. Nygard, "Release It!" (2007).
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        recovery_timeout: float = 30.0,
        *,
        half_open_probes: int = 1,
        expected_exceptions: type[Exception] | tuple[type[Exception], ...] = Exception,
        name: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        policy = BreakerPolicy(
            failure_threshold=_count("failure_threshold", failure_threshold),
            recovery_timeout=_seconds("recovery_timeout", recovery_timeout),
            half_open_probes=_count("half_open_probes", half_open_probes),
        )
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be text, not {type(name).__name__}")
        if not callable(clock):
            raise TypeError(f"clock must be a function that gives monotonic seconds, not {type(clock).__name__}")
        self.name = name
        self._expected = _exceptions(expected_exceptions)
        self._clock = clock
        self._changes: list[tuple[StateName, StateName, float]] = []
        self._breaker = Breaker(policy, lambda *change: self._changes.append(change))
        self._last = ""  # the class of the last failure; what it says may be a secret
        self._entries: dict[_Entry, None] = {}
        self._renew()
        _breakers.add(self)

    @property
    def state(self) -> str:
        """``"closed"``, ``"open"`` or ``"half_open"``; an open one is half open as soon as it would admit a probe."""
        with self._lock:
            return self._breaker.state(self._clock())

    @property
    def retry_after(self) -> float:
        """Seconds until the next probe is let through; 0 if calls are, or may be as soon as another one ends."""
        with self._lock:
            return self._breaker.retry_after(self._clock())

    def reset(self) -> None:
        """Closes it and forgets all failures. Calls in flight change nothing any more."""
        with self._lock:
            self._breaker.close(self._clock())
        self._tell()

    # As a decorator

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]: ...

    @overload
    def __call__(self, function: Callable[P, T]) -> Callable[P, T]: ...

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that calls this one through the breaker. An async one is judged by what comes of awaiting it.

        So is the result of a function that is not async, if it can be awaited, such as a `Call`.

        Raises:
            TypeError: it is a generator function, or cannot be called.
        """
        _refuse_others(function)
        subject = self.name or getattr(function, "__qualname__", None) or repr(function)
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):

            @functools.wraps(function)
            async def awaiting(*args: Any, **kwargs: Any) -> Any:
                ticket = self._enter(subject)
                try:
                    result = await function(*args, **kwargs)
                except BaseException as error:
                    self._leave(ticket, error)
                    raise
                self._leave(ticket, None)
                return result

            return awaiting

        @functools.wraps(function)
        def calling(*args: Any, **kwargs: Any) -> Any:
            ticket = self._enter(subject)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self._leave(ticket, error)
                raise
            if inspect.isawaitable(result):
                # It has done nothing yet that could be judged. Who awaits it asks once more, then for its outcome.
                self._give_back(ticket)
                return self._awaited(subject, result)
            self._leave(ticket, None)
            return result

        return calling

    async def _awaited(self, subject: str, result: Awaitable[T]) -> T:
        try:
            ticket = self._enter(subject)
        except CircuitOpenError:
            close = getattr(result, "close", None) or getattr(result, "cancel", None)
            if close is not None:
                close()
            raise
        try:
            value = await result
        except BaseException as error:
            self._leave(ticket, error)
            raise
        self._leave(ticket, None)
        return value

    # As a context manager

    def __enter__(self) -> Self:
        entry = _Entry(self, self._enter(self.name or "the guarded block"), _inside.get())
        with self._lock:
            self._entries[entry] = None
        _inside.set(entry)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        entry = self._own_entry()
        if entry is not None:
            self._leave(entry.ticket, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _own_entry(self) -> _Entry | None:
        """Takes the newest entry of this context that is still open, out of those of this breaker.

        A block may be left in another context than it was entered in: where a fixture or a dependency is a generator,
        for one. It then takes the oldest entry that there is, so that none keeps a probe's place for ever.
        """
        entry = _inside.get()
        with self._lock:
            while entry is not None and entry not in self._entries:
                entry = entry.outer
            if entry is None:
                entry = next(iter(self._entries), None)
            else:
                _inside.set(_open(entry.outer))
            if entry is not None:
                del self._entries[entry]
        return entry

    # Calls

    def _enter(self, subject: str) -> int:
        """A ticket for one call.

        Raises:
            CircuitOpenError: it is not to be made.
        """
        with self._lock:
            now = self._clock()
            ticket = self._breaker.enter(now)
            wait = self._breaker.retry_after(now)
        self._tell()
        if ticket < 0:
            raise self._refused(subject, wait)
        return ticket

    def _leave(self, ticket: int, error: BaseException | None) -> None:
        """Brings a ticket back, with what the call ended with."""
        if isinstance(error, CancelledError) or (error is not None and not isinstance(error, Exception)):
            self._give_back(ticket)
            return
        with self._lock:
            if error is None or not isinstance(error, self._expected):
                self._breaker.succeed(ticket, self._clock())
            else:
                self._last = type(error).__name__
                self._breaker.fail(ticket, self._clock())
        self._tell()

    def _give_back(self, ticket: int) -> None:
        with self._lock:
            self._breaker.leave(ticket)

    def _refused(self, subject: str, wait: float) -> CircuitOpenError:
        when = f"for another {wait:.3g} s" if wait else "but for probes, and enough of those are in flight"
        last = f", the last time with {self._last}" if self._last else ""
        return CircuitOpenError(
            f"Circuit breaker is OPEN {when}: {subject} has been failing{last}. It was not called.",
            endpoint=self.name,
            retry_after=wait,
            may_have_executed=False,
        )

    def _tell(self) -> None:
        """Logs changes of state; without the lock, for a handler may do anything."""
        while self._changes:
            try:
                old, new, wait = self._changes.pop(0)
            except IndexError:  # another thread was faster
                return
            level = logging.INFO if new == "closed" else logging.WARNING
            when = f", next probe in {wait:.3g} s, after {self._last}" if new == "open" else ""
            _log.log(level, "circuit breaker%s: %s -> %s%s", f" of {self.name}" if self.name else "", old, new, when)

    def _renew(self) -> None:
        """A new lock, and no calls in flight: in a forked child they are the parent's."""
        # Reentrant: the garbage collector may end a generator, and with it a guarded block, anywhere, so also in here.
        self._lock = threading.RLock()
        self._entries.clear()
        self._breaker.reset()

    def __repr__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"<CircuitBreaker{name} ({self.state})>"


class _Entry:
    """A guarded block that was entered: with which ticket, and inside of which other one."""

    __slots__ = ("breaker", "outer", "ticket")

    def __init__(self, breaker: CircuitBreaker, ticket: int, outer: _Entry | None) -> None:
        self.breaker = breaker
        self.ticket = ticket
        self.outer = _open(outer)


def _open(entry: _Entry | None) -> _Entry | None:
    """The innermost block that was not left yet, from this one outwards."""
    while entry is not None and entry not in entry.breaker._entries:  # noqa: SLF001  # of this module
        entry = entry.outer
    return entry


_inside: ContextVar[_Entry | None] = ContextVar("holdfast_guarded_block", default=None)
"""The innermost guarded block of this context. A breaker is shared, so that it cannot remember this by itself."""


def _refuse_others(function: Any) -> None:
    name = getattr(function, "__qualname__", None) or repr(function)
    if isinstance(function, staticmethod | classmethod | property):
        raise TypeError(f"the circuit breaker of {name} belongs below @{type(function).__name__}, not above")
    if not callable(function):
        raise TypeError(f"a circuit breaker guards what can be called, not {name}")
    for one in (function, type(function).__call__):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError(
                f"{name} is a generator function: calling it does nothing yet that could succeed or fail, and its"
                " caller may stop anywhere. Guard what it does instead: 'with breaker:' inside of it"
            )


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def _seconds(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be more than 0 seconds, and finite, not {value}")
    return float(value)


def _exceptions(value: Any) -> tuple[type[Exception], ...]:
    classes = value if isinstance(value, tuple) else (value,)
    for one in classes:
        if not isinstance(one, type) or not issubclass(one, Exception):
            raise TypeError(f"expected_exceptions must be a subclass of Exception, or a tuple of such, not {one!r}")
    if not classes:
        raise ValueError("expected_exceptions is empty: nothing would ever be a failure")
    return cast("tuple[type[Exception], ...]", classes)


_breakers: weakref.WeakSet[CircuitBreaker] = weakref.WeakSet()


def _after_fork() -> None:
    for breaker in list(_breakers):
        breaker._renew()  # noqa: SLF001  # of this module


os.register_at_fork(after_in_child=_after_fork)
