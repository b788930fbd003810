"""Bodies of responses: how much is read, and what becomes of those that cannot be read."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import httpx2
import pytest

from holdfast.exceptions import (
    APIConnectionError,
    HoldfastError,
    InvalidRequestError,
    ResponseError,
    ServiceUnavailableError,
)
from tests.support.colours import Colour, is_a
from tests.support.loopback import Answer, Loopback, answer, chunked, raw, redirect

pytestmark = pytest.mark.loopback

LIMIT = 10_000
ONCE = {"retry": {"max_attempts": 1}}
TEXT = b"hello" * 1000
GZIPPED = gzip.compress(TEXT)
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


def whole(body: bytes, *headers: tuple[str, str]) -> Answer:
    return answer(200, body, *headers)


def in_chunks(body: bytes, *headers: tuple[str, str]) -> Answer:
    return chunked(200, [body[at : at + 700] for at in range(0, len(body), 700)], *headers)


def to_the_end(body: bytes, *headers: tuple[str, str]) -> Answer:
    """Neither a length nor chunks: the body ends with the connection."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return raw(b"HTTP/1.1 200 OK\r\n" + lines.encode() + b"\r\n" + body, end="close")


FRAMINGS = {"length": whole, "chunked": in_chunks, "to the end": to_the_end}


# How much


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("coding", [None, *CODINGS])
def test_a_body_of_exactly_the_limit_is_read(
    colour: Colour, server: Loopback, framing: str, coding: str | None
) -> None:
    body = bytes(range(250)) * (LIMIT // 250)
    coded = CODINGS[coding](body) if coding else body
    server.default = FRAMINGS[framing](coded, *([("Content-Encoding", coding)] if coding else []))
    response = colour(colour.client(server.url, max_response_bytes=LIMIT).get("/x"))
    assert response.content == body
    assert response.is_closed
    assert response.num_bytes_downloaded >= 0
    assert response.headers.get("content-encoding") == coding


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("coding", [None, *CODINGS])
def test_one_byte_more_is_refused(colour: Colour, server: Loopback, framing: str, coding: str | None) -> None:
    body = b"a" * (LIMIT + 1)
    coded = CODINGS[coding](body) if coding else body
    server.default = FRAMINGS[framing](coded, *([("Content-Encoding", coding)] if coding else []))
    client = colour.client(server.url, max_response_bytes=LIMIT)
    error = colour.error(client.get("/x"), ResponseError)
    assert f"max_response_bytes={LIMIT}" in str(error)
    assert error.attempts == 1, "it would be as large again"
    assert error.may_have_executed
    assert client.circuit_breaker.state == "closed"
    assert client.bulkhead.in_flight == 0


def test_a_body_that_is_announced_too_large_is_not_read(colour: Colour, server: Loopback) -> None:
    server.default = raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", b"x" * 100, pause=0.0, end="close"
    )
    error = colour.error(colour.client(server.url, max_response_bytes=LIMIT).get("/x"), ResponseError)
    assert "1000000000000 bytes were announced" in str(error)


def test_chunks_take_precedence_over_an_announced_length(colour: Colour, server: Loopback) -> None:
    server.default = chunked(200, [b"x" * 1000] * 100, ("Content-Length", "5"))
    colour.error(colour.client(server.url, max_response_bytes=LIMIT, **ONCE).get("/x"), HoldfastError)
    server.default = chunked(200, [b"x" * 1000] * 5, ("Content-Length", "5"))
    try:
        assert len(colour(colour.client(server.url, max_response_bytes=LIMIT, **ONCE).get("/x")).content) == 5000
    except HoldfastError as error:
        assert is_a(error, ResponseError) or is_a(error, APIConnectionError)  # noqa: PT017  # refusing both is allowed too


