"""Warnings about what is for development only, each given once in a process."""

from __future__ import annotations

import logging

_log = logging.getLogger("holdfast.auth")
_given: dict[str, object] = {}


def warn_once(topic: str, message: str, *values: object) -> None:
    """Logs a warning, unless there was one on the same topic before."""
    mine = object()
    # In one step, so that of several threads one does it.
    if _given.setdefault(topic, mine) is mine:
        _log.warning(message, *values)
