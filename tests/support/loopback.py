"""HTTP servers on the loopback interface that record what they are sent, and answer byte for byte as they are told."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

End = Literal["keep", "close", "reset"]
Header = tuple[str, str]


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: tuple[Header, ...]
    body: bytes
    complete: bool = True

    def get(self, name: str) -> str | None:
        """The value of a header, several joined as RFC 9110 says, or None."""
        found = self.all(name)
        return ", ".join(found) if found else None

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def text(self) -> str:
        """Everything that arrived, to look for what must not have."""
        lines = [f"{self.method} {self.target}", *(f"{name}: {value}" for name, value in self.headers)]
        return "\n".join([*lines, "", self.body.decode("latin-1")])


@dataclass(frozen=True)
class Answer:
    """Bytes to send, piece by piece, and what becomes of the connection then."""

    pieces: tuple[bytes, ...]
    end: End = "keep"
    pause: float = 0.0


def answer(status: int = 200, body: bytes = b"", *headers: Header, end: End = "keep") -> Answer:
    """A well-formed response with a Content-Length."""
    named = {name.lower() for name, _ in headers}
    head = list(headers) if "content-length" in named else [*headers, ("Content-Length", str(len(body)))]
    return Answer((_head(status, head) + body,), end)


def json_answer(status: int, body: str, *headers: Header) -> Answer:
    return answer(status, body.encode(), ("Content-Type", "application/json"), *headers)


def redirect(status: int, location: str, *headers: Header) -> Answer:
    return answer(status, b"", ("Location", location), *headers)


def chunked(status: int, chunks: Iterable[bytes], *headers: Header, complete: bool = True, end: End = "keep") -> Answer:
    """A response in chunks; an incomplete one lacks the last."""
    pieces = [_head(status, [*headers, ("Transfer-Encoding", "chunked")])]
    pieces += [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    return Answer((*pieces, b"0\r\n\r\n") if complete else tuple(pieces), end)


def raw(*pieces: bytes, end: End = "close", pause: float = 0.0) -> Answer:
    """Exactly these bytes."""
    return Answer(pieces, end, pause)


RESET = Answer((), "reset")
HANG_UP = Answer((), "close")


def _head(status: int, headers: Iterable[Header]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


Handler = Callable[[Seen], Answer]


@dataclass
class Loopback:
    """A server on a free port of 127.0.0.1, each connection on a thread of its own.

    What it answers is in `routes`, by path (one answer for ever, a list of answers of which the last stays, or a
    function of the request), else `default`. What it was asked is in `seen`.
    """

    default: Answer = field(default_factory=lambda: answer(200, b"ok"))
    routes: dict[str, Answer | list[Answer] | Handler] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, path: str, *answers: Answer | Handler) -> Self:
        """Sets what is answered at a path: one after the other, the last one for ever."""
        one = answers[0]
        self.routes[path] = one if len(answers) == 1 else [each for each in answers if isinstance(each, Answer)]
        return self

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    @property
    def bodies(self) -> list[bytes]:
        return [one.body for one in self.seen]

    @property
    def text(self) -> str:
        return "\n".join(one.text for one in self.seen)

    def close(self) -> None:
        with self._lock:
            opened = list(self._open)
        for one in (self._socket, *opened):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as stream:
                while True:
                    request = _read(stream)
                    if request is None:
                        return
                    with self._lock:
                        self.seen.append(request)
                        reply = self._reply(request)
                    if not _send(connection, reply):
                        return
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _reply(self, request: Seen) -> Answer:
        route = self.routes.get(request.path, self.default)
        if isinstance(route, list):
            return route.pop(0) if len(route) > 1 else route[0]
        return route if isinstance(route, Answer) else route(request)


def _send(connection: socket.socket, reply: Answer) -> bool:
    """Whether the connection may be used again."""
    for piece in reply.pieces:
        connection.sendall(piece)
        if reply.pause:
            time.sleep(reply.pause)
    if reply.end == "reset":
        if reply.pieces:
            time.sleep(0.05)  # what was sent must be read before the reset overtakes it
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif reply.end == "close":
        connection.shutdown(socket.SHUT_WR)
    return reply.end == "keep"


def _read(stream: object) -> Seen | None:
    readline, read = stream.readline, stream.read  # type: ignore[attr-defined]
    line = readline()
    if not line:
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers: list[Header] = []
    while (line := readline().rstrip(b"\r\n")) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    named = {name.lower(): value for name, value in headers}
    if named.get("transfer-encoding", "").lower() == "chunked":
        body, complete = _read_chunks(readline, read)
    else:
        length = int(named.get("content-length", "0"))
        body = read(length) if length else b""
        complete = len(body) == length
    return Seen(method, target, tuple(headers), body, complete)


def _read_chunks(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> tuple[bytes, bool]:
    body = b""
    while line := readline():
        size = int(line.strip(), 16)
        chunk = read(size + 2)[:-2]
        if size == 0:
            return body, True
        body += chunk
    return body, False
