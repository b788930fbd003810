"""Follows redirects hop by hop, inside one attempt, so that nothing leaves an origin that was meant for it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import httpx2

from holdfast.core.effects import Failed, Flow, Io, Job
from holdfast.http.engines.base import EngineError, Phase, Sent
from holdfast.http.origins import BadURL, Origins, Target

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RESULTS = frozenset({301, 302, 303})
_BODY_HEADERS = frozenset({b"content-length", b"content-type", b"content-encoding", b"transfer-encoding"})


class RedirectRefused(Exception):
    """A redirect that must not be followed. The message says why."""


class Redirects:
    """The `follow` port.

    Args:
        origins: tells where a Location leads, and whether that is the origin of `base_url`.
        neutral: the headers that any server may see, such as Accept and User-Agent.
        most: how many redirects one attempt follows.
        load: reads what is left of a streamed reply, and closes it.
        cookies: the Cookie header for a URL of the own origin, if there is any.
    """

    def __init__(
        self,
        origins: Origins,
        neutral: list[tuple[bytes, bytes]],
        most: int,
        load: Callable[[Any], Any],
        cookies: Callable[[httpx2.URL], bytes | None],
    ) -> None:
        self._origins = origins
        self._neutral = neutral
        self._most = most
        self._load = load
        self._cookies = cookies

    def follow(self, job: Job, reply: Any) -> Flow[Any]:
        """The reply at the end of the redirects, or a `Failed` with what refused one."""
        history: list[httpx2.Response] = []
        hop = job
        while reply.status_code in _REDIRECTS and isinstance(reply, httpx2.Response):
            location = reply.headers.get("location")
            if location is None:
                break
            if job.stream:
                reply = yield Io(self._load, reply, job.deadline)
                if reply.__class__ is Failed:
                    return reply
            try:
                if len(history) >= self._most:
                    raise RedirectRefused(f"more than max_redirects={self._most} redirects")
                hop = self._next(hop, reply.status_code, self._origins.redirected(hop.url, location))
            except (RedirectRefused, BadURL) as error:
                sent = Sent.MAYBE if acted_upon(job, (*history, reply)) else Sent.NO
                return Failed(EngineError(str(error), sent=sent, phase="build", cause=RedirectRefused(str(error))))
            reply.history = list(history)
            history.append(reply)
            reply = yield hop
        if reply.__class__ is Failed:
            return Failed(_executed(reply.error)) if acted_upon(job, history) else reply
        if history:
            reply.history = history
        return reply

    def _next(self, hop: Job, status: int, target: Target) -> Job:
        method = _method(hop.method, status)
        keeps_body = method == hop.method and hop.body != b""
        same = target.origin == hop.context.origin
        if keeps_body and not same:
            raise RedirectRefused(f"a {status} to another origin, {target.origin}, asks for the body to be sent there")
        if keeps_body and not hop.replayable:
            raise RedirectRefused(f"a {status} asks for the body again, which can be sent only once")
        if same:
            headers = [
                pair
                for pair in hop.headers
                if pair[0].lower() != b"host"
                and pair[0].lower() != b"cookie"
                and (keeps_body or pair[0].lower() not in _BODY_HEADERS)
            ]
            cookie = self._cookies(target.url) if target.own else None
            if cookie is not None:
                headers.append((b"Cookie", cookie))
        else:
            headers = list(self._neutral)
        headers.insert(0, (b"Host", target.host))
        body = hop.body if keeps_body else b""
        job = Job(
            method,
            target.url,
            headers,
            body,
            hop.timeouts,
            hop.plan,
            hop.key,
            hop.route,
            hop.id,
            hop.context.at(target),
        )
        job.stream = hop.stream
        job.cap = hop.cap
        job.replayable = hop.replayable
        job.deadline = hop.deadline
        return job


def acted_upon(job: Job, replies: Iterable[httpx2.Response]) -> bool:
    """Whether the first request, if it is not idempotent, was answered with a redirect to its result.

    303 says so (RFC 9110, section 15.4.4), and 301 and 302 after a POST are used to say the same.
    """
    return not job.idempotent and any(reply.status_code in _RESULTS for reply in replies)


def _executed(error: Exception) -> Exception:
    """What kept a redirect from being fetched, which does not undo what had led to it."""
    if not isinstance(error, EngineError) or error.sent is Sent.MAYBE:
        return error
    phase: Phase = "head" if error.phase in ("connect", "pool") else error.phase
    return EngineError(str(error), sent=Sent.MAYBE, phase=phase, cause=error.cause, timed_out=error.timed_out)


def _method(method: str, status: int) -> str:
    """The method of the next request (RFC 9110, sections 15.4.2 to 15.4.4, as user agents apply them)."""
    if status == 303 and method != "HEAD":
        return "GET"
    if status in (301, 302) and method == "POST":
        return "GET"
    return method
