"""`Call[T]`: a prepared request that has not been sent. ``await call`` sends it, or ``call.result()`` in sync code."""

from __future__ import annotations

import asyncio
import inspect
import sys
import warnings
from asyncio import current_task
from asyncio.events import _get_running_loop  # in its __all__, and three times as fast as get_running_loop in a try
from collections.abc import Callable, Coroutine, Generator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack, cast

from holdfast.core.outcome import Stop

if TYPE_CHECKING:
    import httpx2

    from holdfast.http.options import RequestOptions

T = TypeVar("T")
P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


class State(Enum):
    """Where a call stands. It goes through these from the top."""

    NEW = "not sent"
    RUNNING = "in flight"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    USED = "taken over by another call"


ONLY_ASYNCIO = "under asyncio; trio is not supported yet. Without an event loop, use .result()"
"""The end of what is said where there is no event loop of asyncio."""

# An attribute of an Enum is several look-ups.
_NEW, _RUNNING, _DONE, _USED = State.NEW, State.RUNNING, State.DONE, State.USED


class Source(Protocol):
    """What a call is made by: it gives the flow, when the call is sent, and what drives it."""

    def start(
        self, request: Any, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop, owner: Call[Any]
    ) -> Coroutine[Any, Any, Any]:
        """Prepares a request. Returns what sends it in the current task, and ends with what `owner.finish` returns."""
        ...

    def run(self, request: Any) -> Any:
        """Prepares a request and sends it on this thread. Returns what its flow does."""
        ...

    def error(self, stop: Stop) -> Exception:
        """The exception for a call that was stopped."""
        ...

    def describe(self, request: Any) -> str:
        """A request for people, without secrets."""
        ...

    def raw(self, request: Any) -> tuple[Source, Any]:
        """What makes a call for the response itself, and its request.

        Raises:
            TypeError: there is no single response.
        """
        ...

    def changed(self, request: Any, options: Mapping[str, Any]) -> Any:
        """The request with these options in front of its own.

        Raises:
            TypeError, ValueError: names the option that is wrong.
        """
        ...


def returns_call(method: F) -> F:
    """Marks a method that returns a `Call` as a coroutine function, which is what it is to a caller who awaits it.

    tenacity, stamina, `unittest.mock` and frameworks ask `inspect.iscoroutinefunction` to decide how to call it.
    """
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(method)
    else:
        # Before 3.12 there is no marker, only the flag of the code object. Since 3.11 it has no effect on the call
        # itself: whether a function is a generator or coroutine is up to its first instruction.
        code = method.__code__
        method.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
    return method


