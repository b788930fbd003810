"""Both engines, given the same bytes by a server, and what is to be said of their answers.

Used by a test on a few hundred cases, and by ``benchmarks/differential.py`` on as many as it is told.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import re
import threading
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

from holdfast import HoldfastError, ResilientClient
from tests.support import wire
from tests.support.fuzzing import Asked, run
from tests.support.scrambled import cuts, message, scrambled

STRICTER = {
    "ends with a bare CR or LF": "RFC 9112, section 2.2: a bare CR is invalid, a bare LF may be taken for a line's end",
    "folded over several lines": "RFC 9112, section 5.2: may be refused where no message/http is expected",
    "more than one Content-Length": "RFC 9112, section 6.3, item 5: a list may be refused though its values agree",
    "no number of bytes": "RFC 9112, section 6.3, item 5: the same; section 6.2: it is decimal digits",
    "both a Content-Length and a Transfer-Encoding": "RFC 9112, section 6.3, item 3: ought to be handled as an error",
    "Transfer-Encoding, which HTTP/1.0 has not": "RFC 9112, section 6.1: has to be treated as faulty framing",
    "Transfer-Encoding other than chunked": "RFC 9112, section 6.1: h11 does not look at it where there is no body",
    "does not begin with a status line": "RFC 9112, section 4: a status line has one space before each of its parts",
    "contains a control character": "RFC 9110, section 5.5: NUL, CR and LF are invalid, other controls may be refused",
    "does not begin with its size": "RFC 9112, section 7.1: no white space behind the size, and no bare LF",
    "a chunk of the body is longer": "RFC 9112, section 7.1: a chunk ends with CRLF",
    "the trailers of the body": "RFC 9112, section 7.1.2: they are header fields",
    "is no header": "RFC 9112, section 5.1: no white space before the colon, and a name is a token",
    "the head of the response is too large": "RFC 9110, section 5.4: what is taken may be limited; h11 does so",
    "the head of the response has more than": "the same; h11 has no limit of lines",
    "informational responses": "RFC 9110, section 15.2: there may be several; how many is not said",
    "the extensions of the chunks are too long": "RFC 9112, section 7.1.1: their total length ought to be limited",
}
"""What the native engine says when it refuses what h11 lets through, and where it says that it may."""

LAXER = {
    "illegal chunk header": "RFC 9112, section 7.1.1: white space is allowed around the ';' of an extension",
    "Content-Length": "RFC 9110, section 6.5.1: fields of framing among the trailers are to be ignored",
    "Transfer-Encoding": "the same",
}
"""What h11 says when it refuses what the native engine lets through, and where it says that it should."""


class Case(NamedTuple):
    """What a server does: sends pieces, and hangs up if the response needs it or does not end."""

    pieces: list[bytes]
    closes: bool


class Told(NamedTuple):
    """What became of a GET.

    Attributes:
        error: the name of its class, "" if there is none.
        message: of the error.
        answer: status, reason, fields and body, if there was one.
    """

    error: str
    message: str = ""
    answer: tuple[int, str, tuple[tuple[bytes, bytes], ...], bytes] | None = None


class Bench:
    """A server on a thread that answers with whatever it is told to, and a client of each engine.

    Args:
        sync: whether the clients are used without an event loop.
    """

    def __init__(self, *, sync: bool = False) -> None:
        self.sync = sync
        self.case = Case([], closes=True)
        self._asked = 0
        self._runner = asyncio.Runner()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10.0)
        settings: dict[str, Any] = {"retry": {"max_attempts": 1}, "circuit_breaker": {"enabled": False}}
        self._clients = {
            engine: ResilientClient(
                wire.config(f"http://127.0.0.1:{port}", timeout={"read": 10.0}, engine=engine, **settings)
            )
            for engine in ("httpx2", "native")
        }

    async def _start(self) -> int:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self._asked += 1
                case = self.case
                for piece in case.pieces:
                    if not writer.is_closing():
                        writer.write(piece)
                    await asyncio.sleep(0)
                await writer.drain()
                if case.closes:
                    break
        writer.close()

    def told(self, engine: str, case: Case) -> Told:
        """What becomes of a GET. It fails if the server was not asked, and once: then nothing was compared."""
        before = self._asked
        told = self._told(engine, case)
        assert self._asked == before + 1, f"the server was asked {self._asked - before} times by {engine}: {told}"
        return told

    def _told(self, engine: str, case: Case) -> Told:
        self.case = case
        client = self._clients[engine]
        call = client.get("/x", headers={"Connection": "close"} if case.closes else {})
        try:
            response = call.result() if self.sync else self._runner.run(_awaited(call))
        except HoldfastError as error:
            if error.response is None:
                return Told(type(error).__name__, str(error))
            response = error.response
        fields = tuple((name, _as_h11(name, value)) for name, value in response.headers.raw)
        return Told("", "", (response.status_code, response.reason_phrase, fields, response.content))

    def close(self) -> None:
        for client in self._clients.values():
            if self.sync:
                client.close().result()
            else:
                self._runner.run(_awaited(client.close()))
        self._runner.close()
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        await asyncio.sleep(0.05)


async def _awaited(call: Any) -> Any:
    return await call


def _as_h11(name: bytes, value: bytes) -> bytes:
    """A field's value; h11 changes that of Transfer-Encoding, which the native engine shows as it came."""
    return value.lower() if name.lower() == b"transfer-encoding" else value


