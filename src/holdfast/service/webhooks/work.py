"""Calls that do some work here, instead of sending a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from holdfast.service.webhooks.calling import Caller, OnThread, straight

if TYPE_CHECKING:
    from holdfast.core.outcome import Stop
    from holdfast.http.drive_async import Owner

Work: TypeAlias = Callable[[Caller], Coroutine[Any, Any, Any]]
"""What is to be done, by way of a caller."""


class Worker:
    """A source of calls that do some work, in async code or in sync code. Their requests are the `Work`.

    Args:
        on_loop: makes the caller for async code.
        what: what the calls are, for people.
    """

    def __init__(self, on_loop: Callable[[], Caller], what: str) -> None:
        self._on_loop = on_loop
        self._what = what

    def start(
        self, request: Work, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop, owner: Owner
    ) -> Coroutine[Any, Any, Any]:
        """See `holdfast.call.Source`."""
        return self._awaited(request, owner)

    async def _awaited(self, request: Work, owner: Owner) -> Any:
        try:
            return owner.finish(await request(self._on_loop()))
        except BaseException as error:
            owner.fail(error)
            raise

    def run(self, request: Work) -> Any:
        """See `holdfast.call.Source`."""
        caller = OnThread()
        try:
            return straight(request(caller))
        finally:
            caller.close()

    def error(self, stop: Stop) -> NoReturn:
        """See `holdfast.call.Source`: nothing stops it."""
        raise AssertionError(stop)

    def describe(self, request: Work) -> str:
        """See `holdfast.call.Source`."""
        return self._what

    def raw(self, request: Work) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError(f"{self._what} has no response of its own: it is no request")

    def changed(self, request: Work, options: Mapping[str, Any]) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError(f"{self._what} takes no options: it is no request")
