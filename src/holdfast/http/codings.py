"""Content codings of bodies: gzip and deflate by zlib, br and zstd if the packages are there that httpx2 decodes with.

All of them decode in steps of bounded size, however small the body is that they come in, and notice a missing end.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from typing import Any, Protocol

from holdfast.http.inflate import STEP, CodingError, Inflater

_INFLATED = frozenset({"gzip", "x-gzip", "deflate"})
_BROTLI = ("brotli", "brotlicffi")
_ZSTD = ("compression.zstd", "backports.zstd")
_MOST_WINDOW = 23  # bits: 8 MiB, and what a frame may ask for as a content coding (RFC 9659, section 3)


class Decoder(Protocol):
    """Decodes one body."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces of the next part of the body, of at most `STEP` bytes each.

        Raises:
            CodingError: it cannot be decoded.
        """
        ...

    def finish(self) -> None:
        """The body is over.

        Raises:
            CodingError: it should not be.
        """
        ...


def decoder_for(coding: str) -> Decoder | None:
    """What decodes a body of this content coding, in lower case; None if nothing here does, nor httpx2."""
    if coding in _INFLATED:
        return Inflater(coding)
    if coding == "br" and (brotli := _first(_BROTLI)) is not None:
        return BrotliDecoder(brotli)
    if coding == "zstd" and (zstd := _first(_ZSTD)) is not None:
        return ZstdDecoder(zstd)
    return None


@functools.cache
def _first(names: tuple[str, ...]) -> Any:
    """The first of these modules that is installed."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


class BrotliDecoder:
    """Decodes br (RFC 7932) with `brotli` or `brotlicffi`, 1.2 or later."""

    def __init__(self, module: Any) -> None:
        self._error: type[Exception] = module.error
        self._decoder = module.Decompressor()
        self._process = getattr(self._decoder, "process", None) or self._decoder.decompress
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See `Decoder.feed`."""
        if not data:
            return
        if not hasattr(self._decoder, "can_accept_more_data"):  # came with the limit of output
            raise CodingError("the body is coded with br, for which the package brotli has to be 1.2 or later")
        self._begun = True
        try:
            # `brotli` may give nearly twice the limit.
            piece = self._process(data, output_buffer_limit=STEP // 2)
            while piece:
                yield piece
                # Whether it takes more input does not tell whether it has more output.
                piece = self._process(b"", output_buffer_limit=STEP // 2)
        except self._error as error:
            raise CodingError(f"the body is not what its content coding says: {error}") from None

    def finish(self) -> None:
        """See `Decoder.finish`."""
        if self._begun and not self._decoder.is_finished():
            raise CodingError("the body ends before the data that its content coding has begun")


class ZstdDecoder:
    """Decodes zstd (RFC 8878) with `compression.zstd` or `backports.zstd`. Frames in a row are one body."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._decoder: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See `Decoder.feed`."""
        module = self._module
        try:
            while data:
                if self._decoder is None:
                    most = {module.DecompressionParameter.window_log_max: _MOST_WINDOW}
                    self._decoder = module.ZstdDecompressor(options=most)
                decoder = self._decoder
                piece = decoder.decompress(data, STEP)
                while True:
                    if piece:
                        yield piece
                    if decoder.eof:
                        self._decoder = None
                        data = decoder.unused_data
                        break
                    if decoder.needs_input:
                        return
                    piece = decoder.decompress(b"", STEP)
        except module.ZstdError as error:
            raise CodingError(f"the body is not what its content coding says: {error}") from None

    def finish(self) -> None:
        """See `Decoder.finish`."""
        if self._decoder is not None:
            raise CodingError("the body ends before the data that its content coding has begun")
