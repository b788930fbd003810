"""Facts out of conversations: what a fact is, what an engine that finds them must do, and one that needs no model."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any, Protocol

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

from holdfast.contextiq.conversation import utterances
from holdfast.contextiq.models import Event, Share
from holdfast.contextiq.rules import statements

__all__ = ["ExtractionEngine", "Fact", "RuleBasedExtractionEngine"]

LONGEST_TOPIC = 200
"""Characters, by the Memory service's contract."""


class Fact(BaseModel):
    """Something worth remembering.

    Attributes:
        text: one statement that can be understood by itself, such as ``"User prefers Python"``. In a mapping it may
            also be called ``fact``.
        topic: what it is about, at most 200 characters.
        confidence: how sure it is, 0 to 1; None leaves it to the Memory service.
        importance: how much it matters, 0 to 1; None leaves it to the Memory service.
        source: the id of the event that it comes from; None if it comes from no single one.

    Raises:
        pydantic.ValidationError: a field is out of these bounds; it is also a ValueError.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        validation_alias=AliasChoices("text", "fact")
    )
    topic: Annotated[str, Field(max_length=LONGEST_TOPIC)] | None = None
    confidence: Share | None = None
    importance: Share | None = None
    source: str | None = None


class ExtractionEngine(Protocol):
    """Finds facts in the events of a session."""

    def extract(
        self, events: Sequence[Event]
    ) -> Sequence[Fact | Mapping[str, Any]] | Awaitable[Sequence[Fact | Mapping[str, Any]]]:
        """The facts in some events, which follow each other in one session.

        It may be a plain method, or an ``async def``. A long session is handed over in several parts.

        Returns:
            `Fact` objects, or mappings of their fields. What is no valid fact is reported by whoever asked, and does
            not keep the others from being stored.
        """
        ...


class RuleBasedExtractionEngine:
    """Finds facts by some twenty regular expressions for plain English sentences in the first person.

    It is here so that everything runs and can be tested on one machine: it uses no model and no network, its result
    is always the same, and it understands nothing. ``"I prefer tea"`` becomes ``"User prefers tea"``. Most of what
    people say fits none of its patterns and is passed over; irony, context, and other languages are lost on it.
    Questions and what an assistant says are left out. For more than trying things out, take an engine with a model
    behind it, such as `ChatExtractionEngine`.

    Args:
        subject: what the person is called in the facts.
    """

    def __init__(self, subject: str = "User") -> None:
        self.subject = subject

    def extract(self, events: Sequence[Event]) -> list[Fact]:
        """See `ExtractionEngine.extract`: from each event by itself, in their order."""
        return [
            fact for one in utterances(events) if one.by_person for fact in self.facts_in(one.text, source=one.source)
        ]

    def facts_in(self, text: str, *, source: str | None = None) -> list[Fact]:
        """The facts in a text: what a person says, or a transcript with lines such as ``User: I prefer tea``.

        Also found are sentences in the third person about a name, such as ``Ada lives in London.`` `source` is the id
        of the event that the text is from.
        """
        found: dict[str, Fact] = {}
        for one in statements(text, self.subject):
            fact = Fact(
                text=one.text, topic=one.topic, confidence=one.confidence, importance=one.importance, source=source
            )
            found.setdefault(fact.text.casefold(), fact)
        return list(found.values())
