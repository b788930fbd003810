"""TCP connections under asyncio: to all addresses of a name, the next one as soon as the last one hesitates (RFC 8305).

asyncio can do so too, but uvloop's loops cannot.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any, NamedTuple

HEAD_START = 0.25
"""Seconds that an address has before the next one is tried beside it (RFC 8305, section 5)."""


class Address(NamedTuple):
    """Where to connect to."""

    family: int
    place: Any


async def resolved(host: str, port: int) -> list[Address]:
    """The addresses of a host, their families in turns, beginning with that of the system's first choice.

    Raises:
        OSError: there is no such name.
    """
    try:
        # An address needs no look-up, which would take a thread.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(Address(family, place) for family, _, _, _, place in found))
    if not addresses:
        raise OSError(f"the name {host} has no address")
    return _in_turns(addresses)


def _in_turns(addresses: list[Address]) -> list[Address]:
    first = [one for one in addresses if one.family == addresses[0].family]
    rest = [one for one in addresses if one.family != addresses[0].family]
    return [one for one in chain.from_iterable(zip_longest(first, rest)) if one is not None]


async def dialed(host: str, port: int, local_address: str | None = None) -> socket.socket:
    """A socket that is connected to one of the addresses of a host. Cancelled, it leaves none open.

    Raises:
        OSError: there is no such name, or no address took the connection.
    """
    addresses = await resolved(host, port)
    if len(addresses) == 1:
        return await _connected(addresses[0], local_address)
    return await _first(addresses, local_address)


async def _connected(address: Address, local_address: str | None) -> socket.socket:
    made = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        if local_address is not None:
            made.bind((local_address, 0))
        await asyncio.get_running_loop().sock_connect(made, address.place)
    except BaseException:
        made.close()
        raise
    return made


async def _first(addresses: Iterable[Address], local_address: str | None) -> socket.socket:
    left = deque(addresses)
    trying: set[asyncio.Task[socket.socket]] = set()
    failures: list[str] = []
    try:
        while left or trying:
            if left:
                trying.add(asyncio.create_task(_connected(left.popleft(), local_address)))
            done, _ = await asyncio.wait(
                trying, timeout=HEAD_START if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    trying.discard(attempt)
                    return attempt.result()
                trying.discard(attempt)
                if not isinstance(error, OSError):
                    raise error
                failures.append(str(error))
    finally:
        for attempt in trying:
            attempt.cancel()
            attempt.add_done_callback(_close)
    raise OSError(f"no address took the connection: {'; '.join(dict.fromkeys(failures))}")


def _close(attempt: asyncio.Task[socket.socket]) -> None:
    """Closes what a race did not need any more. One that failed has done so itself."""
    with suppress(asyncio.CancelledError, OSError):
        attempt.result().close()
