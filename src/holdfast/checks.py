"""What may stand in a URL, a header or a file setting, checked where it is given and not when it is first used.

Every function returns the value it accepts and raises `ValueError` for one it refuses. No message repeats the value
of a header or the credentials of a URL.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ID_PREFIX = re.compile(r"[0-9A-Za-z._~-]{1,64}")
_HOST = re.compile(rb"(?:[0-9A-Za-z_-]{1,63}\.)*[0-9A-Za-z_-]{1,63}\.?")
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_EXAMPLE = "give an absolute URL such as 'https://api.example.com'"

_FRAMING = frozenset({"content-length", "transfer-encoding"})
_PER_CALL = {"x-request-id": "request_id=", "idempotency-key": "idempotency_key="}


def base_url(value: str | None, field: str = "base_url") -> str:
    """Accepts an absolute http or https URL without credentials, query, fragment and dot segments (RFC 3986)."""
    if value is None or not value.strip():
        shown = "None" if value is None else "empty"
        raise ValueError(
            f"{field} is {shown}; if it is read from an environment variable, that variable is probably unset;"
            f" {_EXAMPLE}"
        )
    if _BLANK.search(value) or "\\" in value:
        raise ValueError(f"{field} contains white space, a control character or a backslash; {_EXAMPLE}")
    if value.partition("://")[0].lower() not in ("http", "https"):
        raise ValueError(f"{field} does not start with http:// or https://; {_EXAMPLE}")
    authority, _, path = value.partition("://")[2].partition("/")
    if "@" in authority:
        raise ValueError(
            f"{field} contains a user name or password, which would end up in logs;"
            " send credentials with headers={'Authorization': ...} or with auth="
        )
    if "?" in value or "#" in value:
        raise ValueError(f"{field} contains a query or fragment; give query parameters on the call, with params=")
    if any(segment in (".", "..") for segment in unquote(path).split("/")):
        raise ValueError(f"{field} contains a '.' or '..' path segment; write the path it stands for")
    _parse(field, value)
    return value


def proxy(value: str) -> str:
    """Accepts the URL of an HTTP or SOCKS proxy; it may carry a user name and password."""
    if _BLANK.search(value) or value.partition("://")[0].lower() not in ("http", "https", "socks5", "socks5h"):
        raise ValueError("proxy is not a URL that starts with http://, https://, socks5:// or socks5h://")
    _parse("proxy", value)
    return value


def _parse(field: str, value: str) -> None:
    import httpx2

    try:
        url = httpx2.URL(value)
    except (httpx2.InvalidURL, ValueError):
        raise ValueError(f"{field} is not a valid URL: its host or port cannot be read") from None
    if not url.host:
        raise ValueError(f"{field} has no host; {_EXAMPLE}")
    if ":" not in url.host and not _HOST.fullmatch(url.raw_host):
        raise ValueError(f"{field} has a host that is no host name of RFC 1123; {_EXAMPLE}")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError(f"{field} has a port outside 1 to 65535")


def header_name(value: str) -> str:
    """Accepts a token of RFC 9110, section 5.1."""
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{value!r} is not a header name: letters, digits and !#$%&'*+-.^_`|~ only")
    return value


def header_value(name: str, value: str) -> str:
    """Accepts a field value of RFC 9110, section 5.5, in Latin-1; `name` is for the message, which hides the value."""
    if "\r" in value or "\n" in value:
        raise ValueError(f"the value of {name} contains a line break")
    if value != value.strip():
        raise ValueError(f"the value of {name} begins or ends with white space")
    for character in value:
        if (character < " " and character != "\t") or character == "\x7f":
            raise ValueError(f"the value of {name} contains a control character")
        if character > "\xff":
            raise ValueError(
                f"the value of {name} contains a character outside Latin-1; encode it, for example as RFC 8187"
            )
    return value


def default_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Accepts headers that can go along with every request: well formed, each once, none that differs per request."""
    seen: dict[str, str] = {}
    for name, value in headers.items():
        header_value(header_name(name), value)
        lowered = name.lower()
        if lowered in seen:
            raise ValueError(f"{name} and {seen[lowered]} are the same header")
        if lowered in _FRAMING:
            raise ValueError(f"{name} differs with every body and is set by the client")
        if lowered in _PER_CALL:
            raise ValueError(f"{name} must differ for every call; give {_PER_CALL[lowered]} on the call")
        seen[lowered] = name
    return dict(headers)


def request_id_prefix(value: str) -> str:
    """Accepts at most 64 unreserved characters of RFC 3986, which pass unchanged through headers, URLs and logs."""
    if not _ID_PREFIX.fullmatch(value):
        raise ValueError("request_id_prefix must be 1 to 64 letters, digits or . _ ~ -")
    return value


def existing(field: str, path: str) -> str:
    """Accepts the path of a file or directory that is there."""
    if not Path(path).exists():
        raise ValueError(f"{field} names the file {path!r}, which does not exist")
    return path
