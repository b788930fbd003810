"""The rate limiter: a token bucket of our own, and the pace that the server's headers and 429s ask for.

Permits are told the *time to wait*; nobody sleeps here. Waiting is by reservation, first come, first served, as in the
generic cell rate algorithm (ITU-T I.371, 1993): the bucket goes into debt, and who waits holds a token of the future.
"""

from __future__ import annotations

from dataclasses import dataclass

_UP_AFTER = 10  # successes in a row after which the adaptive rate goes up


@dataclass(frozen=True, slots=True)
class LimiterPolicy:
    """How fast requests go out.

    Attributes:
        rate: tokens per `period`; None for no limit of our own.
        period: seconds.
        burst: tokens that a rested bucket holds; None for as many as `rate`, at least 1.
        adaptive: raises the rate by `step_up` after ten successes and multiplies it by `step_down` on a 429, between
            `min_rate` and `max_rate` (both in tokens per `period`; None: a tenth and ten times of `rate`).
        pace: whether the server's rate-limit headers are heeded.
        max_pace: seconds that a server can hold sending up for at most.
    """

    rate: float | None = None
    period: float = 1.0
    burst: int | None = None
    adaptive: bool = False
    min_rate: float | None = None
    max_rate: float | None = None
    step_up: float = 1.1
    step_down: float = 0.5
    pace: bool = True
    max_pace: float = 60.0


class Limiter:
    """Says how long to wait before a send.

    Attributes:
        idle: whether nobody would ever have to wait as things are: then there is no need to ask.
        rate: tokens per period at the moment; None for no limit of our own.
    """

    __slots__ = (
        "_blocked",
        "_burst",
        "_debt",
        "_left",
        "_policy",
        "_streak",
        "_updated",
        "_window_end",
        "idle",
        "rate",
    )

    def __init__(self, policy: LimiterPolicy) -> None:
        self._policy = policy
        self.rate = policy.rate
        self._burst = float(max(policy.burst or policy.rate or 1, 1))
        self._debt = 0.0  # tokens taken and not yet flown in again; above burst - 1 there is a wait
        self._updated = 0.0
        self._streak = 0
        self._left = 0  # sends that the server allows until _window_end
        self._window_end = 0.0  # 0: the server has said nothing that still holds
        self._blocked = 0.0  # no send before
        self.idle = policy.rate is None

    def reserve(self, now: float, max_wait: float) -> float | None:
        """Takes a token, of the future if need be.

        Returns:
            Seconds to wait before sending, 0.0 for none. None: it would be more than `max_wait`, and nothing was taken.
        """
        wait = self._wait(now)
        if wait > max_wait:
            return None
        if self.rate is not None:
            self._debt += 1.0
        if self._window_end > now:
            self._left -= 1
        return wait

    def give_back(self, now: float) -> None:
        """Returns a token whose wait was abandoned, or whose request was not sent after all."""
        if self.rate is not None:
            self._refill(now)
            self._debt = max(self._debt - 1.0, 0.0)
        if self._window_end > now:
            self._left += 1

    def paced(self, remaining: int, reset: float, now: float) -> None:
        """The server says: at most `remaining` more requests in the next `reset` seconds."""
        policy = self._policy
        if not policy.pace or reset <= 0.0:
            return
        end = now + min(reset, policy.max_pace)
        if self._window_end > now and end <= self._window_end + 1.0:
            # The same window as before, told by answers that may overtake each other: the strictest holds.
            self._left = min(self._left, remaining)
        else:
            self._left = max(remaining, 0)
            self._window_end = end
        self.idle = False

    def throttled(self, retry_after: float | None, now: float) -> None:
        """The server answered 429: nothing is sent for `retry_after` seconds, if it told; an adaptive rate drops."""
        policy = self._policy
        if retry_after is not None and policy.max_pace > 0.0:
            self._blocked = max(self._blocked, now + min(retry_after, policy.max_pace))
            self.idle = False
        if policy.adaptive and self.rate is not None and policy.rate is not None:
            lowest = policy.min_rate if policy.min_rate is not None else policy.rate / 10.0
            self._refill(now)
            self.rate = max(self.rate * policy.step_down, lowest)
            self._streak = 0

    def succeeded(self, now: float) -> None:
        """The server answered well: an adaptive rate rises after some of these."""
        policy = self._policy
        if policy.adaptive and self.rate is not None and policy.rate is not None:
            self._streak += 1
            if self._streak >= _UP_AFTER:
                highest = policy.max_rate if policy.max_rate is not None else policy.rate * 10.0
                self._streak = 0
                self._refill(now)
                self.rate = min(self.rate * policy.step_up, highest)
        elif self.rate is None and now >= self._window_end and now >= self._blocked:
            self.idle = True

    def retry_after(self, now: float) -> float:
        """Seconds that the next one would have to wait."""
        return self._wait(now)

    def reset(self) -> None:
        """Forgets the tokens that are held: after a fork, the parent's."""
        self._debt = 0.0

    def _wait(self, now: float) -> float:
        wait = max(self._blocked - now, 0.0)
        if self._window_end > now:
            if self._left <= 0:
                wait = max(wait, self._window_end - now)
        elif self._window_end:
            self._window_end = 0.0
        rate = self.rate
        if rate is not None:
            self._refill(now)
            missing = self._debt + 1.0 - self._burst
            if missing > 0.0:
                wait = max(wait, missing * self._policy.period / rate)
        return wait

    def _refill(self, now: float) -> None:
        if now > self._updated:
            rate = self.rate
            if rate is not None:
                self._debt = max(self._debt - (now - self._updated) * rate / self._policy.period, 0.0)
            self._updated = now
