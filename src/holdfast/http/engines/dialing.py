"""TCP connections under asyncio: to all addresses of a name, the next one as soon as the last one hesitates (RFC 8305).

asyncio can do so too, but uvloop's loops cannot.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from holdfast.http.engines.addresses import HEAD_START, Address, in_turns, literal, none_answered


async def resolved(host: str, port: int) -> list[Address]:
    """The addresses of a host, in the order in which they are to be tried.

    Raises:
        OSError: there is no such name.
    """
    found = literal(host, port)
    if found is None:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return in_turns(host, found)


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
    raise none_answered(failures)


def _close(attempt: asyncio.Task[socket.socket]) -> None:
    """Closes what a race did not need any more. One that failed has done so itself."""
    with suppress(asyncio.CancelledError, OSError):
        attempt.result().close()
