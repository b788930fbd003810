"""Calls functions of the user's, which may be sync or async, from an event loop or from a thread without one.

What calls them is written once, with ``await``. On a thread no such await ever suspends, so it runs to its end in one
step (`straight`).
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakKeyDictionary

from holdfast.call import Call

T = TypeVar("T")

ENDED: Final = object()
"""What `Caller.step` returns for a generator that has ended."""


class TimeLimitError(Exception):
    """The time limit of a function passed."""


class Caller(Protocol):
    """How functions are called here."""

    async def call(self, function: Callable[..., Any], *args: Any, limit: float | None = None) -> Any:
        """Calls a function, and awaits what it returns if that can be awaited.

        Raises:
            TimeLimitError: it was not done after `limit` seconds.
        """
        ...

    async def step(self, generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any], value: Any) -> Any:
        """Sends `value` to a generator; what it yields, or `ENDED`."""
        ...

    async def leave(self, generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any]) -> None:
        """Closes a generator."""
        ...

    async def every(self, works: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """Does several things, at once if that is possible here; their results, in order. None of them may fail."""
        ...


class Slots:
    """How many functions may run at a time on one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def here(self) -> asyncio.Semaphore:
        """Those of the running loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            found = self._of_loop.get(loop)
            if found is None:
                found = self._of_loop[loop] = asyncio.Semaphore(self.limit)
            return found


class OnLoop:
    """On an event loop: what is sync runs on a thread, so that it does not hold up the loop."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    async def call(self, function: Callable[..., Any], *args: Any, limit: float | None = None) -> Any:
        """See `Caller.call`. A sync function that is late goes on, on its thread, and nobody waits for it."""
        return await within(limit, self._called(function, args))

    async def _called(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        returned = function(*args) if is_async(function) else await asyncio.to_thread(function, *args)
        return await returned if inspect.isawaitable(returned) else returned

    async def step(self, generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any], value: Any) -> Any:
        """See `Caller.step`."""
        return await _advance(generator, value)

    async def leave(self, generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any]) -> None:
        """See `Caller.leave`."""
        if isinstance(generator, AsyncGenerator):
            await generator.aclose()
        else:
            generator.close()

    async def every(self, works: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """See `Caller.every`: at once, as far as there are slots."""
        slots = self._slots.here()

        async def one(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
            async with slots:
                return await work()

        if len(works) == 1:
            return [await one(works[0])]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(work)) for work in works]
        return [task.result() for task in tasks]


class OnThread:
    """On a thread without a running event loop: one after the other, and what is sync right here.

    What is async gets an event loop, the same one until the caller is closed. No loop runs while a sync function does,
    so it may use ``.result()`` and start loops of its own. It cannot be interrupted: time limits are for what is async.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    async def call(self, function: Callable[..., Any], *args: Any, limit: float | None = None) -> Any:
        """See `Caller.call`."""
        returned = function(*args)
        if isinstance(returned, Call):
            return returned.result()
        return self._run(within(limit, returned)) if inspect.isawaitable(returned) else returned

    async def step(self, generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any], value: Any) -> Any:
        """See `Caller.step`."""
        advance = _advance(generator, value)
        return self._run(advance) if isinstance(generator, AsyncGenerator) else await advance

    async def leave(self, generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any]) -> None:
        """See `Caller.leave`."""
        if isinstance(generator, AsyncGenerator):
            self._run(_close(generator))
        else:
            generator.close()

    async def every(self, works: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """See `Caller.every`."""
        return [await work() for work in works]

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(coroutine)

    def close(self) -> None:
        """Ends what async functions have left behind, with their loop."""
        if self._runner is not None:
            self._runner.close()


def straight(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends, because all that it awaits goes through an `OnThread`."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("it has suspended without an event loop")


async def within(limit: float | None, work: Awaitable[T]) -> T:
    """Awaits something for at most `limit` seconds.

    Raises:
        TimeLimitError: it was not done by then. A TimeoutError of its own goes through.
    """
    scope = asyncio.timeout(limit)
    try:
        async with scope:
            return await work
    except TimeoutError:
        if scope.expired():
            raise TimeLimitError from None
        raise


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling a function only makes a coroutine, so that it can be called on the loop."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004  # what calling it calls


def name_of(function: Callable[..., Any]) -> str:
    """A function for people."""
    while isinstance(function, functools.partial):
        function = function.func
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name.replace(".<locals>", "")


async def _advance(generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any], value: Any) -> Any:
    try:
        if isinstance(generator, AsyncGenerator):
            return await generator.asend(value)
        return generator.send(value)
    except (StopIteration, StopAsyncIteration):
        return ENDED


async def _close(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.aclose()
