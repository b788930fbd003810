"""The parts of `ClientConfig`, one class for each layer, and what they share.

The conversions to the core's policies import those only when called: a configuration is cheap to import.
"""

# No `from __future__ import annotations`: pydantic would evaluate every string, a sixth of this module's import time.
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from holdfast.core.outcome import Outcome

if TYPE_CHECKING:
    from holdfast.core.breaker import BreakerPolicy
    from holdfast.core.limiter import LimiterPolicy
    from holdfast.core.retry import RetryPolicy

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(min_length=1)]

MEBIBYTE: Final = 1024 * 1024
_LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


class Part(BaseModel):
    """What all configuration classes share: strict types, no unknown names, validated assignment."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        defer_build=True,
        validate_assignment=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
    )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Returns a copy with its own parts, changed by `update`, which is validated as a whole.

        A mapping given for a part changes only what it names; an object replaces the part.

        Raises:
            pydantic.ValidationError: a name or value in `update` is refused.
        """
        source = super().model_copy(deep=True) if deep else self
        values = {name: _own(getattr(source, name)) for name in type(self).model_fields}
        for name, value in (update or {}).items():
            old = values.get(name)
            values[name] = (
                old.model_copy(update=value) if isinstance(old, Part) and isinstance(value, Mapping) else value
            )
        copy = type(self).model_validate(values)
        copy.__pydantic_fields_set__ = self.model_fields_set | set(update or ())
        return copy


def _own(value: Any) -> Any:
    if isinstance(value, Part):
        return value.model_copy()
    return dict(value) if isinstance(value, dict) else value


class TimeoutConfig(Part):
    """How long one step of one attempt may take, in seconds; `None` leaves it to the deadline of the call.

    Attributes:
        connect: opening a connection, TLS handshake included.
        read: waiting for the next bytes of the response.
        write: waiting until the next bytes of the request are taken.
        pool: waiting for a connection of the pool.
    """

    connect: Positive | None = 60.0
    read: Positive | None = 15.0
    write: Positive | None = 15.0
    pool: Positive | None = 5.0

    def seconds(self) -> dict[str, float | None]:
        """Returns a new dict in the form of the `timeout` request extension of httpx2."""
        return {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}


class RetryBudgetConfig(Part):
    """How much retries may add to the load of one origin: per `window` the larger of `floor` and `ratio` x calls.

    Attributes:
        ratio: retries per call.
        window: seconds looked back.
        floor: retries that are always allowed in the window.
    """

    ratio: NotNegative = 0.2
    window: Positive = 10.0
    floor: CountOrZero = 10


class RetryConfig(Part):
    """When and how often a failed attempt is repeated.

    Attributes:
        max_attempts: all requests of a call, the first included; 1 for no retries.
        min_wait_seconds, max_wait_seconds: bounds of the wait before a retry.
        multiplier: growth of the wait from one retry to the next.
        jitter: how the wait is randomised. True: between the minimum and the next exponential step; "full", "equal",
            "decorrelated": the schemes of the AWS architecture blog ("Exponential Backoff and Jitter", 2015).
        backoff: how the wait grows.
        replay: what may be repeated. "answered" is the replay table; "when_safe" is the same without the
            repetition of a POST or PATCH after a 408 or a 5xx other than 503, by which the server may have executed it;
            "always" repeats every POST and PATCH, executed or not.
        max_retry_after: the longest `Retry-After` that is waited for, in seconds; beyond it the error comes at once.
        budget: bounds the retries of all calls together; None for no bound.
        retry_if: asked about every outcome: True to retry it if replaying is safe, False not to, None for no opinion.
    """

    max_attempts: Count = 3
    min_wait_seconds: NotNegative = 1.0
    max_wait_seconds: NotNegative = Field(default=60.0, validate_default=True)
    multiplier: Annotated[float, Field(ge=1)] = 2.0
    jitter: bool | Literal["full", "equal", "decorrelated"] = True
    backoff: Literal["exponential", "linear", "constant"] = "exponential"
    replay: Literal["answered", "when_safe", "always"] = "answered"
    max_retry_after: NotNegative = 60.0
    budget: RetryBudgetConfig | None = Field(default_factory=RetryBudgetConfig)
    retry_if: Callable[[Outcome], bool | None] | None = None

    @field_validator("min_wait_seconds", "max_wait_seconds")
    @classmethod
    def _ordered(cls, value: float, info: ValidationInfo) -> float:
        waits = {**info.data, info.field_name or "": value}
        low, high = waits.get("min_wait_seconds"), waits.get("max_wait_seconds")
        if low is not None and high is not None and high < low:
            raise ValueError(f"max_wait_seconds ({high:g}) is shorter than min_wait_seconds ({low:g})")
        return value

    def policy(self) -> "RetryPolicy":
        """Returns these settings as the core's policy; the budget is kept per origin and is not part of it."""
        from holdfast.core.backoff import Backoff
        from holdfast.core.retry import RetryPolicy

        jitter = ("uniform" if self.jitter else "off") if isinstance(self.jitter, bool) else self.jitter
        backoff = Backoff(self.backoff, self.min_wait_seconds, self.max_wait_seconds, self.multiplier, jitter)
        return RetryPolicy(self.max_attempts, backoff, self.replay, self.max_retry_after, self.retry_if)


