"""Runs httpx2's `Auth` objects, whose flows are public generators, as the core's authenticators."""

from __future__ import annotations

import inspect
from typing import Any

import httpx2

from holdfast.core.effects import Failed, Flow, Io, Job
from holdfast.core.ports import Authenticator


def as_auth(auth: Any) -> httpx2.Auth:
    """What httpx2 accepts as `auth`, as an `Auth` object.

    Raises:
        TypeError: it is none of a (user, password) tuple, a callable or an `httpx2.Auth`.
    """
    if isinstance(auth, httpx2.Auth):
        return auth
    if isinstance(auth, tuple) and len(auth) == 2:
        return httpx2.BasicAuth(username=auth[0], password=auth[1])
    if callable(auth):
        return httpx2.FunctionAuth(auth)
    raise TypeError(f"auth must be (user, password), a callable or an httpx2.Auth, not {type(auth).__name__}")


class HttpxAuth(Authenticator):
    """One call's run of an `httpx2.Auth`. Every attempt starts its flow anew."""

    def __init__(self, auth: httpx2.Auth, *, sync: bool) -> None:
        self._auth = auth
        self._sync = sync
        self._plain: list[tuple[bytes, bytes]] | None = None
        self._flow: Any = None

    def apply(self, job: Job) -> Flow[None]:
        """Runs the flow to its first request, and takes over the headers of that."""
        if self._plain is None:
            self._plain = job.headers
        job.headers = self._plain
        body = job.body
        if body.__class__ is bytes:
            stream: Any = httpx2.ByteStream(body)
        elif self._auth.requires_request_body:
            raise TypeError("this auth needs the whole body: pass bytes, text, JSON or form data, not a stream")
        else:
            stream = httpx2.ByteStream(b"")
        request = httpx2.Request(job.method, job.url, headers=job.headers, stream=stream)
        flow = self._auth.sync_auth_flow(request) if self._sync else self._auth.async_auth_flow(request)
        self._flow = flow
        prepared = yield Io(_first, flow, job.deadline)
        if prepared.__class__ is Failed:
            raise prepared.error
        job.headers = prepared.headers.raw

    def retry(self, job: Job, reply: Any) -> Flow[bool]:
        """Hands the reply to the flow. It may ask for one more request, as digest authentication does after a 401."""
        following = yield Io(_next, (self._flow, reply), job.deadline)
        if following.__class__ is Failed:
            raise following.error
        if following is None:
            return False
        if not job.replayable:
            return False
        job.headers = following.headers.raw
        return True


def _first(flow: Any) -> Any:
    return flow.__anext__() if inspect.isasyncgen(flow) else next(flow)


def _next(step: tuple[Any, Any]) -> Any:
    flow, reply = step
    if inspect.isasyncgen(flow):
        return _next_async(flow, reply)
    try:
        return flow.send(reply)
    except StopIteration:
        return None


async def _next_async(flow: Any, reply: Any) -> Any:
    try:
        return await flow.asend(reply)
    except StopAsyncIteration:
        return None
