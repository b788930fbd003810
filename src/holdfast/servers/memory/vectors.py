"""Embeddings: how they are kept, shown and compared.

They are kept in single precision, which is what embedding models compute in and what vector databases keep. A number
that single precision cannot hold comes back rounded, at its seventh to ninth digit.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import LargeBinary
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Dialect

__all__ = ["SMALLEST_NUMBER", "Embedding", "Vector", "cosines", "has_direction", "shortest", "single"]

Vector = NDArray[np.float32]

SMALLEST_NUMBER = 1e-15
"""A vector of smaller ones has no direction worth the name: their squares vanish in single precision."""

DIGITS = (7, 8, 9)
"""Decimal digits that may be needed to tell a number of single precision from its neighbours; nine always do."""

POWERS_OF_TEN = np.array([float(f"1e{exponent}") for exponent in range(55)])
"""As far as nine digits of a number of single precision need them: the smallest is 1.4e-45."""

BLOCK = 8192
"""Numbers treated at once, so that what is computed from them stays in the processor's cache."""


def single(values: Sequence[float]) -> Vector:
    """Numbers in single precision, in the byte order in which they are kept."""
    return np.asarray(values, dtype="<f4")


def has_direction(vector: Vector) -> bool:
    """Whether there is an angle between it and others. There is none for a vector of zeros."""
    return bool(np.abs(vector).max() >= np.float32(SMALLEST_NUMBER))


def cosines(vectors: NDArray[np.float32], query: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cosine of the angle between each row and the query, computed in double precision.

    All must have a direction.
    """
    rows = vectors.astype(np.float64)
    # One root of a product: for the query itself it is exact, and the result exactly 1.
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows) * np.einsum("i,i", query, query))
    result: NDArray[np.float64] = np.clip(np.einsum("ij,j->i", rows, query) / lengths, -1.0, 1.0)
    return result


def shortest(vectors: Sequence[Vector]) -> list[list[float]]:
    """The numbers with as few decimal digits as tell them apart in single precision: 0.1, not 0.10000000149011612.

    All vectors at once, because numpy takes longer to be asked than to answer for one.
    """
    if not vectors:
        return []
    numbers = np.concatenate(vectors)
    blocks = [_shortest(numbers[start : start + BLOCK]).tolist() for start in range(0, len(numbers), BLOCK)]
    every = itertools.chain.from_iterable(blocks)
    return [list(itertools.islice(every, len(vector))) for vector in vectors]


def _shortest(numbers: Vector) -> NDArray[np.float64]:
    exact = numbers.astype(np.float64)
    sizes = np.abs(exact)
    sizes[sizes == 0] = 1
    exponents = np.floor(np.log10(sizes)).astype(np.int64)
    result = exact
    for digits in reversed(DIGITS):
        # Dividing by a power of ten that a double holds exactly gives the double nearest to the decimal number.
        places = digits - 1 - exponents
        factors = POWERS_OF_TEN[np.abs(places)]
        rounded = np.rint(exact * factors) / factors
        if places.min() < 0:
            rounded = np.where(places < 0, np.rint(exact / factors) * factors, rounded)
        result = np.where(rounded.astype("<f4") == numbers, rounded, result)
    return result


class Embedding(TypeDecorator[Vector]):
    """A column of vectors: their numbers one after the other, four bytes each, least significant first."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Vector | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.tobytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Vector | None:
        return None if value is None else np.frombuffer(value, dtype="<f4")
