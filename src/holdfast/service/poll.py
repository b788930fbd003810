"""Polling: asks the same again and again, past the cache, until an answer is the one that was waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from holdfast.call import Call
from holdfast.core.backoff import Backoff
from holdfast.core.effects import FOREVER, Flow
from holdfast.core.flow import SAFE
from holdfast.exceptions import (
    APIConnectionError,
    DeadlineExceededError,
    HoldfastError,
    MaxRetriesExceededError,
    PoolTimeoutError,
    RateLimitError,
)
from holdfast.http.options import check
from holdfast.service.endpoint import FlowSource
from holdfast.service.inside import Expired, asked, inside, passed, renewed
from holdfast.service.repeat import method_of, past_cache

if TYPE_CHECKING:
    from holdfast.http.assembly import Assembly
    from holdfast.service.endpoint import Translate

__all__ = ["PollDeadlineError"]

_PASSING = (APIConnectionError, RateLimitError, PoolTimeoutError, MaxRetriesExceededError)
_PATIENCE = 30.0  # seconds; nobody wants to hear of an end much later than that
_SHORTEST = 0.1  # seconds that the last poll before the deadline has for its answer; a fifth of a short deadline


class PollDeadlineError(DeadlineExceededError):
    """The deadline of a whole poll passed before an answer was the one that was waited for.

    Attributes:
        last_result: what the last successful poll found; None if none was. `last_error`: what failed after it, if
            anything did.
        polls: how many were begun.
    """

    last_result: Any = None
    polls: int = 0


@dataclass(frozen=True, slots=True)
class PollRequest:
    """What a poll is asked for with, see `ServiceClient.poll`.

    Attributes:
        make: makes the next call. `what`: what is polled, for people.
    """

    make: Callable[[], Call[Any]]
    what: str
    until: Callable[[Any], bool]
    backoff: Backoff
    deadline: float | None
    on_update: Callable[[Any], object] | None
    tolerate: int


def poll_request(
    call: Call[Any] | Callable[[], Call[Any]],
    until: Callable[[Any], bool],
    *,
    interval: float,
    factor: float,
    max_interval: float | None,
    jitter: bool,
    deadline: float | None,
    on_update: Callable[[Any], object] | None,
    tolerate: int,
) -> PollRequest:
    """The request for a poll, checked.

    Raises:
        TypeError, ValueError: names the argument that is wrong.
        RuntimeError: the call was sent already.
    """
    check({"deadline": deadline})
    _number("interval", interval, 0.0)
    _number("factor", factor, 1.0)
    longest = max(_PATIENCE, interval) if max_interval is None else max_interval
    _number("max_interval", longest, 0.0)
    if longest < interval:
        raise ValueError(f"max_interval must be at least the interval of {interval:g} s, not {longest:g}")
    count: object = tolerate
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"tolerate must be a whole number of polls, 0 or more, not {tolerate!r}")
    for name, function in (("until", until), ("on_update", on_update)):
        if not callable(function) and (name == "until" or function is not None):
            raise TypeError(f"{name} must be a function of the result, not {type(function).__name__}")
    backoff = Backoff("exponential", interval, longest, factor, "equal" if jitter else "off")
    make, what = _maker(call)
    return PollRequest(make, what, until, backoff, deadline, on_update, tolerate)


def _maker(call: Call[Any] | Callable[[], Call[Any]]) -> tuple[Callable[[], Call[Any]], str]:
    if not isinstance(call, Call):
        if not callable(call):
            raise TypeError(f"poll needs a call, or a function that makes one, not {type(call).__name__}")
        return call, getattr(call, "__qualname__", repr(call))
    what: str = call._source.describe(call.request)  # noqa: SLF001  # of this package
    method = method_of(call)
    if method is None:
        raise TypeError(f"poll cannot repeat {call!r}: give it a function that makes a new one each time")
    if method not in SAFE:
        raise TypeError(f"poll would repeat {call!r}, and a {method} is not safe to repeat: poll what reads its state")
    return renewed(call), what


def _number(name: str, value: Any, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not least <= value < FOREVER or not value:
        raise ValueError(f"{name} must be {'at least 1' if least else 'more than 0'}, not {value!r}")


class Poll(FlowSource):
    """A source of calls that repeat another until its result is the one that was waited for.

    Their requests are `PollRequest`.
    """

    def __init__(self, assembly: Assembly, translate: Translate) -> None:
        super().__init__(assembly, translate)
        self._now = assembly.runtime.now

    def flow(self, request: PollRequest, *, sync: bool) -> Flow[Any]:
        """See `FlowSource.flow`."""
        now = self._now
        began = now()
        until = FOREVER if request.deadline is None else began + request.deadline
        shortest = _SHORTEST if request.deadline is None else min(_SHORTEST, request.deadline / 5)
        seen = _Seen()
        wait: float | None = None
        last = False
        while True:
            begun = now()
            call = yield from self._made(request)
            seen.polls += 1
            try:
                result = yield from inside(call, self.assembly, sync=sync, until=until)
            except Expired:
                if not passed(until, now):  # somebody else's time is up
                    raise
                raise self._late(request, seen, now() - began) from None
            except _PASSING as error:
                seen.failed(error)
                if seen.failures > request.tolerate:
                    if request.tolerate:
                        error.add_note(f"It was poll {seen.polls}, the last of {seen.failures} in a row that failed.")
                    raise
            else:
                seen.found(result)
                if request.on_update is not None:
                    yield from asked(request.on_update, result)
                if (yield from asked(request.until, result)):
                    return result
            left = until - now()
            # A last poll that has left time for another one was not the last.
            if left < shortest * (1.5 if last else 1.0) or passed(until, now):
                raise self._late(request, seen, now() - began)
            wait = request.backoff.wait(seen.polls, wait, self.assembly.pipeline.ports.rand)
            following = now() + max(wait, seen.told)
            # The state at the very end is worth a look: the last wait leaves that poll as long as this one has taken.
            final = until - max(2 * (now() - begun), shortest)
            if following > final:
                following, last = max(final, now()), True
            yield from self.assembly.pipeline.sleep(following)

    def _made(self, request: PollRequest) -> Flow[Call[Any]]:
        call = yield from asked(lambda make: make(), request.make)
        if not isinstance(call, Call):
            raise TypeError(f"the function that is polled must return a Call, not {type(call).__name__}")
        return past_cache(call)

    def _late(self, request: PollRequest, seen: _Seen, seconds: float) -> HoldfastError:
        deadline = request.deadline or 0.0
        return self.translate(
            PollDeadlineError(
                f"polling {request.what}: the deadline of {deadline:g} s passed after {seconds:.3g} s and "
                f"{seen.polls} poll{'s' * (seen.polls != 1)}; {seen.said}",
                last_result=seen.result,
                last_error=seen.error,
                polls=seen.polls,
                request_id=getattr(seen.result, "request_id", None),
            )
        )

    def describe(self, request: PollRequest) -> str:
        """See `holdfast.call.Source`."""
        return f"poll of {request.what}"

    def raw(self, request: PollRequest) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError("a poll is made of several responses: poll the call's .raw() to get the last one")

    def changed(self, request: PollRequest, options: Mapping[str, Any]) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError("a poll is no request: put the options on the call that it repeats, and deadline= on poll()")


class _Seen:
    """What the polls so far have found.

    Attributes:
        told: seconds that the service asked to wait.
    """

    def __init__(self) -> None:
        self.polls = 0
        self.failures = 0
        self.result: Any = None
        self.error: HoldfastError | None = None
        self.told = 0.0

    def found(self, result: Any) -> None:
        """A poll gave this."""
        self.result, self.error, self.failures, self.told = result, None, 0, 0.0

    def failed(self, error: HoldfastError) -> None:
        """A poll ended with this."""
        self.error = error
        self.failures += 1
        self.told = error.retry_after or 0.0

    @property
    def said(self) -> str:
        """The last state seen, in words. Not the whole result, which may be large, and private."""
        if self.result is None:
            found = "no answer came"
        else:
            kind = type(self.result).__name__
            status = self.result.get("status") if hasattr(self.result, "get") else getattr(self.result, "status", None)
            found = f"the last answer was {kind}" + (f" with status {status!r}" if isinstance(status, str) else "")
        return found if self.error is None else f"{found}; the last poll failed ({type(self.error).__name__})"
