"""Heads of requests: what a strict server reads is what was asked for, and what cannot be read so is not sent."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.http.engines.base import EngineError, Sent
from holdfast.http.engines.h1_request import CHUNKED, LAST_CHUNK, Encoder, NotOurs, chunk

HOST = (b"Host", b"example.com")


def encoded(*headers, method="GET", target=b"/", length=0):
    encoder = Encoder()
    return encoder.encode(encoder.request_line(method, target), [HOST, *headers], length)


def refusal(*headers, **kwargs) -> str:
    with pytest.raises(EngineError) as caught:
        encoded(*headers, **kwargs)
    assert caught.value.sent is Sent.NO and caught.value.phase == "build"
    return str(caught.value)


def test_a_head_is_as_it_was_asked_for():
    head = encoded((b"X-One", b"a b"), (b"x-two", b""), method="DELETE", target=b"/a?b=c")
    assert head.data == b"DELETE /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-One: a b\r\nx-two: \r\n\r\n"
    assert head.length == 0 and not head.closes and not head.expects


def test_the_length_of_a_body_is_told_if_it_was_not():
    assert b"Content-Length: 3\r\n" in encoded(length=3).data
    assert encoded((b"content-length", b"3"), length=3).data.lower().count(b"content-length") == 1


def test_a_stream_tells_its_own_length():
    assert encoded((b"Content-Length", b"3"), length=None).length == 3
    assert encoded((b"Transfer-Encoding", b"chunked"), length=None).length == CHUNKED
    assert "not known" in refusal(length=None)


def test_options_of_the_connection_are_noticed():
    assert encoded((b"Connection", b"Close")).closes
    assert not encoded((b"Connection", b"keep-alive")).closes
    assert encoded((b"Expect", b"100-continue"), length=3).expects
    assert not encoded((b"Expect", b"100-continue"), length=0).expects


@pytest.mark.parametrize("method", ["", "GET ", "GE T", "GET\r\nX: y", "G\x00T", "GÉT", "GET/"])
def test_a_method_is_a_token(method):
    assert "method" in refusal(method=method)


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"a",
        b"/a b",
        b"/\r\nX: y",
        b"/a\x00",
        b"/a\tb",
        b"/a#b",
        b"/ HTTP/1.1\r\nHost: evil",
        b"/\x7f",
        b"ftp://a/",
    ],
)
def test_a_target_has_no_space_in_it(target):
    assert "target" in refusal(target=target)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"", b"a"), (b"X One", b"a"), (b"X:", b"a"), (b"X\r\nY", b"a"), (b"X\x00", b"a"), (b" X", b"a"),
        (b"X ", b"a"), (b"X\xc3\xa9", b"a"), (b"X(", b"a"), (b"X", b"a\r\nY: b"), (b"X", b"a\nY: b"), (b"X", b"a\rb"),
        (b"X", b"a\x00"), (b"X", b" a"), (b"X", b"a "), (b"X", b"\ta"), (b"X", b"a\x7f"), (b"X", b"\r\n a"),
        (b"X", b"a\r\n\r\nGET / HTTP/1.1"), (b"X", b"\n"), (b"X", b"a\x0bb"),
    ],
)  # fmt: skip
def test_a_header_is_one_line(name, value):
    message = refusal((name, value))
    assert "not well-formed" in message and "GET" not in message


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Content-Length", b"4")],
        [(b"Content-Length", b"3"), (b"content-length", b"3")],
        [(b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"gzip")],
        [(b"Transfer-Encoding", b"chunked, identity")],
        [(b"Content-Length", b"+3")],
        [(b"Content-Length", b"3, 3")],
        [(b"Content-Length", b"")],
        [(b"host", b"other.example.com")],
    ],
)
def test_the_length_is_told_once_and_so_is_the_host(headers):
    refusal(*headers, length=3)


@pytest.mark.parametrize("value", [b"a, b", b"a b", b"a/b", b"a?b", b"a#b", b"u@a", b"a\\b", b"\xff"])
def test_a_host_is_a_host(value):
    encoder = Encoder()
    with pytest.raises(EngineError, match="Host"):
        encoder.encode(encoder.request_line("GET", b"/"), [(b"Host", value)], 0)
    with pytest.raises(EngineError, match="no Host"):
        encoder.encode(encoder.request_line("GET", b"/"), [], 0)


@pytest.mark.parametrize("header", [(b"Connection", b"foo, Upgrade"), (b"Upgrade", b"websocket")])
def test_another_protocol_is_left_to_others(header):
    with pytest.raises(NotOurs):
        encoded(header)
    with pytest.raises(NotOurs):
        encoded(method="CONNECT")


def test_what_was_refused_once_is_refused_again_and_what_was_fine_stays_so():
    encoder = Encoder()
    line = encoder.request_line("GET", b"/")
    for _ in range(3):
        with pytest.raises(EngineError):
            encoder.encode(line, [HOST, (b"X", b"a\n")], 0)
        assert encoder.encode(line, [HOST, (b"X", b"a")], 0).data.endswith(b"X: a\r\n\r\n")


def test_what_is_remembered_is_bounded():
    encoder = Encoder()
    line = encoder.request_line("GET", b"/")
    for number in range(2000):
        encoder.encode(line, [HOST, (b"X", b"%d" % number), (b"X-Request-ID", b"id-%d" % number)], 0)
    assert len(encoder._known) <= 256
    assert not any(b"X-Request-ID" in dict(headers) for headers in encoder._known)


_TOKENS = st.text("!#$%&'*+-.^_`|~0123456789abcXYZ", min_size=1, max_size=10)
_VALUES = st.binary(max_size=30).map(lambda raw: bytes(one for one in raw if one >= 0x20 and one != 0x7F).strip())
_FRAMING = {"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"}


@given(
    method=_TOKENS.filter(lambda name: name != "CONNECT"),
    target=st.text("abc/?&=%20~;:@", max_size=20).map(lambda text: b"/" + text.encode()),
    headers=st.lists(st.tuples(_TOKENS.filter(lambda name: name.lower() not in _FRAMING), _VALUES), max_size=6),
    body=st.lists(st.binary(max_size=40), max_size=5),
    chunked=st.booleans(),
)
def test_a_strict_server_reads_what_was_asked(method, target, headers, body, chunked):
    encoder = Encoder()
    pairs = [HOST, *((name.encode(), value) for name, value in headers)]
    if chunked:
        pairs.append((b"Transfer-Encoding", b"chunked"))
        head = encoder.encode(encoder.request_line(method, target), pairs, None)
        data = head.data + b"".join(map(chunk, body)) + LAST_CHUNK
    else:
        head = encoder.encode(encoder.request_line(method, target), pairs, sum(map(len, body)))
        data = head.data + b"".join(body)
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (method.encode(), target)
    raw = request.headers.raw_items()
    assert raw[: len(pairs)] == pairs or not chunked
    assert [pair for pair in raw if pair[0].lower() != b"content-length"] == [
        pair for pair in pairs if pair[0].lower() != b"content-length"
    ]
    received = b""
    while isinstance(event := server.next_event(), h11.Data):
        received += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage) and received == b"".join(body)
    assert server.trailing_data[0] == b""


@given(st.binary(max_size=12), st.binary(max_size=24))
def test_no_header_adds_a_line(name, value):
    try:
        head = encoded((name, value))
    except (EngineError, NotOurs):
        return
    assert head.data.count(b"\r\n") == head.data.count(b"\n") == head.data.count(b"\r") == 4
