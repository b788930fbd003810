"""Keeps secrets out of what people read: header lists and URLs for logs, messages, exceptions and pickles.

Masking too much costs a look-up, masking too little a leaked credential, so names decide generously.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

REDACTED = "[redacted]"
"""What stands for the value of a secret header."""

URL_MASK = "***"
"""What stands for a secret in a URL: unlike brackets, it needs no quoting there (RFC 3986, section 2.2)."""

_IN_HEADER_NAMES = (
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "jwt",
    "key",
    "passphrase",
    "passw",
    "secret",
    "signature",
    "token",
    "x-auth",
)
# Ids and counters that are read when something goes wrong, and that open nothing by themselves.
_HARMLESS_HEADERS = frozenset({"idempotency-key", "sec-websocket-key", "surrogate-key"})
_HARMLESS_PREFIXES = ("ratelimit", "x-ratelimit")

_IN_PARAMETER_NAMES = ("authorization", "credential", "passphrase", "passw", "secret", "signature")
_PARAMETER_WORDS = frozenset({"auth", "bearer", "jwt", "pwd", "sig"})
_PARAMETER_ENDINGS = ("key", "token")

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORDS = re.compile(r"[a-z0-9]+")
_USERINFO = re.compile(r"(?<=//)([^/?#]*)@")
# A password that holds an unquoted "/", "?" or "#" ends the authority early; what follows the colon is then no port.
_TORN_USERINFO = re.compile(r"(?<=//)([^/?#:@\[\]]*:(?!\d*(?:[/?#]|$)).*)@", re.DOTALL)
_LINK_TARGET = re.compile(r"<([^>]*)>")


def is_secret_header(name: str, extra: Collection[str] = frozenset()) -> bool:
    """Whether the value of the header `name` is kept from people; `extra` adds names, in any case."""
    if extra and name.lower() in {one.lower() for one in extra}:
        return True
    return _is_secret_header(name)


@lru_cache(maxsize=1024)
def _is_secret_header(name: str) -> bool:
    lower = name.lower()
    if lower in _HARMLESS_HEADERS or lower.startswith(_HARMLESS_PREFIXES):
        return False
    return any(part in lower for part in _IN_HEADER_NAMES)


@lru_cache(maxsize=1024)
def is_secret_parameter(name: str) -> bool:
    """Whether a query parameter called `name` (unquoted) looks as if it held a secret."""
    if any(part in name.lower() for part in _IN_PARAMETER_NAMES):
        return True
    words = _WORDS.findall(_CAMEL.sub(" ", name).lower())
    return any(word in _PARAMETER_WORDS or word.endswith(_PARAMETER_ENDINGS) for word in words)


def redact_headers(
    items: Iterable[tuple[str | bytes, str | bytes]], extra: Collection[str] = frozenset()
) -> list[tuple[str, str]]:
    """Copies a header list with secret values replaced by ``[redacted]``, order and repetitions kept.

    Headers that hold URLs (Location, Content-Location, Referer, Link) keep them, with the secrets inside masked.

    Args:
        items: pairs of name and value; bytes are read as Latin-1, which no header fails (RFC 9110, section 5.5).
        extra: names of further secret headers, in any case.
    """
    more = frozenset(name.lower() for name in extra)
    redacted = []
    for raw_name, raw_value in items:
        name = raw_name.decode("latin-1") if isinstance(raw_name, bytes) else raw_name
        lower = name.lower()
        if lower in more or _is_secret_header(lower):
            redacted.append((name, REDACTED))
            continue
        value = raw_value.decode("latin-1") if isinstance(raw_value, bytes) else raw_value
        clean = _URL_HEADERS.get(lower)
        redacted.append((name, value if clean is None else clean(value)))
    return redacted


def redact_url(url: object) -> str:
    """Writes one URL without its secrets.

    Masked are the password of the userinfo (the user name too if it stands alone, for then it is a token), and query
    and fragment parameters whose names look like secrets. Everything else stays as it is, character by character.
    Anything that has a text is taken, malformed URLs too; nothing is raised.
    """
    text = str(url)
    if "@" in text:
        text, found = _USERINFO.subn(_mask_userinfo, text, count=1)
        if not found:
            text = _TORN_USERINFO.sub(_mask_userinfo, text, count=1)
    rest, hash_sign, fragment = text.partition("#")
    head, question_mark, query = rest.partition("?")
    if "=" in query:
        query = _mask_parameters(query)
    if "=" in fragment:
        fragment = _mask_parameters(fragment)
    return head + question_mark + query + hash_sign + fragment


def _mask_userinfo(match: re.Match[str]) -> str:
    user, colon, password = match[1].partition(":")
    return f"{user}{colon}{URL_MASK}@" if password else f"{URL_MASK}@"


def _mask_parameters(query: str) -> str:
    return "&".join(_mask_pair(pair) for pair in query.split("&"))


def _mask_pair(pair: str) -> str:
    # ";" separates only for some servers, "?" only in an unquoted inner URL: what comes before such a sign may be
    # shown, but a secret's value reaches to the end of the pair, because the sign may belong to it.
    start = 0
    for piece in re.split("[;?]", pair):
        name, equals, _ = piece.partition("=")
        if equals and is_secret_parameter(unquote_plus(name)):
            return pair[: start + len(name) + 1] + URL_MASK
        start += len(piece) + 1
    return pair


def _redact_links(value: str) -> str:
    return _LINK_TARGET.sub(lambda match: f"<{redact_url(match[1])}>", value)


_URL_HEADERS: dict[str, Callable[[str], str]] = {
    "content-location": redact_url,
    "link": _redact_links,
    "location": redact_url,
    "referer": redact_url,
}
