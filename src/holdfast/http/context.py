"""What travels on from the request that this process is serving to the requests that it sends meanwhile."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from holdfast.http.ids import RequestIds

serving: ContextVar[tuple[str, str | None] | None] = ContextVar("holdfast_serving", default=None)
"""The request being served: its id, sent as ``X-Correlation-ID``, and its W3C ``traceparent``, sent as it is."""

_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")
_ID = re.compile(r"[!-~]{1,200}")
_fresh = RequestIds()
# Or parent and child would make the same ones.
os.register_at_fork(after_in_child=_fresh.renew)


def get_request_id() -> str:
    """The id of the request that the current context is serving; a fresh one where there is none."""
    current = serving.get()
    return _fresh.next() if current is None else current[0]


def is_request_id(value: str) -> bool:
    """Whether it can be the id of a request: visible ASCII, 1 to 200 characters."""
    return _ID.fullmatch(value) is not None


def is_traceparent(value: str) -> bool:
    """Whether it can be a ``traceparent`` (W3C Trace Context, section 3.2)."""
    return _TRACE_PARENT.fullmatch(value) is not None


@contextmanager
def request_context(request_id: str | None = None, *, traceparent: str | None = None) -> Iterator[str]:
    """Marks everything inside as done for one incoming request.

    Calls made inside carry `request_id` as ``X-Correlation-ID`` and the `traceparent`. They do not carry it as
    ``X-Request-ID``: two POSTs made for one incoming request are two requests.

    Args:
        request_id: the incoming request's id: visible ASCII, at most 200 characters. None: a fresh one.
        traceparent: the incoming ``traceparent`` header (W3C Trace Context, section 3.2). None: none is sent.

    Yields:
        The id in force.

    Raises:
        ValueError: an id or traceparent that could not stand in a header.
    """
    current = _fresh.next() if request_id is None else request_id
    if not is_request_id(current):
        raise ValueError(f"request_id must be 1 to 200 visible ASCII characters, not {current!r}")
    if traceparent is not None and not is_traceparent(traceparent):
        raise ValueError(f"traceparent is not of the form 00-<32 hex>-<16 hex>-<2 hex>: {traceparent!r}")
    token = serving.set((current, traceparent))
    try:
        yield current
    finally:
        serving.reset(token)
