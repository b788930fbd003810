"""What was said in a session: its events as plain text, with who said it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.contextiq.models import Event

__all__ = ["Utterance", "utterances"]

_TEXTS = ("content", "text", "message", "body")
_ROLES = ("role", "author", "sender", "actor")
_PERSON = frozenset({"", "user", "human", "customer", "client", "person"})


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one event says.

    Attributes:
        source: the id of the event.
        role: who speaks, in lower case, as the event says: ``"user"``, ``"assistant"`` and so on; empty if it does not.
        text: what is said, never empty.
    """

    source: str
    role: str
    text: str

    @property
    def by_person(self) -> bool:
        """Whether the person speaks whom the session is about. An event that names nobody counts as theirs."""
        return self.role in _PERSON


def utterances(events: Iterable[Event]) -> list[Utterance]:
    """What events say, in their order; those without text are left out.

    The text is looked for in an event's data under ``content``, ``text``, ``message`` and ``body``, and may be a text
    or a list of parts that have one, as chat models take them. Who speaks is looked for under ``role``, ``author``,
    ``sender`` and ``actor``, and in event types such as ``user_message``.
    """
    found = []
    for event in events:
        text = next((text for name in _TEXTS if (text := _text(event.data.get(name)))), "")
        if text:
            found.append(Utterance(event.id, _role(event), text))
    return found


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        parts = (part.get("text") if isinstance(part, Mapping) else part for part in value)
        return "\n".join(part.strip() for part in parts if isinstance(part, str) and part.strip())
    return ""


def _role(event: Event) -> str:
    for name in _ROLES:
        value = event.data.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip().lower()
    head, _, kind = event.event_type.lower().partition("_")
    return head if kind == "message" else ""
