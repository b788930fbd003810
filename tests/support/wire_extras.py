"""Peers that take more than a script: a forward proxy, an HTTP/2 server, and certificates for both sides."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import trustme

from tests.support.wire import PATIENCE, Received, answer


@dataclass
class Authority:
    """A certificate authority with a server's and a client's certificate, as files and as a server's context."""

    ca: str
    cert: str
    key: str
    server: ssl.SSLContext


def authority(folder: Path, *, wants_client: bool = False, alpn: tuple[str, ...] = ()) -> Authority:
    ca = trustme.CA()
    paths = {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key")}
    ca.cert_pem.write_to_path(paths["ca"])
    client = ca.issue_cert("client@example.com")
    client.private_key_pem.write_to_path(paths["key"])
    client.cert_chain_pems[0].write_to_path(paths["cert"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    if wants_client:
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return Authority(paths["ca"], paths["cert"], paths["key"], context)


async def forward(request: Received, writer: asyncio.StreamWriter) -> None:
    """A forward proxy (RFC 9110, section 7.6): absolute targets, and CONNECT."""
    if request.method == "CONNECT":
        host, _, port = request.target.rpartition(":")
        reader, upstream = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(request.reader, upstream), _pump(reader, writer))
        return
    url = urlsplit(request.target)
    if not url.hostname:
        writer.write(answer(400, "not an absolute target"))
        return
    reader, upstream = await asyncio.open_connection(url.hostname, url.port)
    kept = {name: value for name, value in request.headers.items() if not name.startswith("proxy-")}
    lines = [f"{request.method} {url.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in kept.items())]
    lines += ["connection: close", "via: 1.1 loopback"]
    upstream.write("\r\n".join([*lines, "", ""]).encode("latin-1") + request.body)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.decode().lower().split("\r\n") if line.startswith("content-length"))
    writer.write(head + await reader.readexactly(length))
    upstream.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@dataclass
class Http2Server:
    url: str = ""
    paths: list[str] = field(default_factory=list)
    peak: int = 0
    connections: int = 0


class _Http2(asyncio.Protocol):
    """Answers every request with its path, once `together` of them are there."""

    def __init__(self, server: Http2Server, together: int) -> None:
        self._server = server
        self._together = together
        self._waiting: list[tuple[int, str]] = []
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="ascii"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections += 1
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers: Any = event.headers
                path = dict(headers)[":path"]
                self._server.paths.append(path)
                assert event.stream_id is not None
                self._waiting.append((event.stream_id, path))
        self._server.peak = max(self._server.peak, len(self._waiting))
        if len(self._waiting) >= self._together:
            for stream, path in self._waiting:
                body = path.encode()
                self._h2.send_headers(stream, [(":status", "200"), ("content-length", str(len(body)))])
                self._h2.send_data(stream, body, end_stream=True)
            self._waiting.clear()
        self._transport.write(self._h2.data_to_send())


@contextmanager
def serve_http2(tls: ssl.SSLContext, *, together: int = 1) -> Iterator[Http2Server]:
    """An HTTP/2 server in a thread of its own. It answers when `together` requests are in flight on a connection."""
    server = Http2Server()
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        listening = await loop.create_server(lambda: _Http2(server, together), "127.0.0.1", 0, ssl=tls)
        server.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        listening.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name="http2")
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