def test_a_compressed_bomb_does_not_fill_the_memory(colour: Colour, server: Loopback) -> None:
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    assert len(bomb) < 65_000, "it fits into one read"
    server.default = whole(bomb, ("Content-Encoding", "gzip"))
    client = colour.client(server.url, max_response_bytes=LIMIT)
    colour.error(client.get("/x"), ResponseError)
    tracemalloc.start()
    try:
        colour.error(client.get("/x"), ResponseError)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 1024 * 1024


def test_no_limit_means_none(colour: Colour, server: Loopback) -> None:
    server.default = whole(b"x" * 200_000)
    assert len(colour(colour.client(server.url, max_response_bytes=None).get("/x")).content) == 200_000


def test_a_stream_has_no_limit(colour: Colour, server: Loopback) -> None:
    server.default = in_chunks(b"x" * 200_000)
    client = colour.client(server.url, max_response_bytes=LIMIT)
    assert len(colour.streamed(client.stream("GET", "/x"))) == 200_000
    assert client.bulkhead.in_flight == 0


def test_the_connection_is_not_used_again_after_a_refusal(colour: Colour, server: Loopback) -> None:
    server.on("/large", in_chunks(b"x" * 50_000))
    client = colour.client(server.url, max_response_bytes=LIMIT)
    colour.error(client.get("/large"), ResponseError)
    assert colour(client.get("/x")).content == b"ok"


def test_a_head_may_announce_what_a_get_may_not_send(colour: Colour, server: Loopback) -> None:
    server.default = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", end="keep")
    assert colour(colour.client(server.url, max_response_bytes=LIMIT).head("/x")).headers["content-length"] == "1000000"


# Codings


