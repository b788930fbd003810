"""The circuit breaker: after too many failures nothing is sent for a while, then probes find out whether it is over.

After M. Nygard, "Release It!" (2007), with rates over windows as in Resilience4j, and with generation numbers: a result
from before a change of state belongs to a past that was judged already, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from holdfast.core.effects import FOREVER
from holdfast.core.window import CountWindow, TimeWindow, Window

StateName = Literal["closed", "open", "half_open", "isolated"]


class Trigger(Enum):
    """What makes a breaker change its state."""

    TRIPPED = "too many failures, or too many slow calls"
    RESTED = "the recovery timeout has passed"
    PROVED = "all probes succeeded"
    FAILED = "a probe failed"
    ISOLATED = "opened by hand"
    CLOSED = "closed by hand"


TRANSITIONS: dict[tuple[StateName, Trigger], StateName] = {
    ("closed", Trigger.TRIPPED): "open",
    ("open", Trigger.RESTED): "half_open",
    ("half_open", Trigger.PROVED): "closed",
    ("half_open", Trigger.FAILED): "open",
    ("closed", Trigger.ISOLATED): "isolated",
    ("open", Trigger.ISOLATED): "isolated",
    ("half_open", Trigger.ISOLATED): "isolated",
    ("isolated", Trigger.ISOLATED): "isolated",
    ("closed", Trigger.CLOSED): "closed",
    ("open", Trigger.CLOSED): "closed",
    ("half_open", Trigger.CLOSED): "closed",
    ("isolated", Trigger.CLOSED): "closed",
}
"""Which state follows which. What is not here cannot happen."""


class IllegalTransitionError(RuntimeError):
    """A change of state that the table does not have. The breaker is as it was."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and when it closes again.

    Rates are looked at with every failure and every slow call: a good result never opens it.

    Attributes:
        failure_threshold: failures in a row that open it, without a window.
        recovery_timeout: seconds from opening to the first probe.
        half_open_probes: probes at a time, and successes of probes that close it.
        window: None for failures in a row; "count" and "time" for the failure rate of the last `window_size` results,
            or of those of the last `window_seconds`.
        minimum_calls: results in the window before rates are looked at; never more than a count window holds.
        failure_rate: share of failures that opens it.
        slow_call_seconds, slow_call_rate: how long a slow result takes, and the share of them that opens it. Without a
            window they are looked for in the last `window_size` results. With both, a slow probe has failed.
    """

    failure_threshold: int = 5
    recovery_timeout: float = 30.0
    half_open_probes: int = 1
    window: Literal["count", "time"] | None = None
    window_size: int = 100
    window_seconds: float = 60.0
    minimum_calls: int = 10
    failure_rate: float = 0.5
    slow_call_seconds: float | None = None
    slow_call_rate: float | None = None


class Breaker:
    """Admits calls by tickets, and is told what became of them.

    A ticket holds the generation it was given in, which every change of state ends. Its lowest bit marks a probe.

    Args:
        policy: when to open and to close.
        on_change: called with the old and the new state and the seconds until the next probe.

    Attributes:
        closed: whether calls are let through without further ado.
        spotless: whether a success would change nothing, and need not be told.
        ticket: what `enter` gives while it is closed.
    """

    __slots__ = (
        "_failures",
        "_generation",
        "_on_change",
        "_opened",
        "_policy",
        "_probes",
        "_proved",
        "_slow_after",
        "_state",
        "_trips",
        "_window",
        "closed",
        "spotless",
        "ticket",
    )

    def __init__(
        self, policy: BreakerPolicy, on_change: Callable[[StateName, StateName, float], None] | None = None
    ) -> None:
        self._policy = policy
        self._on_change = on_change
        self._state: StateName = "closed"
        self.closed = True
        self._generation = 0
        self._trips = 0  # the generation in which it was opened last: older tickets were interrupted
        self._opened = 0.0
        self._failures = 0
        self._probes = 0  # probes in flight
        self._proved = 0  # probes that succeeded
        self._slow_after = policy.slow_call_seconds if policy.slow_call_rate is not None else None
        self._window: Window | None = None
        if policy.window == "time":
            self._window = TimeWindow(policy.window_seconds)
        elif policy.window == "count" or self._slow_after is not None:
            self._window = CountWindow(policy.window_size)
        self.ticket = 0
        self.spotless = self._window is None

    # Calls

    def enter(self, now: float) -> int:
        """Asks to be let through.

        Returns:
            A ticket, which must come back by `succeed`, `fail` or `leave`; -1: refused.
        """
        if self.closed:
            return self.ticket
        if self._state == "open" and now >= self._opened + self._policy.recovery_timeout:
            self._change(Trigger.RESTED, now)
        if self._state != "half_open" or self._probes + self._proved >= self._policy.half_open_probes:
            return -1
        self._probes += 1
        return self._generation << 1 | 1

    def is_probe(self, ticket: int) -> bool:
        """Whether this is the ticket of a probe."""
        return ticket > 0 and bool(ticket & 1)

    def succeed(self, ticket: int, now: float, seconds: float = 0.0) -> None:
        """The service answered, after `seconds`."""
        if ticket >> 1 != self._generation:
            return
        if ticket & 1:
            if self._slow_after is not None and seconds >= self._slow_after:
                self._change(Trigger.FAILED, now)
                return
            self._probes -= 1
            self._proved += 1
            if self._proved >= self._policy.half_open_probes:
                self._change(Trigger.PROVED, now)
        elif self._window is None:
            self._failures = 0
            self.spotless = True
        else:
            if self._policy.window is None:
                self._failures = 0
            self._record(self._window, now, seconds, failed=False)

    def fail(self, ticket: int, now: float, seconds: float = 0.0) -> None:
        """The service failed, after `seconds`."""
        if ticket >> 1 != self._generation:
            return
        if ticket & 1:
            self._change(Trigger.FAILED, now)
            return
        if self._policy.window is None:
            self._failures += 1
            self.spotless = False
            if self._failures >= self._policy.failure_threshold:
                self._change(Trigger.TRIPPED, now)
                return
        if self._window is not None:
            self._record(self._window, now, seconds, failed=True)

    def leave(self, ticket: int) -> None:
        """Neither nor: the ticket comes back without a result, and another probe may take its place."""
        if ticket & 1 and ticket >> 1 == self._generation:
            self._probes -= 1

    def interrupted(self, ticket: int) -> bool:
        """Whether the breaker was opened since this ticket was given."""
        return ticket >> 1 < self._trips

    # State

    def state(self, now: float) -> StateName:
        """The state. An open breaker is half open from the moment at which it would admit a probe."""
        if self._state == "open" and now >= self._opened + self._policy.recovery_timeout:
            return "half_open"
        return self._state

    def retry_after(self, now: float) -> float:
        """Seconds until a probe is admitted: 0 if calls are, or may be as soon as one ends; infinite while isolated."""
        if self._state == "isolated":
            return FOREVER
        if self._state == "open":
            return max(self._opened + self._policy.recovery_timeout - now, 0.0)
        return 0.0

    def isolate(self, now: float) -> None:
        """Opens it until it is closed by hand."""
        self._change(Trigger.ISOLATED, now)

    def close(self, now: float) -> None:
        """Closes it and forgets all failures."""
        self._change(Trigger.CLOSED, now)

    def reset(self) -> None:
        """Forgets the calls in flight, probes among them: after a fork they are the parent's. The state stays."""
        self._generation += 1
        self.ticket = self._generation << 1
        self._probes = 0

    def _record(self, window: Window, now: float, seconds: float, *, failed: bool) -> None:
        policy = self._policy
        slow = self._slow_after is not None and seconds >= self._slow_after
        window.record(now, failed=failed, slow=slow)
        if not failed and not slow:
            return
        calls, failures, slow_calls = window.totals(now)
        needed = min(policy.minimum_calls, policy.window_size) if policy.window != "time" else policy.minimum_calls
        if calls < needed:
            return
        # Quotients, because they round as a rate was rounded when it was written down: 7 / 100 >= 0.07.
        too_many_failures = policy.window is not None and failures / calls >= policy.failure_rate
        too_many_slow = policy.slow_call_rate is not None and slow_calls / calls >= policy.slow_call_rate
        if (failures and too_many_failures) or (slow_calls and too_many_slow):
            self._change(Trigger.TRIPPED, now)

    def _change(self, trigger: Trigger, now: float) -> None:
        old = self._state
        new = TRANSITIONS.get((old, trigger))
        if new is None:
            raise IllegalTransitionError(f"a breaker that is {old} cannot change because {trigger.value}")
        self._state = new
        self.closed = new == "closed"
        self._generation += 1
        self.ticket = self._generation << 1
        self.spotless = self.closed and self._window is None
        self._failures = self._probes = self._proved = 0
        if self._window is not None:
            self._window.clear()
        if new in ("open", "isolated"):
            self._trips = self._generation
            self._opened = now
        if self._on_change is not None and new != old:
            self._on_change(old, new, self.retry_after(now))
