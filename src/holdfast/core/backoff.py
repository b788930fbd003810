"""How long to wait before a retry: a rule of growth, and a scheme of jitter on top of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Growth: TypeAlias = Literal["constant", "linear", "exponential"]
Jitter: TypeAlias = Literal["off", "full", "equal", "decorrelated", "uniform"]

_ENDLESS = 1e300  # stands for what a float cannot hold, and can still be multiplied by zero
_SUMMED = 1000  # retries whose bounds are added one by one; a configured count may be a billion


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waits between the attempts of one call, in seconds.

    Without jitter the wait before retry k = 1, 2, ... is the *step* of k, at most `max_wait`:

    ===========  =======================================
    kind         step
    ===========  =======================================
    constant     min_wait
    linear       min_wait x (1 + multiplier x (k - 1))
    exponential  min_wait x multiplier^(k - 1)
    ===========  =======================================

    Jitter keeps clients that failed together from coming back together:

    ============  ===========================================================================================
    jitter        wait
    ============  ===========================================================================================
    uniform       uniform(min_wait, step of k + 1); for "constant" up to min_wait x multiplier, or it would be none
    full          uniform(0, step of k)
    equal         half of the step, plus uniform(0, the other half)
    decorrelated  uniform(min_wait, 3 x the wait before), the first one from min_wait; has its own growth, so that
                  of `kind` does not matter, but for "constant" the wait before counts as min_wait
    ============  ===========================================================================================

    The last three are from Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.

    Attributes:
        kind: the rule of growth.
        min_wait, max_wait: seconds; "full" and "equal" may fall below `min_wait`, nothing exceeds `max_wait`.
        multiplier: factor (exponential) or slope (linear) of the growth; at least 1 to be of use.
        jitter: the scheme.
    """

    kind: Growth = "exponential"
    min_wait: float = 1.0
    max_wait: float = 60.0
    multiplier: float = 2.0
    jitter: Jitter = "uniform"

    def wait(self, retry: int, previous: float | None, rand: Callable[[], float]) -> float:
        """Seconds to wait before a retry.

        Args:
            retry: its number, from 1.
            previous: the wait before the last retry in seconds, None if there was none.
            rand: uniform in [0, 1).
        """
        jitter = self.jitter
        if jitter == "off":
            return self._step(retry)
        if jitter == "full":
            return self._step(retry) * rand()
        if jitter == "equal":
            return self._step(retry) * (0.5 + 0.5 * rand())
        low = min(self.min_wait, self.max_wait)
        if jitter == "decorrelated":
            before = self.min_wait if previous is None or self.kind == "constant" else max(previous, self.min_wait)
            high = self._capped(before, 3.0)
        else:
            high = self._upper(retry)
        return min(low + (high - low) * rand(), high)

    def longest(self, retries: int) -> float:
        """An upper bound, in seconds, of all waits of that many retries together (`Retry-After` not counted)."""
        summed = min(retries, _SUMMED)
        total = sum(self._most(retry) for retry in range(1, summed + 1))
        return total + (retries - summed) * self._most(retries) if retries > summed else total

    def _most(self, retry: int) -> float:
        """The longest that `wait` may give for this retry."""
        if self.jitter == "uniform":
            return self._upper(retry)
        if self.jitter == "decorrelated":
            return self._power(3.0, 1 if self.kind == "constant" else retry)
        return self._step(retry)

    def _upper(self, retry: int) -> float:
        """The upper end of the uniform jitter."""
        return self._capped(self.min_wait, self.multiplier) if self.kind == "constant" else self._step(retry + 1)

    def _step(self, retry: int) -> float:
        if self.kind == "exponential":
            return self._power(self.multiplier, retry - 1)
        if self.kind == "linear":
            try:
                return self._capped(self.min_wait, 1.0 + self.multiplier * (retry - 1))
            except OverflowError:
                return self._capped(self.min_wait, _ENDLESS)
        return self._capped(self.min_wait, 1.0)

    def _power(self, base: float, exponent: int) -> float:
        try:
            factor = base**exponent
        except OverflowError:
            factor = _ENDLESS
        return self._capped(self.min_wait, factor)

    def _capped(self, seconds: float, factor: float) -> float:
        return min(self.max_wait, seconds * factor, _ENDLESS)
