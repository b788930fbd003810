"""What both native engines make of a job before it is sent: where it goes, its head, and its body."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import httpx2

from holdfast.core.effects import Job
from holdfast.http.bodies import BodySpent
from holdfast.http.engines.base import EngineError, Sent
from holdfast.http.engines.h1_request import Encoder, NotOurs, RequestHead

AT_ONCE = 64 * 1024
"""Bytes of a body that go out together with their head, and in one piece."""
PATIENCE = 1.0
"""Seconds that a body waits for a 100 (RFC 9110, section 10.1.1: it must not wait for ever)."""
_MOST_KNOWN = 1024

C = TypeVar("C")


class Origin(Generic[C]):
    """Scheme, host and port, and the idle connections to it.

    Attributes:
        idle: those, the one that was used last at the end.
        foreign: whether it speaks another version of HTTP, so that others have to serve it.
    """

    __slots__ = ("foreign", "host", "idle", "name", "port", "tls")

    def __init__(self, name: str, url: httpx2.URL) -> None:
        self.name = name
        self.tls = url.scheme == "https"
        self.host = url.raw_host.decode("ascii")
        self.port = url.port or (443 if self.tls else 80)
        self.idle: list[C] = []
        self.foreign = False


class _Known(Generic[C]):
    """What is the same for all requests to a URL."""

    __slots__ = ("lines", "origin", "url")

    def __init__(self, url: httpx2.URL, origin: Origin[C]) -> None:
        self.url = url
        self.origin = origin
        self.lines: dict[str, bytes] = {}


class Heads(Generic[C]):
    """Makes the heads of requests. Any number of threads may do so at once.

    Args:
        origin: the origin of a name and a URL.
        forget: is called when it is time to forget origins that are not used.
    """

    def __init__(self, origin: Callable[[str, httpx2.URL], Origin[C]], forget: Callable[[], None]) -> None:
        self._origin = origin
        self._forget = forget
        self._encoder = Encoder()
        self._known: dict[Any, _Known[C]] = {}

    def of(self, job: Job) -> tuple[Origin[C], RequestHead]:
        """Where a request goes, and its head.

        Raises:
            EngineError: it cannot be sent as it is.
            NotOurs: others have to send it.
        """
        context = job.context
        known = self._known.get(context)
        if known is None or known.url is not job.url:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
                self._forget()
            known = self._known[context] = _Known(job.url, self._origin(context.origin, job.url))
        line = known.lines.get(job.method)
        if line is None:
            line = known.lines[job.method] = self._encoder.request_line(job.method, job.url.raw_path)
        body = job.body
        head = self._encoder.encode(line, job.headers, len(body) if body.__class__ is bytes else None)
        if known.origin.foreign:
            raise NotOurs("the server speaks another version of HTTP")
        return known.origin, head


def stream_of(body: Any, *, sync: bool) -> Any:
    """What one attempt sends of a body that is not in memory.

    Raises:
        EngineError: it was sent already and can be only once, or is one for the other colour.
    """
    try:
        stream = body.stream(sync=sync)
    except (BodySpent, TypeError, ValueError) as error:
        raise EngineError(str(error), sent=Sent.NO, phase="build", cause=error) from error
    if not hasattr(stream, "__iter__" if sync else "__aiter__"):
        other = "async" if sync else "sync"
        raise EngineError(f"the body is one for {other} use", sent=Sent.NO, phase="build")
    return stream


def name_request(error: EngineError, job: Job) -> None:
    """Has an exception of httpx2's say what it was about."""
    cause = error.cause
    if isinstance(cause, httpx2.RequestError):
        stream = httpx2.ByteStream(job.body if job.body.__class__ is bytes else b"")
        cause.request = httpx2.Request(job.method, job.url, headers=job.headers, stream=stream)


def speaks_http1(security: Any) -> bool:
    """Whether that is what was agreed upon in a TLS handshake; `security` is None without TLS."""
    return security is None or security.selected_alpn_protocol() in (None, "http/1.1")


def offering_http1(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, offering HTTP/1.1 only. To be called at the last moment: others may offer HTTP/2 with the same."""
    context.set_alpn_protocols(["http/1.1"])
    return context