class CircuitBreakerConfig(Part):
    """When calls to a failing origin are refused without being sent.

    Attributes:
        enabled: False for no circuit breaker.
        failure_threshold: failures in a row that open it, with `window=None`.
        recovery_timeout: seconds until a probe is let through.
        half_open_probes: probes at a time, and successes of probes that close it.
        window: None counts failures in a row; "count" and "time" look at the failure rate of the last `window_size`
            results or the last `window_seconds`.
        minimum_calls: results in the window before a rate is looked at, at most `window_size` with "count".
        failure_rate: share of failures that opens it, above 0 to 1.
        slow_call_seconds: a result that took this long is a slow one; only together with `slow_call_rate`.
        slow_call_rate: share of slow results that opens it, above 0 to 1; with `window=None` of the last `window_size`.
        counts: whether a whole call with its retries is one result, or each attempt.
        key: gives breakers of their own to what it names: called with method and path, returns a name, or None for the
            breaker of the origin.
    """

    enabled: bool = True
    failure_threshold: Count = 5
    recovery_timeout: Positive = 30.0
    half_open_probes: Count = 1
    window: Literal["count", "time"] | None = None
    window_size: Count = 100
    window_seconds: Positive = 60.0
    minimum_calls: Count = 10
    failure_rate: Share = 0.5
    slow_call_seconds: Positive | None = None
    slow_call_rate: Share | None = None
    counts: Literal["calls", "attempts"] = "calls"
    key: Callable[[str, str], str | None] | None = None

    def policy(self) -> "BreakerPolicy":
        """Returns these settings as the core's policy."""
        from holdfast.core.breaker import BreakerPolicy

        return BreakerPolicy(
            failure_threshold=self.failure_threshold,
            recovery_timeout=self.recovery_timeout,
            half_open_probes=self.half_open_probes,
            window=self.window,
            window_size=self.window_size,
            window_seconds=self.window_seconds,
            minimum_calls=self.minimum_calls,
            failure_rate=self.failure_rate,
            slow_call_seconds=self.slow_call_seconds,
            slow_call_rate=self.slow_call_rate,
        )


class BulkheadConfig(Part):
    """How many attempts of a client are in flight at a time, over all origins.

    Attributes:
        max_concurrency: attempts in flight.
        acquisition_timeout: the longest wait for a slot, in seconds; 0 to fail at once.
        max_queue: callers that may wait; None for any number.
    """

    max_concurrency: Count = 50
    acquisition_timeout: NotNegative = 30.0
    max_queue: CountOrZero | None = None


class RateLimitConfig(Part):
    """How fast attempts are sent to one origin.

    Attributes:
        rate: attempts per `period`; None for no limit of our own.
        period: seconds.
        burst: attempts that may go out at once after a pause; None for as many as `rate`, and fewer as long as an
            adaptive rate is lower.
        max_wait: the longest wait for a turn, in seconds.
        adaptive: raises the rate slowly while all goes well, up to what the server's headers say that it takes, and
            halves it on a 429, between `min_rate` and `max_rate`.
        min_rate, max_rate: bounds of an adaptive rate, per `period`; None for a tenth and ten times of `rate`.
        pace_from_headers: slows down as `RateLimit` and `X-RateLimit-*` headers of the server say, before a 429.
        key: gives limiters of their own to what it names, for servers that count some requests by themselves: called
            with method and path, returns a name, or None for the limiter of the origin.
    """

    rate: Positive | None = None
    period: Positive = 1.0
    burst: Count | None = None
    max_wait: NotNegative = 30.0
    adaptive: bool = False
    min_rate: Positive | None = None
    max_rate: Positive | None = None
    pace_from_headers: bool = True
    key: Callable[[str, str], str | None] | None = None

    def policy(self, *, max_pace: float = 60.0) -> "LimiterPolicy":
        """Returns these settings as the core's policy; a server can hold sending up for at most `max_pace` seconds."""
        from holdfast.core.limiter import LimiterPolicy

        return LimiterPolicy(
            rate=self.rate,
            period=self.period,
            burst=self.burst,
            adaptive=self.adaptive,
            min_rate=self.min_rate,
            max_rate=self.max_rate,
            pace=self.pace_from_headers,
            max_pace=max_pace,
        )


class CacheConfig(Part):
    """Which answers to a GET are kept. Off unless a time to live comes from here, from the call or from the response.

    Attributes:
        default_ttl: seconds that an answer is fresh for; None to cache only calls with a `cache_ttl`.
        max_entries, max_bytes: what the cache holds at most; the least recently used goes first.
        stale_if_error: seconds after its time to live in which an answer still stands in for a failed call.
        stale_while_revalidate: seconds after its time to live in which an answer is given while a new one is fetched.
        from_response: takes the time to live from the `Cache-Control` of the response (RFC 9111).
    """

    default_ttl: Positive | None = None
    max_entries: Count = 1000
    max_bytes: Count = 64 * MEBIBYTE
    stale_if_error: NotNegative = 0.0
    stale_while_revalidate: NotNegative = 0.0
    from_response: bool = False


class LoggingConfig(Part):
    """What is logged, and to which logger.

    Attributes:
        level: the lowest level that is logged; a name in any case, or one of the numbers of `logging`.
        include_request_id: False keeps request ids out of the log lines.
        logger_name: name of the logger.
    """

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    include_request_id: bool = True
    logger_name: Name = "resilient_client"

    @field_validator("level", mode="before")
    @classmethod
    def _name_of_level(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            return _LEVELS.get(value, value)
        return value.upper() if isinstance(value, str) else value
