"""Responses out of bytes, however these are cut, and nothing but one kind of error out of what is no response."""

from __future__ import annotations

import h11
import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.http.engines.base import EngineError, Sent
from holdfast.http.engines.h1 import MOST_INTERIM, MOST_ONE_HEAD, Assembly
from holdfast.http.engines.h1_chunks import MOST_TRAILERS
from holdfast.http.engines.h1_head import MOST_FIELDS
from tests.support.responses import damaged, responses
from tests.support.smuggling import CUT_OFF, REFUSED, Shape


def whole(data: bytes, *, bodiless: bool = False, most: int | None = None, ended: bool = False) -> Assembly:
    assembly = Assembly(bodiless=bodiless, most=most)
    assembly.feed(data)
    if ended:
        assembly.end()
    return assembly


def bytewise(data: bytes, *, bodiless: bool = False) -> Assembly:
    assembly = Assembly(bodiless=bodiless)
    for at in range(len(data)):
        assembly.feed(data[at : at + 1])
    return assembly


def refusal(data: bytes, *, most: int | None = None, ended: bool = False) -> EngineError:
    with pytest.raises(EngineError) as caught:
        whole(data, most=most, ended=ended)
    assert caught.value.sent is Sent.MAYBE
    return caught.value


# Messages and where they end


def test_a_length_tells_where_the_body_ends():
    assembly = whole(b"HTTP/1.1 200 All right\r\nContent-Length: 3\r\nX-One:  a b \t\r\nx-two:\r\n\r\nabc")
    head = assembly.head
    assert head is not None
    assert (head.status, head.reason, head.minor) == (200, b"All right", 1)
    assert head.fields() == [(b"Content-Length", b"3"), (b"X-One", b"a b"), (b"x-two", b"")]
    assert assembly.complete and assembly.reusable and assembly.taken() == b"abc"


def test_chunks_tell_it_too_and_their_extensions_and_trailers_are_left_out():
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    data += b'3;a="b"\r\nabc\r\nA ;c\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n'
    for assembly in (whole(data), bytewise(data)):
        assert assembly.complete and assembly.reusable and assembly.taken() == b"abc0123456789"


def test_without_either_the_connection_tells_it():
    assembly = whole(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert not assembly.complete
    assembly.feed(b"def")
    assembly.end()
    assert (assembly.complete, assembly.reusable, assembly.taken()) == (True, False, b"abcdef")


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status):
    assembly = whole(b"HTTP/1.1 %d -\r\n\r\n" % status)
    assert assembly.complete and assembly.reusable and assembly.taken() == b""


def test_the_length_of_a_304_is_that_of_the_body_it_spares():
    assert whole(b"HTTP/1.1 304 -\r\nContent-Length: 9\r\n\r\n").reusable


@pytest.mark.parametrize("field", [b"Content-Length: 9", b"Transfer-Encoding: chunked", b"X-One: a"])
def test_a_head_has_no_body(field):
    assembly = whole(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % field, bodiless=True)
    assert assembly.complete and assembly.reusable and assembly.taken() == b""


def test_what_follows_the_answer_to_a_head_ends_the_connection():
    assembly = whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", bodiless=True)
    assert assembly.complete and not assembly.reusable and assembly.taken() == b""


def test_informational_responses_come_first():
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n"
    data += b"HTTP/1.1 201 -\r\nContent-Length: 0\r\n\r\n"
    for assembly in (whole(data), bytewise(data)):
        assert assembly.head is not None and assembly.head.status == 201
        assert assembly.interim == 103 and assembly.complete and assembly.reusable


@pytest.mark.parametrize(
    ("version", "connection", "reusable"),
    [
        (1, b"", True),
        (1, b"Connection: close\r\n", False),
        (1, b"Connection: Foo, CLOSE\r\n", False),
        (1, b"Connection: foo\r\nConnection: close\r\n", False),
        (1, b"Connection: keep-alive\r\n", True),
        (0, b"", False),
        (0, b"Connection: Keep-Alive\r\n", True),
        (0, b"Connection: keep-alive, close\r\n", False),
        (9, b"", True),
    ],
)
def test_whether_the_connection_stays(version, connection, reusable):
    assembly = whole(b"HTTP/1.%d 200 OK\r\n%bContent-Length: 0\r\n\r\n" % (version, connection))
    assert assembly.complete and assembly.reusable is reusable


def test_a_reason_is_not_needed():
    for line in (b"HTTP/1.1 200", b"HTTP/1.1 200 "):
        head = whole(line + b"\r\nContent-Length: 0\r\n\r\n").head
        assert head is not None and head.reason == b""


def test_what_matters_besides_is_noticed():
    head = whole(b"HTTP/1.1 200 OK\r\nCONTENT-ENCODING: gzip\r\nset-Cookie: a=b\r\nContent-Length: 0\r\n\r\n").head
    assert head is not None and head.coded and head.cookies
    head = whole(b"HTTP/1.1 200 OK\r\nX-Content-Encoding: gzip\r\nX: set-cookie: a\r\nContent-Length: 0\r\n\r\n").head
    assert head is not None and not head.coded and not head.cookies


# What is refused


@pytest.mark.parametrize("shape", REFUSED, ids=lambda shape: shape.name)
def test_what_could_be_read_in_two_ways_is_refused_as_soon_as_it_is_there(shape: Shape):
    assert len(REFUSED) >= 30
    error = refusal(shape.data)
    assert isinstance(error.cause, httpx2.RemoteProtocolError)
    assembly = Assembly()
    with pytest.raises(EngineError):
        for at in range(len(shape.data)):
            assembly.feed(shape.data[at : at + 1])


