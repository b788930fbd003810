"""`WorkResult`: what the results of the workers have in common."""

from __future__ import annotations

from typing import Any


class WorkResult:
    """What became of a worker's work.

    Attributes:
        failed: what could not be done, each with its cause as `error`.
    """

    __slots__ = ()

    failed: list[Any]

    def raise_for_failures(self) -> None:
        """Does nothing if nothing failed.

        Raises:
            ExceptionGroup: of the causes of all failures.
        """
        if self.failed:
            raise ExceptionGroup(str(self), [one.error for one in self.failed])
