"""Requests of HTTP/1.1 as bytes (RFC 9112), without input or output of its own.

Whatever a caller passes, nothing goes out that could be read in two ways: names, values, method and target are checked
here whoever has checked them before, there is one Host, and the length of the body is told once and correctly.
"""

from __future__ import annotations

import re

import httpx2

from holdfast.http.engines.base import EngineError, Sent

CHUNKED = -1
"""The `RequestHead.length` of a body in chunks."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_TARGET = re.compile(rb"(?:/|https?://)[\x21-\x22\x24-\x7e\x80-\xff]*+|\*")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_HOST = re.compile(rb"[\x21-\x22\x24-\x2b\x2d-\x2e\x30-\x3e\x41-\x5b\x5d-\x7e]*+")  # no comma, / ? # @ \ or space
_MOST_KNOWN = 256
_MOST_KNOWN_SIZE = 4096  # bytes

_PLAIN, _HOST_FIELD, _LENGTH, _TRANSFER, _CONNECTION, _EXPECT, _UPGRADE = range(7)
_KINDS = {
    b"host": _HOST_FIELD,
    b"content-length": _LENGTH,
    b"transfer-encoding": _TRANSFER,
    b"connection": _CONNECTION,
    b"expect": _EXPECT,
    b"upgrade": _UPGRADE,
}
# Different on every call, and at the end: remembering them would push out the others.
_FLEETING = frozenset({b"X-Request-ID", b"Idempotency-Key"})


class NotOurs(Exception):
    """This request needs what only httpx2's connections have. The message says what."""


class RequestHead:
    """The head of a request, encoded.

    Attributes:
        data: its bytes.
        length: of the body that has to follow it, in bytes; `CHUNKED` for one in chunks.
        closes: whether it asks for the connection to be closed.
        expects: whether the body waits for a 100 (RFC 9110, section 10.1.1).
    """

    __slots__ = ("closes", "data", "expects", "length")

    def __init__(self, data: bytes, length: int, *, closes: bool, expects: bool) -> None:
        self.data = data
        self.length = length
        self.closes = closes
        self.expects = expects


class _Lines:
    """Lines of headers that were checked, and what they say about the message."""

    __slots__ = ("closes", "data", "expects", "told")

    def __init__(self, data: bytes, told: int | None, *, closes: bool, expects: bool) -> None:
        self.data = data
        self.told = told
        self.closes = closes
        self.expects = expects


