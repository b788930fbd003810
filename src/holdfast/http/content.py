"""Reads the body of a response within limits, decoded and raw, and refuses what only an attacker would send.

The reading itself is two small loops, one per colour; what is allowed is decided in one place.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator

import httpx2

from holdfast.http.headers import Raw, content_codings
from holdfast.http.inflate import CODINGS as INFLATED
from holdfast.http.inflate import InflateError, Inflater


class BodyLimitError(Exception):
    """The body must not be read on: too large, or coded more than once. The message says which, and what to change."""


class Reader:
    """Counts one body while it is read, and puts it back into a response."""

    def __init__(self, response: httpx2.Response, cap: int | None) -> None:
        self._response = response
        self._cap = cap
        self._size = 0
        self._chunks: list[bytes] = []
        self.plain = False
        self._inflater: Inflater | None = None
        raw = response.headers.raw
        codings = refuse_stacked(raw)
        if response.request.method == "HEAD":
            self.plain = True
            return
        if codings and codings[0] in INFLATED:
            self._inflater = Inflater(codings[0])
        elif cap is None:
            self.plain = True
            return
        length = _declared_length(raw)
        if length is not None and cap is not None:
            if length > cap:
                raise self._too_large(f"{length} bytes were announced")
            # What was announced is enforced by the HTTP parser below, so there is nothing left to count, unless
            # chunks take precedence over it (RFC 9112, section 6.3).
            self.plain = not codings and "transfer-encoding" not in response.headers

    def chunks(self) -> Iterator[bytes]:
        """What to feed: the body as it comes if it is decoded here, else as httpx2 has decoded it."""
        return self._response.iter_bytes() if self._inflater is None else self._response.iter_raw()

    def chunks_async(self) -> AsyncIterator[bytes]:
        """As `chunks`, under asyncio."""
        return self._response.aiter_bytes() if self._inflater is None else self._response.aiter_raw()

    def feed(self, chunk: bytes) -> None:
        """Takes a chunk.

        Raises:
            BodyLimitError: that was too much.
            httpx2.DecodingError: it cannot be decoded.
        """
        if self._inflater is None:
            self._take(chunk)
            return
        try:
            for piece in self._inflater.feed(chunk):
                self._take(piece)
        except InflateError as error:
            raise httpx2.DecodingError(str(error), request=self._response.request) from None

    def _take(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._cap is not None and max(self._size, self._response.num_bytes_downloaded) > self._cap:
            raise self._too_large(f"{self._size} bytes were decoded so far")
        self._chunks.append(chunk)

    def _too_large(self, how: str) -> BodyLimitError:
        return BodyLimitError(
            f"the body is larger than max_response_bytes={self._cap} ({how}): raise max_response_bytes, or use stream()"
        )

    def finish(self) -> httpx2.Response:
        """The response with the body that was fed.

        Raises:
            httpx2.DecodingError: the body is not complete.
        """
        if self._inflater is not None:
            try:
                self._inflater.finish()
            except InflateError as error:
                raise httpx2.DecodingError(str(error), request=self._response.request) from None
        return with_content(self._response, b"".join(self._chunks))


def refuse_stacked(raw: Raw) -> tuple[str, ...]:
    """The content codings, of which one at most is let through.

    Raises:
        BodyLimitError: there are several.
    """
    codings = content_codings(raw)
    if len(codings) > 1:
        listed = ", ".join(codings)
        raise BodyLimitError(f"the body is coded more than once ({listed}), which can make it huge: refused")
    return codings


def with_content(response: httpx2.Response, content: bytes) -> httpx2.Response:
    """A copy of `response` whose decoded body is `content`, its headers as they were received."""
    copy = httpx2.Response(
        response.status_code,
        content=content,
        request=response.request,
        extensions=response.extensions,
        history=response.history,
        default_encoding=response.default_encoding,
    )
    copy.headers = response.headers
    copy.next_request = response.next_request
    with contextlib.suppress(RuntimeError):  # not set where the body came with its head, as from a mock transport
        copy.elapsed = response.elapsed
    return copy


async def head(response: httpx2.Response) -> httpx2.Response:
    """A response whose body the caller will read, under asyncio.

    Raises:
        BodyLimitError: the body is coded more than once.
    """
    try:
        refuse_stacked(response.headers.raw)
    except BodyLimitError:
        await response.aclose()
        raise
    return response


def head_sync(response: httpx2.Response) -> httpx2.Response:
    """As `head`, on the calling thread."""
    try:
        refuse_stacked(response.headers.raw)
    except BodyLimitError:
        response.close()
        raise
    return response


async def read(response: httpx2.Response, cap: int | None) -> httpx2.Response:
    """Reads the whole body under asyncio, at most `cap` bytes of it.

    Raises:
        BodyLimitError: too large, or coded more than once.
        httpx2.RequestError: the connection or the coding broke.
    """
    try:
        if response.is_closed:
            return _checked(response, cap)
        reader = Reader(response, cap)
        if reader.plain:
            await response.aread()
            return response
        async for chunk in reader.chunks_async():
            reader.feed(chunk)
        return reader.finish()
    except BaseException:
        await response.aclose()
        raise


def read_sync(response: httpx2.Response, cap: int | None) -> httpx2.Response:
    """As `read`, on the calling thread."""
    try:
        if response.is_closed:
            return _checked(response, cap)
        reader = Reader(response, cap)
        if reader.plain:
            response.read()
            return response
        for chunk in reader.chunks():
            reader.feed(chunk)
        return reader.finish()
    except BaseException:
        response.close()
        raise


def _checked(response: httpx2.Response, cap: int | None) -> httpx2.Response:
    """A response that came with its body in memory, as from a mock transport."""
    if cap is not None and len(response.content) > cap:
        raise BodyLimitError(f"the body is larger than max_response_bytes={cap}: raise max_response_bytes")
    return response


def _declared_length(raw: Iterable[tuple[bytes, bytes]]) -> int | None:
    for name, value in raw:
        if name.lower() == b"content-length":
            return int(value) if value.isdigit() else None
    return None
