"""Coded bodies in the native engine: decoded at once where that is quick, and seen as they are with httpx2's."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast import NotFoundError, ResponseError
from holdfast.http.content import at_once
from holdfast.http.inflate import STEP
from tests.support.colours import Colour
from tests.support.loopback import Loopback, raw

pytestmark = pytest.mark.loopback

GZIP = [(b"Content-Encoding", b"gzip")]


def test_a_small_body_is_decoded_at_once():
    assert at_once(GZIP, gzip.compress(b"abc"), None) == b"abc"
    assert at_once([(b"content-encoding", b"Deflate")], zlib.compress(b"abc"), None) == b"abc"
    assert at_once(GZIP, gzip.compress(b"abc") + gzip.compress(b"def"), 6) == b"abcdef"
    for nothing in ([], [(b"Content-Encoding", b"identity")], [(b"Content-Encoding", b"unknown")]):
        assert at_once(nothing, b"abc", None) == b"abc"


def test_what_takes_longer_or_is_to_be_refused_is_not():
    whole = gzip.compress(b"abc")
    for fields, body, cap in (
        (GZIP, whole, 2),
        (GZIP, whole[:-1], None),
        (GZIP, b"abc", None),
        ([(b"Content-Encoding", b"gzip, gzip")], whole, None),
        (GZIP, gzip.compress(bytes(STEP + 1)), None),
        (GZIP, gzip.compress(b"") * 10_000, None),
    ):
        assert at_once(fields, body, cap) is None
    assert at_once(GZIP, gzip.compress(bytes(STEP)), None) is not None


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync", engine="native")
    yield user
    user.close()


def response(body: bytes, *, status: int = 200, coding: bytes = b"gzip") -> bytes:
    head = b"HTTP/1.1 %d -\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (status, coding, len(body)) + body


def chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(body), body,
    )  # fmt: skip


@pytest.mark.parametrize("text", [b"", b"abc", b"abc" * 30_000, bytes(2_000_000)], ids=len)
@pytest.mark.parametrize("framed", [response, chunked], ids=["length", "chunks"])
@pytest.mark.parametrize("parts", [1, 3])
def test_the_body_is_decoded_however_it_comes(colour: Colour, server: Loopback, text: bytes, framed: Any, parts: int):
    coded = gzip.compress(text)
    sent = framed(coded)
    step = -(-len(sent) // parts)
    server.on("/x", raw(*(sent[at : at + step] for at in range(0, len(sent), step)), end="keep", pause=0.01))
    client = colour.client(server.url)
    for _ in range(2):
        got = colour(client.get("/x"))
        assert got.content == text
        assert got.num_bytes_downloaded == len(coded)
        assert got.is_closed and got.is_stream_consumed and got.headers["content-encoding"] == "gzip"
        assert got.elapsed.total_seconds() >= 0.0


@pytest.mark.parametrize("coded", [gzip.compress(b"abc")[:-1], b"abc", gzip.compress(bytes(3_000_000))[:-1]], ids=len)
def test_what_cannot_be_decoded_is_an_error_unless_the_status_is_one(colour: Colour, server: Loopback, coded: bytes):
    server.on("/x", raw(response(coded), end="keep")).on("/y", raw(response(coded, status=404), end="keep"))
    client = colour.client(server.url)
    assert colour.error(client.get("/x"), ResponseError).response is None
    assert colour.error(client.get("/y"), NotFoundError).response.content == b""


def test_a_limit_holds_for_what_is_decoded(colour: Colour, server: Loopback):
    server.on("/x", raw(response(gzip.compress(bytes(1000))), end="keep"))
    strict, exact = (colour.client(server.url, max_response_bytes=most) for most in (999, 1000))
    assert "max_response_bytes=999" in str(colour.error(strict.get("/x"), ResponseError))
    assert len(colour(exact.get("/x")).content) == 1000


def test_streams_and_heads_are_as_before(colour: Colour, server: Loopback):
    coded = gzip.compress(b"abc")
    server.on("/x", raw(response(coded), end="keep"))
    server.on("/y", raw(response(coded)[: -len(coded)], end="keep"))
    client = colour.client(server.url)
    assert colour.streamed(client.stream("GET", "/x")) == b"abc"
    assert colour(client.head("/y")).content == b""
    assert colour(client.get("/x")).content == b"abc" and server.connections == 1
