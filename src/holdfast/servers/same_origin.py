"""Keeps the pages of other sites from using the servers through the browser of somebody who can reach them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["SameOrigin"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110, section 9.2.1): what they answer, a browser keeps from other sites itself."""


class SameOrigin:
    """ASGI middleware that refuses what a browser sends for a page of another origin. Other clients notice nothing.

    - A request that may change something is answered 403 when it comes from elsewhere. `Sec-Fetch-Site` says so, a
      header that no script can set; browsers that do not send it, or do not send it here, send `Origin` (Fetch,
      section 3.2). A form of another site needs no permission by CORS to send such a request, so CORS is no protection.
    - With `host`, a request under a name that is not ours is answered 421. A site can give its own name our address
      (DNS rebinding) and is then of our origin for the browser. Addresses are let in: no site owns them.

    Args:
        app: what is protected.
        host: the name or address listened on, if that is reached from this machine only; None lets in every name,
            which a server that others reach has to: it does not know how they call it.
    """

    def __init__(self, app: ASGIApp, *, host: str | None = None) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            refusal = self._misdirected(headers.get("Host", "")) or self._foreign(scope["method"], headers)
            if refusal:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _misdirected(self, named: str) -> JSONResponse | None:
        if self._host is None or not named or _is_ours(_name_of(named), self._host.lower()):
            return None
        detail = (
            f"This server is for this machine only: it is called localhost, {self._host} or by an IP address, "
            "not by the name in the request's Host header"
        )
        return JSONResponse({"detail": detail}, 421)

    @staticmethod
    def _foreign(method: str, headers: Headers) -> JSONResponse | None:
        if method in SAFE:
            return None
        site = headers.get("Sec-Fetch-Site")
        if site is not None:
            # "none": typed in by the user.
            ours = site in {"same-origin", "none"}
        else:
            origin = headers.get("Origin")
            ours = origin is None or _place_of(origin) == headers.get("Host", "").lower()
        if ours:
            return None
        return JSONResponse({"detail": "A page of another origin cannot change anything here"}, 403)


def _is_ours(name: str, host: str) -> bool:
    if name in {"localhost", host} or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _name_of(host: str) -> str:
    """The name or address in a Host header, without port and brackets; empty if it cannot be read."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _place_of(origin: str) -> str:
    """Host and port of an origin; empty for "null", which sandboxed pages send, and for what is no URL."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
