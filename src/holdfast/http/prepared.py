"""What a call was asked for, before anything else is loaded or looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from holdfast.redaction import redact_url

if TYPE_CHECKING:
    import httpx2

    from holdfast.http.streams import StreamEnd

Prepared: TypeAlias = "tuple[str, str | httpx2.URL, Mapping[str, Any], list[StreamEnd] | None]"
"""Method, URL and options of a call, unread until it is sent; for a stream, where its end is left. A plain tuple,
because one is made for every call."""


def describe(prepared: Prepared) -> str:
    """Method and URL for people, without secrets."""
    text = f"{prepared[0]} {redact_url(prepared[1])}"
    # What cannot be printed could forge a line of a log, or break the printing of it.
    return text if text.isprintable() else repr(text)[1:-1]
