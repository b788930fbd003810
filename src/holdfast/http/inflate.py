"""Decodes gzip and deflate in steps of bounded size, and notices when the end is missing.

httpx2 decodes whatever one read from the network holds at once, which may be a thousand times as large, and takes a
stream that ends early for a whole one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_STEP = 256 * 1024  # bytes decoded at a time
_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""The content codings that an `Inflater` decodes (RFC 9110, section 8.4.1)."""


class InflateError(Exception):
    """The body is not what its content coding says, or ends early."""


class Inflater:
    """Decodes one body. Of gzip, several members in a row are one body (RFC 1952, section 2.2).

    deflate is a zlib stream; the bare one that some servers send instead is understood.
    """

    def __init__(self, coding: str) -> None:
        self._gzip = coding != "deflate"
        self._decoder = zlib.decompressobj(_GZIP if self._gzip else zlib.MAX_WBITS)
        self._head = b""
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces of the next part of the body.

        Raises:
            InflateError: it cannot be decoded.
        """
        if not self._begun:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return
            self._begun = True
            if not self._gzip and not _is_zlib(data):
                self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            more = bool(data)
            while more:
                piece = self._decoder.decompress(data, _STEP)
                if piece:
                    yield piece
                data = self._decoder.unconsumed_tail
                if not data and len(piece) < _STEP:
                    data = self._next_member()
                    more = bool(data)
        except zlib.error as error:
            raise InflateError(f"the body is not what its content coding says: {error}") from None

    def finish(self) -> None:
        """The body is over.

        Raises:
            InflateError: it should not be.
        """
        if (self._begun or self._head) and not self._decoder.eof:
            raise InflateError("the body ends before the data that its content coding has begun")

    def _next_member(self) -> bytes:
        """What follows the end of a gzip member, if that is another one. Anything else there is padding."""
        rest = self._decoder.unused_data
        if not self._gzip or not rest.startswith(_MAGIC):
            return b""
        self._decoder = zlib.decompressobj(_GZIP)
        return rest


def _is_zlib(data: bytes) -> bool:
    """Whether this is a zlib header (RFC 1950, section 2.2)."""
    return data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