def bare_deflate(body: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(body) + coder.flush()


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        ("gzip", GZIPPED),
        ("x-gzip", GZIPPED),
        ("GZip", GZIPPED),
        ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("gzip", GZIPPED + bytes(500)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", bare_deflate(TEXT)),
    ],
    ids=["gzip", "x-gzip", "capitals", "two members", "padding", "deflate", "bare deflate"],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("limit", [100_000, None])
def test_a_coded_body_is_decoded(
    colour: Colour, server: Loopback, coding: str, coded: bytes, size: int, limit: int | None
) -> None:
    pieces = [coded[at : at + size] for at in range(0, len(coded), size)]
    server.default = chunked(200, pieces, ("Content-Encoding", coding))
    response = colour(colour.client(server.url, max_response_bytes=limit).get("/x"))
    assert response.content == TEXT
    assert response.text == TEXT.decode()


@pytest.mark.parametrize("length", [0, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 3 * 256 * 1024])
def test_a_coded_body_of_any_length_is_decoded_whole(colour: Colour, server: Loopback, length: int) -> None:
    server.default = whole(gzip.compress(b"a" * length), ("Content-Encoding", "gzip"))
    assert colour(colour.client(server.url).get("/x")).content == b"a" * length


def test_an_empty_body_needs_no_coding(colour: Colour, server: Loopback) -> None:
    server.default = whole(b"", ("Content-Encoding", "gzip"))
    assert colour(colour.client(server.url).get("/x")).content == b""


# Stacked codings


STACKED = [
    [("Content-Encoding", "gzip, gzip")],
    [("Content-Encoding", "gzip,deflate")],
    [("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")],
    [("Content-Encoding", "deflate, identity, gzip")],
]


@pytest.mark.parametrize("headers", STACKED)
@pytest.mark.parametrize("limit", [LIMIT, None])
def test_stacked_codings_are_refused(
    colour: Colour, server: Loopback, headers: list[tuple[str, str]], limit: int | None
) -> None:
    server.default = whole(gzip.compress(gzip.compress(b"x")), *headers)
    client = colour.client(server.url, max_response_bytes=limit)
    error = colour.error(client.get("/x"), ResponseError)
    assert "coded more than once" in str(error)
    assert len(server.seen) == 1
    error = colour.error(client.post("/x"), ResponseError)
    assert error.may_have_executed


def test_stacked_codings_are_refused_in_a_stream(colour: Colour, server: Loopback) -> None:
    server.default = whole(gzip.compress(gzip.compress(b"x")), ("Content-Encoding", "gzip, gzip"))
    client = colour.client(server.url)
    with pytest.raises(ResponseError, match="coded more than once"):
        colour.streamed(client.stream("GET", "/x"))
    assert client.bulkhead.in_flight == 0


def test_identity_is_no_coding(colour: Colour, server: Loopback) -> None:
    server.default = whole(gzip.compress(b"x"), ("Content-Encoding", "identity, gzip"))
    assert colour(colour.client(server.url).get("/x")).content == b"x"


# Broken bodies

GZIP = ("Content-Encoding", "gzip")
BROKEN: dict[str, tuple[Answer, type[HoldfastError], type[Exception] | None]] = {
    "shorter than announced": (
        answer(200, b"short", ("Content-Length", "100"), end="close"),
        ResponseError,
        httpx2.RemoteProtocolError,
    ),
    "without the last chunk": (
        chunked(200, [b"abc"], complete=False, end="close"),
        ResponseError,
        httpx2.RemoteProtocolError,
    ),
    "broken chunk size": (
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"),
        ResponseError,
        httpx2.RemoteProtocolError,
    ),
    "not gzip": (answer(200, b"this is not gzip", GZIP), ResponseError, httpx2.DecodingError),
    "not deflate": (answer(200, b"\xff" * 50, ("Content-Encoding", "deflate")), ResponseError, httpx2.DecodingError),
    "gzip with a wrong bit": (
        answer(200, GZIPPED[:30] + bytes([GZIPPED[30] ^ 255]) + GZIPPED[31:], GZIP),
        ResponseError,
        httpx2.DecodingError,
    ),
    "gzip without its end": (answer(200, GZIPPED[:-5], GZIP), ResponseError, httpx2.DecodingError),
    "gzip without a checksum that fits": (
        answer(200, GZIPPED[:-8] + b"\0" * 8, GZIP),
        ResponseError,
        httpx2.DecodingError,
    ),
    "deflate without its end": (
        chunked(200, [zlib.compress(b"hello" * 1000)[:-6]], ("Content-Encoding", "deflate")),
        ResponseError,
        httpx2.DecodingError,
    ),
    "one byte of gzip": (answer(200, GZIPPED[:1], GZIP), ResponseError, httpx2.DecodingError),
    "reset in the body": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"abc", end="reset"),
        APIConnectionError,
        httpx2.ReadError,
    ),
    "reset in a chunk": (
        chunked(200, [b"abc"], complete=False, end="reset"),
        APIConnectionError,
        httpx2.ReadError,
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("limit", [LIMIT, None])
def test_a_broken_body_is_a_typed_error(colour: Colour, server: Loopback, kind: str, limit: int | None) -> None:
    server.default, expected, cause = BROKEN[kind]
    client = colour.client(server.url, max_response_bytes=limit)
    error = colour.error(client.get("/x"), HoldfastError)
    assert is_a(error, expected)
    assert cause is not None
    assert is_a(error, cause)
    assert error.attempts == 3, "a GET is repeated"
    assert error.may_have_executed
    assert error.request_id == server.last.get("x-request-id")
    assert client.bulkhead.in_flight == 0


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_body_is_fetched_again(colour: Colour, server: Loopback, kind: str) -> None:
    server.on("/x", BROKEN[kind][0], answer(200, b"whole"))
    assert colour(colour.client(server.url).get("/x")).content == b"whole"


@pytest.mark.parametrize("kind", BROKEN)
def test_a_post_with_a_broken_answer_is_not_repeated_without_a_key(colour: Colour, server: Loopback, kind: str) -> None:
    server.on("/x", BROKEN[kind][0], answer(200, b"whole"))
    client = colour.client(server.url)
    error = colour.error(client.post("/x"), BROKEN[kind][1])
    assert error.may_have_executed
    assert len(server.seen) == 1
    server.on("/x", BROKEN[kind][0], answer(200, b"whole"))
    assert colour(client.post("/x", idempotency_key="k")).content == b"whole"


@pytest.mark.parametrize("kind", ["shorter than announced", "reset in the body", "not gzip"])
def test_a_broken_body_of_a_stream_is_a_typed_error(colour: Colour, server: Loopback, kind: str) -> None:
    server.default, expected, _ = BROKEN[kind]
    client = colour.client(server.url)
    with pytest.raises(expected) as caught:
        colour.streamed(client.stream("GET", "/x"))
    assert is_a(caught.value, HoldfastError)
    assert caught.value.may_have_executed
    assert len(server.seen) == 1
    assert client.bulkhead.in_flight == 0


# What the status says counts


EXPLANATIONS: dict[str, Answer] = {
    "truncated": answer(503, b"short", ("Content-Length", "100"), end="close"),
    "not gzip": answer(503, b"this is not gzip", GZIP),
    "stacked": answer(503, b"x", ("Content-Encoding", "gzip, gzip")),
    "too large": answer(503, b"x" * (LIMIT + 1)),
    "reset": raw(b"HTTP/1.1 503 x\r\nContent-Length: 100\r\n\r\n", b"abc", end="reset"),
    "announced too large": raw(b"HTTP/1.1 503 x\r\nContent-Length: 100000000\r\n\r\n", b"abc"),
}


@pytest.mark.parametrize("kind", EXPLANATIONS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_5xx_with_a_broken_body_keeps_its_status(colour: Colour, server: Loopback, kind: str, streamed: bool) -> None:
    server.default = EXPLANATIONS[kind]
    client = colour.client(server.url, max_response_bytes=LIMIT)
    with pytest.raises(ServiceUnavailableError) as caught:
        if streamed:
            colour.streamed(client.stream("GET", "/x"))
        else:
            colour(client.get("/x"))
    assert caught.value.status_code == 503
    assert caught.value.attempts == 3
    assert is_a(caught.value, httpx2.HTTPStatusError)
    assert client.bulkhead.in_flight == 0


def test_a_4xx_with_a_broken_body_keeps_its_status(colour: Colour, server: Loopback) -> None:
    server.default = answer(422, b"this is not gzip", GZIP)
    error = colour.error(colour.client(server.url).post("/x"), InvalidRequestError)
    assert error.status_code == 422
    assert not error.may_have_executed
    assert error.response.content == b""


def test_the_explanation_of_a_streamed_error_is_read(colour: Colour, server: Loopback) -> None:
    server.default = answer(404, b'{"detail": "no such pet"}', ("Content-Type", "application/json"))
    with pytest.raises(HoldfastError, match="no such pet"):
        colour.streamed(colour.client(server.url).stream("GET", "/x"))


def test_a_broken_redirect_is_no_answer(colour: Colour, server: Loopback) -> None:
    server.on("/x", answer(302, b"short", ("Location", "/y"), ("Content-Length", "100"), end="close"))
    server.on("/z", redirect(302, "/y"))
    client = colour.client(server.url)
    assert colour(client.get("/z")).content == b"ok"
    error = colour.error(client.get("/x"), ResponseError)
    assert error.attempts == 3


# Unreadable heads


HEADS: dict[str, Answer] = {
    "garbage": raw(b"garbage\r\n\r\n"),
    "another protocol": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "half a head": raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "reset in the head": raw(b"HTTP/1.1 200 OK\r\nContent-Le", end="reset"),
    "two lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
    "no length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc"),
    "nothing": raw(),
}


@pytest.mark.parametrize("kind", HEADS)
def test_an_unreadable_head_is_a_connection_error(colour: Colour, server: Loopback, kind: str) -> None:
    server.default = HEADS[kind]
    client = colour.client(server.url)
    error = colour.error(client.get("/x"), APIConnectionError)
    assert is_a(error, httpx2.TransportError)
    assert error.attempts == 3
    assert error.status_code is None
    error = colour.error(client.post("/x"), APIConnectionError)
    assert error.attempts == 1
    assert error.may_have_executed
    assert "The server may have executed it" in str(error)
