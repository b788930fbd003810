"""What was received, and what became of it, in numbers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Final

from holdfast.service.record import Record
from holdfast.service.webhooks.results import WebhookResult

__all__ = ["TypeStatistics", "WebhookStatistics"]

OTHER: Final = "(other)"
"""Where events are counted whose type is one too many: without a secret anybody may make types up."""

_MAX_TYPES = 1_000


@dataclass(frozen=True)
class TypeStatistics(Record):
    """The events of one type.

    Attributes:
        received: how many were let through. `handled`: how many of them nothing failed for, `failed`: the others.
        last_at: when the last one came, in UTC.
    """

    _keys: ClassVar[tuple[str, ...]] = ("received", "handled", "failed", "last_at")

    received: int
    handled: int
    failed: int
    last_at: datetime


@dataclass(frozen=True)
class WebhookStatistics(Record):
    """A snapshot of what was received since the program began. Times are in UTC, None if it never happened.

    Attributes:
        received: all webhooks. `verified`: those with a signature that was found right, replays included.
        refused: how many were refused, by reason (see `WebhookError`).
        handled, failed, stopped, unhandled: results by their status (see `WebhookResult`).
        by_type: the events that were let through, by type; from the 1,001st type on under ``"(other)"``.
    """

    _keys: ClassVar[tuple[str, ...]] = (
        "received",
        "verified",
        "refused",
        "handled",
        "failed",
        "stopped",
        "unhandled",
        "by_type",
        "last_received_at",
        "last_handled_at",
        "last_failed_at",
        "last_refused_at",
    )

    received: int = 0
    verified: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    handled: int = 0
    failed: int = 0
    stopped: int = 0
    unhandled: int = 0
    by_type: Mapping[str, TypeStatistics] = field(default_factory=dict)
    last_received_at: datetime | None = None
    last_handled_at: datetime | None = None
    last_failed_at: datetime | None = None
    last_refused_at: datetime | None = None


class Counters:
    """Counts, from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._types: dict[str, TypeStatistics] = {}
        self._last: dict[str, datetime] = {}

    def count(self, what: str) -> None:
        """One more that was received, or verified."""
        with self._lock:
            self._counts[what] += 1
            self._last[what] = self._now()

    def refuse(self, reason: str) -> None:
        """One more that was refused."""
        with self._lock:
            self._refused[reason] += 1
            self._last["refused"] = self._now()

    def end(self, event_type: str, result: WebhookResult) -> None:
        """One more that was let through, as an event of this type, and what became of it."""
        now = self._now()
        with self._lock:
            self._counts[result.status] += 1
            self._last[result.status] = now
            if event_type not in self._types and len(self._types) >= _MAX_TYPES:
                event_type = OTHER
            before = self._types.get(event_type)
            received, handled, failed = (before.received, before.handled, before.failed) if before else (0, 0, 0)
            self._types[event_type] = TypeStatistics(received + 1, handled + result.ok, failed + (not result.ok), now)

    def snapshot(self) -> WebhookStatistics:
        """All of it."""
        with self._lock:
            counts, last = self._counts, self._last
            return WebhookStatistics(
                received=counts["received"],
                verified=counts["verified"],
                refused=dict(self._refused),
                handled=counts["handled"],
                failed=counts["failed"],
                stopped=counts["stopped"],
                unhandled=counts["unhandled"],
                by_type=dict(self._types),
                last_received_at=last.get("received"),
                last_handled_at=last.get("handled"),
                last_failed_at=last.get("failed"),
                last_refused_at=last.get("refused"),
            )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
