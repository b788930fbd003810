"""Apps with failure injection: under virtual time without sockets, and on the loopback interface with raw ones."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from holdfast.servers.faults import FaultInjection, FaultProtocol
from tests.support.serving import request
from tests.support.virtual_loop import run_virtual

BODY = b"from the app"
LARGE = b"x" * 20_000_000
"""More than the buffers of a connection hold."""

PATIENCE = 20.0


class App:
    """Answers `BODY`, and remembers what it was asked to do."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.bodies: list[bytes] = []
        methods = ["GET", "POST", "PUT"]
        self.asgi = Starlette(
            routes=[
                Route("/chunked", self._chunked, methods=methods),
                Route("/none", self._none, methods=methods),
                Route("/empty", self._empty, methods=methods),
                Route("/large", self._large, methods=methods),
                Route("/unread", self._unread, methods=methods),
                Route("/{path:path}", self._answer, methods=methods),
            ]
        )

    async def _read(self, asked: Request) -> None:
        self.bodies.append(await asked.body())
        self.executed.append(f"{asked.method} {asked.url.path}")

    async def _answer(self, asked: Request) -> Response:
        await self._read(asked)
        return PlainTextResponse(BODY)

    async def _chunked(self, asked: Request) -> Response:
        await self._read(asked)
        return StreamingResponse(_pieces(), media_type="text/plain")

    async def _none(self, asked: Request) -> Response:
        await self._read(asked)
        return Response(status_code=204)

    async def _empty(self, asked: Request) -> Response:
        await self._read(asked)
        return Response(b"")

    async def _large(self, asked: Request) -> Response:
        await self._read(asked)
        return Response(LARGE)

    async def _unread(self, asked: Request) -> Response:
        self.executed.append(f"{asked.method} {asked.url.path}")
        return PlainTextResponse(BODY)


async def _pieces() -> Any:
    yield BODY[:5]
    yield BODY[5:]


# Under virtual time

Story = Callable[[httpx2.AsyncClient], Awaitable[None]]


def virtually(story: Story) -> App:
    """Runs the story with a client of an app with failure injection, under virtual time; the app, afterwards."""
    app = App()

    async def main() -> None:
        clock = asyncio.get_running_loop().time
        transport = httpx2.ASGITransport(app=FaultInjection(app.asgi, clock=clock))
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
            await story(client)

    run_virtual(main())
    return app


def now() -> float:
    """Virtual seconds since the story began."""
    return asyncio.get_running_loop().time()


async def add(client: httpx2.AsyncClient, **rule: Any) -> dict[str, Any]:
    """Adds a rule by the admin API."""
    reply = await client.post("/_faults", json=rule)
    assert reply.status_code == 201, reply.text
    added: dict[str, Any] = reply.json()
    return added


async def statuses(client: httpx2.AsyncClient, *requests: str, headers: dict[str, str] | None = None) -> list[int]:
    """The statuses of requests, each written as method and path."""
    return [(await client.request(*request.split(), headers=headers)).status_code for request in requests]


def carrying(*rules: dict[str, Any], request_id: str | None = None) -> dict[str, str]:
    """Headers with rules in JSON."""
    text = json.dumps(rules[0] if len(rules) == 1 else rules)
    return {"X-Holdfast-Fault": text, **({"X-Request-ID": request_id} if request_id else {})}


# On the loopback interface


@dataclass
class Heard:
    """What came over a connection until it ended: the bytes, when each lot came, and how it ended."""

    data: bytes = b""
    lots: list[tuple[float, bytes]] = field(default_factory=list)
    end: str = ""

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def status_line(self) -> bytes:
        return self.data.partition(b"\r\n")[0]

    def header(self, name: str) -> list[str]:
        lines = [line.partition(b": ") for line in self.head.split(b"\r\n")[1:]]
        return [value.decode() for known, _, value in lines if known.lower() == name.lower().encode()]


class Peer:
    """A raw client on one connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(
        self, method: str = "GET", path: str = "/", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Sends a request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: server", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hear(self, *, until: bytes | None = None, patience: float = PATIENCE) -> Heard:
        """Reads until the connection ends, something has been read, or nothing has come for so long."""
        heard = Heard()
        self._socket.settimeout(patience)
        while until is None or until not in heard.data:
            try:
                lot = self._socket.recv(65536)
            except ConnectionResetError:
                heard.end = "reset"
                return heard
            except TimeoutError:
                heard.end = "silent"
                return heard
            if not lot:
                heard.end = "closed"
                return heard
            heard.data += lot
            heard.lots.append((time.monotonic(), lot))
        return heard

    def close(self) -> None:
        self._socket.close()


@dataclass
class Faulty:
    """A server with failure injection and its app."""

    port: int
    app: App
    state: ServerState

    @property
    def busy(self) -> int:
        """Connections that the server holds, and requests that it works on."""
        return len(self.state.connections) + len(self.state.tasks)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, rule: str) -> dict[str, Any]:
        """Adds a rule in the short form."""
        status, text = request(f"{self.url}/_faults", "POST", rule.encode())
        assert status == 201, text
        added: dict[str, Any] = json.loads(text)
        return added

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = json.loads(request(f"{self.url}/_faults/stats")[1])
        return stats

    @contextmanager
    def peer(self) -> Iterator[Peer]:
        """A raw client while the block runs."""
        peer = Peer(self.port)
        try:
            yield peer
        finally:
            peer.close()

    def heard(
        self, rule: str, method: str = "GET", path: str = "/", body: bytes = b"", patience: float = PATIENCE
    ) -> Heard:
        """What comes of one request that a rule in its header strikes."""
        with self.peer() as peer:
            peer.ask(method, path, body, {"X-Holdfast-Fault": rule})
            return peer.hear(patience=patience)


@contextmanager
def faulty(http: Any = FaultProtocol, wrap: Callable[[ASGIApp], ASGIApp] = FaultInjection) -> Iterator[Faulty]:
    """A server with failure injection on a free port while the block runs."""
    app = App()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            wrap(app.asgi),
            loop="asyncio",
            http=http,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), name="faulty")
        thread.start()
        try:
            until = time.monotonic() + PATIENCE
            while not server.started:
                assert thread.is_alive() and time.monotonic() < until, "the server did not start"
                time.sleep(0.005)
            yield Faulty(listener.getsockname()[1], app, server.server_state)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()
