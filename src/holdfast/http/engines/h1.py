"""Responses of HTTP/1.1 out of the bytes of a connection (RFC 9112), without input or output of its own.

What a message is, where it ends and whether the connection may be used again is decided here, and strictly: where
RFC 9112 leaves a recipient the choice between guessing and refusing, it is refused. Two readers of the same bytes that
guess differently are how responses are smuggled and split.
"""

from __future__ import annotations

from enum import Enum

from holdfast.http.engines.base import EngineError, Sent
from holdfast.http.engines.h1_chunks import Chunks
from holdfast.http.engines.h1_head import CHUNKED, UNTIL_CLOSE, Head, unreadable
from holdfast.http.engines.wire import MOST_HEAD_BYTES

MOST_ONE_HEAD = 100 * 1024
"""The largest head, in bytes. With the informational responses before it, it may be `MOST_HEAD_BYTES`."""
MOST_INTERIM = 200
"""The most informational responses (1xx) before the one that counts."""

_SMALL = 4096  # bytes; pieces below are put together, for each costs some 50 bytes by itself
_TOGETHER = 64 * 1024


class _At(Enum):
    HEAD = "the head, or an informational one before it"
    BODY = "a body of known length, or one that ends with the connection"
    CHUNKS = "a body in chunks"
    END = "behind the message"


