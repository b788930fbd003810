"""Responses of HTTP/1.1 for hypothesis, whole and damaged."""

from __future__ import annotations

from hypothesis import strategies as st

_NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8).map(lambda text: f"x-{text}".encode())
_VALUES = st.binary(max_size=20).map(lambda raw: bytes(one for one in raw if one >= 0x20 and one != 0x7F).strip(b" \t"))
_BODIES = st.binary(max_size=200)
SCRAPS = (b"\r", b"\n", b"\r\n", b" ", b":", b"\x00", b"0", b"a", b",", b"\xff", b"")
"""What a byte of a response is replaced by to damage it."""


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, bool, bytes]:
    """A response, whether its connection ends it, and its body."""
    fields = draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=5))
    status = draw(st.sampled_from([200, 201, 404, 500, 599]))
    body = draw(_BODIES)
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    lines = [b"HTTP/1.1 %d %b" % (status, draw(st.sampled_from([b"OK", b"", b"Not at all"])))]
    lines += [b"%b:%b%b" % (name, draw(st.sampled_from([b"", b" ", b"\t "])), value) for name, value in fields]
    sent = body
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        sent, at = b"", 0
        while at < len(body):
            size = draw(st.integers(1, 50))
            piece = body[at : at + size]
            sent += b"%x%b\r\n%b\r\n" % (len(piece), draw(st.sampled_from([b"", b";a", b';a="b c"'])), piece)
            at += size
        sent += b"0\r\n" + draw(st.sampled_from([b"", b"X-Trailer: 1\r\n"])) + b"\r\n"
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 -\r\nLink: a\r\n\r\n"]))
    return interim + b"\r\n".join([*lines, b"", b""]) + sent, framing == "close", body


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, bool]:
    """What was a response before some of its bytes were changed, and whether its connection ends with it."""
    raw, closes, _ = draw(responses())
    changed = bytearray(raw)
    for _ in range(draw(st.integers(1, 3))):
        if changed:
            at = draw(st.integers(0, len(changed) - 1))
            changed[at : at + 1] = draw(st.sampled_from(SCRAPS))
    return bytes(changed), closes
