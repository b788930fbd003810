"""How services divide lists into pages: by offset, by page number, by cursor, or by a Link header."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import httpx2

__all__ = ["Cursor", "LinkHeader", "Offset", "PageNumber", "Paging", "at"]


@dataclass(frozen=True, slots=True)
class Step:
    """Where a page is: parameters of the query in place of those before, or a URL of its own."""

    query: Mapping[str, Any] | None = None
    url: str | None = None


class Paging(Protocol):
    """A way of dividing a list into pages."""

    def after(self, query: Mapping[str, Any], count: int, body: Any, response: httpx2.Response) -> Step | None:
        """Where the page after this one is, None if this was the last.

        Args:
            query: what this page was asked for with.
            count: the items in it.
            body: its JSON.
            response: what that came in.
        """
        ...

    def total(self, body: Any, response: httpx2.Response) -> int | None:
        """How many items there are in all, if the service tells."""
        ...


@dataclass(frozen=True, slots=True)
class Offset:
    """Pages by the number of items before them: ``?limit=100&offset=200``.

    The list ends with the total, if the service tells one, else with a page that is not full, or empty.

    Attributes:
        offset, limit: names of the parameters.
        count: where in the answer the total is, see `at`.
    """

    offset: str = "offset"
    limit: str = "limit"
    count: str = "total"

    def after(self, query: Mapping[str, Any], count: int, body: Any, response: httpx2.Response) -> Step | None:
        """See `Paging.after`."""
        if not count:
            return None
        seen = int(query.get(self.offset) or 0) + count
        total = self.total(body, response)
        if total is not None:
            more = seen < total
        else:
            limit = query.get(self.limit)
            more = limit is None or count >= int(limit)
        return Step({self.offset: seen}) if more else None

    def total(self, body: Any, response: httpx2.Response) -> int | None:
        """See `Paging.total`."""
        return _whole(at(body, self.count))


@dataclass(frozen=True, slots=True)
class PageNumber:
    """Pages by their number: ``?page=3&per_page=20``.

    Attributes:
        page, size: names of the parameters.
        count, pages: where in the answer the total, and the number of pages, are; see `at`.
        first: the number of the first page.
    """

    page: str = "page"
    size: str = "per_page"
    count: str = "total"
    pages: str = "pages"
    first: int = 1

    def after(self, query: Mapping[str, Any], count: int, body: Any, response: httpx2.Response) -> Step | None:
        """See `Paging.after`."""
        number = int(query.get(self.page) or self.first)
        size = query.get(self.size) or at(body, self.size)
        pages, total = _whole(at(body, self.pages)), self.total(body, response)
        if not count:
            return None
        if pages is not None:
            more = number - self.first + 1 < pages
        elif total is not None and _whole(size):
            more = (number - self.first + 1) * int(size) < total
        else:
            more = size is None or count >= int(size)
        return Step({self.page: number + 1}) if more else None

    def total(self, body: Any, response: httpx2.Response) -> int | None:
        """See `Paging.total`."""
        return _whole(at(body, self.count))


@dataclass(frozen=True, slots=True)
class Cursor:
    """Pages by a text that the page before tells: ``?cursor=b2Zmc2V0``.

    Attributes:
        cursor: name of the parameter.
        next: where in the answer the next cursor is, see `at`. The list ends where it is missing, null or empty.
        count: where the total is.
    """

    cursor: str = "cursor"
    next: str = "next_cursor"
    count: str = "total"

    def after(self, query: Mapping[str, Any], count: int, body: Any, response: httpx2.Response) -> Step | None:
        """See `Paging.after`."""
        following = at(body, self.next)
        return Step({self.cursor: following}) if following not in (None, "", False) else None

    def total(self, body: Any, response: httpx2.Response) -> int | None:
        """See `Paging.total`."""
        return _whole(at(body, self.count))


@dataclass(frozen=True, slots=True)
class LinkHeader:
    """Pages by the header ``Link: <...>; rel="next"`` (RFC 8288).

    Attributes:
        count: the header that tells the total, if there is one.
    """

    count: str = "X-Total-Count"

    def after(self, query: Mapping[str, Any], count: int, body: Any, response: httpx2.Response) -> Step | None:
        """See `Paging.after`."""
        link = response.links.get("next", {}).get("url")
        return Step(url=str(response.url.join(link))) if link else None

    def total(self, body: Any, response: httpx2.Response) -> int | None:
        """See `Paging.total`."""
        told = response.headers.get(self.count, "")
        return int(told) if told.isascii() and told.isdigit() else None


def at(body: Any, path: str) -> Any:
    """What is in a JSON object under a name, or under names joined by dots; None if nothing is."""
    for name in path.split("."):
        if not isinstance(body, Mapping) or name not in body:
            return None
        body = body[name]
    return body


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def position_of(step: Step) -> str:
    """A place in a list as text."""
    what = {"url": step.url} if step.url is not None else {"query": step.query}
    return base64.urlsafe_b64encode(json.dumps(what, separators=(",", ":")).encode()).decode().rstrip("=")


def step_at(position: str) -> Step:
    """The place that a text stands for."""
    try:
        what = json.loads(base64.urlsafe_b64decode(position + "=" * (-len(position) % 4)))
        url, query = what.get("url"), what.get("query")
        if not isinstance(url, str | None) or not isinstance(query, dict | None) or (url is None) is (query is None):
            raise ValueError("neither a URL nor a query")
        return Step(query, url)
    except (AttributeError, TypeError, ValueError, binascii.Error, RecursionError):
        raise ValueError(f"{position!r} is not the position of a page") from None
