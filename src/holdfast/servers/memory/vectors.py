"""Embeddings: how they are kept, shown and compared.

They are kept in single precision, which is what embedding models compute in and what vector databases keep. A number
that single precision cannot hold comes back rounded, at its seventh to ninth digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

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


def shortest(vector: Vector) -> list[float]:
    """The numbers with as few decimal digits as tell them apart in single precision: 0.1, not 0.10000000149011612."""
    exact = vector.astype(np.float64)
    result = exact.copy()
    missing = np.flatnonzero(exact)
    for digits in DIGITS:
        numbers = exact[missing]
        # Dividing by a power of ten that a double holds exactly gives the double nearest to the decimal number.
        places = digits - 1 - np.floor(np.log10(np.abs(numbers)))
        factors = 10.0 ** np.abs(places)
        rounded = np.where(places >= 0, np.round(numbers * factors) / factors, np.round(numbers / factors) * factors)
        same = rounded.astype("<f4") == vector[missing]
        result[missing[same]] = rounded[same]
        missing = missing[~same]
        if not missing.size:
            break
    return cast("list[float]", result.tolist())


class Embedding(TypeDecorator[Vector]):
    """A column of vectors: their numbers one after the other, four bytes each, least significant first."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Vector | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.tobytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Vector | None:
        return None if value is None else np.frombuffer(value, dtype="<f4")
