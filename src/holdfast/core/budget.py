"""A budget for retries: they may add a share to the load of a service, and no more.

After the retry budgets of Finagle and of Google's "Site Reliability Engineering" (2016, chapter 22): when everything
fails, retries would otherwise multiply the load just when it hurts most.
"""

from __future__ import annotations

_BUCKETS = 10


class RetryBudget:
    """Allows retries of the last `window` seconds up to the larger of `floor` and `ratio` x calls in them.

    Time is cut into ten buckets that drop out as a whole, deposits and retries alike.

    Args:
        ratio: retries per call.
        window: seconds.
        floor: retries that are always allowed in the window.
    """

    __slots__ = (
        "_at",
        "_calls",
        "_end",
        "_newest",
        "_retries",
        "_total_calls",
        "_total_retries",
        "_width",
        "floor",
        "ratio",
    )

    def __init__(self, ratio: float = 0.2, window: float = 10.0, floor: int = 10) -> None:
        self.ratio = ratio
        self.floor = floor
        self._width = window / _BUCKETS
        self._newest = -1
        self._at = 0  # index of the newest bucket
        self._end = 0.0  # when it ends
        self.reset()

    def record_call(self, now: float) -> None:
        """A call begins: a deposit."""
        if now >= self._end:
            self._advance(now)
        self._calls[self._at] += 1
        self._total_calls += 1

    def spend(self, now: float) -> bool:
        """Takes one retry from the budget; False if it is spent."""
        if now >= self._end:
            self._advance(now)
        if self._total_retries >= max(self.floor, self.ratio * self._total_calls):
            return False
        self._retries[self._at] += 1
        self._total_retries += 1
        return True

    def refund(self, spent_at: float) -> None:
        """Gives back a retry, taken at `spent_at`, that was not sent; without effect once it has dropped out."""
        number = int(spent_at / self._width)
        at = number % _BUCKETS
        if number > self._newest - _BUCKETS and self._retries[at] > 0:
            self._retries[at] -= 1
            self._total_retries -= 1

    def reset(self) -> None:
        """Forgets all."""
        self._calls = [0] * _BUCKETS
        self._retries = [0] * _BUCKETS
        self._total_calls = 0
        self._total_retries = 0

    def _advance(self, now: float) -> None:
        number = int(now / self._width)
        for passed in range(max(self._newest + 1, number - _BUCKETS + 1), number + 1):
            at = passed % _BUCKETS
            self._total_calls -= self._calls[at]
            self._total_retries -= self._retries[at]
            self._calls[at] = self._retries[at] = 0
        self._newest = max(self._newest, number)
        self._at = self._newest % _BUCKETS
        self._end = (self._newest + 1) * self._width
