"""Bytes for a parser of responses: messages that are right, then bent, spliced and cut, all from one seed.

Unlike the strategies of `tests.support.responses` these are made by the hundred million, and some are as large as the
limits of the parser.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from holdfast.http.engines.h1 import MOST_INTERIM, MOST_ONE_HEAD
from holdfast.http.engines.h1_chunks import MOST_TRAILERS
from holdfast.http.engines.h1_head import MOST_FIELDS
from tests.support.smuggling import CUT_OFF, REFUSED

_SHAPES = [shape.data for shape in (*REFUSED, *CUT_OFF)]
_STATUSES = (200, 200, 200, 201, 204, 206, 301, 304, 404, 500, 599, 600, 999, 100, 101, 103, 199)
_REASONS = (b" OK", b" ", b"", b" Not at all", b" \xe9t\xe9", b" a\tb")
_FIELDS = (
    b"Content-Length: 3", b"Content-Length: 0", b"content-length:5", b"Content-Length: 007", b"Content-Length: 3, 3",
    b"Transfer-Encoding: chunked", b"transfer-encoding:\tCHUNKED ", b"Transfer-Encoding: gzip, chunked",
    b"Connection: close", b"Connection: keep-alive", b"connection: a, Close ,b", b"Connection: ,", b"Connection:",
    b"Content-Encoding: gzip", b"Set-Cookie: a=b; Path=/", b"X-One: a b \t", b"x:", b"X-Two:\xff\x80", b"Trailer: X-Y",
    b"Content-Lengths: 3", b"X-Content-Length: 3", b"X: content-length: 3", b"Upgrade: x", b"Date: now",
)  # fmt: skip
TOKENS = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b" ", b"\t", b":", b";", b",", b"\x00", b"\x0b", b"\x7f",
    b"\x85", b"\xff", b"0", b"1", b"a", b"f", b"A", b"x", b"+", b"-", b"_", b'"', b"\\", b"0\r\n\r\n", b"3\r\nabc\r\n",
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/2 ", b"chunked",
    b"Content-Length: ", b"Transfer-Encoding: ", b"close", b"\r\n ", b"\r\n\t", b" \r\n", b"fffffffffffffff",
    b"ffffffffffffffff", b"999999999999999999", b"9999999999999999999", b"00000000000000000", b"18446744073709551616",
    "\u0663".encode(), b"0x3", b"3 ", b" 3", b"3;a=b", b"3 ;a", b"-1", b"%0d%0a",
)  # fmt: skip
"""What is put into messages, or over parts of them."""

_BEGINNINGS = (
    b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: ",
)  # fmt: skip
_NUMBER = re.compile(rb"[0-9A-Fa-f]+")


def _body(chance: random.Random) -> bytes:
    size = chance.choice((0, 0, 1, 3, 3, 5, 40, 300, 5000)) if chance.random() < 0.9 else chance.randrange(20_000)
    return chance.randbytes(size) if chance.random() < 0.5 else b"abc\r\n0"[: size % 7] * (size // 6 + 1)


def _chunked(chance: random.Random, body: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while at < len(body):
        size = chance.choice((1, 2, 3, 16, 255, 4096))
        piece = body[at : at + size]
        digits = chance.choice((b"%x", b"%X", b"0%x", b"000000%x")) % len(piece)
        extension = chance.choice((b"", b"", b"", b";a", b' ; a="b c"', b"\t;", b";\xff")) if len(parts) < 50 else b""
        parts.append(b"%b%b\r\n%b\r\n" % (digits, extension, piece))
        at += size
    trailers = chance.choice((b"", b"", b"X-Y: 1\r\n", b"X-Y: 1\r\nX-Z:\r\n", b"Content-Length: 3\r\n"))
    return b"".join(parts) + chance.choice((b"0", b"0", b"000", b"0;a")) + b"\r\n" + trailers + b"\r\n"


def message(chance: random.Random) -> bytes:
    """A response, most likely a whole and proper one."""
    body = _body(chance)
    fields = chance.sample(_FIELDS[11:], chance.randrange(4))
    framing = chance.randrange(8)
    if framing < 3:
        fields.append(b"Content-Length: %d" % len(body))
    elif framing < 6:
        fields.append(b"Transfer-Encoding: chunked")
        body = _chunked(chance, body)
    elif framing < 7:
        fields += chance.sample(_FIELDS, 2)
    if chance.random() < 0.2:
        fields.append(chance.choice(_FIELDS))
    chance.shuffle(fields)
    line = b"HTTP/1.%d %d%b" % (chance.choice((1, 1, 1, 1, 0, 2, 9)), chance.choice(_STATUSES), chance.choice(_REASONS))
    interims = b"".join(
        b"HTTP/1.1 %d \r\n%b\r\n" % (chance.choice((100, 102, 103)), chance.choice((b"", b"Link: <a>\r\n")))
        for _ in range(chance.choice((0, 0, 0, 0, 1, 2)))
    )
    return interims + b"\r\n".join([line, *fields, b"", b""]) + body


def large(chance: random.Random) -> bytes:
    """A response about as large in one respect as it may be."""
    more = chance.randrange(-4, 5)
    ok, chunked = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    line = chance.choice((b"a:b\r\n", b"X-Number: 12345\r\n"))
    kind = chance.randrange(9)
    if kind == 0:
        return ok + b"X:" + b"a" * (MOST_ONE_HEAD - len(ok) - 6 + more) + b"\r\n\r\n"
    if kind == 1:
        return ok + line * (MOST_FIELDS + more) + b"\r\n"
    if kind == 2:
        return b"HTTP/1.1 102 \r\n\r\n" * (MOST_INTERIM + more) + message(chance)
    if kind == 3:
        return chunked + b"0\r\nX:" + b"a" * (MOST_TRAILERS - 8 + more) + b"\r\n\r\n"
    if kind == 4:
        return chunked + b"0\r\n" + line * (MOST_FIELDS + more) + b"\r\n"
    if kind == 5:
        size = chance.choice((16 * 1024 + more, 4096, 100))
        return chunked + (b"1;" + b"e" * size + b"\r\na\r\n") * chance.choice((1, 4, 5, 170)) + b"0\r\n\r\n"
    if kind == 6:
        return (b"HTTP/1.1 103 \r\nX:" + b"a" * 60_000 + b"\r\n\r\n") * 5 + message(chance)
    if kind == 7:
        return chunked + b"1\r\na\r\n" * chance.randrange(5_000) + b"0\r\n\r\n"
    return ok + b"Content-Length: 100000\r\n\r\n" + chance.randbytes(100_000 + more)


def _bent(chance: random.Random, data: bytearray) -> None:
    """Changes one thing."""
    at = chance.randrange(len(data) + 1)
    end = min(at + chance.choice((1, 1, 1, 2, 4, 8, 30)), len(data))
    kind = chance.randrange(10)
    if kind == 0:
        data[at:at] = chance.choice(TOKENS)
    elif kind == 1:
        data[at:end] = chance.choice(TOKENS)
    elif kind == 2:
        del data[at:end]
    elif kind == 3:
        data[at:at] = data[at:end]
    elif kind == 4 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 5 and at < len(data):
        data[at] = chance.randrange(256)
    elif kind == 6:
        data[at:end] = bytes(data[at:end]).swapcase()
    elif kind == 7:
        elsewhere = chance.randrange(len(data) + 1)
        data[at:at] = data[elsewhere : elsewhere + chance.choice((2, 8, 40))]
    elif kind == 8:
        # A number is where sizes and lengths are.
        numbers = list(_NUMBER.finditer(bytes(data[:2000])))
        if numbers:
            found = chance.choice(numbers)
            data[found.start() : found.end()] = chance.choice(TOKENS)
    else:
        ends = [found.start() for found in re.finditer(rb"\r\n", bytes(data[:4000]))]
        if ends:
            there = chance.choice(ends)
            data[there : there + 2] = chance.choice((b"\n", b"\r", b"\r\r\n", b" \r\n", b"\r\n\r\n", b"", b"\x00\r\n"))


def scrambled(chance: random.Random) -> bytes:
    """Whatever a connection may deliver; at least a byte."""
    kind = chance.random()
    if kind < 0.60:
        data = bytearray(message(chance))
    elif kind < 0.75:
        data = bytearray(chance.choice(_SHAPES))
    elif kind < 0.83:
        data = bytearray(message(chance) + message(chance))
    elif kind < 0.93:
        first, second = message(chance), message(chance)
        data = bytearray(first[: chance.randrange(len(first))] + second[chance.randrange(len(second)) :])
    elif kind < 0.985:
        data = bytearray(chance.choice(_BEGINNINGS) + b"".join(chance.choices(TOKENS, k=chance.randrange(1, 20))))
    else:
        data = bytearray(large(chance))
    while chance.random() < 0.55:
        _bent(chance, data)
    if chance.random() < 0.1:
        del data[chance.randrange(len(data) + 1) :]
    return bytes(data) or b"H"


def cuts(chance: random.Random, data: bytes) -> list[bytes]:
    """The same bytes in pieces, none of them empty: as packets might bring them."""
    ways: tuple[Callable[[], list[int]], ...] = (
        lambda: list(range(len(data))) if len(data) <= 3_000 else list(range(0, len(data), 97)),
        lambda: [chance.randrange(len(data)) for _ in range(chance.randrange(1, 8))],
        lambda: [found.start() + chance.randrange(3) for found in re.finditer(rb"[\r\n]", data[:3_000])],
        lambda: [chance.randrange(len(data)), len(data) - 1],
    )
    at = sorted({one for one in chance.choice(ways)() if 0 < one < len(data)})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]
