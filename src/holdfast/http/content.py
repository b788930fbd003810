"""Reads the body of a response within limits, decoded and raw, and refuses what only an attacker would send.

The reading itself is two small loops, one per colour; what is allowed is decided in one place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator

import httpx2

from holdfast.http.codings import Decoder, decoder_for
from holdfast.http.deadlines import left
from holdfast.http.headers import Raw, content_codings
from holdfast.http.inflate import STEP, CodingError

_SMALL = 4096  # bytes; chunks below are put together, for each costs some 50 bytes by itself
_TOGETHER = 64 * 1024
_AT_ONCE = STEP
"""Bytes that are decoded before others of the loop get their turn, which takes some milliseconds at most. What is read
at once, 64 KiB, may decode to 64 MiB."""


class BodyLimitError(Exception):
    """The body must not be read on: too large, or coded more than once. The message says which, and what to change."""


class Reader:
    """Counts one body while it is read, and puts it back into a response."""

    def __init__(self, response: httpx2.Response, cap: int | None) -> None:
        self._response = response
        self._cap = cap
        self._size = 0
        self._chunks: list[bytes] = []
        self._small = bytearray()
        self.plain = False
        self._decoder: Decoder | None = None
        raw = response.headers.raw
        codings = refuse_stacked(raw)
        if response.request.method == "HEAD":
            self.plain = True
            return
        if codings:
            self._decoder = decoder_for(codings[0])
        if cap is None and self._decoder is None:
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
        """What to feed: the body as it comes."""
        return self._response.iter_raw()

    def chunks_async(self) -> AsyncIterator[bytes]:
        """As `chunks`, under asyncio."""
        return self._response.aiter_raw()

    def feed(self, chunk: bytes) -> Iterator[int]:
        """Takes a chunk, in pieces of bounded size; gives how many bytes were decoded for each.

        Raises:
            BodyLimitError: that was too much.
            httpx2.DecodingError: it cannot be decoded.
        """
        if self._decoder is None:
            self._take(chunk)
            return
        received = self._response.num_bytes_downloaded
        if self._cap is not None and received > self._cap:
            # A coded body can go on for ever and decode to nothing.
            raise self._too_large(f"{received} bytes were received so far")
        try:
            for piece in self._decoder.feed(chunk):
                self._take(piece)
                yield len(piece)
        except CodingError as error:
            raise httpx2.DecodingError(str(error), request=self._response.request) from None

    def _take(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._cap is not None and self._size > self._cap:
            raise self._too_large(f"{self._size} bytes were decoded so far")
        if len(chunk) < _SMALL:
            self._small += chunk
            if len(self._small) >= _TOGETHER:
                self._together()
        else:
            self._together()
            self._chunks.append(chunk)

    def _together(self) -> None:
        if self._small:
            self._chunks.append(bytes(self._small))
            self._small.clear()

    def _too_large(self, how: str) -> BodyLimitError:
        return BodyLimitError(
            f"the body is larger than max_response_bytes={self._cap} ({how}): raise max_response_bytes, or use stream()"
        )

    def finish(self) -> httpx2.Response:
        """The response with the body that was fed.

        Raises:
            httpx2.DecodingError: the body is not complete.
        """
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except CodingError as error:
                raise httpx2.DecodingError(str(error), request=self._response.request) from None
        self._together()
        return with_content(self._response, b"".join(self._chunks))


class CodedResponse(httpx2.Response):
    """A response whose body the caller reads, decoded as `Reader` does it: in bounded steps, and to its end.

    Attributes:
        broken: given what is wrong with the coding, returns what to raise.
        overdue: returns what to raise because the deadline has passed, None if it has not.
    """

    broken: Callable[[Exception], Exception] | None = None
    overdue: Callable[[], Exception | None] | None = None

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The decoded body, in chunks of `chunk_size` bytes or as they come.

        Raises:
            ResponseError: it is not what its content coding says, or ends early.
        """
        decoding = self._decoding(chunk_size)
        if decoding is None:
            yield from super().iter_bytes(chunk_size)
            return
        with contextlib.closing(self.iter_raw()) as chunks:  # type: ignore[type-var]  # a generator, promised or not
            for chunk in chunks:
                yield from decoding.feed(chunk)
        yield from decoding.finish()

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        """As `iter_bytes`, under asyncio."""
        decoding = self._decoding(chunk_size)
        if decoding is None:
            async for piece in super().aiter_bytes(chunk_size):
                yield piece
            return
        async with contextlib.aclosing(self.aiter_raw()) as chunks:
            async for chunk in chunks:
                for piece in decoding.feed(chunk):
                    yield piece
                    if decoding.has_turn_ended():
                        await asyncio.sleep(0)
        for piece in decoding.finish():
            yield piece

    def _decoding(self, chunk_size: int | None) -> _Decoding | None:
        """None for a body that was read already, and is decoded."""
        with contextlib.suppress(httpx2.ResponseNotRead):
            self.content  # noqa: B018  # the public way to ask
            return None
        return _Decoding(self, chunk_size)


