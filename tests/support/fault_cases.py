"""The fault matrix as data: what the peer does, and what has to come of it for each kind of request.

The expected values are written down from the replay table of the documentation, not taken from the code under test:

- Survived means that the call returned the good answer. `executed` counts the requests that the server acted on.
- What failed before the first byte went out (DNS, connect, TLS handshake) and what was answered with 429 or 503 is
  repeated for every method, and was not executed.
- What got lost after that (timeout, reset, an unreadable head) or came back broken (truncated, damaged coding) is
  repeated unless it is a POST without a key, and may have been executed. That is so too if the server never read it: a
  closed connection that was kept alive does not tell.
- What is too large, coded twice or redirected in circles is not repeated.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Final, Literal, TypeAlias

import trustme

from tests.support import faulty_peers as do
from tests.support.faulty_peers import Behaviour, Fault, Peer, faulty

Kind: TypeAlias = Literal["GET", "keyed POST", "POST"]
KINDS: Final[tuple[Kind, ...]] = ("GET", "keyed POST", "POST")
"""The requests of each row; *keyed* is a POST with a key of the caller's."""


@dataclass(frozen=True)
class Expected:
    """What a call comes to.

    Attributes:
        error: the public class of what it raises, None if it survives.
        may_have_executed: what the error says of that.
        executed: how often the server acts on it, at least and at most.
        attempts: what the error says, None to leave that open.
        retry_after: the same.
        at_once: that the error does not wait for anything.
    """

    error: str | None
    may_have_executed: bool
    executed: tuple[int, int]
    attempts: int | None = None
    retry_after: float | None = None
    at_once: bool = False


def survives(executed: int) -> Expected:
    return Expected(None, may_have_executed=True, executed=(executed, executed))


def fails(error: str, executed: int, most: int | None = None, *, may: bool = True, **more: float | None) -> Expected:
    return Expected(error, may, (executed, executed if most is None else most), **more)  # type: ignore[arg-type]


@dataclass
class Scene:
    """Where a request is sent, and who is there.

    Attributes:
        url: the base URL.
        target: who is called; None if there is nobody.
        elsewhere: the other origin that a redirect leads to.
    """

    url: str
    target: Peer | None = None
    elsewhere: Peer | None = None

    @property
    def executed(self) -> int:
        """How many of the requests to `url` were acted on."""
        return 0 if self.target is None else self.target.executed

    @property
    def peers(self) -> list[Peer]:
        return [peer for peer in (self.target, self.elsewhere) if peer is not None]

    def close(self) -> None:
        """Cuts whoever is connected."""
        for peer in self.peers:
            peer.close()


@dataclass(frozen=True)
class Case:
    """A row of the matrix.

    Attributes:
        name: for tests. `label`: for people.
        scene: sets the peers up.
        expected: what comes of a GET, a POST with a key and a plain POST.
        slow: the peer takes for ever, so that only the deadline ends the call.
        warm: a good request goes over the connection before.
        least: seconds that surviving takes at least.
        bulky: memory would show if the client took what it is sent.
        twin: a variant of the row before, for tests of Holdfast alone.
    """

    name: str
    label: str
    scene: Callable[[ExitStack], Scene]
    expected: dict[Kind, Expected]
    slow: bool = False
    warm: bool = False
    least: float = 0.0
    bulky: bool = False
    twin: bool = False
    settings: dict[str, object] = field(default_factory=dict)


def _peer(behaviour: Behaviour, stack: ExitStack) -> Scene:
    peer = stack.enter_context(Peer(behaviour))
    return Scene(peer.url, peer)


def _refused(stack: ExitStack) -> Scene:
    """A port that is taken, so that nobody else gets it, and not listened on."""
    bound = stack.enter_context(socket.socket())
    bound.bind(("127.0.0.1", 0))
    return Scene(f"http://127.0.0.1:{bound.getsockname()[1]}")


def _full(stack: ExitStack) -> Scene:
    """A server whose queue is full, so that connecting hangs."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(4):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(server.getsockname())
    return Scene(f"http://127.0.0.1:{server.getsockname()[1]}")


def _nowhere(stack: ExitStack) -> Scene:
    """A name that RFC 2606 promises not to exist."""
    return Scene("http://no-such-host.invalid")


def _tls_to(behaviour: Behaviour, stack: ExitStack) -> Scene:
    peer = stack.enter_context(Peer(behaviour))
    return Scene(f"https://127.0.0.1:{peer.port}", peer)


@cache
def _certified() -> ssl.SSLContext:
    """A server whose certificate comes from an authority that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def _wrong_certificate(stack: ExitStack) -> Scene:
    peer = stack.enter_context(Peer(do.fine, tls=_certified()))
    return Scene(peer.url, peer)


