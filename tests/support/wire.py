"""Small HTTP/1.1 servers on the loopback interface, scripted byte by byte, in a thread of their own."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from holdfast import ClientConfig

PATIENCE = 30.0


@dataclass
class Received:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    reader: asyncio.StreamReader
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass
class Server:
    url: str = ""
    requests: list[Received] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0
    open_connections: int = 0
    connections: int = 0
    certificates: list[Mapping[str, Any] | None] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ids(self) -> list[str]:
        return [one.headers["x-request-id"] for one in self.requests]


Handler = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int = 200, body: bytes | str = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole response."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def scripted(*answers: bytes) -> Handler:
    """Gives these answers in turn, the last one for ever."""
    left = list(answers)

    async def handler(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return handler


async def echo(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answers with what was received."""
    shown = {
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": request.body.decode("latin-1"),
    }
    writer.write(answer(200, json.dumps(shown), {"Content-Type": "application/json"}))


@contextmanager
def serve(handler: Handler, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server while the block runs. `handler` writes the response; closing the writer ends the connection."""
    server = Server()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def main() -> None:
        listening = await asyncio.start_server(functools.partial(_connection, handler, server), "127.0.0.1", 0, ssl=tls)
        port = listening.sockets[0].getsockname()[1]
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
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

    thread = threading.Thread(target=run, name="loopback")
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()


async def _connection(
    handler: Handler, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    server.open_connections += 1
    server.connections += 1
    security = writer.get_extra_info("ssl_object")
    if security is not None:
        server.certificates.append(security.getpeercert())
    try:
        while not writer.is_closing():
            request = await _read(reader)
            if request is None:
                return
            server.requests.append(request)
            server.in_flight += 1
            server.peak = max(server.peak, server.in_flight)
            try:
                await _unless_left(handler(request, writer), reader)
                await writer.drain()
            finally:
                server.in_flight -= 1
    except (ConnectionError, asyncio.CancelledError, ssl.SSLError):
        pass
    finally:
        server.open_connections -= 1
        writer.close()
        with suppress(Exception, asyncio.CancelledError):
            await writer.wait_closed()


async def _unless_left(handling: Awaitable[None], reader: asyncio.StreamReader) -> None:
    """Stops handling a request when the client hangs up."""
    task = asyncio.ensure_future(handling)
    try:
        while not task.done() and not reader.at_eof():
            await asyncio.wait([task], timeout=0.02)
        if not task.done():
            raise ConnectionResetError
        task.result()
    finally:
        task.cancel()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, reader, body)


def config(url: str, **settings: Any) -> ClientConfig:
    """A configuration whose retries wait for next to nothing."""
    retry: Any = {"min_wait_seconds": 0.0, "max_wait_seconds": 0.01, "jitter": False, **settings.pop("retry", {})}
    defaults: dict[str, Any] = {"trust_env": False, "logging": {"level": "CRITICAL"}}
    if engine := os.environ.get("TEST_ENGINE"):
        defaults["engine"] = engine
    return ClientConfig(base_url=url, retry=retry, **{**defaults, **settings})


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs a coroutine function as a test, in a loop of its own and within a time limit."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        async def limited() -> None:
            async with asyncio.timeout(PATIENCE):
                await test(*args, **named)

        asyncio.run(limited())

    return run


async def until(condition: Callable[[], object], patience: float = 10.0) -> None:
    """Waits, without blocking the loop, until something is so."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not become so in time"
        await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], object], patience: float = 10.0) -> None:
    """The same on a thread."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not become so in time"
        time.sleep(0.005)


class Background(threading.Thread):
    """Runs a function on a thread, and gives its result or raises its exception when joined."""

    def __init__(self, target: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = target
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error

    def outcome(self, patience: float = PATIENCE) -> Any:
        """The result; fails if there is none in time."""
        self.join(patience)
        assert not self.is_alive(), "the thread hangs"
        if self._error is not None:
            raise self._error
        return self._result
