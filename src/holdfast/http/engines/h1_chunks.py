"""Bodies in chunks (RFC 9112, section 7.1), decoded without input or output of its own."""

from __future__ import annotations

import re
from enum import Enum

from holdfast.http.engines.h1_head import FIELD_LINES, MOST_FIELDS, unreadable

MOST_TRAILERS = 16 * 1024
"""The most bytes of trailers."""
_MOST_EXTENSIONS = 16 * 1024  # bytes of chunk extensions in a message, which nobody reads

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?+\r\n")
_SIZE_SO_FAR = re.compile(rb"(?:[0-9A-Fa-f]{1,15}(?:[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?+)?+\r?)?+")
_TRAILERS = re.compile(FIELD_LINES + rb"\r\n")


class _At(Enum):
    SIZE = "the line before a chunk"
    CHUNK = "a chunk"
    CHUNK_END = "the end of the line behind a chunk"
    TRAILERS = "the trailers"


class Chunks:
    """The chunks of one body.

    Attributes:
        rest: what came behind the body, once that has ended; None before.
    """

    __slots__ = ("_at", "_buffer", "_extensions", "_left", "rest")

    def __init__(self) -> None:
        self.rest: bytes | None = None
        self._at = _At.SIZE
        self._buffer: bytes | None = None
        self._left = 0
        self._extensions = 0

    def feed(self, data: bytes, pieces: list[bytes]) -> None:
        """Takes what was read from the connection, and appends to `pieces` what there is of the body in it.

        Raises:
            EngineError: that is no body in chunks. What came before the mistake was appended.
        """
        if self._buffer is not None:
            data, self._buffer = self._buffer + data, None
        at, size = 0, len(data)
        while at < size and self.rest is None:
            step = self._step(data, at, pieces)
            if step == at:
                self._buffer = data[at:]
                return
            at = step

    def _step(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Reads one element.

        Returns:
            Where it ends; `at` if it has not come as a whole.
        """
        if self._at is _At.CHUNK:
            end = min(at + self._left, len(data))
            pieces.append(data[at:end])
            self._left -= end - at
            if not self._left:
                self._at = _At.CHUNK_END
            return end
        if self._at is _At.CHUNK_END:
            if not b"\r\n".startswith(data[at : at + 2]):
                raise unreadable("a chunk of the body is longer than it said", "body")
            if len(data) < at + 2:
                return at
            self._at = _At.SIZE
            return at + 2
        if self._at is _At.TRAILERS:
            return self._trailers(data, at)
        found = _SIZE.match(data, at)
        if found is None:
            if len(data) - at > _MOST_EXTENSIONS or not _SIZE_SO_FAR.fullmatch(data, at):
                raise unreadable("a chunk of the body does not begin with its size", "body")
            return at
        digits, extension = found.groups()
        if extension:
            self._extensions += len(extension)
            if self._extensions > _MOST_EXTENSIONS:
                raise unreadable("the extensions of the chunks are too long", "body")
        self._left = int(digits, 16)
        self._at = _At.CHUNK if self._left else _At.TRAILERS
        return found.end()

    def _trailers(self, data: bytes, at: int) -> int:
        """Reads the end of the body. Trailers are checked and dropped, as RFC 9110, section 6.5.1 allows."""
        if data.startswith(b"\r\n", at):
            end = at + 2
        else:
            end = data.find(b"\r\n\r\n", at) + 4
            lines = data[at:] if end < 4 else data[at:end]
            if len(lines) > MOST_TRAILERS or lines.count(b"\r\n") > MOST_FIELDS:
                raise unreadable("the trailers of the body are too large", "body")
            if end < 4:
                last = lines.rfind(b"\r\n") + 2 if b"\r\n" in lines else 0
                if not _TRAILERS.fullmatch(lines[:last] + b"\r\n") or b"\n" in lines[last:]:
                    raise unreadable("the trailers of the body contain a line that is no header", "body")
                return at
            if not _TRAILERS.fullmatch(lines):
                raise unreadable("the trailers of the body contain a line that is no header", "body")
        self.rest = data[end:]
        return end
