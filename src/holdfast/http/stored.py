"""Responses in storable form: what the cache keeps, and the response of their own that every caller gets from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2

from holdfast.core.effects import Job
from holdfast.core.ports import CacheUse, Frozen
from holdfast.http.headers import cache_control, freshness, vary

_STORABLE = frozenset({200, 203, 204})
_OVERHEAD = 500  # bytes that the objects around a body take


class StoredResponse(httpx2.Response):
    """A response from the cache: an `httpx2.Response` of the caller's own.

    Its `request` is made, and the stored `headers` are copied, when they are looked at.
    """

    _job: Job | Callable[[], Job] | None
    _headers: httpx2.Headers
    _is_stored = False

    @property
    def headers(self) -> httpx2.Headers:
        """The headers, which this caller may change."""
        if self._is_stored:
            self.headers = httpx2.Headers(self._headers)
        return self._headers

    @headers.setter
    def headers(self, value: httpx2.Headers) -> None:
        self._headers = value
        self._is_stored = False

    @property
    def request(self) -> httpx2.Request:
        """The request that this caller would have sent."""
        made: httpx2.Request | None = self._request
        if made is None:
            job = self._job
            if job is None:
                raise RuntimeError("a stored response has no request before it is handed out")
            if not isinstance(job, Job):
                job = job()
            made = self._request = httpx2.Request(job.method, job.url, headers=job.headers)
        return made

    @request.setter
    def request(self, value: httpx2.Request) -> None:
        self._request = value

    def __getstate__(self) -> dict[str, Any]:
        self.request  # noqa: B018  # a pickle cannot make it later
        state: dict[str, Any] = super().__getstate__()
        state["_job"] = None
        return state


class Storage:
    """The `freeze` port."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    def freeze(self, job: Job, reply: Any) -> Frozen | None:
        """A storable form of the reply to a cached call.

        None if it must not be stored: not a success, ``Vary: *``, or, where the TTL comes from the response, marked
        ``no-store`` or ``private``, setting a cookie, or without any lifetime (RFC 9111, section 3).
        """
        if not isinstance(reply, httpx2.Response) or reply.status_code not in _STORABLE:
            return None
        use: CacheUse = job.cache
        raw = reply.headers.raw
        names = vary(raw)
        if names is None:
            return None
        ttl, revalidate, on_error = use.ttl, use.stale_while_revalidate, use.stale_if_error
        if ttl is None:
            control = cache_control(raw)
            lifetime = freshness(raw, self._wall())
            if control.no_store or control.private or lifetime is None or "set-cookie" in reply.headers:
                return None
            ttl = 0.0 if control.no_cache else max(lifetime, 0.0)
            if control.must_revalidate or control.no_cache:
                revalidate = on_error = 0.0
            else:
                revalidate = max(revalidate, control.stale_while_revalidate or 0.0)
                on_error = max(on_error, control.stale_if_error or 0.0)
            if ttl + revalidate + on_error <= 0.0:
                return None
        size = len(reply.content) + sum(len(name) + len(value) for name, value in raw) + _OVERHEAD
        return Frozen(thaw(reply, None), size, ttl, revalidate, on_error, names)


_new = StoredResponse.__new__


def thaw(response: httpx2.Response, job: Job | Callable[[], Job] | None) -> StoredResponse:
    """A response of the caller's own from another one. `job`: of the call, or what makes it when looked at."""
    # What a shallow copy does, without its detour through pickling: a cache hit costs a tenth of it.
    settle = getattr(response, "settle", None)  # of one of the native engine, which is not all made yet
    attributes = response.__dict__.copy() if settle is None else settle()
    if response.__class__ is not StoredResponse:
        attributes["_headers"] = httpx2.Headers(attributes.pop("headers"))
        attributes["_is_stored"] = True
    attributes["extensions"] = {}
    attributes["history"] = []
    attributes["_request"] = None
    attributes["_job"] = job
    copy = _new(StoredResponse)
    copy.__dict__ = attributes
    return copy