def _redirect_loop(stack: ExitStack) -> Scene:
    return _peer(faulty(do.redirecting("302 Found", lambda: "/thing")), stack)


def _redirect_away(status: str, stack: ExitStack) -> Scene:
    elsewhere = stack.enter_context(Peer(do.fine))
    scene = _peer(faulty(do.redirecting(status, lambda: f"{elsewhere.url}/thing")), stack)
    scene.elsewhere = elsewhere
    return scene


def _case(
    name: str,
    label: str,
    scene: Callable[[ExitStack], Scene],
    get: Expected,
    keyed: Expected,
    plain: Expected,
    **more: object,
) -> Case:
    expected: dict[Kind, Expected] = {"GET": get, "keyed POST": keyed, "POST": plain}
    return Case(name, label, scene, expected, **more)  # type: ignore[arg-type]


def _all(name: str, label: str, scene: Callable[[ExitStack], Scene], each: Expected, **more: object) -> Case:
    return _case(name, label, scene, each, each, each, **more)


def _lost(name: str, label: str, fault: Fault, error: str) -> list[Case]:
    """What hits the first request only: repeated where that is safe. And what hits every one."""
    once, always = partial(_peer, faulty(fault, times=1)), partial(_peer, faulty(fault))
    plain, thrice = fails(error, 1, attempts=1), fails(error, 3, attempts=3)
    return [
        _case(name, label, once, survives(2), survives(2), plain),
        _case(f"{name}-always", label, always, thrice, thrice, plain, twin=True),
    ]


def _cut(name: str, label: str, fault: Fault) -> Case:
    """What the deadline has to end, in the first attempt."""
    return _all(name, label, partial(_peer, faulty(fault)), fails("DeadlineExceededError", 1), slow=True)


_NEVER_SENT: Final = fails("APITimeoutError", 0, may=False, attempts=3)
_LATE_UNSENT: Final = fails("APITimeoutError", 0, may=False)
_BRIEFLY: Final[dict[str, object]] = {"timeout": {"connect": 0.15}}
_UNREACHABLE: Final = fails("APIConnectionError", 0, may=False, attempts=3)
_UNUSABLE: Final = fails("ResponseError", 1, attempts=1)
_AFTER_A_DAY: Final = fails("RateLimitError", 0, may=False, attempts=1, retry_after=86_400.0, at_once=True)
_ELSEWHERE_REFUSED: Final = fails("TooManyRedirectsError", 0, may=False, attempts=1)

_tls_to_mute: Final = partial(_tls_to, do.mute)
_UNAVAILABLE: Final = do.refusing("503 Service Unavailable")