class Assembly:
    """Puts together the response to one request.

    After it has raised, it takes nothing more, and the connection has to be closed.

    Args:
        bodiless: whether the request was a HEAD.
        most: bytes of the body that are taken, None for any number.

    Attributes:
        head: of the final response, once it was read.
        pieces: of the body, without its chunks' framing. Whoever takes some out does so with all of them.
        size: bytes of the body so far.
        complete: whether the response was read to its end.
        reusable: whether the next request may be sent on the same connection, once it is complete.
        interim: the status of the last informational response, 0 if there was none.
    """

    __slots__ = (
        "_at", "_bodiless", "_buffer", "_chunks", "_head_bytes", "_interims", "_left", "complete", "head", "interim",
        "most", "pieces", "reusable", "size",
    )  # fmt: skip

    def __init__(self, *, bodiless: bool = False, most: int | None = None) -> None:
        self.head: Head | None = None
        self.pieces: list[bytes | bytearray] = []
        self.size = 0
        self.complete = False
        self.reusable = False
        self.interim = 0
        self.most = most
        self._bodiless = bodiless
        self._buffer: bytearray | None = None
        self._head_bytes = 0
        self._interims = 0
        self._at = _At.HEAD
        self._left = 0
        self._chunks: Chunks | None = None

    def feed(self, data: bytes) -> bool:
        """Takes what was read from the connection, at least a byte. Returns `complete`.

        Raises:
            EngineError: it is no response, an ambiguous one, or larger than allowed.
        """
        at = self._at
        if at is _At.HEAD:
            self._feed_head(data)
        elif at is _At.BODY:
            self._feed_body(data)
        elif at is _At.END:
            self.reusable = False
        else:
            self._feed_chunks(data)
        return self.complete

    def end(self) -> None:
        """The connection has ended.

        Raises:
            EngineError: before the response did.
        """
        if self.complete:
            return
        head = self.head
        if head is None:
            nothing = self._buffer is None and not self.interim
            raise unreadable(
                "Server disconnected without sending a response."
                if nothing
                else "the connection was closed in the middle of the response's head"
            )
        if head.length == UNTIL_CLOSE:
            self._finish(b"")
        elif head.length == CHUNKED:
            why = f"the connection was closed before the last chunk, after {self.size} bytes of the body"
            raise unreadable(why, "body")
        else:
            why = f"the connection was closed after {self.size} of the {head.length} bytes of the body"
            raise unreadable(why, "body")

    def taken(self) -> bytes:
        """Takes out the pieces of the body so far, in one."""
        pieces = self.pieces
        if not pieces:
            return b""
        if len(pieces) == 1:
            piece = pieces.pop()
            return piece if piece.__class__ is bytes else bytes(piece)
        whole = b"".join(pieces)
        pieces.clear()
        return whole

    def _feed_head(self, data: bytes) -> None:
        while True:
            buffer = self._buffer
            if buffer is None:
                end = data.find(b"\r\n\r\n")
            else:
                searched = max(len(buffer) - 3, 0)
                buffer += data
                end = buffer.find(b"\r\n\r\n", searched)
                if end >= 0:
                    data, self._buffer = bytes(buffer), None
            if end < 0:
                self._keep(data)
                return
            end += 4
            self._head_bytes += end
            if end > MOST_ONE_HEAD or self._head_bytes > MOST_HEAD_BYTES:
                raise self._too_large()
            head = Head(data[:end])
            rest = data[end:]
            if head.status >= 200:
                break
            if head.status == 101:
                raise unreadable("the server switched to another protocol, which was not asked for")
            self.interim = head.status
            self._interims += 1
            if self._interims > MOST_INTERIM:
                raise unreadable(f"more than {MOST_INTERIM} informational responses (1xx) came before the response")
            if not rest:
                return
            data = rest
        self.head = head
        self._begin(head, rest)

    def _keep(self, data: bytes) -> None:
        """Keeps the beginning of a head, unless it is none."""
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = bytearray(data)
        size = len(buffer)
        if size > MOST_ONE_HEAD or self._head_bytes + size > MOST_HEAD_BYTES:
            raise self._too_large()
        start = bytes(buffer[:7])
        if start != b"HTTP/1."[: len(start)]:
            raise unreadable("the response does not begin with a status line of HTTP/1")
        # Of a head whose lines end otherwise, the end would never be found. What came before is known to be fine.
        fresh = bytes(buffer[max(size - len(data) - 1, 0) :])
        lone = fresh.count(b"\n") - fresh.count(b"\r\n") - fresh.startswith(b"\n")
        if lone > 0 or fresh.count(b"\r") - fresh.count(b"\r\n") - fresh.endswith(b"\r") > 0:
            raise unreadable("a line in the head of the response ends with a bare CR or LF")

    def _too_large(self) -> EngineError:
        if self._interims:
            most = MOST_HEAD_BYTES // 1024
            return unreadable(f"the response's head is larger than {most} KiB, informational responses (1xx) included")
        return unreadable(f"the head of the response is too large: more than {MOST_ONE_HEAD // 1024} KiB")

    def _begin(self, head: Head, rest: bytes) -> None:
        """Begins the body, as RFC 9112, section 6.3 tells its length."""
        length = head.length
        if self._bodiless or head.status in (204, 304):
            # Such a response has none, whatever its fields say. After a 204 they must not say anything, and who knows
            # what a server sends that does so.
            self.reusable = head.persistent and (head.status != 204 or length in (UNTIL_CLOSE, 0))
            self._finish(rest)
        elif length >= 0:
            most = self.most
            if most is not None and length > most:
                raise self._too_long(f"{length} bytes were announced")
            self.reusable = head.persistent
            size = len(rest)
            if size < length:
                self._at = _At.BODY
                self._left = length
                if rest:
                    self._feed_body(rest)
            else:
                if length:
                    self.pieces.append(rest if size == length else rest[:length])
                    self.size = length
                self._finish(rest[length:] if size > length else b"")
        elif length == CHUNKED:
            self.reusable = head.persistent
            self._at = _At.CHUNKS
            self._chunks = Chunks()
            if rest:
                self._feed_chunks(rest)
        else:
            self._at = _At.BODY
            self._left = -1
            if rest:
                self._feed_body(rest)

    def _finish(self, rest: bytes) -> None:
        """The message is complete. What follows it belongs to none that was asked for."""
        self._at = _At.END
        self.complete = True
        if rest or self._left == -1:
            self.reusable = False

    def _feed_body(self, data: bytes) -> None:
        left = self._left
        if left == -1:
            self._take(data)
        elif len(data) < left:
            self._left = left - len(data)
            self._take(data)
        else:
            self._left = 0
            self._take(data[:left])
            self._finish(data[left:])

    def _take(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.most is not None and self.size > self.most:
            raise self._too_long(f"{self.size} bytes were received so far")
        pieces = self.pieces
        if len(piece) >= _SMALL or not pieces:
            pieces.append(piece)
            return
        last = pieces[-1]
        if isinstance(last, bytearray) and len(last) < _TOGETHER:
            last += piece
        else:
            pieces.append(bytearray(piece))

    def _too_long(self, how: str) -> EngineError:
        why = (
            f"the body is larger than max_response_bytes={self.most} ({how}): raise max_response_bytes, or use stream()"
        )
        return EngineError(why, sent=Sent.MAYBE, phase="limit")

    def _feed_chunks(self, data: bytes) -> None:
        chunks = self._chunks
        assert chunks is not None  # noqa: S101  # it is such a body
        pieces: list[bytes] = []
        try:
            chunks.feed(data, pieces)
        finally:
            if pieces:
                self._take(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if chunks.rest is not None:
            self._finish(chunks.rest)