class _Decoding:
    """One pass over the body of a `CodedResponse`."""

    def __init__(self, response: CodedResponse, chunk_size: int | None) -> None:
        self._response = response
        self._chunk_size = chunk_size
        self._rest = bytearray()
        self._decoded = 0
        decoder = decoder_for(content_codings(response.headers.raw)[0])
        assert decoder is not None  # noqa: S101  # or it would be another class
        self._decoder = decoder

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        overdue = self._response.overdue
        try:
            for piece in self._decoder.feed(chunk):
                self._decoded += len(piece)
                yield from self._sized(piece)
                if overdue is not None and (error := overdue()) is not None:
                    raise error
        except CodingError as error:
            raise self._broken(error) from None

    def has_turn_ended(self) -> bool:
        """Whether so much was decoded since the last time that others of the loop should have their turn."""
        if self._decoded < _AT_ONCE:
            return False
        self._decoded = 0
        return True

    def finish(self) -> Iterator[bytes]:
        try:
            self._decoder.finish()
        except CodingError as error:
            raise self._broken(error) from None
        if self._rest:
            yield bytes(self._rest)

    def _sized(self, piece: bytes) -> Iterator[bytes]:
        size = self._chunk_size
        if size is None:
            yield piece
            return
        rest = self._rest
        rest += piece
        end = len(rest) - len(rest) % size
        for start in range(0, end, size):
            yield bytes(rest[start : start + size])
        del rest[:end]

    def _broken(self, error: CodingError) -> Exception:
        response = self._response
        failure = httpx2.DecodingError(str(error), request=response.request)
        return failure if response.broken is None else response.broken(failure)


def at_once(raw: Raw, body: bytes, cap: int | None) -> bytes | None:
    """A body that is there as a whole, decoded, if that takes no longer than one turn of an event loop may.

    Args:
        raw: the headers of its response.
        body: as it came.
        cap: the most bytes that it may decode to, None for any number.

    Returns:
        None if it may take longer, or is to be refused: which, `read` finds out.
    """
    codings = content_codings(raw)
    if len(codings) > 1 or len(body) > _TOGETHER:
        return None
    decoder = decoder_for(codings[0]) if codings else None
    if decoder is None:
        return body
    most = _AT_ONCE if cap is None else min(cap, _AT_ONCE)
    pieces = []
    try:
        for piece in decoder.feed(body):
            most -= len(piece)
            if most < 0:
                return None
            pieces.append(piece)
        decoder.finish()
    except CodingError:
        return None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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
        return _readable(response)
    except BodyLimitError:
        await response.aclose()
        raise


def head_sync(response: httpx2.Response) -> httpx2.Response:
    """As `head`, on the calling thread."""
    try:
        return _readable(response)
    except BodyLimitError:
        response.close()
        raise


def _readable(response: httpx2.Response) -> httpx2.Response:
    codings = refuse_stacked(response.headers.raw)
    if not codings or response.is_closed or response.request.method == "HEAD" or decoder_for(codings[0]) is None:
        return response
    coded = CodedResponse(
        response.status_code,
        headers=response.headers,
        stream=response.stream,
        request=response.request,
        extensions=response.extensions,
        history=response.history,
        default_encoding=response.default_encoding,
    )
    coded.next_request = response.next_request
    return coded


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
        decoded = 0
        async for chunk in reader.chunks_async():
            for size in reader.feed(chunk):
                decoded += size
                if decoded >= _AT_ONCE:
                    decoded = 0
                    await asyncio.sleep(0)  # where the deadline cuts, too
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
            for _ in reader.feed(chunk):
                if left() <= 0.0:
                    raise httpx2.ReadTimeout("the deadline of the call passed", request=response.request)
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
