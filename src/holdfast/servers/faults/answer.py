"""An answer to one request as a value: what it says, and how it is going to be spoiled on its way."""

from __future__ import annotations

import http
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Answer", "End", "Framing", "Header", "Pace"]

End = Literal["keep", "close", "reset", "hold"]
"""What becomes of the connection: kept alive, closed (FIN), reset (RST), or held open in silence and then closed."""

Framing = Literal["length", "chunked"]
"""How the end of the body is told: Content-Length or Transfer-Encoding (RFC 9112, section 6)."""

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Pace:
    """How slowly something is written: `size` bytes every `interval` seconds, and after `up_to` seconds the rest."""

    size: int
    interval: float
    up_to: float


@dataclass(slots=True, kw_only=True)
class Answer:
    """An answer and its faults. Rules change it one after the other; where two disagree, the later one decides.

    Attributes:
        status: the status code.
        headers: name and value of each header but those of the framing, which are made when the answer is written.
        body: all of it, before it is framed.
        to_head: it answers a HEAD request.
        framing: how the app told the end of the body, or how a rule wants it told.
        declared: the Content-Length to tell where there is no body.
        silent: nothing at all is written.
        line: stands in place of the status line.
        lengths: values of Content-Length headers that are written instead of the true one.
        cut: the body ends early; `keep` bytes of it are written, or half of them.
        head_pace, body_pace: how slowly they are written.
        delay: seconds to wait before the first byte.
        end, hold: what becomes of the connection, and for how many seconds it is held before it is closed.
    """

    status: int = 200
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""
    to_head: bool = False
    framing: Framing = "length"
    declared: int | None = None
    silent: bool = False
    line: bytes | None = None
    lengths: tuple[int, ...] | None = None
    cut: bool = False
    keep: int | None = None
    head_pace: Pace | None = None
    body_pace: Pace | None = None
    delay: float = 0.0
    end: End = "keep"
    hold: float = 0.0

    @property
    def is_http(self) -> bool:
        """Whether an ASGI server can send it: a well-formed message, written at once, on a connection that is kept."""
        faults = (self.line, self.lengths, self.head_pace, self.body_pace)
        return not self.silent and not self.cut and self.end == "keep" and all(fault is None for fault in faults)

    @property
    def bodiless(self) -> bool:
        """Whether it never has a body (RFC 9110, section 6.4.1)."""
        return self.to_head or self.status in {204, 304}

    @property
    def length(self) -> int | None:
        """The true Content-Length, or None if there is none to tell."""
        return self.declared if self.bodiless else len(self.body)

    def framing_headers(self) -> list[Header]:
        """Content-Length or Transfer-Encoding, or what is written in their place."""
        lengths = self.lengths
        if lengths is None:
            if self.bodiless:
                lengths = () if self.declared is None else (self.declared,)
            else:
                lengths = (max(len(self.body), 1) if self.cut else len(self.body),) if self.framing == "length" else ()
        headers = [(b"content-length", b"%d" % length) for length in lengths]
        if self.framing == "chunked" and not self.bodiless:
            headers.append((b"transfer-encoding", b"chunked"))
        return headers

    def head(self) -> bytes:
        """The bytes from the status line to the empty line. Without a body to cut, this is what is cut."""
        if self.silent:
            return b""
        lines = [_status_line(self.status) if self.line is None else self.line]
        lines += [name + b": " + value for name, value in (*self.headers, *self.framing_headers())]
        head = b"\r\n".join([*lines, b"", b""])
        return head[: len(head) // 2] if self.cut and self.bodiless else head

    def payload(self) -> bytes:
        """The bytes after the head: the body in its framing. At least one byte is missing if it is cut."""
        if self.silent or self.bodiless:
            return b""
        size = len(self.body)
        chunked = self.framing == "chunked"
        if self.cut:
            kept = self.body[: min(size // 2 if self.keep is None else self.keep, max(size - 1, 0))]
            return b"%x\r\n%s" % (size, kept) if chunked and size else kept
        if chunked:
            return b"%x\r\n%s\r\n0\r\n\r\n" % (size, self.body) if size else b"0\r\n\r\n"
        return self.body


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode("ascii")
