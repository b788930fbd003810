"""The rate limiter: a token bucket of our own, and the pace that the server's headers and 429s ask for.

Permits are told the *time to wait*; nobody sleeps here. Waiting is by reservation, first come, first served, as in the
generic cell rate algorithm (ITU-T I.371, 1993): the bucket goes into debt, and who waits holds a token of the future.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_UP_AFTER = 10  # successes, since the last change, after which an adaptive rate goes up
_SAME_WINDOW = 1.0  # resets are told in whole seconds: ends this close together are one and the same
_INSTANT = 1e-6  # seconds: less is rounding, and a clock that is asked again may not have moved by it


@dataclass(frozen=True, slots=True)
class LimiterPolicy:
    """How fast requests go out.

    Attributes:
        rate: tokens per `period`; None for no limit of our own.
        period: seconds.
        burst: tokens that a rested bucket holds; None for as many as `rate`, at least 1, and fewer as long as an
            adaptive rate is lower.
        adaptive: raises the rate by `step_up` after ten successes and multiplies it by `step_down` on a 429, between
            `min_rate` and `max_rate` (both in tokens per `period`; None: a tenth and ten times of `rate`). What was
            sent before the rate dropped, or was told by then when to be sent, does not make it drop once more: one
            overload is answered by many 429s. (So does TCP, which reduces its window once per flight: RFC 6582.) And it
            does not rise above what the server's headers say that it takes in a whole window.
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

    Whoever was told a wait keeps it, whatever the server says later. A token that was given back goes to the next one
    who asks, perhaps at the same moment as one who waits already: returned tokens aside, no interval of t seconds sees
    more than rate x t + burst sends.

    Attributes:
        idle: whether nobody would ever have to wait as things are: then there is no need to ask.
        rate: tokens per period at the moment; None for no limit of our own.
        refusals: 429s of the server so far.
    """

    __slots__ = (
        "_blocked",
        "_booked",
        "_burst",
        "_ceiling",
        "_debt",
        "_first_end",
        "_left",
        "_policy",
        "_quota",
        "_rounds_down",
        "_settled",
        "_streak",
        "_taken",
        "_updated",
        "_window",
        "_window_end",
        "idle",
        "rate",
        "refusals",
    )

    def __init__(self, policy: LimiterPolicy) -> None:
        self._policy = policy
        self.rate = policy.rate
        self._burst = float(max(policy.burst or policy.rate or 1, 1))
        self._debt = 0.0  # tokens taken and not yet flown in again, at _updated; above burst - 1 there is a wait,
        # below 0 is 0: it is cut off where it is read
        self._updated = 0.0  # in the future, if that is when the server lets the last of those through who wait
        self._streak = 0
        self._settled = 0.0  # what is sent from then on goes by the rate as it dropped last
        self._ceiling: float | None = None  # the rate that the server says it takes
        self._left = 0  # sends that the server allows until _window_end; below 0 for those who wait for it
        self._taken = 0  # of these, reserved since the server told last
        self._first_end = 0.0  # the end of the server's window as first told
        self._window_end = 0.0
        self._quota = 0  # sends that the server allows in a whole window, 0 if it does not tell
        self._window = 0.0  # its seconds: as told, or the longest time to a reset that was seen
        self._rounds_down = False  # whether the server is known to tell resets before they are
        self._blocked = 0.0  # no send before
        # Of those who wait: when they will send; and the bucket's debt and time before they came, at the rate of then.
        self._booked: deque[tuple[float, float, float, float | None]] = deque()
        self.idle = policy.rate is None
        self.refusals = 0

    def take(self, now: float) -> bool:
        """Takes a token if there is one to be had at once: `reserve` for the common case, at a fraction of its cost."""
        rate = self.rate
        if rate is None or self._window_end > now or self._blocked > now or self._updated > now:
            return self.reserve(now, 0.0) is not None
        debt = self._debt - (now - self._updated) * rate / self._policy.period
        if debt < 0.0:  # noqa: PLR1730  # calling max() costs three times as much
            debt = 0.0
        if debt + 1.0 > self._burst:
            return self.reserve(now, 0.0) is not None  # which knows what is only rounding
        self._debt = debt + 1.0
        self._updated = now
        return True

    def reserve(self, now: float, max_wait: float) -> float | None:
        """Takes a token, of the future if need be.

        Returns:
            Seconds to wait before sending, 0.0 for none. None: it would be more than `max_wait`, and nothing was taken.
        """
        wait, start, debt = self._next(now)
        if wait > max_wait:
            return None
        if wait > 0.0:
            self._forget_sent(now)
            self._booked.append((now + wait, self._debt, self._updated, self.rate))
        if self.rate is not None:
            self._debt = debt + 1.0
            self._updated = start
        if self._window_end > now:
            self._left -= 1
            self._taken += 1
        return wait

    def give_back(self, now: float) -> None:
        """Returns a token whose wait was abandoned, or whose request was not sent after all."""
        last = self._booked.pop() if self._booked else None
        if last is not None and self._updated > now and last[3] == self.rate:
            # Subtracting would not do: the next one may be let through earlier than the one who waited for the server.
            _, self._debt, self._updated, _ = last
        else:
            self._debt -= 1.0
        if self._window_end > now and self._taken:
            self._left += 1
            self._taken -= 1

    def paced(self, remaining: int, reset: float, now: float, quota: int = 0, window: float = 0.0) -> None:
        """The server says: at most `remaining` more requests in the next `reset` seconds.

        Resets are told in whole seconds, mostly rounded up: of those told in one window the earliest is the closest to
        the truth. Where that brings a 429 the server rounds down, and the latest counts from then on.

        Args:
            remaining: as said.
            reset: as said.
            now: the time.
            quota: requests in a whole window, by which those who wait are spread over the next ones; 0 if unknown.
            window: seconds of one; 0 if unknown.
        """
        policy = self._policy
        reset = min(reset, policy.max_pace)
        if not policy.pace or reset <= 0.0:
            return
        if quota and window > 0.0:
            self._ceiling = quota * policy.period / window
        self._quota = quota
        self._window = min(window, policy.max_pace) if window > 0.0 else max(self._window, reset)
        self._forget_sent(now)
        end = now + reset
        left = remaining - len(self._booked)
        if self._window_end > now and end <= self._first_end + _SAME_WINDOW:
            # The same window as before, told by answers that may overtake each other: the strictest holds.
            self._left = min(self._left, left)
            if (end > self._window_end) == self._rounds_down and abs(end - self._window_end) <= _SAME_WINDOW:
                self._window_end = end
        else:
            self._left = left
            self._first_end = self._window_end = end
        self._taken = len(self._booked)
        self.idle = False

    def throttled(self, retry_after: float | None, now: float, sent: float | None = None) -> None:
        """The server answered 429: nothing is sent for `retry_after` seconds, if it told; an adaptive rate drops.

        Args:
            retry_after: as told, in seconds.
            now: the time.
            sent: when what it answered was sent, if known.
        """
        policy = self._policy
        self.refusals += 1
        if 0.0 <= now - self._window_end <= _SAME_WINDOW and self._window_end > 0.0:
            self._rounds_down = True
        if retry_after is not None and policy.max_pace > 0.0:
            self._blocked = max(self._blocked, now + min(retry_after, policy.max_pace))
            self.idle = False
        if policy.adaptive and self.rate is not None and policy.rate is not None:
            self._streak = 0
            if sent is None or sent >= self._settled:
                lowest = policy.min_rate if policy.min_rate is not None else policy.rate / 10.0
                self._forget_sent(now)
                self._settled = self._booked[-1][0] if self._booked else now
                self._change(max(self.rate * policy.step_down, lowest), now)

    def succeeded(self, now: float) -> None:
        """The server answered well: an adaptive rate rises after some of these."""
        policy = self._policy
        if policy.adaptive and self.rate is not None and policy.rate is not None:
            self._streak += 1
            if self._streak >= _UP_AFTER:
                highest = policy.max_rate if policy.max_rate is not None else policy.rate * 10.0
                if self._ceiling is not None:
                    highest = min(highest, max(self._ceiling, self.rate))
                self._change(min(self.rate * policy.step_up, highest), now)
        elif self.rate is None and now >= self._window_end and now >= self._blocked:
            self.idle = True

    def retry_after(self, now: float) -> float:
        """Seconds that the next one would have to wait."""
        return self._next(now)[0]

    def reset(self) -> None:
        """Forgets the tokens that are held, and who waits: after a fork, they are the parent's."""
        self._debt = self._updated = 0.0
        self._taken = 0
        self._booked.clear()

    def _next(self, now: float) -> tuple[float, float, float]:
        """The wait of the next one; when the server lets it through; and the debt of the bucket then."""
        start = max(now, self._blocked)
        if self._left <= 0 and self._window_end > start:
            start = self._window_end
            if self._quota:
                # Those who wait already take up the next windows, as many each as the server allows.
                start += -self._left // self._quota * self._window
        wait, debt = start - now, 0.0
        rate = self.rate
        if rate is not None:
            # Tokens are taken when the server lets through, or all that came in until then would be spent twice.
            start = max(start, self._updated)
            debt = self._debt_at(start, rate)
            wait = start - now + max(debt + 1.0 - self._burst, 0.0) * self._policy.period / rate
        return (wait if wait >= _INSTANT else 0.0), start, debt

    def _debt_at(self, time: float, rate: float) -> float:
        return max(self._debt - (time - self._updated) * rate / self._policy.period, 0.0)

    def _refill(self, now: float) -> None:
        rate = self.rate
        if rate is not None and now > self._updated:
            self._debt = self._debt_at(now, rate)
            self._updated = now

    def _change(self, rate: float, now: float) -> None:
        self._streak = 0
        old, full = self.rate, self._policy.rate
        if old is not None and full is not None:
            # Who waits was told a time by the old rate. The new one holds from the last of these times.
            self._refill(now)
            burst = self._burst if self._policy.burst else max(min(rate, full), 1.0)
            held = self._burst - self._debt
            self._debt = burst - (held * rate / old if held < 0.0 else held)
            self._burst = burst
        self.rate = rate

    def _forget_sent(self, now: float) -> None:
        booked = self._booked
        while booked and booked[0][0] <= now:
            booked.popleft()
