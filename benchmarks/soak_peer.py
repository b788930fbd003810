"""The server of the soak, a process of its own: answers most requests, and does at random what servers ought not to do.

    python benchmarks/soak_peer.py [--seed N]

Prints its port. Every good answer repeats the X-Request-ID and the id in the body of the request. GET /stats tells what
it has done; the process ends when its input does.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import socket
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

PAUSE = 0.02  # seconds between the bytes of what is trickled
LEFT = (OSError, asyncio.IncompleteReadError)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def good(self) -> bytes:
        """The body of a good answer."""
        sent = json.loads(self.body) if self.body else {}
        told = {"request_id": self.headers.get("x-request-id"), "path": self.path, "id": sent.get("id")}
        return json.dumps({**told, "padding": "x" * (zlib.crc32(self.path.encode()) % 5_000)}).encode()


class Peer:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.executed: Counter[str] = Counter()
        self.open = 0
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        self.open += 1
        self.connections += 1
        try:
            while (request := await read(reader)) is not None:
                if request.path == "/stats":
                    writer.write(answer(json.dumps(self.stats()).encode()))
                    continue
                name, fault = self.random.choices(FAULTS, WEIGHTS)[0]
                self.done[name] += 1
                if name not in DECLINED and request.method == "POST" and "x-plain" in request.headers:
                    self.executed[json.loads(request.body)["id"]] += 1
                if not await fault(Exchange(request, reader, writer, self.random)):
                    return
                await writer.drain()
        except LEFT:
            pass
        finally:
            self.open -= 1
            writer.close()

    def stats(self) -> dict[str, Any]:
        return {
            "done": dict(self.done),
            "open": self.open,
            "connections": self.connections,
            "twice": sum(count > 1 for count in self.executed.values()),
        }


async def read(reader: asyncio.StreamReader) -> Request | None:
    """The next request, or None if the client left between two."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except LEFT:
        return None
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, "", ""]).encode()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return head(status, f"Content-Length: {len(body)}", *headers) + body


@dataclass(frozen=True)
class Exchange:
    """A request that was read, and the connection it came by."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    random: random.Random


Fault = Callable[[Exchange], Awaitable[bool]]
"""Answers a request; whether the connection goes on."""


async def fine(it: Exchange) -> bool:
    it.writer.write(answer(it.request.good, f"X-Request-ID: {it.request.headers.get('x-request-id')}"))
    return True


async def packed(it: Exchange) -> bool:
    named = f"X-Request-ID: {it.request.headers.get('x-request-id')}"
    it.writer.write(answer(gzip.compress(it.request.good, 1), "Content-Encoding: gzip", named))
    return True


async def slow(it: Exchange) -> bool:
    await asyncio.sleep(it.random.uniform(0.005, 0.06))
    return await fine(it)


async def closing(it: Exchange) -> bool:
    """A good answer, after which the connection that might have been kept is closed."""
    await fine(it)
    return False


def refusing(status: str) -> Fault:
    async def fault(it: Exchange) -> bool:
        it.writer.write(answer(b"{}", status=status))
        return True

    return fault


async def reset(it: Exchange) -> bool:
    abort(it.writer)
    return False


async def torn(it: Exchange) -> bool:
    """A reset in the body."""
    it.writer.write(answer(it.request.good)[:-20])
    await it.writer.drain()
    await asyncio.sleep(0.005)
    abort(it.writer)
    return False


async def short(it: Exchange) -> bool:
    it.writer.write(answer(it.request.good)[:-20])
    return False


async def unfinished(it: Exchange) -> bool:
    """A chunked body without its last chunk."""
    body = it.request.good
    it.writer.write(head("200 OK", "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(body), body))
    return False


async def garbage(it: Exchange) -> bool:
    it.writer.write(b"\x00\x01 nonsense\r\n\r\n")
    return False


async def damaged(it: Exchange) -> bool:
    """Broken gzip."""
    body = bytearray(gzip.compress(it.request.good, 1))
    body[len(body) // 2] ^= 0xFF
    it.writer.write(answer(bytes(body), "Content-Encoding: gzip"))
    return True


async def silent(it: Exchange) -> bool:
    await it.reader.read()
    return False


async def trickled(it: Exchange) -> bool:
    """A body, byte by byte, until the client leaves."""
    it.writer.write(head("200 OK", "Content-Length: 100000"))
    while not it.reader.at_eof() and not it.writer.is_closing():
        it.writer.write(b" ")
        await it.writer.drain()
        await asyncio.sleep(PAUSE)
    return False


def abort(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


SHARES: dict[str, tuple[float, Fault]] = {
    "fine": (55, fine),
    "gzip": (8, packed),
    "slow": (12, slow),
    "closes after": (3, closing),
    "503": (4, refusing("503 Service Unavailable")),
    "429": (2, refusing("429 Too Many Requests")),
    "500": (2, refusing("500 Internal Server Error")),
    "404": (1, refusing("404 Not Found")),
    "reset": (2, reset),
    "reset in body": (2, torn),
    "short body": (2, short),
    "truncated chunks": (2, unfinished),
    "garbage": (1, garbage),
    "damaged gzip": (1, damaged),
    "silent": (1.5, silent),
    "trickled": (1.5, trickled),
}
FAULTS = [(name, fault) for name, (_, fault) in SHARES.items()]
WEIGHTS = [weight for weight, _ in SHARES.values()]

DECLINED = {"503", "429", "500"}
"""After these a plain POST may be sent again."""


async def main() -> None:
    parser = argparse.ArgumentParser(description="The server of the soak.")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (default: %(default)s)")
    peer = Peer(parser.parse_args().seed)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
