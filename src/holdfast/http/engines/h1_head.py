"""Heads of responses of HTTP/1.1 (RFC 9112), and what they say about their message.

A head is checked as a whole by one expression that cannot backtrack, and looked through for the few fields that frame a
message. The list of its fields is made when somebody looks at them, which many callers never do.
"""

from __future__ import annotations

import re

import httpx2

from holdfast.http.engines.base import EngineError, Phase, Sent

MOST_FIELDS = 500
"""The most lines of a head, and of the trailers of a chunked body."""
_MOST_LENGTH_DIGITS = 18

CHUNKED = -1
"""The `Head.length` of a body in chunks."""
UNTIL_CLOSE = -2
"""The `Head.length` of a body that ends with its connection."""

FIELD_LINES = rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)"
"""An expression for any number of well-formed header lines, captured."""
_HEAD = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n" + FIELD_LINES + rb"\r\n")
_FIELD = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
# Names are compared without case (RFC 9110, section 5.1).
_MATTERS = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection|content-encoding|set-cookie):[ \t]*+([^\r]*+)", re.IGNORECASE
)
_CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\r\n"})
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
