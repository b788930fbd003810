"""What the connections of both colours look out for: heads that do not end, and peers that have hung up."""

from __future__ import annotations

import select
import socket

import httpcore2

MOST_HEAD_BYTES = 256 * 1024
"""What is read for the head of a response over HTTP/1.1, the informational responses (1xx) before it included.

One head alone may be smaller still: h11 takes up to 100 KiB in httpcore2.
"""

HUNG_UP = "hung_up"
"""A name that our streams' `get_extra_info` knows besides: whether the other side has closed the connection."""


class HeadTooLarge(httpcore2.RemoteProtocolError):
    """The head of a response does not end within `most` bytes."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"the response's head is larger than {most // 1024} KiB, informational responses (1xx) included"
        )


def has_hung_up(connection: socket.socket) -> bool:
    """Whether the other side has closed its end, as far as the system tells without reading what came before that."""
    event = getattr(select, "POLLRDHUP", 0)
    if not event or connection.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), event)
    return bool(poll.poll(0))
