"""Embeddings of texts: what a service that makes them must do, and one that needs no model."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

__all__ = ["EmbeddingService", "HashingEmbeddingService"]


class EmbeddingService(Protocol):
    """Makes vectors of texts, the nearer in angle the more alike the texts are."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]] | Awaitable[Sequence[Sequence[float]]]:
        """One vector for each text, in their order, all with the same number of dimensions.

        It may be a plain method, or an ``async def``.
        """
        ...


class HashingEmbeddingService:
    """Makes vectors by counting words and the pieces they are made of: lexical similarity, and nothing else.

    It is here so that everything runs and can be tested on one machine: it uses no model and no network, and gives the
    same text the same vector, in every process and on every machine. Texts are near each other if they share words or
    parts of words (``program`` and ``programming``). It knows no meaning: ``car`` and ``automobile`` have nothing in
    common, and the order of words does not count. For similarity of meaning take an embedding model, for example by
    `OpenAIEmbeddingService`.

    Words and their pieces of three to five characters are hashed to a dimension and a sign (Weinberger et al., Feature
    Hashing for Large Scale Multitask Learning, 2009); pieces of words as in Bojanowski et al., Enriching Word Vectors
    with Subword Information, 2017. The vector has the length 1.

    Args:
        dimensions: of the vectors. With fewer, unlike texts come to look alike by chance.

    Raises:
        ValueError: `dimensions` is less than 1.
    """

    def __init__(self, dimensions: int = 384) -> None:
        if dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, not {dimensions}")
        self.dimensions = dimensions

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See `EmbeddingService.embed`. A text without a letter or digit is taken as one word."""
        if isinstance(texts, str):
            raise TypeError("texts must be a list of texts; this is a single one")
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        folded = text.casefold()
        counts: dict[str, int] = {}
        for word in _WORD.findall(folded) or [folded.strip()]:
            counts[word] = counts.get(word, 0) + 1
        sums = [0.0] * self.dimensions
        for word, count in counts.items():
            weight = (1.0 + math.log(count)) * (_COMMON_WEIGHT if word in _COMMON else 1.0)
            for place, share in _features(word):
                sums[(place >> 1) % self.dimensions] += weight * share if place & 1 else -weight * share
        length = math.sqrt(sum(value * value for value in sums))
        if length == 0.0:  # by chance all cancelled each other out, which takes very few dimensions
            sums[0] = length = 1.0
        return [value / length for value in sums]


_WORD = re.compile(r"\w+(?:'\w+)?")
_LONGEST_WORD = 64  # characters that are looked at; beyond it is no word but data
_COMMON_WEIGHT = 0.2
# fmt: off
_COMMON = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "from", "has", "have", "in", "is", "it", "its",
    "of", "on", "or", "that", "the", "their", "they", "this", "to", "user", "was", "were", "will", "with",
})
# fmt: on


@lru_cache(maxsize=16_384)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    """The hashes of a word and its pieces, with the weight of each: the pieces together weigh as much as the word."""
    marked = f"<{word[:_LONGEST_WORD]}>"
    pieces = {marked[start : start + size] for size in (3, 4, 5) for start in range(len(marked) - size + 1)} - {marked}
    share = 1.0 / math.sqrt(len(pieces)) if pieces else 0.0
    return ((_hash(f"w{word}"), 1.0), *((_hash(f"p{piece}"), share) for piece in sorted(pieces)))


def _hash(feature: str) -> int:
    return int.from_bytes(blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
