"""A pipeline of its own under virtual time, with ports that show what was sent, told and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from holdfast.core.backoff import Backoff
from holdfast.core.breaker import Breaker, BreakerPolicy
from holdfast.core.budget import RetryBudget
from holdfast.core.bulkhead import Bulkhead
from holdfast.core.cache import Cache
from holdfast.core.effects import Child, Failed, Flow, Job
from holdfast.core.events import Event
from holdfast.core.flow import Pipeline
from holdfast.core.limiter import Limiter, LimiterPolicy
from holdfast.core.outcome import Kind, Outcome
from holdfast.core.ports import CacheUse, Frozen, Plan, Ports
from holdfast.core.retry import RetryPolicy
from holdfast.testing import VirtualTime
from holdfast.testing.virtual import Fiber

BEGIN = 1000.0
"""Not 0: a time that is taken for a duration is to be seen."""


@dataclass
class Reply:
    """A response, as much of one as the core sees through its ports."""

    status_code: int = 200
    text: str = ""
    retry_after: float | None = None
    pace: tuple[int, float] | tuple[int, float, int, float] | None = None
    vary: tuple[str, ...] = ()
    storable: bool = True


@dataclass
class Thawed:
    """A reply made from what was kept, for the job that asked, or for what makes one."""

    value: Any
    asked: Any
    status_code: int = 200


class LostError(Exception):
    """The connection broke after the request had gone out."""


class UnsentError(Exception):
    """There was no connection."""


Answer: TypeAlias = int | Reply | Exception
Step: TypeAlias = Answer | tuple[float, Answer]

_BREAKER = BreakerPolicy()
_KINDS = {408: Kind.SERVER_TIMEOUT, 429: Kind.THROTTLED, 503: Kind.UNAVAILABLE}


class WatchedTime(VirtualTime):
    """Virtual time that remembers what was spawned."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[Fiber] = []

    def start(self, flow: Flow[Any], send: Callable[[Job], tuple[float, Any]], child: Child | None = None) -> Fiber:
        fiber = super().start(flow, send, child)
        if child is not None:
            self.spawned.append(fiber)
        return fiber


