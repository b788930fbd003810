"""Health checks of one or many services, side by side, and the one status that comes of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NoReturn, TypeAlias

from holdfast.call import Call
from holdfast.core.effects import FOREVER, Failed, Flow
from holdfast.exceptions import DeadlineExceededError, HoldfastError
from holdfast.http.options import check
from holdfast.redaction import redact_url
from holdfast.service.inside import asked, home_of, inside, renewed
from holdfast.service.record import Record
from holdfast.service.repeat import past_cache
from holdfast.service.workers import Lost, Workers

if TYPE_CHECKING:
    from holdfast.core.outcome import Stop
    from holdfast.http.assembly import Assembly
    from holdfast.http.drive_async import Owner
    from holdfast.http.runtime import Runtime
    from holdfast.service.inside import Home

__all__ = ["CheckResult", "HealthCheck", "HealthReport", "Status", "check_health"]

Status: TypeAlias = Literal["healthy", "degraded", "unhealthy"]
HealthCheck: TypeAlias = Call[Any] | Callable[[], Any]
"""A call, or a function that looks at something here; what it returns may be a call too."""

_DEADLINE = 10.0  # seconds; who asks for the health of something wants to hear soon

# The words of section 3.1 of draft-inadarei-api-health-check, and those that services use besides. A word that is in
# none of them is not taken for bad news: there was an answer.
_WORDS: Final[Mapping[Status, str]] = {
    "degraded": "degraded warn warning partial",
    "unhealthy": "unhealthy fail failed failing error down critical unavailable",
}
_SAID: Final[Mapping[str, Status]] = {word: status for status, words in _WORDS.items() for word in words.split()}
_WORST: Final[tuple[Status, ...]] = ("unhealthy", "degraded", "healthy")


@dataclass(frozen=True)
class CheckResult(Record):
    """What one check found.

    Attributes:
        status: ``"healthy"``, ``"degraded"`` or ``"unhealthy"``.
        latency_seconds: how long it took, retries included.
        error: why it failed, in words; None if it did not. `error_type`: the name of the exception's class.
        details: what the service, or the function, answered; None if it did not.
    """

    _keys: ClassVar[tuple[str, ...]] = ("status", "latency_seconds", "error", "error_type", "details")

    status: Status
    latency_seconds: float
    error: str | None = None
    error_type: str | None = None
    details: Any = None


@dataclass(frozen=True)
class HealthReport(Record):
    """What all checks found.

    Attributes:
        overall_status: the worst of them; ``"healthy"`` if there are none.
        checks: their results by name, in the order in which they were given.
    """

    _keys: ClassVar[tuple[str, ...]] = ("overall_status", "checks")

    overall_status: Status
    checks: Mapping[str, CheckResult]

    @property
    def healthy(self) -> bool:
        """Whether everything is."""
        return self.overall_status == "healthy"


def check_health(
    checks: Mapping[str, HealthCheck], *, deadline: float | None = _DEADLINE, slow: float | None = None
) -> Call[HealthReport]:
    """A call that runs checks side by side, of one client or of many, and reports on all of them.

    ::

        report = await check_health({"sessions": sessions.health(), "memory": memory.health()}, deadline=5)
        print(report.overall_status)

    The services are asked past the cache. A check that fails is part of the report and raises nothing. One that is
    answered is healthy, unless the answer has a ``status`` (or ``overall_status``) that says otherwise, such as
    ``"warn"`` or ``"down"``.

    Args:
        checks: by name, calls, which count as used, or functions without arguments that look at something here, and
            return anything that is read like an answer: text, a mapping with a ``status``, a call.
        deadline: seconds after which checks that are not done count as unhealthy; None for as long as they take.
        slow: seconds from which on an answer counts as degraded.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names it.
        RuntimeError: a call was sent already.
    """
    check({"deadline": deadline})
    seconds: object = slow
    if seconds is not None and (not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not seconds > 0):
        raise ValueError(f"slow must be a number of seconds, more than 0, not {slow!r}")
    if not isinstance(checks, Mapping):
        raise TypeError(f"checks must be a mapping of names to calls, not {type(checks).__name__}")
    for name, one in checks.items():
        if not isinstance(one, Call) and not callable(one):
            raise TypeError(f"the check {name!r} must be a call or a function, not {type(one).__name__}")
    homes = [home for one in checks.values() if isinstance(one, Call) and (home := home_of(one)) is not None]
    made = {name: renewed(one) if isinstance(one, Call) else one for name, one in checks.items()}
    return Call(_Health(homes), _Checks(made, deadline, slow))


@dataclass(frozen=True, slots=True)
class _Checks:
    """The request: what makes the calls, by name."""

    made: Mapping[str, Callable[[], Any]]
    deadline: float | None
    slow: float | None


class _Health:
    """A source of calls that check the health of services. Their requests are `_Checks`.

    The flow is stepped by the first client that can, so that it lives by its clock; the calls of others go by theirs.
    """

    def __init__(self, homes: list[Assembly]) -> None:
        self._homes = homes

    def start(
        self, request: _Checks, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop, owner: Owner
    ) -> Coroutine[Any, Any, Any]:
        """See `holdfast.call.Source`."""
        from holdfast.http.drive_async import AsyncDriver

        home, driver = self._driver(lambda home: home.connections.driver(loop))
        if driver is None:
            driver = AsyncDriver(home.runtime, _NO_ENGINE, loop)
        coroutine: Coroutine[Any, Any, Any] = driver.drive(self._flow(request, home, sync=False), task, owner)
        return coroutine

    def run(self, request: _Checks) -> HealthReport:
        """See `holdfast.call.Source`."""
        from holdfast.http.drive_sync import SyncDriver

        home, driver = self._driver(lambda home: home.connections.sync_driver())
        if driver is None:
            driver = SyncDriver(home.runtime, _NO_ENGINE)
        report: HealthReport = driver.drive(self._flow(request, home, sync=True))
        return report

    def _driver(self, driver_of: Callable[[Assembly], Any]) -> tuple[Home, Any]:
        """Who steps the flow. A client whose transport is of the other colour cannot."""
        from holdfast.http.connections import WrongColour
        from holdfast.http.runtime import Runtime

        for home in self._homes:
            try:
                return home, driver_of(home)
            except WrongColour:
                pass
        return _Nowhere(Runtime()), None

    def _flow(self, request: _Checks, home: Home, *, sync: bool) -> Flow[HealthReport]:
        now = home.runtime.now
        began = now()
        until = FOREVER if request.deadline is None else began + request.deadline
        names = list(request.made)
        found: dict[str, CheckResult] = {}
        workers = Workers()
        try:
            for key, name in enumerate(names):
                yield from workers.begin(key, _check(request.made[name], request.slow, home, until, sync=sync))
            while (ended := (yield from workers.ended(until))) is not None:
                key, result = ended
                if result.__class__ is not Failed:
                    found[names[key]] = result
                elif isinstance(result.error, Lost):
                    found[names[key]] = CheckResult("unhealthy", now() - began, "it was cancelled", "CancelledError")
        except BaseException as error:
            workers.stop()
            if not sync and isinstance(error, asyncio.CancelledError):
                yield from workers.gone()
            raise
        workers.stop()
        if not sync:
            yield from workers.gone()
        for name in names:
            if name not in found:
                late = f"no answer within {request.deadline:g} s"
                found[name] = CheckResult("unhealthy", now() - began, late, DeadlineExceededError.__name__)
        statuses = {one.status for one in found.values()}
        overall: Status = next((status for status in _WORST if status in statuses), "healthy")
        return HealthReport(overall, {name: found[name] for name in names})

    def error(self, stop: Stop) -> NoReturn:
        """See `holdfast.call.Source`: no check ends it."""
        raise AssertionError(stop)

    def describe(self, request: _Checks) -> str:
        """See `holdfast.call.Source`."""
        return f"health of {', '.join(request.made) or 'nothing'}"

    def raw(self, request: _Checks) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError("a health report is made of several responses: put .raw() on the calls of its checks")

    def changed(self, request: _Checks, options: Mapping[str, Any]) -> NoReturn:
        """See `holdfast.call.Source`."""
        raise TypeError("a health report is no request: put the options on the calls of its checks")


class _Nowhere:
    """Where no client's lock is held: all calls are sent by their own clients."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime


