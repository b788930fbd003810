"""Bulks in batches: each is a bulk of its own, and together they give one result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sized
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from holdfast.call import Call
from holdfast.codegen.exceptions import BulkOperationError
from holdfast.service.bulk import BulkRequest, BulkResult, BulkStoppedError, Progress
from holdfast.service.client import ServiceClient
from holdfast.service.errors import renamed

I = TypeVar("I")  # noqa: E741  # an item
R = TypeVar("R")


class BulkTotals:
    """What all bulks of a client came to. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operations = self._items = self._failed = 0
        self._seconds = 0.0

    def add(self, result: BulkResult[Any]) -> None:
        """Counts a bulk that has ended."""
        with self._lock:
            self._operations += 1
            self._items += result.total_items
            self._failed += result.failed_items
            self._seconds += result.duration_seconds

    def to_dict(self) -> dict[str, Any]:
        """The figures so far. `success_rate` is in percent."""
        with self._lock:
            done = self._items - self._failed
            return {
                "total_operations": self._operations,
                "total_items": self._items,
                "successful_items": done,
                "failed_items": self._failed,
                "success_rate": 100.0 * done / self._items if self._items else 100.0,
                "duration_seconds": self._seconds,
            }


def batched(
    client: ServiceClient[Any],
    items: Iterable[I],
    make: Callable[[I], Call[R]],
    totals: BulkTotals,
    *,
    workers: int,
    batch_size: int,
    progress: Progress | None,
    stop_on_error: bool,
    deadline: float | None,
) -> Call[BulkResult[R]]:
    """A call that sends one for each item, so many at a time, and begins a batch when the one before is done.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names it.
    """
    listed: object = items
    if isinstance(listed, (str, bytes)) or not isinstance(listed, Iterable):
        raise TypeError(f"the items of a bulk must be a list, or another iterable, not {type(listed).__name__}")
    size: object = batch_size
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"batch_size must be a whole number, not {type(size).__name__}")
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, not {size}")
    total = len(items) if isinstance(items, Sized) else None

    def steps() -> Generator[Call[Any], Any, BulkResult[R]]:
        began = client.now()
        whole: BulkResult[R] = BulkResult()
        following = iter(items)
        batch = list(islice(following, batch_size))
        try:
            while True:
                left = None if deadline is None else max(deadline - (client.now() - began), 0.001)
                told = _moved(progress, len(whole.results), total)
                part: BulkResult[R] = yield client.bulk(
                    batch, make, workers=workers, progress=told, stop_on_error=stop_on_error, deadline=left
                )
                _join(whole, part)
                batch = list(islice(following, batch_size))
                if not batch:
                    return whole
        except BulkStoppedError as error:
            _join(whole, error.result or BulkResult())
            raise renamed(error, BulkOperationError, result=whole) from error.__cause__
        finally:
            whole.duration_seconds = client.now() - began
            totals.add(whole)

    BulkRequest((), make, workers, progress, stop_on_error, deadline)  # what is wrong is to be found now
    return client.steps(steps)


def _join(whole: BulkResult[R], part: BulkResult[R]) -> None:
    offset = len(whole.results)
    whole.results += part.results
    whole.errors += [replace(failure, index=failure.index + offset) for failure in part.errors]


def _moved(progress: Progress | None, offset: int, total: int | None) -> Progress | None:
    """Tells of the items before a batch too."""
    if progress is None:
        return None

    def told(done: int, _: int | None) -> None:
        if done or not offset:  # the end of a batch is the beginning of the next
            progress(offset + done, total)

    return told
