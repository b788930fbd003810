"""What a small body decodes to takes time: the deadline holds meanwhile, and others of the loop are served."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Iterator

import pytest

from holdfast import ResilientClient
from holdfast.exceptions import DeadlineExceededError
from holdfast.http import content
from holdfast.http.inflate import Inflater
from tests.support.colours import Colour, config
from tests.support.loopback import Loopback, answer

pytestmark = pytest.mark.loopback

MIB = 1024 * 1024
MEMBER = gzip.compress(bytes(64 * MIB))  # comes in one read
GZIP = ("Content-Encoding", "gzip")


class Counting:
    """Decodes gzip, slowly if wanted, and counts the bytes: all of them, and those between two turns of the loop."""

    def __init__(self, pause: float = 0.0) -> None:
        self._decoder = Inflater("gzip")
        self._pause = pause
        self.now = self.most = self.all = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        for piece in self._decoder.feed(data):
            self.all += len(piece)
            self.now += len(piece)
            self.most = max(self.most, self.now)
            time.sleep(self._pause)
            yield piece

    def finish(self) -> None:
        self._decoder.finish()


def test_the_deadline_cuts_decoding(colour: Colour, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.default = answer(200, MEMBER, GZIP)
    decoders: list[Counting] = []

    def decoder_for(coding: str) -> Counting:
        decoders.append(Counting(pause=0.05))  # of the native engine, the first finds out that it is too much for it
        return decoders[-1]

    monkeypatch.setattr(content, "decoder_for", decoder_for)
    client = colour.client(server.url, max_response_bytes=None)
    error = colour.error(client.get("/x", deadline=1.0), DeadlineExceededError)
    assert 0 < sum(decoder.all for decoder in decoders) < 16 * MIB
    assert error.may_have_executed
    assert client.bulkhead.in_flight == 0


def test_the_deadline_of_a_stream_cuts_decoding(colour: Colour, server: Loopback) -> None:
    server.default = answer(200, MEMBER, GZIP)
    client = colour.client(server.url, max_response_bytes=None)
    pieces = 0

    def take() -> None:
        nonlocal pieces
        pieces += 1
        time.sleep(0.05)

    async def slowly() -> None:
        async with client.stream("GET", "/x", deadline=1.0) as response:
            async for _ in response.aiter_bytes():
                take()

    def slowly_sync() -> None:
        with client.stream("GET", "/x", deadline=1.0) as response:
            for _ in response.iter_bytes():
                take()

    with pytest.raises(DeadlineExceededError):
        slowly_sync() if colour.sync else colour.run(slowly())
    assert pieces < 50, "there are more than 200"
    assert client.bulkhead.in_flight == 0
    assert len(colour(client.get("/x", deadline=None)).content) == 64 * MIB


@pytest.mark.parametrize("streamed", [False, True])
def test_others_of_the_loop_are_served_meanwhile(
    streamed: bool, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.default = answer(200, MEMBER, GZIP)
    decoders = [Counting()]

    def decoder_for(coding: str) -> Counting:
        decoders.append(Counting())  # of the native engine, the first finds out that it is too much for it
        return decoders[-1]

    monkeypatch.setattr(content, "decoder_for", decoder_for)

    async def read(client: ResilientClient) -> int:
        if not streamed:
            return len((await client.get("/x")).content)
        async with client.stream("GET", "/x") as response:
            return sum([len(piece) async for piece in response.aiter_bytes()])

    async def main() -> int:
        async with ResilientClient(config(server.url, max_response_bytes=None, deadline=None)) as client:
            reading = asyncio.create_task(read(client))
            while not reading.done():
                decoders[-1].now = 0
                await asyncio.sleep(0)
            return await reading

    assert asyncio.run(main()) == decoders[-1].all == 64 * MIB
    assert decoders[-1].most <= MIB
