"""Random runs of a whole pipeline: several flows at once, random answers, throws, waits, and hands on every switch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.core.backoff import Backoff
from holdfast.core.breaker import Breaker, BreakerPolicy
from holdfast.core.budget import RetryBudget
from holdfast.core.bulkhead import GRANTED, Bulkhead
from holdfast.core.cache import Cache
from holdfast.core.effects import FOREVER, Child, Failed, Flow, Io, Job, Park, Spawn
from holdfast.core.flow import Pipeline
from holdfast.core.limiter import Limiter, LimiterPolicy
from holdfast.core.outcome import Kind, Outcome
from holdfast.core.ports import CacheUse, Frozen, Ports
from holdfast.core.ports import Plan as CallPlan
from holdfast.core.retry import RetryPolicy
from tests.support.throwing import ERRORS, Plan, Tap, breakers_of, count, missing


class Reply:
    """A response, as much as the core looks at one."""

    def __init__(self, status: int, pace: tuple[int, float] | None = None) -> None:
        self.status_code = status
        self.pace = pace


class LostError(Exception):
    """The connection broke."""


class UnsentError(Exception):
    """There was no connection."""


class LateError(Exception):
    """The deadline passed."""


_KINDS = {200: Kind.OK, 203: Kind.OK, 302: Kind.OK, 401: Kind.REJECTED, 404: Kind.REJECTED, 429: Kind.THROTTLED,
          500: Kind.SERVER_ERROR, 503: Kind.UNAVAILABLE}  # fmt: skip
_LOST = {LostError: Kind.LOST, UnsentError: Kind.UNSENT, LateError: Kind.LATE}


def _classify(job: Job, reply: Any) -> Outcome:
    if isinstance(reply, Failed):
        kind = _LOST[type(reply.error)]
        return Outcome(kind, error=reply.error, timed_out=kind is Kind.LATE, may_have_executed=kind is not Kind.UNSENT)
    status = reply.status_code
    return Outcome(_KINDS[status], status, reply, retry_after=2.0 if status == 429 else None)


def _load(reply: Any) -> Any:
    return reply


def _discard(reply: Any) -> None:
    pass


def _follow(job: Job, reply: Any) -> Flow[Any]:
    for _ in range(2):
        if reply.status_code != 302:
            break
        hop = job.clone()
        hop.attempts = 0
        reply = yield hop
    return reply


def _freeze(job: Job, reply: Any) -> Frozen | None:
    return Frozen(reply, 10, 3.0, 3.0, 6.0, ()) if reply.status_code == 200 else None


class Renewing:
    """Credentials that take I/O to get, and are renewed once after a 401."""

    def __init__(self) -> None:
        self.renewed = False

    def apply(self, job: Job) -> Flow[None]:
        self.renewed = False
        yield Io(_load)

    def retry(self, job: Job, reply: Any) -> Flow[bool]:
        if reply.status_code != 401 or self.renewed:
            return False
        self.renewed = True
        yield Io(_load)
        return True


class Standing:
    """A flow, and the effect it stands at."""

    def __init__(self, flow: Tap, job: Job | None, child: Child | None = None) -> None:
        self.flow = flow
        self.job = job
        self.child = child
        self.effect: Any = None

    @property
    def ready(self) -> bool:
        """Whether what it is parked on has come."""
        return isinstance(self.effect, Park) and self.effect.waiter is not None and self.effect.waiter.woken


_PICK = st.integers(0, 10**6)
_METHODS = st.sampled_from(["GET", "GET", "GET", "POST", "PUT"])


class PipelineMachine(RuleBasedStateMachine):
    """Drives the flows of one pipeline by hand, in an order that nobody would think of."""

    figures: ClassVar[dict[str, int]] = {"runs": 0, "flows": 0, "steps": 0, "throws": 0, "requests": 0}

    @initialize(
        size=st.integers(1, 3),
        max_queue=st.sampled_from([None, None, 0, 1, 3]),
        rate=st.sampled_from([None, None, 1.0, 5.0]),
        breaker=st.sampled_from(
            [
                None,
                BreakerPolicy(failure_threshold=1, recovery_timeout=3.0),
                BreakerPolicy(failure_threshold=3, recovery_timeout=3.0, half_open_probes=2),
                BreakerPolicy(window="count", window_size=4, minimum_calls=2, recovery_timeout=3.0),
                BreakerPolicy(window="time", window_seconds=5.0, minimum_calls=2, recovery_timeout=3.0,
                              slow_call_seconds=2.0, slow_call_rate=0.5),
            ]
        ),
        budget=st.booleans(),
        count_attempts=st.booleans(),
    )  # fmt: skip
    def build(
        self,
        size: int,
        max_queue: int | None,
        rate: float | None,
        breaker: BreakerPolicy | None,
        budget: bool,
        count_attempts: bool,
    ) -> None:
        self.now = 100.0
        self.live: list[Standing] = []
        self.streams: list[Job] = []
        self.plan = Plan()
        self.cache = Cache(max_entries=3)
        self.metered = rate is not None
        self.probes = breaker.half_open_probes if breaker is not None else 0
        self.pipeline = Pipeline(
            Ports(
                now=lambda: self.now,
                rand=lambda: 0.5,
                classify=_classify,
                pace=lambda reply: reply.pace if isinstance(reply, Reply) else None,
                follow=_follow,
                load=_load,
                discard=_discard,
                path=lambda job: job.url,
                freeze=_freeze,
                thaw=lambda value, job: value,
            ),
            bulkhead=Bulkhead(size, max_queue),
            limiter=lambda: Limiter(LimiterPolicy(rate=rate, burst=2)),
            breaker=(lambda key: Breaker(breaker)) if breaker is not None else None,
            budget=(lambda: RetryBudget(0.2, 5.0, 2)) if budget else None,
            cache=self.cache,
            count_attempts=count_attempts,
        )
        count(self.pipeline)
        self.plan.pipeline = self.pipeline
        self.figures["runs"] += 1

    # Flows

    @rule(
        method=_METHODS,
        path=st.sampled_from(["/a", "/b"]),
        cached=st.booleans(),
        stream=st.booleans(),
        patience=st.sampled_from([FOREVER, 4.0, 10.0]),
        plain=st.booleans(),
        auth=st.booleans(),
        wanted=st.sampled_from(["none", "none", "never", "ok", "raises"]),
        circuit=st.sampled_from([None, None, "finer"]),
    )
    def begin(
        self,
        method: str,
        path: str,
        cached: bool,
        stream: bool,
        patience: float,
        plain: bool,
        auth: bool,
        wanted: str,
        circuit: str | None,
    ) -> None:
        """A call."""
        if plain:  # the short way, which nearly all calls take
            cached, stream, auth, wanted, circuit = False, False, False, "none", None
        retry = RetryPolicy(3, Backoff("constant", 1.0, 1.0), retry_if=_PREDICATES[wanted])
        job = Job(method, path, [], b"", {"read": 5.0}, CallPlan(retry, 3.0, 3.0), "origin", path, "id")
        job.idempotent = method != "POST"
        job.patience = patience
        cached = cached and method == "GET" and not stream
        job.plain = plain
        job.longest = 5.0
        job.stream = stream
        job.follow = True
        job.circuit = circuit
        job.auth = Renewing() if auth else None
        if cached:
            job.cache = CacheUse(path, path, lambda names: (), 3.0, 3.0, 6.0, frozenset({"tag"}))
        self._start(Standing(Tap(self.pipeline.call(job), self.plan), job))

    def _start(self, one: Standing) -> None:
        self.figures["flows"] += 1
        self.live.append(one)
        self._step(one, one.flow.send, None)

    def _step(self, one: Standing, step: Callable[[Any], Any], value: Any) -> None:
        self.figures["steps"] += 1
        while True:
            try:
                effect = step(value)
            except StopIteration as stop:
                self._ended(one, stop.value)
                return
            except (LookupError, *ERRORS) as error:
                self._ended(one, error)
                return
            one.effect = effect
            if isinstance(effect, Spawn):
                value, step = Child(), one.flow.send
                self._start(Standing(Tap(effect.flow, self.plan), None, value))
                continue
            if isinstance(effect, Job):
                self.figures["requests"] += 1
                if effect.attempts:
                    assert not self.pipeline.closed, "sent by a closed client"
            elif isinstance(effect, Park) and effect.waiter is not None:
                effect.waiter.notify = lambda: True
            return

    def _ended(self, one: Standing, result: Any) -> None:
        self.live.remove(one)
        if one.child is not None:
            one.child.wake(result)
        if one.job is not None and one.job.on_end is not None:
            if isinstance(result, Reply):
                self.streams.append(one.job)
            else:
                assert not one.job.on_end._open, "a stream that nobody was given is open"

    def _at(self, kind: type, pick: int) -> Standing | None:
        standing = [one for one in self.live if isinstance(one.effect, kind)]
        return standing[pick % len(standing)] if standing else None

    # What comes from outside

    @rule(pick=_PICK, status=st.sampled_from([200, 200, 203, 302, 401, 404, 429, 500, 500, 503]), paced=st.booleans())
    def answer(self, pick: int, status: int, paced: bool) -> None:
        self._reply(pick, Reply(status, (0, 2.0) if paced and status == 200 else None))

    @rule(pick=_PICK, error=st.sampled_from([LostError, UnsentError]))
    def break_off(self, pick: int, error: type[Exception]) -> None:
        self._reply(pick, Failed(error()))

    def _reply(self, pick: int, reply: Any) -> None:
        one = self._at(Job, pick)
        if one is not None:
            late = self.now >= one.effect.deadline
            self._step(one, one.flow.send, Failed(LateError()) if late else reply)

    @rule(pick=_PICK)
    def perform(self, pick: int) -> None:
        one = self._at(Io, pick)
        if one is not None:
            self._perform(one)

    def _perform(self, one: Standing) -> None:
        try:
            value = one.effect.op(one.effect.arg)
        except LookupError as error:
            value = Failed(error)
        self._step(one, one.flow.send, value)

    @rule(pick=_PICK)
    def resume(self, pick: int) -> None:
        """Goes on with one whose wait is over, woken or not; the others that are woken stand where they are."""
        over = [one for one in self.live if self._over(one)]
        if over:
            self._resume(over[pick % len(over)])

    def _over(self, one: Standing) -> bool:
        return isinstance(one.effect, Park) and (one.ready or self.now >= one.effect.until)

    def _resume(self, one: Standing) -> None:
        self._step(one, one.flow.send, one.ready)

    @rule(pick=_PICK, error=st.sampled_from(ERRORS))
    def throw(self, pick: int, error: type[BaseException]) -> None:
        if self.live:
            self.figures["throws"] += 1
            one = self.live[pick % len(self.live)]
            thrown = error()
            self._step(one, one.flow.throw, thrown)
            assert one not in self.live, f"it went on with {one.effect} after {error}"

    @rule(pick=_PICK, kind=st.sampled_from([None, Kind.OK, Kind.LOST, Kind.TRUNCATED, Kind.LATE]))
    @precondition(lambda self: self.streams)
    def end_stream(self, pick: int, kind: Kind | None) -> None:
        job = self.streams.pop(pick % len(self.streams))
        job.on_end(kind)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 1.0, 3.0, 7.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # Hands on the switches

    @rule(what=st.sampled_from(["isolate", "close", "trip"]))
    def switch(self, what: str) -> None:
        for breaker in breakers_of(self.pipeline):
            if what == "isolate":
                breaker.isolate(self.now)
            elif what == "close":
                breaker.close(self.now)
            else:
                for _ in range(4):
                    ticket = breaker.enter(self.now)
                    if ticket >= 0:
                        breaker.fail(ticket, self.now)

    @rule(what=st.sampled_from(["key", "tag", "prefix", "path", "all"]))
    def invalidate(self, what: str) -> None:
        cache = self.cache
        if what == "key":
            cache.invalidate("/a")
        elif what == "tag":
            cache.invalidate_tag("tag")
        elif what == "prefix":
            cache.invalidate_prefix("/")
        elif what == "path":
            cache.invalidate_path("/b")
        else:
            cache.clear()

    @rule(chance=st.integers(0, 9))
    def close(self, chance: int) -> None:
        if chance == 9:
            self.pipeline.close()

    # What holds all the time

    @invariant()
    def no_slot_is_nobodys(self) -> None:
        bulkhead = self.pipeline.bulkhead
        holders = len(self.streams)
        waiting = 0
        for one in self.live:
            effect = one.effect
            if isinstance(effect, Job) or (isinstance(effect, Io) and effect.op is _load and effect.arg is not None):
                holders += 1
            elif isinstance(effect, Park) and effect.waiter is not None:
                holders += effect.waiter.woken and effect.waiter.value is GRANTED
                waiting += effect.waiter in bulkhead._queue
            if one.job is not None and one.job.on_end is not None:
                holders += one.job.on_end._open
        assert bulkhead.in_flight == holders <= bulkhead.size
        assert bulkhead.queued == waiting
        assert not waiting or holders == bulkhead.size, "somebody waits beside a free slot"

    @invariant()
    def no_more_probes_than_allowed(self) -> None:
        for breaker in breakers_of(self.pipeline):
            assert 0 <= breaker._probes <= self.probes

    @invariant()
    def every_flight_has_a_crew(self) -> None:
        assert self.cache.flights <= len(self.live)
        assert not self.plan.wrong, self.plan.wrong

    def teardown(self) -> None:
        """All come to an end, and nothing is missing."""
        if not hasattr(self, "pipeline"):
            return
        while self.live:
            one = next((one for one in self.live if not isinstance(one.effect, Park) or self._over(one)), None)
            if one is None:
                until = min(one.effect.until for one in self.live)
                assert until < float("inf"), f"{len(self.live)} wait for ever"
                self.now = until
            elif isinstance(one.effect, Job):
                self._reply(self.live.index(one), Reply(200))
            elif isinstance(one.effect, Io):
                self._perform(one)
            else:
                self._resume(one)
        for job in self.streams:
            job.on_end(None)
        for breaker in breakers_of(self.pipeline):
            if breaker.state(self.now) == "isolated":
                breaker.close(self.now)
        sends = self.plan.sends if self.metered else None
        assert not list(missing(self.pipeline, sends, self.plan.retries(), self.now))
        assert not self.plan.wrong, self.plan.wrong


def _raises(outcome: Outcome) -> bool:
    raise LookupError("the predicate failed")


_PREDICATES: dict[str, Callable[[Outcome], bool | None] | None] = {
    "none": None,
    "never": lambda outcome: False,
    "ok": lambda outcome: True if outcome.status in (200, 500) else None,
    "raises": _raises,
}

TestPipeline = PipelineMachine.TestCase
