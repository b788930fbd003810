"""What a call was asked for, before anything else is loaded or looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.redaction import redact_url

if TYPE_CHECKING:
    import httpx2

    from holdfast.http.streams import StreamEnd


class Prepared:
    """What a call was asked for, unread until it is sent."""

    __slots__ = ("ends", "method", "options", "url")

    def __init__(self, method: str, url: str | httpx2.URL, options: Mapping[str, Any], ends: Any = None) -> None:
        self.method = method
        self.url = url
        self.options = options
        self.ends: list[StreamEnd] | None = ends

    def __repr__(self) -> str:
        text = f"{self.method} {redact_url(self.url)}"
        # What cannot be printed could forge a line of a log, or break the printing of it.
        return text if text.isprintable() else repr(text)[1:-1]
