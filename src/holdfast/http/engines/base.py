"""The port of an engine: performs one attempt, and says exactly how it failed.

An engine is dumb. Cookies, redirects, auth flows, decoding limits and retries live above it and are the same for all.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, Protocol

import httpx2

from holdfast.core.effects import Job

Phase = Literal["build", "pool", "connect", "write", "head", "body", "decode", "limit", "deadline"]


class Sent(Enum):
    """Whether the server may have seen the request."""

    NO = "certainly not"
    MAYBE = "perhaps"


class EngineError(Exception):
    """One attempt failed.

    Attributes:
        sent: `Sent.NO` only if it is certain.
        phase: how far it came.
        timed_out: whether a timeout of the client's own ended it.
        cause: the exception behind it, whose class the public exception takes on.
    """

    def __init__(
        self, message: str, *, sent: Sent, phase: Phase, cause: Exception | None = None, timed_out: bool = False
    ) -> None:
        super().__init__(message)
        self.sent = sent
        self.phase = phase
        self.cause = cause
        self.timed_out = timed_out


def deadline_passed() -> EngineError:
    """The failure of an attempt that the deadline of its call has overtaken."""
    return EngineError("the deadline passed", sent=Sent.MAYBE, phase="deadline", timed_out=True)


class Engine(Protocol):
    """Performs attempts under asyncio.

    `caps` names what may be relied on: ``cancel`` (cancelling the task stops the request), ``deadline`` (the attempt
    can be cut at any point), ``sent``, ``stream``, ``http2``, ``proxy``, ``ssl_context``, ``unix``.
    """

    caps: frozenset[str]

    async def send(self, job: Job) -> httpx2.Response:
        """Sends the job: the whole response, or with `job.stream` its head.

        Raises:
            EngineError: no usable response. Anything else is a mistake in a program, and ends the call as it is.
        """
        ...

    async def aclose(self) -> None:
        """Closes all connections. Safe to call twice."""
        ...


class SyncEngine(Protocol):
    """Performs attempts on the calling thread; otherwise as `Engine`."""

    caps: frozenset[str]

    def send(self, job: Job) -> httpx2.Response:
        """As `Engine.send`."""
        ...

    def close(self) -> None:
        """As `Engine.aclose`."""
        ...
