"""Proxies that pass bytes on as they come, and other peers below HTTP, on the loopback interface."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.wire import PATIENCE

Streams = Callable[["Peer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """A server below HTTP. `targets` are what a proxy was asked for, `logins` what it was shown."""

    port: int = 0
    connections: int = 0
    open_connections: int = 0
    targets: list[str] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)


async def silent(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes everything, and says nothing."""
    while await reader.read(65_536):
        pass


async def deaf(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes nothing."""
    await asyncio.sleep(PATIENCE)


async def socks5(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A SOCKS5 proxy (RFC 1928), with a password (RFC 1929) if the client offers one."""
    _, count = await reader.readexactly(2)
    methods = await reader.readexactly(count)
    if 2 in methods:
        writer.write(b"\x05\x02")
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        peer.logins.append((user.decode(), password.decode()))
        writer.write(b"\x01\x00")
    else:
        writer.write(b"\x05\x00")
    _, command, _, kind = await reader.readexactly(4)
    assert command == 1
    if kind == 1:
        host = socket.inet_ntop(socket.AF_INET, await reader.readexactly(4))
    else:
        assert kind == 3
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    port = int.from_bytes(await reader.readexactly(2), "big")
    peer.targets.append(f"{host}:{port}")
    try:
        back, upstream = await asyncio.open_connection(host, port)
    except OSError:
        writer.write(b"\x05\x05\x00\x01" + bytes(6))
        return
    writer.write(b"\x05\x00\x00\x01" + bytes(6))
    await _joined(reader, writer, back, upstream)


async def http(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP proxy (RFC 9110, section 7.6) for one origin per connection, by CONNECT or with absolute targets."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
    peer.targets.append(target)
    where = urlsplit(f"//{target}" if method == "CONNECT" else target)
    back, upstream = await asyncio.open_connection(where.hostname, where.port)
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        upstream.write(head)  # an absolute target is understood by every server (RFC 9112, section 3.2.2)
    await _joined(reader, writer, back, upstream)


async def _joined(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    back: asyncio.StreamReader,
    upstream: asyncio.StreamWriter,
) -> None:
    try:
        await asyncio.gather(_pump(reader, upstream), _pump(back, writer))
    finally:
        upstream.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def serve_streams(handler: Streams, *, tls: ssl.SSLContext | None = None, path: Path | None = None) -> Iterator[Peer]:
    """A server in a thread of its own; with `path`, on a Unix domain socket. It hangs up when `handler` returns."""
    peer = Peer()
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        connected = functools.partial(_connection, handler, peer)
        if path is not None:
            listening = await asyncio.start_unix_server(connected, path)
        else:
            listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
            peer.port = listening.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        listening.close()
        await asyncio.sleep(0)  # what was just accepted gets its handler, which closes it
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name="streams")
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield peer
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()


async def _connection(handler: Streams, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer.connections += 1
    peer.open_connections += 1
    try:
        await handler(peer, reader, writer)
    except (OSError, EOFError, asyncio.CancelledError):
        pass
    finally:
        peer.open_connections -= 1
        writer.close()
        with suppress(Exception, asyncio.CancelledError):
            await writer.wait_closed()
