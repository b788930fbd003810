"""HTTP/2 servers on the loopback interface whose every frame is decided by the test."""

from __future__ import annotations

import asyncio
import ssl
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.support.wire import PATIENCE


@dataclass
class Http2Peer:
    """The server. `paths` are those of the requests."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    in_flight: int = 0
    peak: int = 0
    transports: set[asyncio.Transport] = field(default_factory=set)


class Talk:
    """One request on its connection."""

    def __init__(self, connection: _Connection, stream: int, path: str) -> None:
        self._connection = connection
        self.stream = stream
        self.path = path

    def head(self, *headers: tuple[str, str], status: int = 200, end: bool = False) -> None:
        self._connection.h2.send_headers(self.stream, [(":status", str(status)), *headers], end_stream=end)
        self._connection.flush()

    def data(self, data: bytes, *, end: bool = False) -> None:
        self._connection.h2.send_data(self.stream, data, end_stream=end)
        self._connection.flush()

    def answer(self, body: bytes, *headers: tuple[str, str]) -> None:
        self.head(("content-length", str(len(body))), *headers)
        self.data(body, end=True)

    def raw(self, data: bytes) -> None:
        """Bytes that no HTTP/2 library would send."""
        self._connection.transport.write(data)

    def go_away(self, *, hang_up: bool) -> None:
        """Takes no more requests; what comes is not read."""
        self._connection.deaf = True
        self.h2.close_connection()
        self.flush()
        if hang_up:
            self._connection.transport.close()

    @property
    def h2(self) -> h2.connection.H2Connection:
        return self._connection.h2

    def flush(self) -> None:
        self._connection.flush()

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        return self._connection.lost or self._connection.transport.is_closing()


Behaviour = Callable[[Talk], Awaitable[None]]


async def echo_path(talk: Talk) -> None:
    talk.answer(talk.path.encode())


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, peer: Http2Peer, behaviour: Behaviour, settings: dict[int, int]) -> None:
        self._peer = peer
        self._behaviour = behaviour
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = self.deaf = False
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="ascii", validate_outbound_headers=False)
        )
        self.h2.update_settings(settings) if settings else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._peer.connections += 1
        self._peer.open_connections += 1
        self._peer.transports.add(transport)
        self.h2.initiate_connection()
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._peer.open_connections -= 1
        self._peer.transports.discard(self.transport)
        self.lost = True
        for task in self._tasks:
            task.cancel()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers: Any = event.headers
                assert event.stream_id is not None
                talk = Talk(self, event.stream_id, dict(headers)[":path"])
                self._peer.paths.append(talk.path)
                task = asyncio.ensure_future(self._answer(talk))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self.flush()

    async def _answer(self, talk: Talk) -> None:
        peer = self._peer
        peer.in_flight += 1
        peer.peak = max(peer.peak, peer.in_flight)
        try:
            await self._behaviour(talk)
        except Exception:
            traceback.print_exc()
            self.transport.abort()
            raise
        finally:
            peer.in_flight -= 1


@contextmanager
def serve_http2_by(
    behaviour: Behaviour, tls: ssl.SSLContext, *, settings: Sequence[tuple[int, int]] = ()
) -> Iterator[Http2Peer]:
    """A server in a thread of its own, which answers each request as `behaviour` does."""
    peer = Http2Peer()
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        listening = await loop.create_server(
            lambda: _Connection(peer, behaviour, dict(settings)), "127.0.0.1", 0, ssl=tls
        )
        peer.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        listening.close()
        while peer.transports:
            for transport in list(peer.transports):
                transport.abort()
            await asyncio.sleep(0.01)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name="http2 peer")
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield peer
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()