class Call(Coroutine[Any, Any, T], Generic[T]):
    """A prepared request, sent at most once, by whoever awaits it first or asks for its `result()`.

    It may be given to whatever takes a coroutine: `asyncio.create_task`, `gather`, `TaskGroup`, `wait_for`, `shield`,
    `asyncio.run`, anyio's ``start_soon``. Awaited again, it gives the stored outcome again. Two calls are equal only if
    they are the same; a call is always true. It cannot be copied or pickled. One that is dropped without ever being
    sent warns with a RuntimeWarning.
    """

    # Defaults on the class, so that making a call sets three attributes and not seven.
    _state: State = State.CANCELLED  # where even making it failed
    _coroutine: Coroutine[Any, Any, T] | None = None
    _outcome: Any = None
    _task: asyncio.Task[Any] | None = None
    _cancelling: bool = False

    def __init__(self, source: Source, request: Any) -> None:
        self._state = _NEW
        self._source = source
        self.request = request

    # Async

    def __await__(self) -> Generator[Any, Any, T]:
        return self._start().__await__()

    def _start(self) -> Coroutine[Any, Any, T]:
        """Prepares the request, in the task that is about to send it. Returns the coroutine that does.

        If it was sent before, one that gives the stored outcome.
        """
        if self._state is not _NEW:
            return self._again()
        loop = _get_running_loop()
        if loop is None or (task := current_task(loop)) is None:
            raise RuntimeError(f"a Holdfast call can only be awaited {ONLY_ASYNCIO}")
        source = self._source
        # No call between the look and the claim, so that no other thread can come between them.
        if self._state is not _NEW:
            return self._again()
        self._state = _RUNNING
        try:
            coroutine = source.start(self.request, task, loop, self)
        except BaseException as error:
            self.fail(error)
            raise
        self._task = task
        self._coroutine = coroutine
        return coroutine

    def finish(self, value: Any) -> Any:
        """Stores the result of the flow. For drivers."""
        if value.__class__ is Stop:
            raise self._source.error(value)
        self._task = None
        self._outcome = value
        self._state = _DONE
        return value

    async def _again(self) -> T:
        """Awaited once more, or by a second task."""
        return self._stored()

    def send(self, value: Any) -> Any:
        """Steps the call, as an event loop does with a coroutine."""
        if self._state is _NEW:
            return self._start().send(value)
        coroutine = self._coroutine
        if coroutine is None or not self._is_mine():
            coroutine = self._again()
        return coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Raises an exception where the call waits, as an event loop does to cancel a coroutine."""
        if self._state is _NEW:
            self._state = State.CANCELLED if _is_cancel(error[0]) else State.INTERRUPTED
        elif self._coroutine is not None and self._is_mine():
            return self._coroutine.throw(*error)
        raise error[0] if isinstance(error[0], BaseException) else error[0](*error[1:2])

    def _is_mine(self) -> bool:
        """Whether the running task is the one that sent the call, and has not seen its end: nobody else may step it."""
        return self._state is _RUNNING and self._task is not None and self._task is _current_task()

    def close(self) -> None:
        """Gives the call up, and what it holds. Without effect while it runs on a thread.

        A task that waits for it is interrupted, as by `cancel()`: it would wait for ever.
        """
        coroutine = self._coroutine
        if self._state is _RUNNING and coroutine is not None and (self._is_mine() or not self.cancel()):
            coroutine.close()
            self._state = State.CANCELLED
        elif self._state is _NEW:
            self._state = State.CANCELLED

    @property
    def cr_await(self) -> Any:
        """What the call is waiting for, for debuggers."""
        return getattr(self._coroutine, "cr_await", None)

    @property
    def cr_code(self) -> Any:
        """The code that is running, for debuggers."""
        return getattr(self._coroutine, "cr_code", Call._again.__code__)

    @property
    def cr_frame(self) -> Any:
        """The frame that is suspended, for debuggers."""
        if self._state is _NEW:
            return _UNSENT.gi_frame
        return getattr(self._coroutine, "cr_frame", None)

    @property
    def cr_origin(self) -> Any:
        """Where the coroutine was created, in asyncio's debug mode."""
        return getattr(self._coroutine, "cr_origin", None)

    @property
    def cr_running(self) -> bool:
        """Whether the call is being stepped right now."""
        # Without a coroutine it runs on a thread.
        return self._state is _RUNNING and bool(getattr(self._coroutine, "cr_running", True))

    @property
    def cr_suspended(self) -> bool:
        """Whether the call has been started and waits."""
        return self._state is State.RUNNING and not self.cr_running

    @property
    def __name__(self) -> str:
        return self._source.describe(self.request)

    # Sync

    def result(self) -> T:
        """Sends the call from sync code and returns its result; the stored one if it was sent before.

        Raises:
            RuntimeError: inside a running event loop, where this would block everybody else: write ``await`` there.
            HoldfastError: the call failed.
        """
        if self._state is _NEW and _get_running_loop() is not None:
            raise RuntimeError(
                f"{self!r}.result() was called inside a running event loop, which it would block: "
                "write 'await call' instead of 'call.result()'"
            )
        return self._sent_here()

    def _sent_here(self) -> T:
        """Sends the call on this thread, whatever runs on it. Returns its outcome; the stored one if it was sent."""
        source = self._source
        # As in `_start`.
        if self._state is not _NEW:
            return self._stored()
        self._state = _RUNNING
        try:
            return cast("T", self.finish(source.run(self.request)))
        except BaseException as error:
            self.fail(error)
            raise

    # What takes its place

    def raw(self) -> Call[httpx2.Response]:
        """The same request as a call for the `httpx2.Response` itself. This call counts as used.

        Raises:
            RuntimeError: it was sent already.
            TypeError: it is made of several requests.
        """
        source, request = self._source.raw(self.request)
        self._take_over()
        return Call(source, request)

    def with_options(self, **options: Unpack[RequestOptions]) -> Self:
        """The same call with these options in front of its own. This call counts as used.

        Raises:
            RuntimeError: it was sent already.
            TypeError, ValueError: names the option that is wrong.
        """
        request = self._source.changed(self.request, options)
        self._take_over()
        return type(self)(self._source, request)

    def _take_over(self) -> None:
        # No call between the look and the claim, as in `_start`.
        if self._state is not _NEW:
            raise RuntimeError(f"{self!r} cannot be changed any more: make a new call")
        self._state = _USED

    def take(self) -> bool:
        """Claims the call for a flow that sends it as a part of its own, and tells `finish` or `fail`. For drivers.

        Returns:
            False if somebody was faster.
        """
        # No call between the look and the claim, as in `_start`.
        if self._state is not _NEW:
            return False
        self._state = _RUNNING
        return True

    # As on a future

    def done(self) -> bool:
        """Whether the call has an outcome, or was cancelled."""
        return self._state not in (State.NEW, State.RUNNING)

    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
        return self._state is State.CANCELLED

    def cancel(self) -> bool:
        """Cancels the call. Before it was sent nothing is sent; in flight under asyncio it is interrupted.

        Returns:
            False if it is done already, or runs on a thread, where nothing can interrupt it.
        """
        if self._state is _NEW:
            self._state = State.CANCELLED
            return True
        task = self._task
        if self._state is not _RUNNING or task is None:
            return False
        loop = task.get_loop()
        if _get_running_loop() is loop and asyncio.current_task() is not task:
            self._interrupt(task)
            return True
        try:
            loop.call_soon_threadsafe(self._interrupt, task)
        except RuntimeError:  # the loop is closed, and will never step the call again
            return False
        return True

    def _interrupt(self, task: asyncio.Task[Any]) -> None:
        """Cancels the task, on its loop, if it still waits for this call. Once only, as `fail` takes back one."""
        if self._task is task and not self._cancelling:
            self._cancelling = True
            task.cancel()

    # Outcomes

    def fail(self, error: BaseException) -> None:
        """Stores what ended the call. What was aimed at the program, such as Ctrl-C, is not an outcome. For drivers."""
        task, self._task = self._task, None
        if self._cancelling and task is not None and task.get_coro() is not self:
            # As for a cancelled future: who awaits it gets the CancelledError, but was not cancelled itself.
            task.uncancel()
        if isinstance(error, asyncio.CancelledError):
            self._state = State.CANCELLED
        elif isinstance(error, Exception):
            self._state = State.FAILED
            self._outcome = (error, error.__traceback__)
        else:
            self._state = State.INTERRUPTED

    def _stored(self) -> T:
        state = self._state
        if state is State.DONE:
            return cast("T", self._outcome)
        if state is State.FAILED:
            error, traceback = self._outcome
            raise error.with_traceback(traceback)
        if state is State.CANCELLED:
            raise asyncio.CancelledError("the call was cancelled")
        if state is State.RUNNING:
            raise RuntimeError(
                f"{self!r} is already being awaited elsewhere, and is sent only once: "
                "share one task with asyncio.ensure_future(call), or make a second call"
            )
        if state is State.USED:
            raise RuntimeError(f"{self!r}: only what .raw() or .with_options() returned can be sent")
        raise RuntimeError(f"{self!r} was interrupted before it had an outcome: make a new call")

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Call {self._source.describe(self.request)} ({self._state.value})>"

    def __copy__(self) -> Call[T]:
        raise TypeError("a Call cannot be copied: it is sent at most once. Make a second call")

    def __deepcopy__(self, memo: Any) -> Call[T]:
        return self.__copy__()

    def __reduce__(self) -> Any:
        raise TypeError("a Call cannot be pickled: it belongs to its client")

    def __del__(self) -> None:
        if self._state is _NEW:
            warnings.warn(
                f"{self!r} was never sent: await it, or call .result()", RuntimeWarning, stacklevel=2, source=self
            )


def _current_task() -> asyncio.Task[Any] | None:
    return None if _get_running_loop() is None else current_task()


def _unsent() -> Generator[None]:
    """Lends its frame to unsent calls: by a frame `inspect` tells coroutines not started from finished ones."""
    yield


_UNSENT: Any = _unsent()


def _is_cancel(error: Any) -> bool:
    cls = error if isinstance(error, type) else type(error)
    return issubclass(cls, asyncio.CancelledError)
