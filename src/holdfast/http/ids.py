"""Request ids: unguessable enough to be a key, cheap enough for every call, and never the same in two processes."""

from __future__ import annotations

import itertools
import os
from binascii import hexlify


class RequestIds:
    """Makes ids such as ``crew-client-5f0c...e1-42``: a name if given, 96 random bits, and a counter.

    The random part is drawn anew by `renew`, which a forked child has to call.
    """

    __slots__ = ("_count", "_name", "_prefix")

    def __init__(self, name: str | None = None) -> None:
        self._name = f"{name}-" if name else ""
        self.renew()

    def renew(self) -> None:
        """Draws a new random prefix and starts counting again."""
        self._prefix = f"{self._name}{hexlify(os.urandom(12)).decode()}-"
        self._count = itertools.count(1)

    def next(self) -> str:
        """The next id."""
        return f"{self._prefix}{next(self._count)}"
