"""`StreamCall`: a call whose response is read while it comes."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from holdfast.call import Call

if TYPE_CHECKING:
    import httpx2

    from holdfast.http.streams import StreamEnd


class StreamCall:
    """A streamed call: ``async with client.stream(...) as response``, or ``with`` in sync code. Sent on entering.

    The response's body has not been read: iterate over `aiter_bytes()`, `aiter_lines()` and the like. Leaving the block
    closes the response and gives back its slot.
    """

    def __init__(self, call: Call[httpx2.Response], ends: list[StreamEnd]) -> None:
        self._call = call
        self._ends = ends
        self._response: httpx2.Response | None = None

    async def __aenter__(self) -> httpx2.Response:
        self._response = await self._call
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._response is not None:
                await self._response.aclose()
        finally:
            self._finish()
        self._name(error)

    def __enter__(self) -> httpx2.Response:
        self._response = self._call.result()
        return self._response

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._response is not None:
                self._response.close()
        finally:
            self._finish()
        self._name(error)

    def _finish(self) -> None:
        # A response that came with its body in memory is closed already, and does not pass its stream's close on.
        for end in self._ends:
            end()

    def _name(self, error: BaseException | None) -> None:
        """A coding that only httpx2 decodes is found broken above the stream's guard, by the response itself."""
        import httpx2

        from holdfast.exceptions import HoldfastError

        if isinstance(error, httpx2.DecodingError) and not isinstance(error, HoldfastError) and self._ends:
            raise self._ends[0].broken(error) from error

    def __repr__(self) -> str:
        return f"<Stream{repr(self._call)[1:]}"
