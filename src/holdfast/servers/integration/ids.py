"""Ids of services, workflows and executions: UUIDs as text. Any other text is the id of nothing."""

from __future__ import annotations

import re
from uuid import UUID

__all__ = ["as_uuid"]

_CANONICAL = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def as_uuid(text: UUID | str) -> UUID | None:
    """The id, or None if it is nobody's: `UUID` itself also takes braces, URNs and hyphens anywhere."""
    if isinstance(text, UUID):
        return text
    return UUID(text) if _CANONICAL.fullmatch(text) else None