_NO_ENGINE: Any = None
"""Of a driver whose flows send nothing themselves."""


def _check(make: Callable[[], Any], slow: float | None, home: Home, until: float, *, sync: bool) -> Flow[CheckResult]:
    """One check. It fails with nothing but `Expired`, which is everybody's."""
    now = home.runtime.now
    began = now()
    try:
        answer = yield from asked(lambda make: make(), make)
        if isinstance(answer, Call):
            answer = yield from inside(past_cache(answer), home, sync=sync, until=until)
        elif inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("a check must be a call, or a function that returns one or a value, not a coroutine")
    except Exception as error:  # noqa: BLE001  # that is what is reported
        said = str(error) if isinstance(error, HoldfastError) else redact_url(error)
        return CheckResult("unhealthy", now() - began, said or type(error).__name__, type(error).__name__)
    seconds = now() - began
    status = _status(answer)
    if status == "healthy" and slow is not None and seconds >= slow:
        status = "degraded"
    return CheckResult(status, seconds, details=answer)


def _status(answer: Any) -> Status:
    said = answer
    for name in ("overall_status", "status"):
        if isinstance(answer, Mapping):
            found = answer.get(name)
        else:
            found = getattr(answer, name, None)
        if isinstance(found, str):
            said = found
            break
    return _SAID.get(said.strip().lower(), "healthy") if isinstance(said, str) else "healthy"
