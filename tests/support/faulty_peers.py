"""Servers on the loopback interface that misbehave on raw sockets, and count what they read and what they acted on.

A `Peer` runs one behaviour on a thread per connection. A behaviour is a function of a `Talk`, the server's end of one
connection; `faulty` makes one of a fault, which is a function of the talk and a request that was read to its end.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain, repeat
from types import TracebackType
from typing import Final, Self, TypeAlias

OK: Final = b'{"ok": true}'
"""The body of every good answer."""

SECRET: Final = "swordfish"
"""What no other origin may be shown."""

BOMB_SIZE: Final = 100 * 1024 * 1024
"""Bytes that a bomb decodes to."""

HUGE_HEADER: Final = b"X-Huge: " + b"x" * 3_000_000

_GZIPPED: Final = gzip.compress(b'{"ok": [%s]}' % b", ".join(b"%d" % (n * n) for n in range(2_000)))

_SLOWLY = 0.1  # seconds between two bytes of what is trickled: no read of it takes longer
_ALWAYS = 1_000_000_000


@dataclass(frozen=True)
class Request:
    """A request that was read to its end."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Talk:
    """The server's end of one connection; `number` counts the connections of its peer from 1."""

    def __init__(self, peer: Peer, connection: socket.socket, number: int) -> None:
        self.peer = peer
        self.number = number
        self._connection = connection
        self._rest = b""

    def read(self) -> Request | None:
        """The next request, or None if the client left."""
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            if not (more := self._connection.recv(65_536)):
                return None
            data += more
        first, *lines = data[:end].decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body, length = data[end + 4 :], int(headers.get("content-length", "0"))
        while len(body) < length:
            if not (more := self._connection.recv(65_536)):
                return None
            body += more
        self._rest = body[length:]
        request = Request(method, path, headers, body[:length])
        self.peer.note(request)
        return request

    def send(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Sends pieces, with a pause after each."""
        for piece in pieces:
            self._connection.sendall(piece)
            if pause and self.peer.closing.wait(pause):
                raise ConnectionAbortedError

    def trickle(self, *pieces: Iterable[bytes], pause: float = _SLOWLY) -> None:
        """As `send`, for pieces without end."""
        for piece in chain(*pieces):
            self.send(piece, pause=pause)

    def wait_for_bytes(self) -> bytes:
        """Some bytes that are there to be read, and stay there; none if the client left."""
        return self._connection.recv(1, socket.MSG_PEEK)

    def receive(self) -> bytes:
        """Whatever comes next; nothing if the client left."""
        return self._connection.recv(65_536)

    def ignore(self) -> None:
        """Reads until the client leaves, and says nothing."""
        while self._connection.recv(65_536):
            pass

    def reset(self) -> None:
        """Makes closing abort the connection with RST instead of ending it with FIN."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Behaviour: TypeAlias = Callable[[Talk], None]
Fault: TypeAlias = Callable[[Talk, Request], bool]
"""Answers a request in a wrong way; whether the connection goes on."""


class Peer:
    """A misbehaving server on a free port of 127.0.0.1.

    Args:
        behaviour: what is done with a connection, until it returns.
        tls: for a server that speaks TLS.

    Attributes:
        requests: all that were read to their end, in order; those for /warm are not counted.
        connections: how many were accepted. `open`: how many of them are not closed.
    """

    def __init__(self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.closing = threading.Event()
        self._declined = 0
        self._turns = 0
        self._behaviour = behaviour
        self._tls = tls
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._start(self._accept)

    @property
    def open(self) -> int:
        return len(self._sockets)

    @property
    def executed(self) -> int:
        """How many requests the server acted on: all that it read but those it declined."""
        return len(self.requests) - self._declined

    def note(self, request: Request) -> None:
        if request.path != "/warm":
            with self._lock:
                self.requests.append(request)

    def decline(self) -> None:
        """Says of the request that was read last that it is answered without having been acted on."""
        with self._lock:
            self._declined += 1

    def turn(self) -> int:
        """Counts from 1."""
        with self._lock:
            self._turns += 1
            return self._turns

    def close(self) -> None:
        """Ends all connections and waits for all threads. May be called again."""
        self.closing.set()
        with self._lock:
            sockets = [self._listening, *self._sockets]
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10.0)
        self._listening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="faulty-peer", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._sockets.add(connection)
            self._start(self._serve, connection, self.connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        raw = connection
        try:
            if self.closing.is_set():
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._sockets.remove(raw)
                    self._sockets.add(connection)
            self._behaviour(Talk(self, connection, number))
        except (OSError, ValueError):
            pass  # the client left, or spoke another language
        finally:
            connection.close()
            raw.close()
            with self._lock:
                self._sockets.discard(connection)
                self._sockets.discard(raw)


def head(*headers: str, status: str = "200 OK") -> bytes:
    """The head of a response with JSON."""
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, "", ""]).encode()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A well-formed response."""
    return head(f"Content-Length: {len(body)}", *headers, status=status) + body


GOOD: Final = answer(OK)


def faulty(fault: Fault, times: int = _ALWAYS) -> Behaviour:
    """Answers so many requests with the fault, the others and all for /warm as they should be."""

    def behave(talk: Talk) -> None:
        while (request := talk.read()) is not None:
            if request.path == "/warm" or talk.peer.turn() > times:
                talk.send(GOOD)
            elif not fault(talk, request):
                return

    return behave


def fine(talk: Talk) -> None:
    """The behaviour of a server without faults."""
    faulty(reset, times=0)(talk)


# Faults


def reset(talk: Talk, request: Request) -> bool:
    """Resets the connection instead of answering."""
    talk.reset()
    return False


def reset_in_body(talk: Talk, request: Request) -> bool:
    # The pause lets what was sent be read before the reset overtakes it.
    talk.send(GOOD[:-4], pause=0.05)
    talk.reset()
    return False


def short_body(talk: Talk, request: Request) -> bool:
    """Announces more than it sends before it ends the connection."""
    talk.send(head(f"Content-Length: {len(OK) + 40}") + OK)
    return False


def truncated_chunks(talk: Talk, request: Request) -> bool:
    """Ends the connection before the last chunk."""
    talk.send(head("Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(OK), OK))
    return False


def refusing(status: str, *headers: str) -> Fault:
    """Answers with a status that says that the request was not acted on."""

    def fault(talk: Talk, request: Request) -> bool:
        talk.peer.decline()
        talk.send(answer(b"{}", *headers, status=status))
        return True

    return fault


def silent(talk: Talk, request: Request) -> bool:
    """Never answers."""
    talk.ignore()
    return False


def trickled_body(talk: Talk, request: Request) -> bool:
    """Sends a long body byte by byte."""
    talk.trickle([head("Content-Length: 1000000")], repeat(b" "))
    return False


def trickled_header(talk: Talk, request: Request) -> bool:
    """Sends a header without end byte by byte."""
    talk.trickle([b"HTTP/1.1 200 OK\r\nX-Slow: "], repeat(b"x"))
    return False


def endless_hints(talk: Talk, request: Request) -> bool:
    """Sends one 103 (Early Hints) after the other, for so long that a deadline passes before they are too many."""
    talk.trickle(repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"), pause=0.02)
    return False


def endless_body(talk: Talk, request: Request) -> bool:
    """Sends chunks for ever, as fast as they are taken."""
    talk.trickle([head("Transfer-Encoding: chunked")], repeat(b"10000\r\n" + b" " * 0x10000 + b"\r\n"), pause=0.0)
    return False


def garbage(talk: Talk, request: Request) -> bool:
    """Answers in something that is not HTTP."""
    talk.send(b"\x15\x03\x01\x00\x02\x02\x16 nonsense\r\n\r\n")
    return False


def huge_header(talk: Talk, request: Request) -> bool:
    """Sends a header of 3 MB."""
    talk.send(b"HTTP/1.1 200 OK\r\n", HUGE_HEADER, b"\r\nContent-Length: %d\r\n\r\n%s" % (len(OK), OK))
    return False


def broken_gzip(talk: Talk, request: Request) -> bool:
    """Sends gzip of which a byte was damaged, so that its checksum is wrong."""
    body = bytearray(_GZIPPED)
    body[len(body) // 2] ^= 0xFF
    talk.send(answer(bytes(body), "Content-Encoding: gzip"))
    return True


def truncated_gzip(talk: Talk, request: Request) -> bool:
    """Sends half of what was compressed, and announces no more."""
    talk.send(answer(_GZIPPED[: len(_GZIPPED) // 2], "Content-Encoding: gzip"))
    return True


def gzip_bomb(talk: Talk, request: Request) -> bool:
    """Sends 100 KB that become 100 MiB."""
    talk.send(answer(bomb(), "Content-Encoding: gzip"))
    return True


def stacked_codings(talk: Talk, request: Request) -> bool:
    """Sends the bomb in less than 1 KB, coded twice."""
    talk.send(answer(stacked_bomb(), "Content-Encoding: gzip, gzip"))
    return True


@cache
def bomb() -> bytes:
    """A good answer followed by a great deal of white space."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    piece = b" " * 1024 * 1024
    packed = [packer.compress(OK), packer.compress(piece[len(OK) :])]
    packed += [packer.compress(piece) for _ in range(BOMB_SIZE // len(piece) - 1)]
    return b"".join([*packed, packer.flush()])


@cache
def stacked_bomb() -> bytes:
    return gzip.compress(bomb(), 9)


def conflicting_lengths(talk: Talk, request: Request) -> bool:
    """Announces two lengths (RFC 9112, section 6.3: an unrecoverable error)."""
    talk.send(head("Content-Length: 2", f"Content-Length: {len(OK)}") + OK)
    return False


def length_and_chunks(talk: Talk, request: Request) -> bool:
    """Announces chunks and a length that is not theirs (RFC 9112, section 6.3: the chunks count)."""
    talk.send(head("Content-Length: 5", "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(OK), OK))
    return False


def redirecting(status: str, location: Callable[[], str]) -> Fault:
    """Redirects. A POST that is answered with a 302 was acted on: it leads to the result."""

    def fault(talk: Talk, request: Request) -> bool:
        if request.method != "POST" or not status.startswith("302"):
            talk.peer.decline()
        talk.send(answer(b"", f"Location: {location()}", status=status))
        return True

    return fault


# Behaviours that are more than a fault


def closes_unread(talk: Talk) -> None:
    """Answers the first request of the first connection, and closes it when a second arrives, without reading that."""
    if talk.number > 1:
        return fine(talk)
    if talk.read() is not None:
        talk.send(GOOD)
        talk.wait_for_bytes()
    return None


def closes_read(talk: Talk) -> None:
    """Answers the first request of the first connection, reads the second and closes without an answer."""
    if talk.number > 1:
        return fine(talk)
    if talk.read() is not None:
        talk.send(GOOD)
        talk.read()
    return None


def plain_server(talk: Talk) -> None:
    """Does with a TLS handshake what a server that speaks plain HTTP does."""
    if talk.receive():
        talk.send(answer(b"bad request", "Connection: close", status="400 Bad Request"))


def mute(talk: Talk) -> None:
    """Takes what comes and never says a word, not even in a TLS handshake."""
    talk.ignore()