class Bench:
    """A pipeline and its surroundings.

    Args:
        script: the answers in their order, each perhaps with the seconds it takes; the last one is repeated.
        verbosity: how much the listeners want to hear.
    """

    def __init__(
        self,
        script: Sequence[Step],
        *,
        slots: int = 10,
        max_queue: int | None = None,
        limiter: LimiterPolicy | None = None,
        breaker: BreakerPolicy | None = _BREAKER,
        budget: Callable[[], RetryBudget] | None = None,
        cache: Cache | None = None,
        count_attempts: bool = False,
        pacing: bool = True,
        max_states: int = 1000,
        verbosity: int = 1,
    ) -> None:
        self.world = WatchedTime()
        self.world.now = BEGIN
        self.verbosity = verbosity
        self.events: list[Event] = []
        self.records: list[tuple[str, float, str, int, int]] = []
        self.sent: list[tuple[float, str, dict[str, float | None]]] = []
        self.loaded: list[Any] = []
        self.discarded: list[Any] = []
        self.breakers: dict[str, Breaker] = {}
        self._script = list(script)
        self._ids = 0
        self.bulkhead = Bulkhead(slots, max_queue)
        self.pipeline = Pipeline(
            Ports(
                now=self.world.clock,
                rand=lambda: 0.5,
                classify=_classify,
                pace=lambda reply: reply.pace,
                follow=_follow,
                load=self._load,
                discard=self.discarded.append,
                path=lambda job: job.url,
                freeze=_freeze,
                thaw=Thawed,
                verbosity=lambda: self.verbosity,
                emit=self.events.append,
                record=lambda *figures: self.records.append(figures),
            ),
            bulkhead=self.bulkhead,
            limiter=lambda: Limiter(limiter or LimiterPolicy()),
            breaker=self._breaker_of(breaker) if breaker is not None else None,
            budget=budget,
            cache=cache,
            count_attempts=count_attempts,
            pacing=pacing,
            max_states=max_states,
        )

    def job(
        self,
        method: str = "GET",
        path: str = "/a",
        *,
        slot_wait: float = 30.0,
        token_wait: float = 30.0,
        attempts: int = 3,
        wait: float = 1.0,
        retry_if: Callable[[Outcome], bool | None] | None = None,
        cached: float | None = None,
        stale: float = 0.0,
        on_error: float = 0.0,
        accept: str = "",
        tags: frozenset[str] = frozenset(),
        plain: bool = False,
        **attributes: Any,
    ) -> Job:
        """A call. `cached`: seconds that its answer is kept. `plain`: goes the short way, if nothing is in its way."""
        self._ids += 1
        retry = RetryPolicy(attempts, Backoff("constant", wait, wait, jitter="off"), retry_if=retry_if)
        plan = Plan(retry, slot_wait, token_wait)
        timeouts: dict[str, float | None] = {"connect": 5.0, "read": 10.0}
        job = Job(method, path, [], b"", timeouts, plan, "origin", f"{method} {path}", f"id-{self._ids}")
        job.idempotent = method not in ("POST", "PATCH")
        job.longest = 10.0
        job.plain = plain
        if plain:
            self.pipeline.breaker(job.key)  # the first call to an origin always goes the long way
        if cached is not None:
            job.cache = CacheUse(path, path, lambda names: (accept,) * len(names), cached, stale, on_error, tags)
        for name, value in attributes.items():
            setattr(job, name, value)
        return job

    def start(self, job: Job, at: float = 0.0) -> Started:
        """Starts a call, `at` seconds after the beginning."""
        started = Started()

        def start() -> None:
            started.fiber = self.world.start(self.pipeline.call(job), self._send)

        self.world.at(BEGIN + at, start)
        return started

    def call(self, job: Job | None = None) -> Any:
        """Makes one call from its start to its end, and whatever else was planned. Gives its result."""
        started = self.start(job or self.job(), self.world.now - BEGIN)
        self.world.run()
        return started.result

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of this kind."""
        return [event for event in self.events if type(event) is kind]

    def times(self) -> list[float]:
        """When something was sent, in seconds since the beginning."""
        return [when - BEGIN for when, _, _ in self.sent]

    def _breaker_of(self, policy: BreakerPolicy) -> Callable[[str], Breaker]:
        def made(key: str) -> Breaker:
            breaker = self.breakers[key] = Breaker(policy)
            return breaker

        return made

    def _send(self, job: Job) -> tuple[float, Any]:
        self.sent.append((self.world.now, job.route, dict(job.timeouts)))
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        delay, answer = step if isinstance(step, tuple) else (0.0, step)
        if isinstance(answer, int):
            answer = Reply(answer)
        return delay, Failed(answer) if isinstance(answer, Exception) else answer

    def _load(self, reply: Any) -> Any:
        self.loaded.append(reply)
        return reply


class Started:
    """A call that is going on, or over."""

    fiber: Fiber

    @property
    def result(self) -> Any:
        """What it came to: a reply, a `Stop`, or what ended it from outside. An error is raised."""
        assert self.fiber.done, "it has not ended"
        if isinstance(self.fiber.result, Exception):
            raise self.fiber.result
        return self.fiber.result


def _classify(job: Job, reply: Any) -> Outcome:
    if isinstance(reply, Failed):
        error = reply.error
        if isinstance(error, LostError):
            return Outcome(Kind.LOST, error=error, may_have_executed=True, attempt=job.attempts)
        if isinstance(error, UnsentError):
            return Outcome(Kind.UNSENT, error=error, attempt=job.attempts)
        return Outcome(Kind.LATE, error=error, timed_out=True, may_have_executed=True, attempt=job.attempts)
    status = reply.status_code
    kind = Kind.OK if status < 400 else Kind.REJECTED if status < 500 else Kind.SERVER_ERROR
    kind = _KINDS.get(status, kind)
    executed = kind in (Kind.OK, Kind.SERVER_ERROR, Kind.SERVER_TIMEOUT)
    return Outcome(kind, status, reply, retry_after=reply.retry_after, may_have_executed=executed, attempt=job.attempts)


def _follow(job: Job, reply: Any) -> Flow[Any]:
    while reply.status_code == 302:
        hop = job.clone()
        hop.route = f"hop of {job.route}"
        reply = yield hop
    return reply


def _freeze(job: Job, reply: Any) -> Frozen | None:
    if not reply.storable or reply.status_code != 200:
        return None
    use: CacheUse = job.cache
    return Frozen(reply.text, 10, use.ttl or 0.0, use.stale_while_revalidate, use.stale_if_error, reply.vary)
