"""Ids: of services, workflows and executions, which are UUIDs as text, and those that callers give their requests."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

__all__ = ["as_uuid", "correlation_id"]

_CANONICAL = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VISIBLE = re.compile(r"[!-~]{1,128}")


def as_uuid(text: UUID | str) -> UUID | None:
    """The id, or None if it is the id of nothing: `UUID` itself also takes braces, URNs and hyphens anywhere."""
    if isinstance(text, UUID):
        return text
    return UUID(text) if _CANONICAL.fullmatch(text) else None


def correlation_id(context: dict[str, Any] | None, request_id: str | None) -> str | None:
    """What a service is told of whom a call is for: the context's `request_id`, else the request's own.

    None if neither fits into a header.
    """
    for given in ((context or {}).get("request_id"), request_id):
        if isinstance(given, str) and _VISIBLE.fullmatch(given):
            return given
    return None
