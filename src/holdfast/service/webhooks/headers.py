"""The headers of a webhook, out of whatever a framework keeps headers in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from holdfast.exceptions import WebhookError

HeaderSource: TypeAlias = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str | bytes, str | bytes]]
"""A mapping of names to values, the headers of Starlette, Django, Flask or httpx2, or pairs as in ASGI."""

HUB_256: Final = "x-hub-signature-256"
HUB_PLAIN: Final = "x-signature"
STANDARD_ID: Final = "webhook-id"
STANDARD_TIMESTAMP: Final = "webhook-timestamp"
STANDARD_SIGNATURE: Final = "webhook-signature"

_WANTED = frozenset({HUB_256, HUB_PLAIN, STANDARD_ID, STANDARD_TIMESTAMP, STANDARD_SIGNATURE})


def relevant(headers: object) -> dict[str, str]:
    """The headers that verification looks at, by their names in lower case; others may be anything.

    Raises:
        WebhookError: they cannot be read, or one of them is no text, or is there twice with different values: then
            nobody could say which of them the sender meant.
    """
    found: dict[str, str] = {}
    for name, value in _pairs(headers):
        known = _text(name)
        if known is None or (known := known.strip().lower()) not in _WANTED:
            continue
        text = _text(value)
        if text is None:
            raise WebhookError(
                f"the header {known} is a {type(value).__name__}, not text: hand over the headers as received",
                reason="malformed",
            )
        text = text.strip()
        if found.setdefault(known, text) != text:
            raise WebhookError(
                f"the header {known} is there more than once, with different values: the sender, or a proxy on the way,"
                " has to send it once",
                reason="malformed",
            )
    return found


def _pairs(headers: object) -> list[tuple[Any, Any]]:
    if headers is None:
        return []
    source: Any = headers
    try:
        items = source.items() if hasattr(source, "items") else source
        return [(name, value) for name, value in items]
    except (TypeError, ValueError):
        raise WebhookError(
            f"the headers are neither a mapping nor pairs of names and values, but {type(headers).__name__}",
            reason="malformed",
        ) from None


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("latin-1")  # what every byte can be read as; RFC 9110, section 5.5
    return value if isinstance(value, str) else None
