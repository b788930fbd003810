"""`ExecutionEvents`: what happens to an execution, while it does."""

from __future__ import annotations

from asyncio.events import _get_running_loop  # in its __all__
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.call import Call
    from holdfast.integration.models import EventBatch, ExecutionEvent

__all__ = ["ExecutionEvents"]


class ExecutionEvents:
    """The events of an execution, as they happen: for ``async for``, and ``for`` in sync code.

    It ends when the execution has ended, and can be iterated over again, from the same event on.

    Args:
        ask: makes a call for the events after a number.
        after: the number of the event after which it begins.
    """

    def __init__(self, ask: Callable[[int], Call[EventBatch]], after: int) -> None:
        self._ask = ask
        self._after = after

    async def __aiter__(self) -> AsyncIterator[ExecutionEvent]:
        after, done = self._after, False
        while not done:
            batch = await self._ask(after)
            for event in _new(batch, after):
                after = event.number
                yield event
            done = batch.done

    def __iter__(self) -> Iterator[ExecutionEvent]:
        if _get_running_loop() is not None:
            raise RuntimeError("'for' over events would block the running event loop: write 'async for'")
        return self._sync()

    def _sync(self) -> Iterator[ExecutionEvent]:
        after, done = self._after, False
        while not done:
            batch = self._ask(after).result()
            for event in _new(batch, after):
                after = event.number
                yield event
            done = batch.done


def _new(batch: EventBatch, after: int) -> list[ExecutionEvent]:
    """The events of a batch in their order, without those that were there before."""
    return sorted((event for event in batch.events if event.number > after), key=lambda event: event.number)
