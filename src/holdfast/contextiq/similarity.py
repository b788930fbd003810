"""Whether two memories say the same."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from holdfast.contextiq.models import Memory

__all__ = ["Likeness"]

_WORD = re.compile(r"\w+(?:'\w+)?")
_ARTICLES = frozenset({"a", "an", "the"})
_NOT = frozenset({"not", "no", "never", "none", "nothing", "without", "cannot", "neither", "nor"})


@dataclass(frozen=True)
class Likeness:
    """Says which memories are duplicates of each other.

    Two memories are if the cosine of their embeddings, or the similarity of their texts, reaches its threshold. The
    similarity of texts is that of `difflib.SequenceMatcher` over their words, without case, punctuation and articles:
    twice the number of words in common, in the same order, by the number of all words. It is lexical: other words for
    the same are other words.

    Texts that differ in a number or a negation are never duplicates, and neither are texts of the same words in another
    order, however similar their embeddings: a fact that is kept twice costs less than one that is lost.

    Attributes:
        embedding: the least cosine, -1 to 1; None: embeddings do not count. They are only compared where they have the
            same number of dimensions, and should come from the same model.
        text: the least similarity of texts, 0 to 1; None: texts do not count.
    """

    embedding: float | None = 0.95
    text: float | None = 0.85

    def __post_init__(self) -> None:
        """Checks the thresholds.

        Raises:
            ValueError: one is out of its bounds, or both are None.
        """
        if self.embedding is not None and not -1 <= self.embedding <= 1:
            raise ValueError(f"the threshold of embeddings must be between -1 and 1, not {self.embedding}")
        if self.text is not None and not 0 <= self.text <= 1:
            raise ValueError(f"the threshold of texts must be between 0 and 1, not {self.text}")
        if self.embedding is None and self.text is None:
            raise ValueError("nothing to compare memories by: both thresholds are None")

    def same(self, one: Candidate, other: Candidate) -> bool:
        """Whether one is a duplicate of the other."""
        if one.words == other.words:
            return bool(one.words) or one.memory.fact == other.memory.fact
        if one.guard != other.guard or one.bag == other.bag:
            return False
        if self.embedding is not None and one.unit and len(one.unit) == len(other.unit):
            cosine = sum(x * y for x, y in zip(one.unit, other.unit, strict=True))
            if cosine >= self.embedding:
                return True
        if self.text is None or not one.words or not other.words:
            return False
        matcher = SequenceMatcher(None, one.words, other.words, autojunk=False)
        # The quick ones are upper bounds.
        return matcher.real_quick_ratio() >= self.text <= matcher.quick_ratio() and matcher.ratio() >= self.text


class Candidate:
    """A memory, with what it is compared by."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.words = [word for word in _WORD.findall(memory.fact.casefold()) if word not in _ARTICLES]

    @cached_property
    def bag(self) -> list[str]:
        """The words without their order."""
        return sorted(self.words)

    @cached_property
    def guard(self) -> tuple[list[str], bool]:
        """The numbers in the text, and whether it is a negation."""
        numbers = [word for word in self.words if any(character.isdigit() for character in word)]
        negated = sum(word in _NOT or word.endswith("n't") for word in self.words) % 2 == 1
        return numbers, negated

    @cached_property
    def unit(self) -> Sequence[float]:
        """The embedding's direction; empty if it has none."""
        values = self.memory.embedding or []
        length = math.sqrt(sum(value * value for value in values))
        return [value / length for value in values] if length > 0 and math.isfinite(length) else []
