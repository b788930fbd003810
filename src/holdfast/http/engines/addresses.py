"""The addresses behind a name, in the order in which they are to be tried (RFC 8305, section 4)."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any, NamedTuple

HEAD_START = 0.25
"""Seconds that an address has before the next one is tried beside it (RFC 8305, section 5)."""


class Address(NamedTuple):
    """Where to connect to."""

    family: int
    place: Any


def literal(host: str, port: int) -> list[Any] | None:
    """What `socket.getaddrinfo` has for a host that is an address, which needs no look-up; None for a name.

    Raises:
        OSError: there can be no such name.
    """
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except socket.gaierror:
        return None
    except UnicodeError as error:
        raise OSError(f"the name {host} cannot be looked up: {error}") from error


def in_turns(host: str, found: Iterable[Any]) -> list[Address]:
    """What `socket.getaddrinfo` found, the families in turns, beginning with that of the system's first choice.

    Raises:
        OSError: it found nothing.
    """
    addresses = list(dict.fromkeys(Address(family, place) for family, _, _, _, place in found))
    if not addresses:
        raise OSError(f"the name {host} has no address")
    first = [one for one in addresses if one.family == addresses[0].family]
    rest = [one for one in addresses if one.family != addresses[0].family]
    return [one for one in chain.from_iterable(zip_longest(first, rest)) if one is not None]


def none_answered(failures: Iterable[str]) -> OSError:
    """What to say when no address took the connection, and why each did not."""
    said = list(dict.fromkeys(failures))
    return OSError(f"no address took the connection: {'; '.join(said)}")
