"""Servers that read requests strictly, and answer with what they read: h11, and llhttp in node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h11
import pytest

SCRIPT = Path(__file__).with_name("llhttp_server.mjs")


@contextmanager
def llhttp_peer() -> Iterator[str]:
    """The URL of a server of node's. Without node, the test is skipped; not so where CI is set."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail("node is not installed, and has to be in CI: Debian's package is nodejs")
        pytest.skip("node is not installed")
    with subprocess.Popen([node, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def h11_peer() -> Iterator[str]:
    """The URL of a server on a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    peer = _H11Peer()
    try:
        server = asyncio.run_coroutine_threadsafe(peer.start(), loop).result(10.0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        asyncio.run_coroutine_threadsafe(peer.stop(server), loop).result(10.0)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10.0)
        loop.close()


class _H11Peer:
    def __init__(self) -> None:
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self, server: asyncio.Server) -> None:
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._answered(connection, reader, writer):
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            why = f"h11: {error}".encode()
            head = b"HTTP/1.1 400 Refused\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            with suppress(ConnectionError):
                writer.write(head % len(why) + why)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answered(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request, body, trailers = None, b"", []
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    going_on = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                    assert going_on is not None
                    writer.write(going_on)
                connection.receive_data(await reader.read(65_536))
            elif isinstance(event, h11.Request):
                request = event
                if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
                    raise h11.RemoteProtocolError("the length is told twice")  # h11 itself lets it pass
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                trailers = list(event.headers)
                break
            else:
                return False
        assert request is not None
        self._count += 1
        told: dict[str, Any] = {
            "count": self._count,
            "method": request.method.decode(),
            "target": request.target.decode("latin-1"),
            "version": request.http_version.decode(),
            "headers": [one.decode("latin-1") for pair in request.headers.raw_items() for one in pair],
            "body": body.decode("latin-1"),
            "trailers": trailers,
            "complete": True,
        }
        data = b"" if request.method == b"HEAD" else json.dumps(told).encode()
        headers = [("X-Count", str(self._count)), ("X-Method", told["method"]), ("Content-Length", str(len(data)))]
        for event in (h11.Response(status_code=200, headers=headers), h11.Data(data=data), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE
