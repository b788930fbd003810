"""What a caller gave for a request, checked: nothing that cannot be sent, or contradicts the rest, goes out."""

from __future__ import annotations

import re
from typing import Any

import httpx2

__all__ = ["BAD_VALUE", "BadRequest", "check_framing", "checked_method", "given_headers", "set_default"]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$")
"""What no header value may contain (RFC 9110, section 5.5)."""


class BadRequest(ValueError):
    """A request that cannot be built. `field` names the argument at fault."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def given_headers(headers: Any) -> list[tuple[bytes, bytes]]:
    """Headers in any form that httpx2 takes, as they go out."""
    try:
        pairs: list[tuple[bytes, bytes]] = httpx2.Headers(headers).raw
    except (TypeError, ValueError, AttributeError) as error:
        # A UnicodeEncodeError shows what it could not encode, which may be a secret.
        why = "names and values must be ASCII" if isinstance(error, UnicodeError) else str(error)
        raise BadRequest(f"headers cannot be encoded: {why}", "headers") from None
    for name, value in pairs:
        if not _TOKEN.fullmatch(name):
            raise BadRequest(f"header name {name.decode('latin-1')!r} contains characters it must not", "headers")
        if BAD_VALUE.search(value):
            shown = name.decode("ascii")
            raise BadRequest(f"the value of header {shown!r} contains a control character or outer space", "headers")
    return pairs


def check_framing(given: list[tuple[bytes, bytes]], body: Any) -> None:
    """Refuses headers about the length of the body that contradict the body (RFC 9112, section 6)."""
    for name, value in given:
        lower = name.lower()
        if lower == b"transfer-encoding":
            raise BadRequest("header 'Transfer-Encoding' is set by the client, as the body needs it", "headers")
        fits = value == b"%d" % len(body) if isinstance(body, bytes) else value.isdigit()
        if lower == b"content-length" and not fits:
            raise BadRequest("header 'Content-Length' is not the length of the body", "headers")


def checked_method(method: Any) -> str:
    """A method in capitals."""
    if not isinstance(method, str) or not _TOKEN.fullmatch(method.encode("ascii", "replace")):
        raise BadRequest(f"method must be a token such as 'GET', not {method!r}", "method")
    return method.upper()


def set_default(headers: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> None:
    """Adds a header, unless there is one of that name."""
    lower = name.lower()
    for known, _ in headers:
        if known.lower() == lower:
            return
    headers.append((name, value))
