"""Timeouts of one attempt, cut to what is left of the whole call's time."""

from __future__ import annotations

from collections.abc import Mapping

_SHORTEST = 0.001
_ENDLESS = float("inf")


def cut(timeouts: Mapping[str, float | None], left: float) -> dict[str, float | None]:
    """A new dict in which no timeout ends after the deadline.

    Args:
        timeouts: seconds by name (connect, read, write, pool); None for no limit.
        left: seconds to the deadline, infinite if there is none. Counts as at least 1 ms: to most transports a timeout
            of zero or less means something else than "now".

    Returns:
        Each timeout, but at most `left`; what had no limit gets `left`, unless that is infinite.
    """
    if left == _ENDLESS:
        return dict(timeouts)
    most = max(left, _SHORTEST)
    return {name: most if seconds is None or seconds > most else seconds for name, seconds in timeouts.items()}


def longest(timeouts: Mapping[str, float | None]) -> float:
    """The longest single timeout in seconds; infinite if one of them is unlimited, or if there are none."""
    return max((_ENDLESS if seconds is None else seconds for seconds in timeouts.values()), default=_ENDLESS)
