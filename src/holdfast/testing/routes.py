"""Which requests are meant: ``"GET /users/*"``, read once and asked often."""

from __future__ import annotations

from collections.abc import Iterable

import httpx2


class Route:
    """The requests that a pattern means.

    Args:
        pattern: a method (any, if left out) and a path or absolute URL: ``"POST /orders"``, ``"/users/*"``,
            ``"GET https://other.example.com/x"``. A segment ``*`` stands for any one, ``**`` at the end for all that
            follows. What is given as query must be in that of the request; without one it may have any.

    Raises:
        ValueError: it is not of this form.
    """

    __slots__ = ("host", "method", "pattern", "query", "segments")

    def __init__(self, pattern: str) -> None:
        method, _, place = pattern.strip().rpartition(" ")
        method = method.strip()
        if not place or (method and not method.isalpha()):
            raise ValueError(f"{pattern!r} is no route: expected a method and a path, such as 'GET /users/*'")
        url = httpx2.URL(place)
        if not url.path.startswith("/"):
            raise ValueError(f"{pattern!r} is no route: its path must begin with '/'")
        self.pattern = pattern
        self.method = method.upper()
        self.host = url.copy_with(raw_path=b"/") if url.is_absolute_url else None
        self.segments = url.path.split("/")
        self.query = list(url.params.multi_items())

    def fits(self, request: httpx2.Request) -> bool:
        """Whether this request is meant."""
        url = request.url
        if self.method and self.method != request.method:
            return False
        if self.host is not None and self.host != url.copy_with(raw_path=b"/"):
            return False
        given = url.params.multi_items()
        return all(pair in given for pair in self.query) and _fits(self.segments, url.path.split("/"))


def _fits(wanted: list[str], given: list[str]) -> bool:
    if wanted[-1] == "**":
        wanted = wanted[:-1]
        if len(given) < len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(one in ("*", other) for one, other in zip(wanted, given, strict=True))


def told(requests: Iterable[httpx2.Request]) -> str:
    """Requests for people, one on each line."""
    lines = []
    for number, request in enumerate(requests, start=1):
        body = request.content.decode("utf-8", "replace")
        shown = body if len(body) <= _SHOWN else f"{body[:_SHOWN]}... ({len(body):,} characters)"
        lines.append(f"  {number}. {request.method} {request.url}" + (f"  {shown}" if shown else ""))
    return "\n".join(lines) or "  none"


_SHOWN = 200  # characters of a body
