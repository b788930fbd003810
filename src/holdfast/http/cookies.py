"""The cookie jar of a client: takes cookies from the origin of `base_url` and from nobody else."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.request
from collections.abc import Callable
from typing import Any

import httpx2

from holdfast.http.origins import origin_of

_SENDABLE = re.compile(r"[\t\x20-\x7e]*+")


def _nothing() -> None:
    """Nobody has to be told."""


class OriginJar(http.cookiejar.CookieJar):
    """A jar that another origin can neither read nor fill.

    `filled` is False until the first cookie comes, so that calls without cookies need not look; then `on_filled` is
    called.
    """

    def __init__(self, own: str) -> None:
        super().__init__()
        self._own = own
        self.filled = False
        self.on_filled: Callable[[], None] = _nothing

    def set_cookie(self, cookie: http.cookiejar.Cookie) -> None:
        """Takes a cookie."""
        super().set_cookie(cookie)
        if not self.filled:
            self.filled = True
            self.on_filled()

    def extract_cookies(self, response: Any, request: urllib.request.Request) -> None:
        """Takes the cookies that a response of the own origin sets (RFC 6265)."""
        if origin_of(httpx2.URL(request.full_url)) == self._own:
            super().extract_cookies(response, request)

    def make_cookies(self, response: Any, request: urllib.request.Request) -> list[http.cookiejar.Cookie]:
        """The cookies of a response that can be sent back.

        Others are ignored (RFC 6265, section 4.1.1, has them in ASCII): each request would fail for them from then on.
        """
        return [one for one in super().make_cookies(response, request) if _is_sendable(one)]

    def header_for(self, url: httpx2.URL) -> bytes | None:
        """The Cookie header for a URL, if any cookie goes there."""
        if not self.filled or origin_of(url) != self._own:
            return None
        request = httpx2.Request("GET", url, cookies=httpx2.Cookies(self), stream=httpx2.ByteStream(b""))
        value = request.headers.get("cookie")
        return value.encode("ascii") if value else None


def _is_sendable(cookie: http.cookiejar.Cookie) -> bool:
    return all(_SENDABLE.fullmatch(text or "") for text in (cookie.name, cookie.value))