class Encoder:
    """Encodes heads. What it has checked it remembers, for most headers are the same on the next call."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[bytes, bytes], ...], _Lines] = {}

    def request_line(self, method: str, target: bytes) -> bytes:
        """The first line.

        Raises:
            EngineError: method or target cannot be sent.
            NotOurs: a CONNECT.
        """
        name = method.encode("ascii", "replace")
        if not _TOKEN.fullmatch(name):
            raise refused("the method is no token such as GET")
        if name == b"CONNECT":
            raise NotOurs("CONNECT opens a tunnel")
        if not _TARGET.fullmatch(target):
            raise refused("the target contains white space or a control character, or does not begin with '/'")
        return b"%b %b HTTP/1.1\r\n" % (name, target)

    def encode(self, request_line: bytes, headers: list[tuple[bytes, bytes]], length: int | None) -> RequestHead:
        """A head.

        Args:
            request_line: as `request_line` made it.
            headers: names and values in their order.
            length: of the body in bytes; None if the headers have to tell it, because it is a stream.

        Raises:
            EngineError: a header cannot be sent, contradicts the body, or there is not exactly one Host.
            NotOurs: it asks for another protocol.
        """
        end = len(headers)
        while end and headers[end - 1][0] in _FLEETING:
            end -= 1
        fixed = tuple(headers[:end])
        known = self._known.get(fixed)
        if known is None:
            known = self._known_from_now(fixed)
        lines = [request_line, known.data]
        for at in range(end, len(headers)):
            lines.append(_line(headers[at])[0])  # noqa: PERF401  # one or two
        told = known.told
        if length is None:
            if told is None:
                raise refused("the length of the body is not known, and it is not sent in chunks")
            length = told
        elif told is None:
            if length:
                lines.append(b"Content-Length: %d\r\n" % length)
        elif told != length:
            raise refused("header 'Content-Length' is not the length of the body")
        lines.append(b"\r\n")
        return RequestHead(b"".join(lines), length, closes=known.closes, expects=known.expects and length != 0)

    def _known_from_now(self, headers: tuple[tuple[bytes, bytes], ...]) -> _Lines:
        lines: list[bytes] = []
        hosts = 0
        told: list[int] = []
        closes = expects = False
        for pair in headers:
            line, kind = _line(pair)
            lines.append(line)
            if kind == _HOST_FIELD:
                hosts += 1
            elif kind == _CONNECTION:
                options = {one.strip() for one in pair[1].lower().split(b",")}
                if b"upgrade" in options:
                    raise NotOurs("it asks for another protocol")
                closes = closes or b"close" in options
            elif kind == _LENGTH:
                told.append(int(pair[1]))
            elif kind == _TRANSFER:
                told.append(CHUNKED)
            elif kind == _EXPECT:
                expects = expects or pair[1].lower() == b"100-continue"
            elif kind == _UPGRADE:
                raise NotOurs("it asks for another protocol")
        if hosts != 1:
            raise refused("there is no Host header" if not hosts else "there is more than one Host header")
        if len(told) > 1:
            raise refused("the length of the body is told twice")
        made = _Lines(b"".join(lines), told[0] if told else None, closes=closes, expects=expects)
        if len(made.data) <= _MOST_KNOWN_SIZE:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[headers] = made
        return made


def _line(pair: tuple[bytes, bytes]) -> tuple[bytes, int]:
    """The line of a header, and what it means for the message.

    Raises:
        EngineError: it is not well-formed.
    """
    name, value = pair
    if not _TOKEN.fullmatch(name):
        raise refused("a header is not well-formed: its name contains characters it must not")
    # A value may be a secret, and is not shown.
    if not _VALUE.fullmatch(value):
        shown = name.decode("ascii")
        raise refused(f"header {shown!r} is not well-formed: a control character or outer space is in its value")
    kind = _KINDS.get(name.lower(), _PLAIN)
    if kind == _HOST_FIELD and not _HOST.fullmatch(value):
        raise refused("header 'Host' is no host with an optional port")
    if kind == _LENGTH and (not value.isdigit() or len(value) > 18):
        raise refused("header 'Content-Length' is no number of bytes")
    if kind == _TRANSFER and value.lower() != b"chunked":
        raise refused("header 'Transfer-Encoding' is something else than chunked")
    return b"%b: %b\r\n" % pair, kind


def refused(why: str) -> EngineError:
    """The failure of an attempt that cannot be sent as it is."""
    return EngineError(why, sent=Sent.NO, phase="build", cause=None)


def chunk(data: bytes) -> bytes:
    """A chunk of a body (RFC 9112, section 7.1). None is made of no data, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"


class Framing:
    """The body of one request, sent piece by piece: in chunks, or exactly as long as its head said.

    Args:
        length: as `RequestHead.length` has it.
    """

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def piece(self, data: bytes) -> bytes:
        """What goes out for a piece of the body; nothing for an empty one.

        Raises:
            httpx2.LocalProtocolError: that is more than the head said.
        """
        if self._left == CHUNKED:
            return chunk(data)
        if len(data) > self._left:
            raise httpx2.LocalProtocolError("the body is longer than its Content-Length")
        self._left -= len(data)
        return data

    def end(self) -> bytes:
        """What goes out behind the last piece.

        Raises:
            httpx2.LocalProtocolError: the head said that there was more.
        """
        if self._left > 0:
            raise httpx2.LocalProtocolError("the body is shorter than its Content-Length")
        return LAST_CHUNK if self._left == CHUNKED else b""
