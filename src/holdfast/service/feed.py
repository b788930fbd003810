"""`Feed`: the items of any iterable, one by one and no earlier than they are asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from holdfast.core.effects import Failed, Flow, Io
from holdfast.service.inside import asked
from holdfast.service.pages import PagedCall

END: Any = object()
"""Comes after the last item."""


class Feed:
    """Takes items outside of the lock, in the caller's own task or thread.

    In async code an iterable that can be awaited is, so that pages are fetched without blocking the loop.
    """

    def __init__(self, items: Any, *, sync: bool) -> None:
        self._items = items
        self._sync = sync
        self._iterator: Any = None

    def next(self) -> Flow[Any]:
        """The next item, or `END`. It raises what the iterable does."""
        if self._iterator is None:
            self._iterator = yield from asked(self._iterate, self._items)
        operation = _anext if isinstance(self._iterator, AsyncIterator) and not self._sync else _next
        reply = yield Io(operation, self._iterator)
        if reply.__class__ is Failed:
            raise reply.error
        return reply[0]

    def close(self) -> Flow[None]:
        """Ends an iteration that was begun here and is not over: it may hold a request."""
        close = getattr(self._iterator, "aclose", None)
        if close is not None and self._iterator is not self._items:
            yield Io(_called, close)

    def _iterate(self, items: Any) -> Any:
        if not self._sync and hasattr(items, "__aiter__"):
            return items.__aiter__()
        if not hasattr(items, "__iter__"):
            raise TypeError(f"{type(items).__name__} can only be iterated over in async code: await the call")
        # What a paged call that can be read as a dict iterates over in sync code are keys.
        return items.walked() if isinstance(items, PagedCall) else iter(items)


def _next(items: Iterator[Any]) -> list[Any]:
    return [next(items, END)]  # in a list, for an item may be something to await


async def _anext(items: AsyncIterator[Any]) -> list[Any]:
    return [await anext(items, END)]


def _called(function: Any) -> Any:
    return function()