def verdict(ours: Told, theirs: Told) -> str | None:
    """In what way the native engine agrees with httpx2's, or may differ; None if it may not."""
    if ours == theirs:
        return "both read the same" if ours.answer is not None else "both refuse it in the same words"
    if ours.answer is None:
        if theirs.error == ours.error:
            return "both refuse it, each in words of its own"
        for said, why in STRICTER.items():
            if said in ours.message:
                what = "native refuses" if theirs.answer is not None else "native refuses earlier"
                return f"{what}: {said} ({why})"
        return None
    if theirs.answer is None:
        for said, why in LAXER.items():
            if re.search(said, theirs.message):
                return f"httpx2 refuses: {said} ({why})"
        return None
    if ours.answer[0] >= 400 and ours.answer[:3] == theirs.answer[:3] and b"" in (ours.answer[3], theirs.answer[3]):
        return "both read the status of an error, and one of them the body, which is broken"
    return None


def made(chance: random.Random) -> Case:
    """A case."""
    kind = chance.random()
    if kind < 0.45:
        data = message(chance)
    elif kind < 0.55:
        data = message(chance)
        data = data[: chance.randrange(len(data)) + 1]
    elif kind < 0.65:
        data = coded(chance)
    else:
        data = scrambled(chance)
    pieces = [data] if chance.random() < 0.5 else cuts(chance, data)
    if len(pieces) > 40:  # each is a write of its own
        pieces = [data[: len(data) // 2], data[len(data) // 2 :]]
    # What the native engine takes for a whole response and the connection for reusable, httpx2's must not wait for.
    told = run([data], Asked(bodiless=False, most=None, closes=False))
    return Case([piece for piece in pieces if piece], closes=not (told.name == "whole" and told.facts[-1]))


def coded(chance: random.Random) -> bytes:
    """A response with a body in gzip, most likely a damaged one."""
    body = gzip.compress(chance.randbytes(chance.randrange(300)), mtime=0)
    at = chance.randrange(len(body))
    kind = chance.randrange(4)
    if kind == 1:
        body = body[:at]
    elif kind == 2:
        body = body[:at] + chance.randbytes(2) + body[at:]
    elif kind == 3:
        body += chance.choice((body, b"\x00" * 9, b"\x1f", b"\x1f\x8b"))
    coding = chance.choice((b"gzip", b"x-gzip", b"deflate", b"gzip, identity", b"GZIP", b"gzip, gzip", b"unknown", b""))
    return b"HTTP/1.1 %d -\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        chance.choice((200, 200, 200, 404)), coding, len(body), body,
    )  # fmt: skip


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """The bytes in pieces."""
    places = sorted({0, len(data), *(one for one in at if one < len(data))})
    return [data[start:end] for start, end in pairwise(places)]
