"""Places for what runs at the same time, of which there are so many and no more."""

from __future__ import annotations

__all__ = ["Slot", "Slots"]


class Slots:
    """The places. They belong to one event loop; nobody waits for one.

    Attributes:
        limit: how many there are.
        busy: how many are taken.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.busy = 0

    def take(self) -> Slot | None:
        """A place, held once; None if there is none."""
        if self.busy >= self.limit:
            return None
        self.busy += 1
        return Slot(self)


class Slot:
    """A place. It is free again when everybody who holds it has released it."""

    __slots__ = ("_holders", "_slots")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._holders = 1

    def hold(self) -> None:
        """Keep the place for somebody else besides."""
        if not self._holders:
            raise RuntimeError("the slot is free already")
        self._holders += 1

    def release(self) -> None:
        """One of the holders needs it no more."""
        if not self._holders:
            raise RuntimeError("the slot is free already")
        self._holders -= 1
        if not self._holders:
            self._slots.busy -= 1
