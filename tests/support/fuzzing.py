"""What must be so of the parser of responses, whatever bytes it is given: one function that raises where it is not.

Used by ``scripts/fuzz`` on bytes by the million, and by a test on those of ``tests/http/engines/corpus``.
"""

from __future__ import annotations

import random
import re
import time
import tracemalloc
import zlib
from typing import NamedTuple

import h11

from holdfast.http.engines.base import EngineError, Sent
from holdfast.http.engines.h1 import Assembly
from tests.support.scrambled import cuts

_BASE, _PER_BYTE, _PER_FEED = 0.005, 3e-6, 400e-6
"""Seconds of the processor that a case may take, and so many more for each byte and each call of `feed`.

A call may look again at what is kept of an unfinished line or of trailers, up to 16 KiB; never at more.
"""

_ROOM, _ROOM_PER_BYTE = 96 * 1024, 20
"""Bytes of memory a case may take for a while, and so many more for each byte.

Putting together pieces takes 88 bytes for each, and the smallest chunk comes in six.
"""

_TRIES = 5

_FRAMING = re.compile("(bad|conflicting|multiple|Only) (Content-Length|Transfer-Encoding)")
"""In what h11 says of trailers that would frame the message. They are to be ignored (RFC 9110, section 6.5.1)."""
_SPACE_BEFORE_EXTENSION = re.compile(rb"\n[0-9A-Fa-f]+[ \t]+;")
"""Allowed before a chunk's extension (RFC 9112, section 7.1.1), but not by h11."""


class Finding(AssertionError):  # noqa: N818  # as whoever fuzzes calls it
    """The parser did something that it must not."""


class Asked(NamedTuple):
    """The conditions of a case.

    Attributes:
        bodiless: whether the request was a HEAD.
        most: bytes of the body that are taken, None for any number.
        closes: whether the connection ends behind the bytes.
    """

    bodiless: bool
    most: int | None
    closes: bool


class Outcome(NamedTuple):
    """What came of a case.

    Attributes:
        name: "whole", "open" for one that needs more bytes, "refused".
        why: of a refusal, without its numbers.
        phase: of a refusal.
        facts: of a response, everything that can be seen of it.
    """

    name: str
    why: str = ""
    phase: str = ""
    facts: tuple[object, ...] = ()


def conditions(data: bytes) -> tuple[random.Random, Asked]:
    """Chance and conditions that follow from the bytes alone, so that these are all that has to be kept of a case."""
    chance = random.Random(zlib.crc32(data))
    return chance, Asked(
        bodiless=chance.random() < 0.1,
        most=chance.choice((None, None, None, 2, 1000)),
        closes=chance.random() < 0.5,
    )


def pieces(data: bytes) -> list[bytes]:
    """The bytes cut as the first time by `check`."""
    return cuts(conditions(data)[0], data)


def run(pieces: list[bytes], asked: Asked) -> Outcome:
    """What the parser makes of these."""
    assembly = Assembly(bodiless=asked.bodiless, most=asked.most)
    try:
        for piece in pieces:
            complete = assembly.feed(piece)
            if complete is not assembly.complete:
                raise Finding("feed() and complete contradict each other")
            if assembly.size != sum(map(len, assembly.pieces)):
                raise Finding("size is not that of the pieces")
            if asked.most is not None and assembly.size > asked.most:
                raise Finding("more of the body is kept than was allowed")
        if asked.closes:
            assembly.end()
    except EngineError as error:
        if error.sent is not Sent.MAYBE or (error.cause is None and error.phase != "limit"):
            raise Finding(f"the error does not say what it should: {error!r}") from error
        return Outcome("refused", re.sub(r"[0-9]+", "#", str(error)), error.phase)
    head = assembly.head
    facts: tuple[object, ...] = (assembly.interim,)
    if head is not None:
        about = (head.status, head.reason, head.minor, tuple(head.fields()), head.length, head.coded, head.cookies)
        facts += (*about, assembly.taken(), assembly.complete and assembly.reusable)
    return Outcome("whole" if assembly.complete else "open", facts=facts)


def check(data: bytes) -> Outcome:
    """What the parser makes of the bytes, if all is as it must be.

    Raises:
        Finding: it is not.
    """
    chance, asked = conditions(data)
    outcome = _timed([data], asked)
    if outcome.name == "whole":
        _compare(data, asked, outcome)
    for _ in range(2):
        pieces = cuts(chance, data)
        other = _timed(pieces, asked)
        # Of two things that are wrong, another one may be seen first.
        if other._replace(why="") != outcome._replace(why=""):
            raise Finding(f"in one: {outcome}; in {len(pieces)} pieces: {other}")
    return outcome


def check_room(data: bytes) -> None:
    """The same about memory. It takes a while.

    Raises:
        Finding: the parser took more than it may.
    """
    chance, asked = conditions(data)
    for pieces in ([data], cuts(chance, data)):
        tracemalloc.start()
        try:
            run(pieces, asked)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        if peak > _ROOM + _ROOM_PER_BYTE * len(data):
            raise Finding(f"{peak} bytes of memory were taken for {len(data)} bytes in {len(pieces)} pieces")


def _timed(pieces: list[bytes], asked: Asked) -> Outcome:
    size = sum(map(len, pieces))
    allowed = _BASE + _PER_BYTE * size + _PER_FEED * len(pieces)
    took = 0.0
    for _ in range(_TRIES):  # the first may be unlucky
        began = time.thread_time()
        outcome = run(pieces, asked)
        took = time.thread_time() - began
        if took <= allowed:
            return outcome
    raise Finding(f"{took:.3f} s were taken for {size} bytes in {len(pieces)} pieces")


def _compare(data: bytes, asked: Asked, outcome: Outcome) -> None:
    """Whether h11, which is laxer, reads the same out of what was accepted."""
    _, status, reason, _, fields, _, _, _, body, _ = outcome.facts
    assert isinstance(fields, tuple)
    try:
        theirs = by_h11(data, asked)
    except h11.RemoteProtocolError as error:
        if "illegal chunk header" in str(error) and _SPACE_BEFORE_EXTENSION.search(data):
            return
        raise Finding(f"h11 refuses what was accepted: {error}; {outcome}") from error
    ours = (status, reason, tuple((name, _as_h11(name, value)) for name, value in fields), body)
    if theirs != ours:
        raise Finding(f"h11 reads {theirs}, {outcome} was read")


def _as_h11(name: bytes, value: bytes) -> bytes:
    """A field's value; h11 changes that of Transfer-Encoding."""
    return value.lower() if name.lower() == b"transfer-encoding" else value


def by_h11(data: bytes, asked: Asked) -> tuple[int, bytes, tuple[tuple[bytes, bytes], ...], bytes] | None:
    """Status, reason, fields and body as h11 reads them; None if it needs more bytes.

    Raises:
        h11.RemoteProtocolError: it refuses them.
    """
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    peer.send(h11.Request(method="HEAD" if asked.bodiless else "GET", target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    status, reason, body = 0, b"", b""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    peer.receive_data(data)
    ended = not asked.closes
    while True:
        try:
            event = peer.next_event()
        except h11.RemoteProtocolError as error:
            if status and _FRAMING.match(str(error)):
                return status, reason, fields, body
            raise
        if isinstance(event, h11.Response):
            status, reason, fields = event.status_code, event.reason, tuple(event.headers.raw_items())
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, reason, fields, body
        elif event is h11.NEED_DATA:
            if ended:
                return None
            peer.receive_data(b"")
            ended = True
