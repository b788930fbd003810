"""A budget for retries: they may add a share to the load of a service, and no more.

After the retry budgets of Finagle and of Google's "Site Reliability Engineering" (2016, chapter 22): when everything
fails, retries would otherwise multiply the load just when it hurts most.
"""

from __future__ import annotations

_BUCKETS = 10  # in a window
_KEPT = _BUCKETS + 1  # buckets of retries


class RetryBudget:
    """Allows retries of the last `window` seconds up to the larger of `floor` and `ratio` x calls in them.

    Time is cut into ten buckets that drop out as a whole: calls when the window begins to leave a bucket, retries when
    it has left it, so that the bound holds whenever a retry is taken and not only on the average.

    Args:
        ratio: retries per call.
        window: seconds.
        floor: retries that are always allowed in the window.
    """

    __slots__ = (
        "_before",
        "_calls",
        "_end",
        "_newest",
        "_retries",
        "_total_retries",
        "_width",
        "floor",
        "ratio",
    )

    def __init__(self, ratio: float = 0.2, window: float = 10.0, floor: int = 10) -> None:
        self.ratio = ratio
        self.floor = floor
        self._width = window / _BUCKETS
        self._newest = -1  # number of the newest bucket since the beginning of time
        self._end = 0.0  # when it ends
        self._calls = 0  # of all time
        self._before = [0] * _BUCKETS  # those before each bucket of the window
        self._retries = [0] * _KEPT
        self._total_retries = 0

    def record_call(self, now: float) -> None:
        """A call begins: a deposit. The time may be one that has passed; a deposit is as new as what came before."""
        if now >= self._end:
            self._advance(now)
        self._calls += 1

    def spend(self, now: float) -> bool:
        """Takes one retry from the budget; False if it is spent."""
        self._advance(now)
        calls = self._calls - self._before[(self._newest + 1) % _BUCKETS]
        retries = self._total_retries + 1
        # A quotient, because it rounds as the ratio was rounded when it was written down: 29 / 100 <= 0.29.
        if retries > self.floor and (not calls or retries / calls > self.ratio):
            return False
        self._retries[self._newest % _KEPT] += 1
        self._total_retries = retries
        return True

    def refund(self, spent_at: float) -> None:
        """Gives back a retry, taken at `spent_at`, that was not sent; without effect once it has dropped out."""
        number = int(spent_at / self._width)
        at = number % _KEPT
        if number > self._newest - _KEPT and self._retries[at] > 0:
            self._retries[at] -= 1
            self._total_retries -= 1

    def reset(self) -> None:
        """Forgets all."""
        self._calls = 0
        self._before = [0] * _BUCKETS
        self._retries = [0] * _KEPT
        self._total_retries = 0

    def _advance(self, now: float) -> None:
        number = int(now / self._width)
        if number <= self._newest:
            return
        for passed in range(max(self._newest + 1, number - _KEPT + 1), number + 1):
            self._before[passed % _BUCKETS] = self._calls
            at = passed % _KEPT
            self._total_retries -= self._retries[at]
            self._retries[at] = 0
        self._newest = number
        self._end = (number + 1) * self._width
