"""Decoding br and zstd, and what all codings have in common: bounded steps, and an end that is noticed."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.http import codings
from holdfast.http.codings import BrotliDecoder, Decoder, ZstdDecoder, decoder_for
from holdfast.http.inflate import STEP, CodingError


def optional(*names: str) -> list[Any]:
    """Those of the modules that are installed."""
    found = []
    for name in names:
        try:
            found.append(importlib.import_module(name))
        except ImportError:
            continue
    return found


BROTLIS = optional("brotli", "brotlicffi")
ZSTDS = optional("compression.zstd", "backports.zstd")

CASES: dict[str, tuple[Callable[[], Decoder], Callable[[bytes], bytes]]] = {
    "gzip": (lambda: _known("gzip"), gzip.compress),
    "deflate": (lambda: _known("deflate"), zlib.compress),
    **{module.__name__: (partial(BrotliDecoder, module), module.compress) for module in BROTLIS},
    **{module.__name__: (partial(ZstdDecoder, module), module.compress) for module in ZSTDS},
}


def _known(coding: str) -> Decoder:
    decoder = decoder_for(coding)
    assert decoder is not None
    return decoder


def decoded(decoder: Decoder, coded: bytes, size: int) -> bytes:
    pieces = [piece for at in range(0, len(coded), size) for piece in decoder.feed(coded[at : at + size])]
    decoder.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("case", CASES)
@given(st.binary(max_size=2000), st.integers(1, 300), st.integers(1, 300))
def test_what_was_coded_is_decoded(case: str, seed: bytes, times: int, size: int) -> None:
    make, code = CASES[case]
    assert decoded(make(), code(seed * times), size) == seed * times


@pytest.mark.parametrize("case", CASES)
@given(st.binary(max_size=500), st.data(), st.integers(1, 100))
def test_a_missing_end_is_noticed(case: str, body: bytes, data: st.DataObject, size: int) -> None:
    make, code = CASES[case]
    coded = code(body)
    cut = data.draw(st.integers(1, len(coded) - 1)) if len(coded) > 1 else 1
    if cut == len(coded):
        return
    with pytest.raises(CodingError):
        decoded(make(), coded[:cut], size)


@pytest.mark.parametrize("case", CASES)
def test_a_bomb_is_decoded_in_bounded_steps(case: str) -> None:
    make, code = CASES[case]
    decoder = make()
    coded = code(bytes(20_000_000))
    assert len(coded) < 64 * 1024, "it fits into one read"
    sizes = [len(piece) for piece in decoder.feed(coded)]
    decoder.finish()
    assert sum(sizes) == 20_000_000
    assert max(sizes) <= STEP


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_coded_so_is_refused(case: str) -> None:
    with pytest.raises(CodingError):
        decoded(CASES[case][0](), b"\xff\xfe this is nothing of the kind", 100)


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_a_whole_body(case: str) -> None:
    assert decoded(CASES[case][0](), b"", 1) == b""


@pytest.mark.parametrize("module", ZSTDS, ids=lambda module: str(module.__name__))
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.integers(1, 100))
def test_frames_in_a_row_are_one_body(module: Any, parts: list[bytes], size: int) -> None:
    coded = b"".join(module.compress(part) for part in parts)
    assert decoded(ZstdDecoder(module), coded, size) == b"".join(parts)


@pytest.mark.parametrize("module", ZSTDS, ids=lambda module: str(module.__name__))
def test_a_frame_that_asks_for_much_memory_is_refused(module: Any) -> None:
    options = {module.CompressionParameter.window_log: 25, module.CompressionParameter.compression_level: 3}
    coded = module.compress(bytes(range(256)) * 200_000, options=options)
    with pytest.raises(CodingError, match="memory"):
        decoded(ZstdDecoder(module), coded, 1000)


def test_what_no_package_decodes_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codings, "_first", lambda names: None)
    assert [decoder_for(name) for name in ("br", "zstd", "compress", "")] == [None] * 4


def test_an_old_brotli_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        """Has no limit of what it gives."""

        error = ValueError

        class Decompressor:
            def process(self, data: bytes) -> bytes:
                return b""

    with pytest.raises(CodingError, match=r"brotli has to be 1\.2"):
        list(BrotliDecoder(Old).feed(b"x"))
