"""The least that an HTTP/1.1 server can do in Python, so that it is the clients that are measured.

    python -m against.server DESCRIPTOR [CERTIFICATE KEY]

Serves on a listening socket until it is terminated. It counts its requests; GET /count tells how many there were, how
much processor time they took, and how many connections there are, and is not counted itself.

What it answers: GET /pets/7 and /v1/models/m a small JSON; GET /large 1 MB; POST anything how many bytes came. GET
/held is answered to all who wait for it together, at GET /release.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import time
from typing import Any

import httptools

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]

LARGE = 1 << 20


def answer(body: bytes, kind: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
    return head % (kind, len(body)) + body


MODEL = b'{"id":"m","object":"model","created":1686935002,"owned_by":"us"}'
ANSWERS = {
    b"/pets/7": answer(b'{"id":7}'),
    b"/v1/models/m": answer(MODEL),
    b"/large": answer(b"x" * LARGE, b"application/octet-stream"),
}
MISSING = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


class Counts:
    """What all connections have in common."""

    def __init__(self) -> None:
        self.requests = 0
        self.connections = 0
        self.held: list[asyncio.Transport] = []

    def tell(self) -> bytes:
        figures = {
            "requests": self.requests,
            "cpu": time.process_time(),
            "connections": self.connections,
            "held": len(self.held),
            "loop": type(asyncio.get_running_loop()).__module__,
        }
        return answer(json.dumps(figures).encode())


class Connection(asyncio.Protocol):
    """Knows a GET that comes in one piece at sight; a connection on which anything else comes is parsed."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._parser: httptools.HttpRequestParser | None = None
        self._received = 0
        self._transport: Any = None
        self._url = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._counts.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._counts.connections -= 1

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            if data.startswith(b"GET ") and data.endswith(b"\r\n\r\n") and data.count(b"\r\n\r\n") == 1:
                self._get(data[4 : data.index(b" ", 4)])
                return
            self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(data)

    def _get(self, path: bytes) -> None:
        told = ANSWERS.get(path)
        if told is not None:
            self._counts.requests += 1
            self._transport.write(told)
        elif path == b"/held":
            self._counts.requests += 1
            self._counts.held.append(self._transport)
        elif path == b"/count":
            self._transport.write(self._counts.tell())
        elif path == b"/release":
            for waiting in self._counts.held:
                waiting.write(ANSWERS[b"/pets/7"])
            self._counts.held.clear()
            self._transport.write(self._counts.tell())
        else:
            self._transport.write(MISSING)

    # For the parser

    def on_url(self, url: bytes) -> None:
        self._url = url
        self._received = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._received += len(data)

    def on_message_complete(self) -> None:
        if self._parser is not None and self._parser.get_method() == b"GET":
            self._get(self._url)
            return
        self._counts.requests += 1
        self._transport.write(answer(b'{"received":%d}' % self._received))


async def serve(listening: socket.socket, tls: ssl.SSLContext | None) -> None:
    counts = Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counts), sock=listening, ssl=tls, backlog=2048)
    await server.serve_forever()


def main() -> None:
    descriptor, *pair = sys.argv[1:]
    tls = None
    if pair:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*pair)
    with asyncio.Runner(loop_factory=None if uvloop is None else uvloop.new_event_loop) as runner:
        runner.run(serve(socket.socket(fileno=int(descriptor)), tls))


if __name__ == "__main__":
    main()
