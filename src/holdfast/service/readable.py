"""`ReadCall` and `ReadPagedCall`: calls that can also be read as the dict that they are going to be, un-awaited."""

from __future__ import annotations

import logging
import sys
import threading
from asyncio.events import _get_running_loop  # in its __all__
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Protocol, TypeVar, overload

from holdfast.call import Call, Source, State
from holdfast.service.pages import Page, PagedCall

__all__ = ["ReadCall", "ReadPagedCall"]

_log = logging.getLogger("holdfast")

_MOST_PLACES = 1_000  # code that is made at run time has ever new ones


class Keyed(Protocol):
    """What can be read like a JSON object: a `Model`, a `Page`, a dict."""

    def keys(self) -> Iterable[str]: ...

    def __getitem__(self, key: str, /) -> Any: ...


J = TypeVar("J", bound=Keyed)
T = TypeVar("T")


class ReadCall(Call[J]):
    """A call that can also be read as a dict, without being awaited.

    ::

        pet = client.get_pet(7)  # nothing is sent yet
        print(pet["name"], pet.get("tag"), "id" in pet, len(pet), dict(pet))
        pet = await client.get_pet(7)  # as any call

    The first look into it sends it, on the thread that looks, as ``.result()`` would; every other, and ``await``, gets
    the same outcome: a call that failed raises its error again. Threads that look at once send it once. A call that was
    awaited is read without sending. Neither `repr`, nor `==`, nor logging, nor asking whether it is true sends
    anything; so it is not a `collections.abc.Mapping`, which several of those look into.

    Inside a running event loop a look blocks the loop until the answer is there; a warning says so, once for each place
    in the code. There it waits for the answer and for retries, but for nothing that a task of the loop may hold: if
    there is no slot of the bulkhead, no token of the rate limiter, or if the same request or a renewal of credentials
    is in flight, it fails at once, with a PoolTimeoutError. A server that runs in the same loop cannot answer: the look
    ends with a timeout.

    Raises:
        RuntimeError: of a look: the call is being awaited at the moment, or, inside a running loop, looked into by
            another thread; or the client was given an `http_client` or a transport that is async alone.
        KeyError: there is no such key.
        HoldfastError: the call failed.
    """

    def __init__(self, source: Source, request: Any) -> None:
        super().__init__(source, request)
        # Reentrant: an observer on this thread that looks gets an error, and no deadlock.
        self._looking = threading.RLock()

    def keys(self) -> list[str]:
        """The keys of the JSON object."""
        return list(self._seen().keys())

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or `default` if there is none by that name."""
        value = self._seen()
        try:
            return value[key]
        except KeyError:
            return default

    def __getitem__(self, key: str) -> Any:
        return self._seen()[key]

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.keys())  # or Python would look for the keys 0, 1 and so on

    def _seen(self) -> J:
        """The result, for which the call is sent if it was not yet."""
        if self.done():
            return self._stored()
        inside = _get_running_loop() is not None
        if not self._looking.acquire(blocking=not inside):
            raise RuntimeError(
                f"{self!r} is being sent by another thread, and waiting for that would block the running event loop: "
                "make a second call, and await it"
            )
        try:
            if inside and self._state is State.NEW:
                self._warn()
            return self._sent_here()
        finally:
            self._looking.release()

    def _warn(self) -> None:
        """Tells that the loop is blocked, where nobody has for this place yet."""
        place = _place()
        if place in _warned:
            return
        if len(_warned) >= _MOST_PLACES:
            _warned.clear()
        _warned.add(place)
        _log.warning(
            "%s is read without 'await' at %s:%d, inside a running event loop, which it blocks until the answer is"
            " there: write 'await'. This is said once for each place.",
            repr(self),  # not the call itself, which handlers may keep, or look into
            *place,
        )


class ReadPagedCall(ReadCall[Page[T]], PagedCall[T]):  # type: ignore[misc]  # what `for` gives is a choice of this class
    """A paged call that can also be read as a dict, without being awaited: as what its first page is as JSON.

    ::

        pets = client.list_pets(page=2)
        print(pets["total"], [pet["name"] for pet in pets["items"]])

    Iterated over by ``for`` it gives keys, as dicts do. ``async for``, `all` and `pages` walk, as those of a
    `PagedCall`, and `walked` does in sync code.
    """


@overload
def readable(call: PagedCall[T]) -> ReadPagedCall[T]: ...


@overload
def readable(call: Call[J]) -> ReadCall[J]: ...


def readable(call: Call[Any]) -> ReadCall[Any]:
    """The same call as one that can be read as a dict, see `ServiceClient.readable`."""
    call._take_over()  # noqa: SLF001  # of this package
    source = call._source  # noqa: SLF001
    return (ReadPagedCall if isinstance(call, PagedCall) else ReadCall)(source, call.request)


_warned: set[tuple[str, int]] = set()


def _place() -> tuple[str, int]:
    """File and line of the code that looks, which is the first on the way out that is not of this module."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # `inspect.stack` reads source files
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return ("?", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)
