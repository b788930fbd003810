"""Decodes gzip and deflate in steps of bounded size, and notices when the end is missing.

httpx2 takes a stream that ends early for a whole one.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from typing import Any

STEP = 256 * 1024
"""The most bytes that are decoded at a time, whatever a part of a body may decode to."""

_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"


class CodingError(Exception):
    """The body is not what its content coding says, or ends early."""


class Inflater:
    """Decodes one body that is coded with gzip or deflate (RFC 9110, section 8.4.1).

    Of gzip, several members in a row are one body (RFC 1952, section 2.2). deflate is a zlib stream; the bare one that
    some servers send instead is understood. What follows the end and is no further member is padding, and ignored.
    """

    def __init__(self, coding: str) -> None:
        self._gzip = coding != "deflate"
        self._decoder: Any = None
        self._held = b""  # too little to tell what it begins
        self._members = 0
        self._padding = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces of the next part of the body, of at most `STEP` bytes each.

        Raises:
            CodingError: it cannot be decoded.
        """
        data = self._held + data
        self._held = b""
        try:
            while data and not self._padding:
                if self._decoder is None:
                    if len(data) < 2:
                        self._held = data
                        return
                    self._begin(data)
                else:
                    data = yield from self._inflate(data)
        except zlib.error as error:
            raise CodingError(f"the body is not what its content coding says: {error}") from None

    def _begin(self, data: bytes) -> None:
        """The first member, or what follows another one."""
        if self._members and not (self._gzip and data.startswith(_MAGIC)):
            self._padding = True
            return
        self._members += 1
        if self._gzip:
            self._decoder = zlib.decompressobj(_GZIP)
        else:
            self._decoder = zlib.decompressobj(zlib.MAX_WBITS if _is_zlib(data) else -zlib.MAX_WBITS)

    def _inflate(self, data: bytes) -> Generator[bytes, None, bytes]:
        """Decodes what belongs to the current member. Returns what follows it."""
        decoder = self._decoder
        while True:
            piece = decoder.decompress(data, STEP)
            if piece:
                yield piece
            if decoder.eof:
                self._decoder = None
                return decoder.unused_data  # type: ignore[no-any-return]
            data = decoder.unconsumed_tail
            if not data and len(piece) < STEP:
                return b""

    def finish(self) -> None:
        """The body is over.

        Raises:
            CodingError: it should not be.
        """
        if self._decoder is not None or (self._held and not self._members):
            raise CodingError("the body ends before the data that its content coding has begun")


def _is_zlib(data: bytes) -> bool:
    """Whether this is a zlib header (RFC 1950, section 2.2)."""
    return data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
