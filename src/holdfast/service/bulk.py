"""Bulk: one call for each of many items, several at a time, and what became of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeAlias, TypeVar

from holdfast.call import Call
from holdfast.core.effects import FOREVER, Failed, Flow
from holdfast.exceptions import ClientClosedError, DeadlineExceededError, HoldfastError, MaxRetriesExceededError
from holdfast.http.options import check
from holdfast.service.endpoint import FlowSource
from holdfast.service.errors import renamed
from holdfast.service.feed import END, Feed
from holdfast.service.inside import Expired, asked, inside, passed, within
from holdfast.service.record import Record
from holdfast.service.workers import Lost, Workers

if TYPE_CHECKING:
    from holdfast.http.assembly import Assembly
    from holdfast.service.endpoint import Translate

__all__ = ["BulkFailure", "BulkResult", "BulkStoppedError", "Progress"]

T = TypeVar("T")
R = TypeVar("R")

Progress: TypeAlias = Callable[[int, int | None], object]
"""Called with the items that are finished, failed ones included, and how many there are; None if nobody knows."""

_SHOWN = 100  # characters of an item in a message


@dataclass(frozen=True)
class BulkFailure(Record):
    """An item that failed.

    Attributes:
        index: its place among the items, from 0.
        item: itself.
        error: what went wrong, in words. `error_type`: the name of the exception's class.
        exception: the exception.
    """

    _keys: ClassVar[tuple[str, ...]] = ("index", "item", "error", "error_type")

    index: int
    item: Any
    error: str
    error_type: str
    exception: Exception = field(repr=False)


@dataclass(repr=False)
class BulkResult(Record, Generic[T]):
    """What became of the items of a bulk.

    Attributes:
        results: in the order of the items; None for an item that failed.
        errors: the failures, in the order of the items.
        duration_seconds: how long the whole took.
    """

    _keys: ClassVar[tuple[str, ...]] = (
        "total_items",
        "successful_items",
        "failed_items",
        "results",
        "errors",
        "duration_seconds",
        "success_rate",
    )

    results: list[T | None] = field(default_factory=list)
    errors: list[BulkFailure] = field(default_factory=list)
    duration_seconds: float = 0.0

    @property
    def total_items(self) -> int:
        """The number of items. If the bulk was stopped, of those that were begun."""
        return len(self.results)

    @property
    def successful_items(self) -> int:
        """The number of items that did not fail."""
        return len(self.results) - len(self.errors)

    @property
    def failed_items(self) -> int:
        """The number of items that failed."""
        return len(self.errors)

    @property
    def success_rate(self) -> float:
        """The share of successful items in percent; 100 if there were no items, for none has failed."""
        return 100.0 * self.successful_items / len(self.results) if self.results else 100.0

    def __repr__(self) -> str:
        done = f"{self.successful_items:,} of {self.total_items:,} items"
        return f"<BulkResult {done} in {self.duration_seconds:.3g} s>"


class BulkStoppedError(HoldfastError):
    """A bulk that did not come to its end: by its deadline, a first failure, or because the client was closed.

    It is also of the class of what stopped it. Its `may_have_executed` is about all of its calls.

    Attributes:
        result: what was done until then. Items that were in flight are among its failures.
    """

    result: BulkResult[Any] | None = None


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """What a bulk is asked for with, see `ServiceClient.bulk`.

    Raises:
        TypeError, ValueError: names the argument that is wrong.
    """

    items: Any
    make: Callable[[Any], Call[Any]]
    workers: int
    progress: Progress | None
    stop_on_error: bool
    deadline: float | None

    def __post_init__(self) -> None:
        items: object = self.items
        if isinstance(items, (str, bytes)) or not isinstance(items, (Iterable, AsyncIterable)):
            raise TypeError(f"items must be an iterable of the items, not {type(items).__name__}")
        for name, function in (("make", self.make), ("progress", self.progress)):
            if not callable(function) and (name == "make" or function is not None):
                raise TypeError(f"{name} must be a function, not {type(function).__name__}")
        workers: object = self.workers
        if not isinstance(workers, int) or isinstance(workers, bool):
            raise TypeError(f"workers must be a whole number, not {type(workers).__name__}")
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        check({"deadline": self.deadline})

    @property
    def total(self) -> int | None:
        """How many items there are, if that is known beforehand."""
        # The length of a call that can be read as a dict is that of the dict, for which it would be sent.
        return len(self.items) if isinstance(self.items, Sized) and not isinstance(self.items, Call) else None


class Bulk(FlowSource):
    """A source of calls that send one call for each of many items. Their requests are `BulkRequest`.

    The one flow that takes the items, makes their calls and tells the progress is the caller's own, on the caller's
    task or thread; the calls run beside it.
    """

    def flow(self, request: BulkRequest, *, sync: bool) -> Flow[BulkResult[Any]]:
        """See `FlowSource.flow`."""
        run = _Run(self.assembly, self.translate, request, sync=sync)
        try:
            yield from run.work()
        except BaseException as error:
            run.stop()
            if not sync and isinstance(error, (Exception, asyncio.CancelledError)):
                # Nothing of it is left when the caller hears of it. A request on a thread cannot be interrupted.
                yield from run.gone()
            if isinstance(error, _Stopped):
                ended = run.stopped(error.cause)
                raise ended from ended.__cause__
            if isinstance(error, Exception):
                error.add_note(f"It ended the bulk: {run.state()}.")
            raise
        run.stop()
        return run.result()

    def describe(self, request: BulkRequest) -> str:
        """See `holdfast.call.Source`."""
        total = "" if request.total is None else f" of {request.total:,} items"
        return f"bulk{total} by {getattr(request.make, '__qualname__', 'a function')}"

    def raw(self, request: BulkRequest) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError("a bulk is made of many responses: let its function return calls with .raw()")

    def changed(self, request: BulkRequest, options: Mapping[str, Any]) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError("a bulk is no request: put the options on the calls that its function returns")


class _Stopped(Exception):  # noqa: N818  # an end, not an error
    """Ends the work on a bulk for a reason that users see in a `BulkStoppedError`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class _Run:
    """One bulk under way."""

    def __init__(self, assembly: Assembly, translate: Translate, request: BulkRequest, *, sync: bool) -> None:
        self._assembly = assembly
        self._translate = translate
        self._request = request
        self._sync = sync
        self._now = assembly.runtime.now
        self._began = self._now()
        self._until = FOREVER if request.deadline is None else self._began + request.deadline
        self._workers = Workers()
        self._feed = Feed(request.items, sync=sync)
        self._total = request.total
        self._results: list[Any] = []
        self._failed: dict[int, BulkFailure] = {}
        self._under_way: dict[int, tuple[Any, Call[Any]]] = {}
        self._unsent: set[int] = set()

    # The work

    def work(self) -> Flow[None]:
        """Takes items as long as a worker is free, and collects what became of them."""
        yield from self._tell()
        workers, request = self._workers, self._request
        more = True
        while True:
            while more and workers.running < request.workers:
                item = yield from self._next()
                more = item is not END and ((yield from self._begin(item)) or not request.stop_on_error)
            ended = yield from workers.ended(self._until)
            if ended is None:
                break
            self._end(*ended)
            yield from self._tell()
            if self._failed and request.stop_on_error:
                more = False
        if workers.running:
            raise _Stopped(self._late())
        if self._failed and request.stop_on_error:
            raise _Stopped(next(iter(self._failed.values())).exception)

    def _next(self) -> Flow[Any]:
        if passed(self._until, self._now):
            raise _Stopped(self._late())
        try:
            return (yield from within(self._feed.next(), self._until, self._now))
        except Expired:
            if not passed(self._until, self._now):  # somebody else's time is up
                raise
            raise _Stopped(self._late()) from None
        except HoldfastError as error:  # there is no next page, for one
            raise _Stopped(error) from error

    def _begin(self, item: Any) -> Flow[bool]:
        """Makes the call for an item, and has it sent. False if there is none, because the item cannot be sent."""
        index = len(self._results)
        try:
            call = yield from asked(self._request.make, item)
            if not isinstance(call, Call):
                raise TypeError(f"the function of a bulk must return a Call, not {type(call).__name__}")
        except (HoldfastError, ValueError) as error:
            self._results.append(None)
            self._fail(index, item, error)
            yield from self._tell()
            return False
        except Exception as error:
            error.add_note(f"The bulk's function was called with item {index}: {_short(item)}.")
            raise
        self._results.append(None)
        self._under_way[index] = item, call
        yield from self._workers.begin(index, inside(call, self._assembly, sync=self._sync, until=self._until))
        return True

    def _end(self, index: int, result: Any) -> None:
        if result.__class__ is not Failed:
            del self._under_way[index]
            self._results[index] = result
            return
        error = result.error
        if isinstance(error, Expired):
            raise _Stopped(self._late())
        if self._assembly.closed and isinstance(error, (Lost, ClientClosedError)):
            raise _Stopped(self._translate(self._assembly.failures.closed()))
        item, _ = self._under_way.pop(index)
        if isinstance(error, Lost):
            error = HoldfastError("the task that waited for it was cancelled", may_have_executed=True)
        self._fail(index, item, error)

    def _fail(self, index: int, item: Any, error: Exception) -> None:
        self._failed[index] = BulkFailure(index, item, str(error) or type(error).__name__, type(error).__name__, error)

    def _tell(self) -> Flow[None]:
        if self._request.progress is not None:
            yield from asked(lambda done: self._request.progress(done, self._total), self._done)  # type: ignore[misc]

    @property
    def _done(self) -> int:
        return len(self._results) - len(self._under_way)

    # Ends

    def stop(self) -> None:
        """Cancels what is under way; what was not sent yet never is."""
        self._workers.stop()
        self._collect()
        for index, (_, call) in self._under_way.items():
            if call.take():
                call.fail(asyncio.CancelledError())
                self._unsent.add(index)

    def gone(self) -> Flow[None]:
        """Waits until nothing is under way any more, after `stop`. An answer that came meanwhile counts."""
        yield from self._workers.gone()
        self._collect()
        yield from self._feed.close()

    def _collect(self) -> None:
        """Takes down what has ended, but for what only the end of the whole has ended."""
        for index, result in self._workers.rest():
            if result.__class__ is not Failed or not isinstance(result.error, (Expired, Lost, ClientClosedError)):
                self._end(index, result)

    def stopped(self, cause: Exception) -> HoldfastError:
        """The error for a bulk that did not come to its end."""
        state = self.state()
        for index, (item, _) in self._under_way.items():
            unsent = index in self._unsent
            said = "the bulk was stopped before it was sent" if unsent else "in flight when the bulk was stopped"
            self._fail(index, item, HoldfastError(said, may_have_executed=not unsent))
        result = self.result()
        acted = result.successful_items > 0 or any(_may_have_executed(one.exception) for one in result.errors)
        if isinstance(cause, HoldfastError) and not isinstance(cause, MaxRetriesExceededError):
            error = renamed(cause, BulkStoppedError, result=result)
        else:
            error = BulkStoppedError(f"the bulk was stopped: {cause}", result=result)
            error.__cause__ = cause
        error.may_have_executed = error.may_have_executed or acted
        error.add_note(f"It stopped the bulk: {state}.")
        return error

    def state(self) -> str:
        """How far it came, for people."""
        total = "" if self._total is None else f" of {self._total:,}"
        failed = f", {len(self._failed):,} of them with an error" if self._failed else ""
        flight = f"; {len(self._under_way):,} were in flight" if self._under_way else ""
        return f"{self._done:,}{total} items were done{failed}{flight}"

    def result(self) -> BulkResult[Any]:
        """What became of the items that were begun."""
        errors = [self._failed[index] for index in sorted(self._failed)]
        return BulkResult(self._results, errors, self._now() - self._began)

    def _late(self) -> HoldfastError:
        self._collect()
        last = next(reversed(self._failed.values())).exception if self._failed else None
        return self._translate(
            DeadlineExceededError(
                f"the deadline of {self._request.deadline:g} s for the whole bulk passed: {self.state()}",
                last_error=last,
                may_have_executed=bool(self._under_way),
            )
        )


def _may_have_executed(error: Exception) -> bool:
    return bool(getattr(error, "may_have_executed", False))


def _short(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