CASES: Final[list[Case]] = [
    _all("refused", "connection refused", _refused, _UNREACHABLE),
    *_lost("reset-before", "reset before the response", do.reset, "APIConnectionError"),
    *_lost("reset-in-body", "reset in the body", do.reset_in_body, "APIConnectionError"),
    *_lost("short-body", "body shorter than its Content-Length", do.short_body, "ResponseError"),
    *_lost("truncated-chunks", "truncated chunked body", do.truncated_chunks, "ResponseError"),
    _all("503-twice", "503 twice, then 200", partial(_peer, faulty(_UNAVAILABLE, times=2)), survives(1)),
    _all(
        "503-always",
        "503 for ever",
        partial(_peer, faulty(_UNAVAILABLE)),
        fails("ServiceUnavailableError", 0, may=False, attempts=3),
        twin=True,
    ),
    _all(
        "retry-after-1",
        "429 with Retry-After: 1, then 200",
        partial(_peer, faulty(do.refusing("429 Too Many Requests", "Retry-After: 1"), times=1)),
        survives(1),
        least=1.0,
    ),
    _all(
        "retry-after-day",
        "429 with Retry-After: 86400",
        partial(_peer, faulty(do.refusing("429 Too Many Requests", "Retry-After: 86400"))),
        _AFTER_A_DAY,
    ),
    _case(
        "silent",
        "silent peer",
        partial(_peer, faulty(do.silent)),
        fails("APITimeoutError", 1, 3),
        fails("APITimeoutError", 1, 3),
        fails("APITimeoutError", 1),
        slow=True,
    ),
    _case(
        "silent-once",
        "silent at first",
        partial(_peer, faulty(do.silent, times=1)),
        survives(2),
        survives(2),
        fails("APITimeoutError", 1, attempts=1),
        twin=True,
        settings={"timeout": {"read": 0.2}},
    ),
    _cut("trickled-body", "trickled body", do.trickled_body),
    _cut("trickled-header", "trickled header", do.trickled_header),
    _cut("endless-103", "endless 103", do.endless_hints),
    *_lost("garbage", "garbage as status line", do.garbage, "APIConnectionError"),
    _case(
        "huge-header",
        "header of 3 MB",
        partial(_peer, faulty(do.huge_header)),
        fails("APIConnectionError", 3),
        fails("APIConnectionError", 3),
        fails("APIConnectionError", 1),
        bulky=True,
    ),
    *_lost("broken-gzip", "damaged gzip", do.broken_gzip, "ResponseError"),
    *_lost("truncated-gzip", "gzip that ends too soon", do.truncated_gzip, "ResponseError"),
    _all("gzip-bomb", "gzip bomb, 100 MiB", partial(_peer, faulty(do.gzip_bomb)), _UNUSABLE, bulky=True),
    _all(
        "endless-body",
        "endless body",
        partial(_peer, faulty(do.endless_body)),
        _UNUSABLE,
        bulky=True,
        twin=True,
    ),
    _all(
        "stacked-codings",
        "the bomb coded twice",
        partial(_peer, faulty(do.stacked_codings)),
        _UNUSABLE,
        bulky=True,
    ),
    _case(
        "conflicting-lengths",
        "two Content-Lengths",
        partial(_peer, faulty(do.conflicting_lengths)),
        fails("APIConnectionError", 3),
        fails("APIConnectionError", 3),
        fails("APIConnectionError", 1),
    ),
    _all(
        "length-and-chunks",
        "Content-Length and chunked",
        partial(_peer, faulty(do.length_and_chunks)),
        survives(1),
    ),
    _case(
        "closed-unread",
        "kept-alive connection closed before the 2nd request was read",
        partial(_peer, do.closes_unread),
        survives(1),
        survives(1),
        fails("APIConnectionError", 0, attempts=1),
        warm=True,
    ),
    _case(
        "closed-read",
        "kept-alive connection closed after the 2nd request was read",
        partial(_peer, do.closes_read),
        survives(2),
        survives(2),
        fails("APIConnectionError", 1, attempts=1),
        warm=True,
    ),
    _all("tls-to-plain", "TLS to a plain port", partial(_tls_to, do.plain_server), _UNREACHABLE),
    _all("connect-hangs", "connecting hangs", _full, _NEVER_SENT, twin=True, settings=_BRIEFLY),
    _all("connect-hangs-late", "the same, until the deadline", _full, _LATE_UNSENT, slow=True, twin=True),
    _all("tls-hangs", "TLS handshake hangs", _tls_to_mute, _NEVER_SENT, twin=True, settings=_BRIEFLY),
    _all("tls-hangs-late", "the same, until the deadline", _tls_to_mute, _LATE_UNSENT, slow=True, twin=True),
    _all("wrong-certificate", "certificate of an unknown authority", _wrong_certificate, _UNREACHABLE),
    _all("dns", "no such host", _nowhere, _UNREACHABLE),
    _case(
        "redirect-loop",
        "redirect loop",
        _redirect_loop,
        fails("TooManyRedirectsError", 0, may=False, attempts=1),
        fails("TooManyRedirectsError", 1, attempts=1),
        fails("TooManyRedirectsError", 1, attempts=1),
    ),
    _case(
        "redirect-away",
        "redirect (302) to another origin",
        partial(_redirect_away, "302 Found"),
        survives(0),
        survives(1),
        survives(1),
    ),
    _case(
        "redirect-body-away",
        "redirect (307) to another origin",
        partial(_redirect_away, "307 Temporary Redirect"),
        survives(0),
        _ELSEWHERE_REFUSED,
        _ELSEWHERE_REFUSED,
    ),
]


def _refused_by_native(error: str) -> dict[Kind, Expected]:
    return {"GET": fails(error, 3, attempts=3), "keyed POST": fails(error, 3, attempts=3), "POST": fails(error, 1)}


NATIVE: Final = {
    # "This ought to be handled as an error" (RFC 9112, section 6.3); h11 believes the chunks.
    "length-and-chunks": _refused_by_native("APIConnectionError"),
}
"""What comes of the cases in which the native engine is stricter than httpx2."""
