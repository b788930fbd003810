"""Responses of HTTP/1.1 out of the bytes of a connection (RFC 9112), without input or output of its own.

What a message is, where it ends and whether the connection may be used again is decided here, and strictly: where
RFC 9112 leaves a recipient the choice between guessing and refusing, it is refused. Two readers of the same bytes that
guess differently are how responses are smuggled and split.

The head is checked as a whole by one expression that cannot backtrack, and looked through for the few fields that
frame a message. The list of its fields is made when somebody looks at them, which many callers never do.
"""

from __future__ import annotations

import re
from enum import Enum

import httpx2

from holdfast.http.engines.base import EngineError, Phase, Sent
from holdfast.http.engines.wire import MOST_HEAD_BYTES

MOST_ONE_HEAD = 100 * 1024
"""The largest head, in bytes. With the informational responses before it, it may be `MOST_HEAD_BYTES`."""
MOST_FIELDS = 500
"""The most lines of a head, and of the trailers of a chunked body."""
MOST_INTERIM = 200
"""The most informational responses (1xx) before the one that counts."""
MOST_TRAILERS = 16 * 1024
_MOST_EXTENSIONS = 16 * 1024  # bytes of chunk extensions in a message, which nobody reads
_MOST_LENGTH_DIGITS = 18

CHUNKED = -1
"""The `Head.length` of a body in chunks."""
UNTIL_CLOSE = -2
"""The `Head.length` of a body that ends with its connection."""

_SMALL = 4096  # bytes; pieces below are put together, for each costs some 50 bytes by itself
_TOGETHER = 64 * 1024

_FIELD_LINES = rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)"
_HEAD = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n" + _FIELD_LINES + rb"\r\n")
_TRAILERS = re.compile(_FIELD_LINES + rb"\r\n")
_FIELD = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
# Names are compared without case (RFC 9110, section 5.1).
_MATTERS = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection|content-encoding|set-cookie):[ \t]*+([^\r]*+)", re.IGNORECASE
)
_CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\r\n"})
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?+\r\n")
_SIZE_SO_FAR = re.compile(rb"(?:[0-9A-Fa-f]{1,15}(?:[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?+)?+\r?)?+")
_FEW_LINES = 2000  # bytes in which there is no room for `MOST_FIELDS`


