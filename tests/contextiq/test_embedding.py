"""The embeddings that need no model: the same everywhere, of length 1, and alike where texts are."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contextiq import HashingEmbeddingService


def cosine(one: str, other: str) -> float:
    x, y = HashingEmbeddingService().embed([one, other])
    return sum(a * b for a, b in zip(x, y, strict=True))


@given(st.lists(st.text(max_size=60), max_size=4), st.sampled_from([1, 2, 384]))
def test_every_text_has_a_direction(texts, dimensions):
    vectors: Sequence[Sequence[float]] = HashingEmbeddingService(dimensions).embed(texts)
    assert len(vectors) == len(texts)
    for vector in vectors:
        assert len(vector) == dimensions and math.isclose(math.sqrt(sum(x * x for x in vector)), 1.0)


def test_it_is_the_same_in_every_process():
    code = "from holdfast.contextiq import HashingEmbeddingService as H; print(H().embed(['User prefers Python']))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(HashingEmbeddingService().embed(["User prefers Python"]))


def test_texts_are_alike_where_their_words_are():
    assert cosine("User prefers Python", "user prefers python!") == pytest.approx(1.0)
    assert cosine("User prefers Python", "The user prefers Python") > 0.95
    assert cosine("User is programming", "User writes programs") > 0.15
    near, far = cosine("User prefers Python", "prefers Python 3"), cosine("User prefers Python", "dog called Rex")
    assert near > 0.6 > 0.2 > abs(far)


def test_it_knows_no_meaning():
    assert abs(cosine("car", "automobile")) < 0.2


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="dimensions must be at least 1, not 0"):
        HashingEmbeddingService(0)
    with pytest.raises(TypeError, match="a single one"):
        HashingEmbeddingService().embed("text")
