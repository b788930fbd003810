"""Decoding gzip and deflate piece by piece."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.http.inflate import CodingError, Inflater


def decoded(coding: str, coded: bytes, size: int) -> bytes:
    inflater = Inflater(coding)
    pieces = [piece for at in range(0, len(coded), size) for piece in inflater.feed(coded[at : at + size])]
    inflater.finish()
    return b"".join(pieces)


def bare(body: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(body) + coder.flush()


CODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "bare": ("deflate", bare),
}


@given(st.sampled_from(sorted(CODERS)), st.binary(max_size=2000), st.integers(1, 500), st.integers(1, 300))
def test_what_was_coded_is_decoded(coder: str, seed: bytes, times: int, size: int) -> None:
    coding, code = CODERS[coder]
    body = seed * times
    assert decoded(coding, code(body), size) == body


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.integers(1, 100))
def test_members_in_a_row_are_one_body(parts: list[bytes], size: int) -> None:
    assert decoded("gzip", b"".join(gzip.compress(part) for part in parts), size) == b"".join(parts)


@given(st.sampled_from(sorted(CODERS)), st.binary(max_size=500), st.data(), st.integers(1, 100))
def test_a_missing_end_is_noticed(coder: str, body: bytes, data: st.DataObject, size: int) -> None:
    coding, code = CODERS[coder]
    coded = code(body)
    cut = data.draw(st.integers(1, len(coded) - 1))
    with pytest.raises(CodingError):
        decoded(coding, coded[:cut], size)


@pytest.mark.parametrize("length", [256 * 1024 * factor + offset for factor in (1, 4) for offset in (-1, 0, 1)])
def test_pieces_are_bounded(length: int) -> None:
    inflater = Inflater("gzip")
    sizes = [len(piece) for piece in inflater.feed(gzip.compress(bytes(length)))]
    inflater.finish()
    assert sum(sizes) == length
    assert max(sizes) <= 256 * 1024


def test_nothing_is_a_whole_body() -> None:
    assert decoded("gzip", b"", 1) == b""
