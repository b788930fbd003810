"""Which URL a call goes to, and whether credentials may go there.

Credentials belong to the origin of `base_url` (RFC 6454: scheme, host, port) and to no other. References are resolved
below the path of `base_url` and cannot climb out of it.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import httpx2

from holdfast.redaction import redact_url

_MOST_TARGETS = 1024
_CONTROLS = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(rb"[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*\.?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class BadURL(ValueError):
    """A URL that no request can, or may, be sent to. The message says why."""


class Target:
    """A parsed URL with what every request to it needs. One is shared by all calls to a URL."""

    __slots__ = ("contexts", "headers", "host", "origin", "own", "path", "routes", "url")

    def __init__(self, url: httpx2.URL, own: str | None) -> None:
        self.url = url
        self.origin = origin_of(url)
        self.own = own is None or self.origin == own
        self.host = url.netloc
        self.path = url.raw_path.decode("ascii").partition("?")[0]
        self.headers: list[tuple[bytes, bytes]] | None = None  # what every request to it carries, filled in later
        self.routes: dict[str, str] = {}
        self.contexts: list[Any] = [None, None]


def origin_of(url: httpx2.URL) -> str:
    """The origin as text, such as ``https://api.example.com`` or ``http://[::1]:8000``; default ports are left out."""
    host = url.raw_host.decode("ascii")
    if ":" in host:
        host = f"[{host}]"
    port = url.port
    if port is None or port == _DEFAULT_PORTS.get(url.scheme):
        return f"{url.scheme}://{host}"
    return f"{url.scheme}://{host}:{port}"


class Origins:
    """Resolves what a caller typed against `base_url`, remembering what it has parsed."""

    def __init__(self, base_url: str) -> None:
        base = _parse(base_url)
        _require_http(base, base_url)
        raw_path = base.raw_path.decode("ascii").partition("?")[0]
        self._base = base.copy_with(raw_path=(raw_path.rstrip("/") + "/").encode("ascii"), fragment=None)
        self._prefix = self._base.raw_path.decode("ascii")
        self.own = origin_of(self._base)
        self._targets: dict[str, Target] = {}

    def target(self, url: str | httpx2.URL) -> Target:
        """Where `url`, absolute or relative to `base_url`, leads.

        Raises:
            BadURL: not http or https, no host, credentials or control characters in it, or a dot segment in its path.
            TypeError: neither str nor `httpx2.URL`.
        """
        target = self._targets.get(url) if url.__class__ is str else None
        if target is None:
            text = str(url) if isinstance(url, httpx2.URL) else url
            if not isinstance(text, str):
                raise TypeError(f"url must be str or httpx2.URL, not {type(url).__name__}")
            target = Target(self._resolve(text), self.own)
            if len(self._targets) >= _MOST_TARGETS:
                self._targets.clear()
            self._targets[text] = target
        return target

    def encoded(self, url: httpx2.URL) -> Target:
        """The target of a URL that was resolved before and then got query parameters."""
        return Target(url, self.own)

    def redirected(self, current: httpx2.URL, location: str) -> Target:
        """Where a Location header leads (RFC 9110, section 10.2.2), a fragment dropped.

        Raises:
            BadURL: as for `target`, except that dot segments are resolved as RFC 3986 says.
        """
        try:
            url = current.join(location)
        except (httpx2.InvalidURL, ValueError) as error:
            raise BadURL(f"the Location {_shown(location)} is not a URL: {error}") from None
        _require_http(url, location)
        return Target(url.copy_with(fragment=None), self.own)

    def _resolve(self, text: str) -> httpx2.URL:
        if _CONTROLS.search(text):
            raise BadURL(f"the URL {_shown(text)} contains white space or a control character: quote it")
        path = text.partition("?")[0].partition("#")[0]
        scheme, separator, _ = path.partition("://")
        absolute = bool(separator) and "/" not in scheme
        plain = path
        while (decoded := unquote(plain)) != plain:
            plain = decoded
        # Some servers take what follows a semicolon off a segment before they resolve the dots.
        segments = {segment.partition(";")[0] for segment in plain.replace("\\", "/").split("/")}
        if "." in segments or ".." in segments:
            raise BadURL(f"the URL {_shown(text)} contains a dot segment, which could lead out of the path of base_url")
        if absolute:
            url = _parse(text)
            _require_http(url, text)
            return url.copy_with(fragment=None)
        if text.startswith(("//", "\\", "/\\")):
            raise BadURL(f"the URL {_shown(text)} names a host but no scheme: write http:// or https://")
        reference = text.partition("#")[0]
        if ":" in reference.partition("/")[0].partition("?")[0]:
            raise BadURL(
                f"the URL {_shown(text)} is neither http nor https, nor a path (a path with a colon starts with '/')"
            )
        if not reference or reference.startswith("?"):
            return _parse(f"{self.own}{self._prefix.rstrip('/') or '/'}{reference}")
        return _parse(f"{self.own}{self._prefix}{reference.lstrip('/')}")


def _parse(text: str) -> httpx2.URL:
    try:
        return httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError, UnicodeError) as error:
        raise BadURL(f"{_shown(text)} is not a URL: {error}") from None


def _require_http(url: httpx2.URL, text: str) -> None:
    if url.scheme not in ("http", "https"):
        raise BadURL(f"{_shown(text)} is not an http or https URL")
    if not url.host:
        raise BadURL(f"{_shown(text)} has no host")
    if url.userinfo:
        raise BadURL(f"the URL for {url.host!r} carries credentials: pass them as auth=(user, password)")
    if ":" not in url.host and not _HOST.fullmatch(url.raw_host):
        raise BadURL(f"{_shown(text)} has a host that is no host name of RFC 1123, and no address")
    if url.port is not None and not 0 < url.port < 65536:
        raise BadURL(f"{_shown(text)} has a port outside 1 to 65535")


def _shown(text: str) -> str:
    """A URL as a message may show it."""
    return repr(redact_url(text))
