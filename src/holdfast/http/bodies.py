"""Request bodies, and which of them can be sent a second time.

bytes, text, JSON, form data and seekable files can; a seekable file is rewound to where it first stood. Iterators,
`map` objects and files that cannot seek are sent once: asked for a second time they refuse, where httpx2 would quietly
send an empty body.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Protocol

import httpx2

_CHUNK = 65_536


class BodySpent(Exception):
    """The body can be sent only once, and was."""


class BodyFailed(Exception):
    """The caller's own iterator or file raised, or gave something else than bytes."""


class Body(Protocol):
    """A body that is not plain bytes: `stream` gives what one attempt sends."""

    replayable: bool

    def stream(self, *, sync: bool) -> httpx2.SyncByteStream | httpx2.AsyncByteStream:
        """What one attempt sends.

        Raises:
            BodySpent: sent already, and not replayable.
            TypeError: an async iterator in sync use, or the other way round.
        """
        ...


class _FileStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """What a binary file has left. Under asyncio it is read on a thread."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._read():
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(self._read):
            yield chunk

    def _read(self) -> bytes:
        try:
            return _bytes(self._file.read(_CHUNK))
        except Exception as error:
            raise _failed(error) from error


class FileBody(_FileStream):
    """A seekable binary file, from where it stands."""

    replayable = True

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._start: int = file.tell()

    def stream(self, *, sync: bool) -> FileBody:
        """Rewinds the file."""
        self._file.seek(self._start)
        return self


class _IterableStream(httpx2.SyncByteStream):
    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._source)
        while True:
            try:
                chunk = _bytes(next(chunks))
            except StopIteration:
                return
            except Exception as error:
                raise _failed(error) from error
            yield chunk


class _AsyncIterableStream(httpx2.AsyncByteStream):
    def __init__(self, source: AsyncIterable[bytes]) -> None:
        self._source = source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._source)
        while True:
            try:
                chunk = _bytes(await anext(chunks))
            except StopAsyncIteration:
                return
            except Exception as error:
                raise _failed(error) from error
            yield chunk


def _bytes(chunk: Any) -> bytes:
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise TypeError(f"it gave {type(chunk).__name__} instead of bytes")
    return bytes(chunk)


def _failed(error: Exception) -> BodyFailed:
    return BodyFailed(f"its body could not be read: {type(error).__name__}: {error}")


class OneShotBody:
    """Anything else that gives bytes: sent once."""

    replayable = False

    def __init__(self, source: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        self._source = source
        self._spent = False

    def stream(self, *, sync: bool) -> httpx2.SyncByteStream | httpx2.AsyncByteStream:
        """The one stream, for the colour that the source fits."""
        if self._spent:
            raise BodySpent("the body is an iterator or a file that cannot seek, and was sent already")
        self._spent = True
        return self._prepared(sync=sync)

    def check(self, *, sync: bool) -> None:
        """Whether the source fits the colour.

        Raises:
            TypeError: it does not.
        """
        self._prepared(sync=sync)

    def _prepared(self, *, sync: bool) -> httpx2.SyncByteStream | httpx2.AsyncByteStream:
        source = self._source
        if isinstance(source, AsyncIterable) and not (sync and isinstance(source, Iterable)):
            if sync:
                raise TypeError("an async iterator as content can only be sent with await")
            return _AsyncIterableStream(source)
        if hasattr(source, "read"):
            return _FileStream(source)
        if not sync:
            raise TypeError("a plain iterator as content can only be sent with .result(): make it an async one")
        return _IterableStream(source)


class MultipartBody:
    """Form data with files, as httpx2 encodes it. It rewinds its files by itself."""

    def __init__(self, stream: Any, *, replayable: bool) -> None:
        self._stream = stream
        self._spent = False
        self.replayable = replayable

    def stream(self, *, sync: bool) -> Any:
        """The encoded form, from its beginning."""
        if self._spent and not self.replayable:
            raise BodySpent("the form contains a file that cannot seek, and was sent already")
        self._spent = True
        return self._stream


class _Remainder:
    """A seekable file seen from where it stood, so that what rewinds it to 0 rewinds it to there."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._start: int = file.tell()
        self.name = getattr(file, "name", "upload")

    def read(self, size: int = -1) -> Any:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at: int = self._file.seek(offset + self._start if whence == io.SEEK_SET else offset, whence)
        return at - self._start

    def tell(self) -> int:
        at: int = self._file.tell()
        return at - self._start


def is_seekable(file: Any) -> bool:
    """Whether a file-like object can be rewound."""
    seekable = getattr(file, "seekable", None)
    try:
        return bool(seekable()) if seekable is not None else hasattr(file, "seek") and hasattr(file, "tell")
    except (OSError, ValueError):
        return False


def body_of(content: Any, encoded: httpx2.Request, *, sync: bool) -> bytes | Body:
    """The body of an encoded request whose `content` was given as such.

    Raises:
        TypeError: a file opened as text, or an iterator of the other colour.
    """
    if isinstance(content, io.TextIOBase):
        raise TypeError("content is a file opened as text: open it in binary mode")
    if hasattr(content, "read") and not isinstance(content, AsyncIterable):
        return FileBody(content) if is_seekable(content) else _one_shot(content, sync=sync)
    if not isinstance(content, (bytes, str)) and isinstance(content, (Iterable, AsyncIterable)):
        return _one_shot(content, sync=sync)
    return encoded.content


def _one_shot(content: Any, *, sync: bool) -> OneShotBody:
    body = OneShotBody(content)
    body.check(sync=sync)
    return body


def rewindable_files(files: Any) -> tuple[Any, bool]:
    """The `files` argument with every file seen from where it stands, and whether all of them can be rewound."""
    pairs = list(files.items()) if isinstance(files, Mapping) else list(files)
    replayable = True
    seen: list[tuple[Any, Any]] = []
    for name, value in pairs:
        parts = list(value) if isinstance(value, tuple) else [value]
        at = 1 if isinstance(value, tuple) else 0
        file = parts[at]
        if isinstance(file, io.TextIOBase):
            raise TypeError(f"the file {name!r} is opened as text: open it in binary mode")
        if hasattr(file, "read"):
            if is_seekable(file):
                parts[at] = _Remainder(file)
            else:
                replayable = False
        elif not isinstance(file, (bytes, str)):
            raise TypeError(f"the file {name!r} must be a binary file, bytes or str, not {type(file).__name__}")
        seen.append((name, tuple(parts) if isinstance(value, tuple) else parts[0]))
    return seen, replayable
