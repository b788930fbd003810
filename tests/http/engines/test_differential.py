"""Both engines, given the same bytes by a server, come to the same answer or to the same kind of error.

Where they do not, the native one is stricter, for one of the reasons listed below. More cases:
``HYPOTHESIS_PROFILE=thorough pytest tests/http/engines/test_differential.py --hypothesis-seed=1``, of which each seed
makes 5,000 for each property.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import HoldfastError, ResilientClient
from tests.support import wire
from tests.support.responses import damaged, responses

pytestmark = pytest.mark.loopback

STRICTER = {
    "ends with a bare CR or LF": "RFC 9112, section 2.2: a bare CR is invalid, a bare LF may be taken for a line's end",
    "folded over several lines": "RFC 9112, section 5.2: may be refused where no message/http is expected",
    "more than one Content-Length": "RFC 9112, section 6.3, item 5: a list may be refused though its values agree",
    "no number of bytes": "the same",
    "both a Content-Length and a Transfer-Encoding": "RFC 9112, section 6.3, item 3: ought to be handled as an error",
    "Transfer-Encoding, which HTTP/1.0 has not": "RFC 9112, section 6.1: has to be treated as faulty framing",
    "does not begin with a status line": "RFC 9112, section 4: a status line has one space before each of its parts",
    "contains a control character": "RFC 9110, section 5.5: NUL, CR and LF are invalid, other controls may be refused",
    "does not begin with its size": "RFC 9112, section 7.1: no white space behind the size, and no bare LF",
    "a chunk of the body is longer": "RFC 9112, section 7.1: a chunk ends with CRLF",
    "the trailers of the body": "RFC 9112, section 7.1.2: they are header fields",
    "is no header": "RFC 9112, section 5.1",
}
"""What the native engine says when it refuses what h11 lets through, and where it says that it may."""


class Bench:
    """A server that answers with whatever it is told to, and a client of each engine."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.pieces: list[bytes] = []
        self.closes = False
        self.clients: dict[str, ResilientClient] = {}
        self.runner.run(self._start())

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        for engine in ("httpx2", "native"):
            settings = {"engine": engine, "retry": {"max_attempts": 1}, "circuit_breaker": {"enabled": False}}
            self.clients[engine] = ResilientClient(wire.config(url, timeout={"read": 10.0}, **settings))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                for piece in self.pieces:
                    writer.write(piece)
                    await asyncio.sleep(0)
                await writer.drain()
                if self.closes:
                    break
        writer.close()

    def told(self, engine: str) -> tuple[Any, ...]:
        """What became of a GET: the answer, or the kind of the error and its message."""
        return self.runner.run(self._told(self.clients[engine]))

    async def _told(self, client: ResilientClient) -> tuple[Any, ...]:
        try:
            response = await client.get("/x", headers={"Connection": "close"} if self.closes else {})
        except HoldfastError as error:
            if error.response is None:
                return type(error).__name__, str(error)
            response = error.response
        return response.status_code, response.headers.raw, response.content, response.reason_phrase

    def close(self) -> None:
        self.runner.run(self._close())
        self.runner.close()

    async def _close(self) -> None:
        for client in self.clients.values():
            await client.close()
        self._server.close()
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def cut(data: bytes, at: list[int]) -> list[bytes]:
    cuts = sorted({0, len(data), *(one for one in at if one < len(data))})
    return [data[start:end] for start, end in pairwise(cuts)]


@given(response=responses(), cuts=st.lists(st.integers(0, 400), max_size=5))
def test_of_a_whole_response_both_read_the_same(bench: Bench, response, cuts):
    raw, closes, body = response
    bench.pieces, bench.closes = cut(raw, cuts), closes
    ours = bench.told("native")
    assert ours == bench.told("httpx2")
    assert ours[2] == body


@given(response=responses(), end=st.integers(0, 400))
def test_of_one_that_breaks_off_both_say_the_same(bench: Bench, response, end):
    raw, _, _ = response
    bench.pieces, bench.closes = [raw[:end]], True
    ours, theirs = bench.told("native"), bench.told("httpx2")
    assert ours[0] == theirs[0]
    if isinstance(ours[0], int):
        assert ours == theirs


@given(body=st.binary(max_size=300), end=st.integers(0, 400), noise=st.binary(max_size=3), at=st.integers(0, 40))
def test_of_coded_bodies_too(bench: Bench, body, end, noise, at):
    coded = gzip.compress(body, mtime=0)
    coded = coded[:at] + noise + coded[at:][:end]
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(coded), coded)
    bench.pieces, bench.closes = [raw], False
    ours, theirs = bench.told("native"), bench.told("httpx2")
    assert ours[0] == theirs[0]
    if isinstance(ours[0], int):
        assert ours == theirs


@given(response=damaged())
def test_of_a_damaged_one_the_native_engine_is_the_stricter_reader(bench: Bench, response):
    raw, _ = response
    bench.pieces, bench.closes = [raw], True
    ours, theirs = bench.told("native"), bench.told("httpx2")
    if ours == theirs:
        return
    if isinstance(ours[0], str) and isinstance(theirs[0], str):
        return  # both refuse it, and which line is named first is a matter of taste
    if ours[:2] == theirs[:2] and ours[0] >= 400 and ours[2] == b"":
        return  # the status is answer enough, whatever is wrong with the body
    assert isinstance(ours[0], str), f"h11 refuses what is accepted here: {theirs}"
    assert any(reason in ours[1] for reason in STRICTER), ours[1]
