"""What a server may make a client read, in heads and in coded bodies, raw and decoded, whole and as streams."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast import APIConnectionError, HoldfastError, ResilientClient, ResponseError
from holdfast.exceptions import InvalidRequestError
from holdfast.http.content import Reader
from holdfast.http.inflate import STEP
from tests.http.test_codings import BROTLIS, ZSTDS
from tests.support.colours import Colour, is_a
from tests.support.http2_peers import Talk, serve_http2_by
from tests.support.loopback import Loopback, answer, chunked, raw
from tests.support.wire import CHUNKED, Received, chunk, serve, wait_until
from tests.support.wire_extras import authority

pytestmark = pytest.mark.loopback

LIMIT = 10_000
ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}
GZIP = ("Content-Encoding", "gzip")
LINES = b"".join(b"line %d\n" % number for number in range(20_000))
GZIPPED = gzip.compress(LINES)


# Heads


def test_a_huge_header_is_not_taken_in(colour: Colour, server: Loopback) -> None:
    server.default = raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3_000_000 + b"\r\nContent-Length: 0\r\n\r\n")
    client = colour.client(server.url, **ONCE)
    colour.error(client.get("/x"))
    tracemalloc.start()
    try:
        error = colour.error(client.post("/x"), APIConnectionError)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "the head of the response is too large: more than 100 KiB" in str(error)
    assert is_a(error, httpx2.RemoteProtocolError)
    assert error.may_have_executed
    assert peak < 2_500_000
    assert client.bulkhead.in_flight == 0


def test_a_header_list_over_http2_is_limited_too(colour: Colour, tmp_path: Path) -> None:
    async def large(talk: Talk) -> None:
        name_and_value = b"\0\x01x\x7f\xf1\xa1\x04" + b"y" * 70_000  # RFC 7541, section 6.2.2, unencoded
        block = b"\x88" + name_and_value
        stream = talk.stream.to_bytes(4, "big")
        pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
        for number, piece in enumerate(pieces):
            kind, flags = (1 if number == 0 else 9), (4 if number == len(pieces) - 1 else 0)
            talk.raw(len(piece).to_bytes(3, "big") + bytes([kind, flags]) + stream + piece)
        await asyncio.sleep(30)

    made = authority(tmp_path, alpn=("h2",))
    with serve_http2_by(large, made.server) as peer:
        client = colour.client(peer.url, verify_ssl=made.ca, http2=True, **ONCE)
        error = colour.error(client.post("/x"), HoldfastError)
        assert "65536" in str(error)
        assert is_a(error, httpx2.RemoteProtocolError)
        assert not is_a(error, InvalidRequestError)
        assert error.may_have_executed


# Raw bodies


def forever(head: bytes, part: bytes) -> Callable[[Received, asyncio.StreamWriter], Any]:
    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(head))
        while True:
            writer.write(chunk(part))
            await writer.drain()

    return handler


ENDLESS = {
    "a file name": (b"\x1f\x8b\x08\x08\0\0\0\0\0\0", b"n" * 1000),
    "padding": (gzip.compress(b"ok"), bytes(1000)),
    "empty members": (gzip.compress(b""), gzip.compress(b"") * 50),
    "empty blocks": (gzip.compress(b"")[:10], b"\0\0\0\xff\xff" * 200),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_body_that_decodes_to_nothing_for_ever_is_given_up_on(colour: Colour, kind: str) -> None:
    with serve(forever(*ENDLESS[kind])) as server:
        client = colour.client(server.url, max_response_bytes=LIMIT, deadline=None)
        error = colour.error(client.get("/x"), ResponseError)
        assert f"max_response_bytes={LIMIT}" in str(error)
        assert "bytes were received so far" in str(error)
        assert error.attempts == 1
        wait_until(lambda: not server.open_connections)
        assert client.bulkhead.in_flight == 0


def test_what_is_too_large_is_not_drained(colour: Colour) -> None:
    sent = 0

    async def endless(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(CHUNKED)
        while True:
            writer.write(chunk(b"x" * 10_000))
            sent += 10_000
            await writer.drain()

    with serve(endless) as server:
        client = colour.client(server.url, max_response_bytes=LIMIT)
        error = colour.error(client.get("/x"), ResponseError)
        assert f"max_response_bytes={LIMIT}" in str(error)
        wait_until(lambda: not server.open_connections)
    assert sent < 50_000_000, "what the system keeps in its buffers"


def test_padding_costs_neither_time_nor_memory(colour: Colour, server: Loopback) -> None:
    padding = bytes(60_000)
    server.default = chunked(200, [gzip.compress(b"ok"), *[padding] * 150], GZIP)
    client = colour.client(server.url)
    tracemalloc.start()
    try:
        assert colour(client.get("/x")).content == b"ok"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000, "of which the server has 9 MB"


@pytest.mark.parametrize("coded", [False, True])
def test_many_small_chunks_take_no_more_memory_than_few_large_ones(coded: bool) -> None:
    request = httpx2.Request("GET", "http://service.test/")
    headers = {"Content-Encoding": "gzip"} if coded else {}
    reader = Reader(httpx2.Response(200, headers=headers, stream=httpx2.ByteStream(b""), request=request), 10**9)
    body = (gzip.compress(bytes(range(250)) * 4000) * 3) if coded else bytes(range(250)) * 1200
    tracemalloc.start()
    try:
        for at in range(0, len(body), 3):
            for _ in reader.feed(body[at : at + 3]):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(reader.finish().content) == (3_000_000 if coded else 300_000)
    assert peak < (5_000_000 if coded else 900_000)


# Streams


def read_in(colour: Colour, client: ResilientClient, how: str) -> Any:
    """A streamed body, read by one of the methods of responses, and the error as it is inside of the block."""
    if colour.sync:
        with client.stream("GET", "/x") as response:
            method = getattr(response, how)
            return method() if how == "read" else list(method())

    async def read() -> Any:
        async with client.stream("GET", "/x") as response:
            method = getattr(response, f"a{how}")
            return await method() if how == "read" else [one async for one in method()]

    return colour.run(read())


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
def test_a_coded_stream_is_decoded(colour: Colour, server: Loopback, coding: str) -> None:
    coded = zlib.compress(LINES) if coding == "deflate" else GZIPPED
    server.default = chunked(200, [coded[:100], coded[100:]], ("Content-Encoding", coding))
    client = colour.client(server.url)
    assert b"".join(read_in(colour, client, "iter_bytes")) == LINES
    assert read_in(colour, client, "read") == LINES
    assert read_in(colour, client, "iter_lines") == LINES.decode().splitlines()
    assert "".join(read_in(colour, client, "iter_text")) == LINES.decode()
    assert b"".join(read_in(colour, client, "iter_raw")) == coded


@pytest.mark.parametrize("how", ["iter_bytes", "iter_text", "iter_lines", "read"])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_coded_stream_that_ends_early_is_noticed(colour: Colour, server: Loopback, coding: str, how: str) -> None:
    coded = {"gzip": GZIPPED, "deflate": zlib.compress(LINES)}[coding]
    server.default = chunked(200, [coded[:-9]], ("Content-Encoding", coding))
    client = colour.client(server.url)
    with pytest.raises(ResponseError, match="ends before") as caught:
        read_in(colour, client, how)
    assert is_a(caught.value, httpx2.DecodingError)
    assert caught.value.may_have_executed
    assert caught.value.request_id == server.last.get("x-request-id")
    assert str(caught.value).count("cannot be used") == 1
    assert client.bulkhead.in_flight == 0


def test_the_error_is_there_before_the_block_ends(colour: Colour, server: Loopback) -> None:
    server.default = chunked(200, [GZIPPED[:-9]], GZIP)
    client = colour.client(server.url)
    seen: list[Exception] = []

    def sync() -> None:
        with client.stream("GET", "/x") as response:
            try:
                response.read()
            except HoldfastError as error:
                seen.append(error)

    async def asynchronous() -> None:
        async with client.stream("GET", "/x") as response:
            try:
                await response.aread()
            except HoldfastError as error:
                seen.append(error)

    sync() if colour.sync else colour.run(asynchronous())
    assert [type(error).__mro__[1] for error in seen] == [ResponseError]


@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_coded_stream_comes_in_chunks_of_the_size_asked_for(colour: Colour, server: Loopback, size: int) -> None:
    server.default = chunked(200, [GZIPPED], GZIP)
    client = colour.client(server.url)

    def sync() -> list[bytes]:
        with client.stream("GET", "/x") as response:
            return list(response.iter_bytes(size))

    async def asynchronous() -> list[bytes]:
        async with client.stream("GET", "/x") as response:
            return [one async for one in response.aiter_bytes(size)]

    chunks = sync() if colour.sync else colour.run(asynchronous())
    assert b"".join(chunks) == LINES
    assert {len(one) for one in chunks[:-1]} == {size}
    assert len(chunks[-1]) <= size


def test_a_bomb_comes_in_steps(colour: Colour, server: Loopback) -> None:
    server.default = answer(200, gzip.compress(bytes(30_000_000)), GZIP)
    sizes = [len(one) for one in read_in(colour, colour.client(server.url), "iter_bytes")]
    assert sum(sizes) == 30_000_000
    assert max(sizes) <= STEP


def test_a_stream_that_was_read_can_be_looked_at_again(colour: Colour, server: Loopback) -> None:
    server.default = answer(200, GZIPPED, GZIP, ("X-One", "a"))
    client = colour.client(server.url)

    def sync() -> httpx2.Response:
        with client.stream("GET", "/x") as response:
            response.read()
            assert b"".join(response.iter_bytes(7)) == LINES
        return response

    async def asynchronous() -> httpx2.Response:
        async with client.stream("GET", "/x") as response:
            await response.aread()
            assert b"".join([one async for one in response.aiter_bytes(7)]) == LINES
        return response

    response = sync() if colour.sync else colour.run(asynchronous())
    assert response.content == LINES
    assert response.headers["x-one"] == "a"
    assert response.headers["content-encoding"] == "gzip"
    assert response.http_version == "HTTP/1.1"
    assert response.elapsed.total_seconds() > 0
    assert response.num_bytes_downloaded == len(GZIPPED)
    assert str(response.request.url) == f"{server.url}/x"


def test_a_stream_that_is_left_early_is_no_error(colour: Colour, server: Loopback) -> None:
    server.default = chunked(200, [GZIPPED[:2000], GZIPPED[2000:]], GZIP)
    client = colour.client(server.url)

    def sync() -> None:
        with client.stream("GET", "/x") as response:
            assert next(iter(response.iter_bytes()))

    async def asynchronous() -> None:
        async with client.stream("GET", "/x") as response:
            async for piece in response.aiter_bytes():
                assert piece
                break

    sync() if colour.sync else colour.run(asynchronous())
    assert client.bulkhead.in_flight == 0
    assert client.circuit_breaker.state == "closed"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_no_body_needs_no_coding(colour: Colour, server: Loopback, method: str) -> None:
    server.default = raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", end="close")
    client = colour.client(server.url)

    def sync() -> bytes:
        with client.stream(method, "/x") as response:
            return response.read()

    async def asynchronous() -> bytes:
        async with client.stream(method, "/x") as response:
            return await response.aread()

    assert (sync() if colour.sync else colour.run(asynchronous())) == b""


def test_a_handed_in_transports_stream_is_decoded_the_same_way(colour: Colour) -> None:
    class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield GZIPPED[:-9]

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield GZIPPED[:-9]

    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"Content-Encoding": "gzip"}, stream=Body())
    )
    own: Any = httpx2.Client(transport=transport) if colour.sync else httpx2.AsyncClient(transport=transport)
    client = colour.given("http://service.test", own)
    with pytest.raises(ResponseError, match="ends before"):
        read_in(colour, client, "read")


# br and zstd

OPTIONAL = [("br", module) for module in BROTLIS[:1]] + [("zstd", module) for module in ZSTDS[:1]]


@pytest.mark.parametrize(("coding", "module"), OPTIONAL)
def test_br_and_zstd_from_a_server(colour: Colour, server: Loopback, coding: str, module: Any) -> None:
    coded = module.compress(LINES)
    header = ("Content-Encoding", coding)
    server.default = chunked(200, [coded[:50], coded[50:]], header)
    client = colour.client(server.url, max_response_bytes=len(LINES))
    response = colour(client.get("/x"))
    assert response.content == LINES
    assert coding in (server.last.get("accept-encoding") or "")
    assert b"".join(read_in(colour, client, "iter_bytes")) == LINES
    server.default = chunked(200, [coded[:-3]], header)
    assert is_a(colour.error(client.get("/x"), ResponseError), httpx2.DecodingError)
    with pytest.raises(ResponseError):
        read_in(colour, client, "read")


@pytest.mark.parametrize(("coding", "module"), OPTIONAL)
def test_a_bomb_of_br_or_zstd_does_not_fill_the_memory(
    colour: Colour, server: Loopback, coding: str, module: Any
) -> None:
    bomb = module.compress(bytes(30_000_000))
    assert len(bomb) < 65_000, "it fits into one read"
    server.default = answer(200, bomb, ("Content-Encoding", coding))
    client = colour.client(server.url, max_response_bytes=LIMIT)
    began = time.monotonic()
    error = colour.error(client.get("/x"), ResponseError)
    assert time.monotonic() - began < 2.0
    assert f"max_response_bytes={LIMIT}" in str(error)
    tracemalloc.start()
    try:
        colour.error(client.get("/x"), ResponseError)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