class Head:
    """The head of a response.

    Attributes:
        status: three digits, 100 to 999.
        minor: 0 for HTTP/1.0, 1 for HTTP/1.1 and what comes after it.
        reason: the phrase beside the status, as it came.
        block: the lines of the fields as they came, each with its end.
        length: of the body in bytes, as far as the fields tell; `CHUNKED`, or `UNTIL_CLOSE`.
        persistent: whether the connection stays open after the message, as far as the fields tell.
        coded: whether there is a Content-Encoding. `cookies`: whether there is a Set-Cookie.
    """

    __slots__ = ("block", "coded", "cookies", "length", "minor", "persistent", "reason", "status")

    def __init__(self, data: bytes) -> None:
        """Reads a head.

        Args:
            data: all of it, with the empty line that ends it.

        Raises:
            EngineError: it is not one, or frames its message in more than one way.
        """
        if len(data) > _FEW_LINES and data.count(b"\r\n") > MOST_FIELDS:
            raise unreadable(f"the head of the response has more than {MOST_FIELDS} lines")
        found = _HEAD.fullmatch(data)
        if found is None:
            raise unreadable(_what_is_wrong(data))
        minor, status, reason, self.block = found.groups()
        self.status = int(status)
        self.reason: bytes = reason or b""
        self.length = UNTIL_CLOSE
        self.coded = self.cookies = False
        if minor == b"0":
            self.minor = 0
            self.persistent = False
        else:
            self.minor = 1
            self.persistent = True
        options = transfer = None
        for name, value in _MATTERS.findall(data):
            size = len(name)
            if size == 14:
                if self.length != UNTIL_CLOSE:
                    raise unreadable("the response has more than one Content-Length")
                self.length = _length(value)
            elif size == 10:
                if name[:1] in b"sS":
                    self.cookies = True
                else:
                    options = value if options is None else options + b"," + value
            elif size == 16:
                self.coded = True
            elif transfer is None:
                transfer = value
            else:
                transfer += b"," + value
        if options is not None:
            named = [one.strip(b" \t") for one in options.lower().split(b",")]
            self.persistent = b"close" not in named and (self.persistent or b"keep-alive" in named)
        if transfer is not None:
            self._chunked(transfer)

    def _chunked(self, transfer: bytes) -> None:
        if self.length != UNTIL_CLOSE:
            # RFC 9112, section 6.3: it ought to be handled as an error.
            raise unreadable("the response has both a Content-Length and a Transfer-Encoding")
        if transfer.rstrip(b" \t").lower() != b"chunked":
            raise unreadable("the response has a Transfer-Encoding other than chunked, which was not asked for")
        if self.minor == 0:
            raise unreadable("the response has a Transfer-Encoding, which HTTP/1.0 has not (RFC 9112, section 6.1)")
        self.length = CHUNKED

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names, as they were spelled, and values of all fields in their order."""
        found: list[tuple[bytes, bytes]] = _FIELD.findall(self.block)
        if b" \r\n" in self.block or b"\t\r\n" in self.block:
            return [(name, value.rstrip(b" \t")) for name, value in found]
        return found


def _length(value: bytes) -> int:
    digits = value.rstrip(b" \t")
    if not digits.isdigit() or len(digits) > _MOST_LENGTH_DIGITS:
        raise unreadable("the Content-Length of the response is no number of bytes")
    return int(digits)


def _what_is_wrong(data: bytes) -> str:
    """Why this is no head, in words."""
    line, _, rest = data.partition(b"\r\n")
    if not _HEAD.fullmatch(line + b"\r\n\r\n"):
        return "the response does not begin with a status line of HTTP/1"
    if data.count(b"\r") != data.count(b"\r\n") or data.count(b"\n") != data.count(b"\r\n"):
        return "a line in the head of the response ends with a bare CR or LF"
    if len(data.translate(None, _CONTROLS)) != len(data):
        return "the head of the response contains a control character"
    if rest.startswith((b" ", b"\t")) or b"\n " in rest or b"\n\t" in rest:
        return "a header of the response is folded over several lines (RFC 9112, section 5.2)"
    return "the head of the response contains a line that is no header"


def unreadable(why: str, phase: Phase = "head") -> EngineError:
    """The failure of an attempt whose answer is not HTTP, or is ambiguous."""
    return EngineError(why, sent=Sent.MAYBE, phase=phase, cause=httpx2.RemoteProtocolError(why))


class _At(Enum):
    HEAD = "the head, or an informational one before it"
    BODY = "a body of known length, or one that ends with the connection"
    SIZE = "the line before a chunk"
    CHUNK = "a chunk"
    CHUNK_END = "the end of the line behind a chunk"
    TRAILERS = "the trailers"
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
        "_at", "_bodiless", "_buffer", "_extensions", "_head_bytes", "_interims", "_left", "complete", "head",
        "interim", "most", "pieces", "reusable", "size",
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
        self._extensions = 0

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
            self._at = _At.SIZE
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
        if self._buffer is not None:
            data, self._buffer = bytes(self._buffer) + data, None
        pieces: list[bytes] = []
        at, size = 0, len(data)
        try:
            while at < size and not self.complete:
                step = self._step(data, at, pieces)
                if step == at:
                    self._buffer = bytearray(data[at:])
                    return
                at = step
        finally:
            if pieces:
                self._take(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _step(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Reads one element of a body in chunks (RFC 9112, section 7.1).

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
        """Reads the end of a body in chunks. Trailers are checked and dropped, as RFC 9110, section 6.5.1 allows."""
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
        self._finish(data[end:])
        return end