@pytest.mark.parametrize("shape", CUT_OFF, ids=lambda shape: shape.name)
def test_what_follows_the_message_is_no_part_of_it_and_the_connection_is_done_with(shape: Shape):
    for assembly in (whole(shape.data), bytewise(shape.data)):
        assert assembly.complete and not assembly.reusable and assembly.taken() == shape.body


@pytest.mark.parametrize(
    ("data", "phase"),
    [
        (b"", "head"),
        (b"HTTP/1.1 200 OK\r\nContent-", "head"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "body"),
    ],
)
def test_an_early_end_is_told_from_a_whole_response(data, phase):
    assembly = Assembly()
    if data:
        assembly.feed(data)
    with pytest.raises(EngineError) as caught:
        assembly.end()
    assert caught.value.phase == phase and isinstance(caught.value.cause, httpx2.RemoteProtocolError)


# Limits


def test_a_head_has_a_largest_size():
    fits = b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 0\r\n\r\n"
    size = MOST_ONE_HEAD - len(fits % b"")
    assert whole(fits % (b"a" * size)).complete
    assert "too large" in str(refusal(fits % (b"a" * (size + 1))))
    assert "too large" in str(refusal(b"HTTP/1.1 200 OK\r\nX: " + b"a" * MOST_ONE_HEAD))


def test_a_head_has_so_many_lines():
    assert "lines" in str(refusal(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * MOST_FIELDS + b"\r\n"))
    assert whole(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (MOST_FIELDS - 3) + b"Content-Length: 0\r\n\r\n").complete


def test_informational_responses_are_counted():
    assert "informational" in str(refusal(b"HTTP/1.1 102 -\r\n\r\n" * (MOST_INTERIM + 1)))
    large = b"HTTP/1.1 102 -\r\nX: %b\r\n\r\n" % (b"a" * 90_000)
    assert "256 KiB" in str(refusal(large * 3))


def test_a_body_has_a_largest_size_however_it_comes():
    length = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert whole(length % 5 + b"abcde", most=5).complete
    for data in (
        length % 6,
        chunked + b"3\r\nabc\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nabcdef",
    ):
        error = refusal(data, most=5)
        assert error.phase == "limit" and "max_response_bytes=5" in str(error)


def test_what_is_beside_the_body_is_limited_too():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert "extensions" in str(refusal(chunked + (b"1;" + b"a" * 9000 + b"\r\na\r\n") * 2))
    refusal(chunked + b"1;" + b"a" * 20_000)
    assert "trailers" in str(refusal(chunked + b"0\r\nX: " + b"a" * MOST_TRAILERS))


def test_many_small_pieces_take_little_room():
    assembly = Assembly()
    assembly.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(5000):
        assembly.feed(b"2\r\nab\r\n")
    assert len(assembly.pieces) < 4
    assert assembly.taken() == b"ab" * 5000


# Properties


@given(responses(), st.data())
def test_where_the_bytes_are_cut_changes_nothing(response, data):
    raw, closes, body = response
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    assembly = Assembly()
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        if start < end:
            assembly.feed(raw[start:end])
    if closes:
        assert not assembly.complete
        assembly.end()
    assert assembly.complete and assembly.taken() == body
    assert assembly.reusable is not closes
    at_once = whole(raw, ended=closes)
    assert assembly.head is not None and at_once.head is not None
    assert assembly.head.fields() == at_once.head.fields()


def _by_h11(raw: bytes, *, closes: bool) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
    """What h11 makes of it; None if it refuses it."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    status, fields, body = 0, [], b""
    try:
        peer.receive_data(raw)
        ended = False
        while True:
            event = peer.next_event()
            if isinstance(event, h11.Response):
                status, fields = event.status_code, event.headers.raw_items()
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, fields, body
            elif event is h11.NEED_DATA:
                if ended or not closes:
                    return None
                peer.receive_data(b"")
                ended = True
    except h11.RemoteProtocolError:
        return None


@given(responses())
def test_h11_reads_the_same(response):
    raw, closes, _ = response
    assembly = whole(raw, ended=closes)
    assert assembly.head is not None
    assert _by_h11(raw, closes=closes) == (assembly.head.status, assembly.head.fields(), assembly.taken())


@given(damaged())
def test_what_is_accepted_of_a_damaged_response_h11_reads_the_same_way(response):
    raw, closes = response
    if not raw:
        return
    assembly = Assembly()
    try:
        assembly.feed(raw)
        if closes:
            assembly.end()
    except EngineError:
        return
    if assembly.complete and assembly.reusable:
        # Only such an answer is followed by another one, which makes where it ends a matter of safety.
        seen = _by_h11(raw, closes=closes)
        assert assembly.head is not None
        assert seen == (assembly.head.status, assembly.head.fields(), assembly.taken())


_SCRAPS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 \r\n\r\n", b"HTTP/1.1 101 \r\n\r\n", b"HTTP/1.0 ", b"204 \r\n",
        b"Content-Length: ", b"3\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"a\r\n", b"abc",
        b"\r", b"\n", b" ", b";", b"Connection: close\r\n", b"ffffffffffffffff", b"X: y\r\n", b"\x00", b"\xff",
    ]
)  # fmt: skip


@given(st.lists(st.one_of(_SCRAPS, st.binary(min_size=1, max_size=8)), max_size=20), st.booleans())
@example([b"\r\n\r\n"], False)
def test_nothing_but_its_own_error_comes_out(scraps, bodiless):
    assembly = Assembly(bodiless=bodiless, most=1000)
    try:
        for scrap in scraps:
            complete = assembly.feed(scrap)
            assert complete is assembly.complete
            assert sum(map(len, assembly.pieces)) == assembly.size <= 1000
        assembly.end()
    except EngineError:
        return
    assert assembly.head is not None and 200 <= assembly.head.status <= 999
