"""`Shared`: one client for the whole process, made when it is first asked for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from holdfast.call import Call

if TYPE_CHECKING:
    from holdfast.core.outcome import Stop
    from holdfast.service.client import ServiceClient

__all__ = ["Shared"]

C = TypeVar("C", bound="ServiceClient[Any]")


class Shared(Generic[C]):
    """Keeps one client for the whole process. Any thread may ask for it; a forked child goes on with it, see there.

    Args:
        make: makes the client. What it raises, `get` raises, and the next one who asks tries again.
    """

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._client: C | None = None
        self._renew()
        # In a forked child, a thread that held the lock does not exist.
        os.register_at_fork(after_in_child=self._renew)

    def get(self) -> C:
        """The client; a new one if there is none, or it was closed."""
        with self._lock:
            if self._client is None or self._client.resilient.is_closed:
                self._client = self._make()
            return self._client

    def close(self) -> Call[None]:
        """Closes the client if there is one: awaited, or in sync code by ``.result()``. `get` makes a new one then."""
        closing = _Closing(self)
        return Call(closing, closing)

    def take(self) -> C | None:
        """The client if there is one, which is from now on its taker's."""
        with self._lock:
            client, self._client = self._client, None
            return client

    def _renew(self) -> None:
        # Reentrant, for the garbage collector may run inside, and with it a finalizer that asks for the client.
        self._lock = threading.RLock()


class _Closing:
    """The source, and the request, of a call that closes a shared client."""

    def __init__(self, shared: Shared[Any]) -> None:
        self._shared = shared

    async def start(self, request: Any, task: Any, loop: Any, owner: Call[None]) -> None:
        try:
            client = self._shared.take()
            if client is not None:
                await client.close()
        except BaseException as error:
            owner.fail(error)
            raise
        owner.finish(None)

    def run(self, request: Any) -> None:
        client = self._shared.take()
        if client is not None:
            client.close().result()

    def error(self, stop: Stop) -> NoReturn:
        raise AssertionError("nothing is sent that could be stopped")

    def describe(self, request: Any) -> str:
        return "close()"

    def raw(self, request: Any) -> NoReturn:
        raise TypeError("close() has no response")

    def changed(self, request: Any, options: Mapping[str, Any]) -> NoReturn:
        raise TypeError("close() has no options")
