"""Responses that two readers could take for different things: split, smuggled, or framed in more than one way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Bytes that a server sends in answer to one GET.

    `body` is what has to be delivered of it, on a connection that is then closed; None if it has to be refused.
    """

    name: str
    data: bytes
    body: bytes | None = None


_OK = b"HTTP/1.1 200 OK\r\n"
_INNER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"


def _head(*lines: bytes, body: bytes = b"") -> bytes:
    return _OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


REFUSED = (
    Shape("length and chunked", _head(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    Shape("chunked and length", _head(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n")),
    Shape("two lengths that differ", _head(b"Content-Length: 3", b"Content-Length: 40", body=b"abc")),
    Shape("two lengths that agree", _head(b"Content-Length: 3", b"content-length: 3", body=b"abc")),
    Shape("a list of lengths", _head(b"Content-Length: 3, 3", body=b"abc")),
    Shape("a list of lengths that differ", _head(b"Content-Length: 3, 40", body=b"abc")),
    Shape("a signed length", _head(b"Content-Length: +3", body=b"abc")),
    Shape("a negative length", _head(b"Content-Length: -3", body=b"abc")),
    Shape("a length in hexadecimal", _head(b"Content-Length: 0x3", body=b"abc")),
    Shape("a length with an underscore", _head(b"Content-Length: 1_0", body=b"abcdefghij")),
    Shape("an empty length", _head(b"Content-Length: ", body=b"abc")),
    Shape("a length with a space in it", _head(b"Content-Length: 3 0", body=b"abc")),
    Shape("a fractional length", _head(b"Content-Length: 3.0", body=b"abc")),
    Shape("a length beyond all bounds", _head(b"Content-Length: 99999999999999999999", body=b"abc")),
    Shape("a length in other digits", _head("Content-Length: ٣".encode(), body=b"abc")),
    Shape("white space before the colon", _head(b"Content-Length : 3", body=b"abc")),
    Shape("a tab before the colon", _head(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n")),
    Shape("white space before the name", _head(b" Content-Length: 3", body=b"abc")),
    Shape("a folded header", _head(b"X-One: a", b" Content-Length: 3", b"Content-Length: 40", body=b"abc")),
    Shape("a folded coding", _head(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n")),
    Shape("a header without a colon", _head(b"Content-Length 3", body=b"abc")),
    Shape("a header without a name", _head(b": 3", b"Content-Length: 3", body=b"abc")),
    Shape("a name with a separator", _head(b"X(One: a", b"Content-Length: 3", body=b"abc")),
    Shape("a name that is not ASCII", _head(b"Content-L\xc3\xa9ngth: 3", b"Content-Length: 3", body=b"abc")),
    Shape("a NUL in a value", _head(b"X-One: a\x00b", b"Content-Length: 3", body=b"abc")),
    Shape("a NUL in a name", _head(b"Content-Length\x00: 9", b"Content-Length: 3", body=b"abc")),
    Shape("a bare CR in a value", _head(b"X-One: a\rContent-Length: 0", b"Content-Length: 3", body=b"abc")),
    Shape("a bare LF in a value", _head(b"X-One: a\nContent-Length: 0", b"Content-Length: 3", body=b"abc")),
    Shape("a bare CR behind the status", b"HTTP/1.1 200 OK\rX: y\r\nContent-Length: 3\r\n\r\nabc"),
    Shape("lines that end with LF", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"),
    Shape("a head that ends with LF", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\nabc"),
    Shape("a head that ends with CR", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\rabc\r\n\r\n"),
    Shape("chunked twice", _head(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n")),
    Shape(
        "chunked in two fields", _head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    ),
    Shape("chunked, then identity", _head(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n")),
    Shape("identity", _head(b"Transfer-Encoding: identity", body=b"abc")),
    Shape("a coding that was not asked for", _head(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")),
    Shape("a coding that looks like chunked", _head(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    Shape("a quoted coding", _head(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n")),
    Shape("a coding with a vertical tab", _head(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n")),
    Shape("an empty coding", _head(b"Transfer-Encoding: ", body=b"0\r\n\r\n")),
    Shape("chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Shape("a chunk longer than it says", _CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n"),
    Shape("a chunk that ends with LF", _CHUNKED + b"3\r\nabc\n0\r\n\r\n"),
    Shape("a chunk's size that ends with LF", _CHUNKED + b"3\nabc\r\n0\r\n\r\n"),
    Shape("a chunk's size with 0x", _CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n"),
    Shape("a signed size", _CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n"),
    Shape("a negative size", _CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n"),
    Shape("a size that wraps around", _CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    Shape("a size with a space before it", _CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n"),
    Shape("a size with a space behind it", _CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n"),
    Shape("a size with an underscore", _CHUNKED + b"1_0\r\nabcdefghijklmnop\r\n0\r\n\r\n"),
    Shape("no size", _CHUNKED + b"\r\nabc\r\n0\r\n\r\n"),
    Shape("an LF in an extension", _CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    Shape("a CR in an extension", _CHUNKED + b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    Shape("a trailer that is no header", _CHUNKED + b"0\r\nHTTP/1.1 200 OK\r\n\r\n"),
    Shape("a folded trailer", _CHUNKED + b"0\r\nX-One: a\r\n b\r\n\r\n"),
    Shape("a trailer that ends with LF", _CHUNKED + b"0\r\nX-One: a\n\r\n\r\n"),
    Shape("an empty line before the response", b"\r\n" + _INNER),
    Shape("something before the response", b"abc" + _INNER),
    Shape("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    Shape("HTTP/0.9", b"<html>hello</html>"),
    Shape("HTTP/2", b"HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Shape("HTTP in small letters", b"http/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Shape("a version of three digits", b"HTTP/1.10 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Shape("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Shape("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Shape("a status with a sign", b"HTTP/1.1 +20 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Shape("two spaces before the status", b"HTTP/1.1  200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Shape("a tab before the status", b"HTTP/1.1\t200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Shape(
        "an upgrade nobody asked for", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + _INNER
    ),
)

CUT_OFF = (
    Shape("a response behind the body", _head(b"Content-Length: 3", body=b"abc" + _INNER), b"abc"),
    Shape("a line behind the body", _head(b"Content-Length: 3", body=b"abc\r\n"), b"abc"),
    Shape("a response behind an empty body", _head(b"Content-Length: 0", body=_INNER), b""),
    Shape("a response behind the last chunk", _CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + _INNER, b"abc"),
    Shape("a line behind the last chunk", _CHUNKED + b"3\r\nabc\r\n0\r\n\r\n\r\n", b"abc"),
    Shape("a body behind a 204", b"HTTP/1.1 204 None\r\nContent-Length: 46\r\n\r\n" + _INNER, b""),
    Shape("chunks behind a 204", b"HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    Shape("a body behind a 304", b"HTTP/1.1 304 Same\r\nContent-Length: 46\r\n\r\n" + _INNER, b""),
    Shape("a length behind a 204, and nothing else", b"HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n", b""),
)
"""Whole responses with something behind them that must not be taken for the answer to the next request."""
