"""The flow of one call through every policy: cache, breaker, retry, auth, rate limiter, bulkhead, send.

Read `Pipeline.call` first and follow the ``yield from``. A flow is stepped under the client's lock. What it took is
given back under ``except BaseException`` and ``finally`` with plain calls that never yield: a flow may be closed by the
garbage collector, where a yield is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.core.attempt import AttemptStage
from holdfast.core.breaker import Breaker
from holdfast.core.budget import RetryBudget
from holdfast.core.bulkhead import Bulkhead
from holdfast.core.cache import Cache
from holdfast.core.cached import CacheStage
from holdfast.core.effects import Failed, Flow, Io, Job
from holdfast.core.events import CallFinished, RetryScheduled
from holdfast.core.limiter import Limiter
from holdfast.core.outcome import Kind, Outcome, Reason, Stop
from holdfast.core.ports import KnownUse, Ports
from holdfast.core.retry import Again, Halt
from holdfast.core.state import NO_STATE, State, settle

_OVERSPENT = Halt("the retry budget of this origin is spent: too large a share of its calls are retries already")

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing on the server (RFC 9110, section 9.2.1): they invalidate nothing in the cache."""


class Pipeline:
    """All policies of one client, and the flow through them. One per client; state is kept per origin."""

    def __init__(
        self,
        ports: Ports,
        *,
        bulkhead: Bulkhead,
        limiter: Callable[[], Limiter],
        breaker: Callable[[str], Breaker] | None = None,
        budget: Callable[[], RetryBudget] | None = None,
        cache: Cache | None = None,
        count_attempts: bool = False,
        pacing: bool = True,
        max_states: int = 1000,
    ) -> None:
        self.ports = ports
        self.bulkhead = bulkhead
        self.cache = CacheStage(cache, ports, self._guarded) if cache is not None else None
        self.states: dict[str, State] = {}
        self.closed = False
        self._attempt = AttemptStage(ports, bulkhead, pacing=pacing)
        self.sleep = self._attempt.sleep
        self._breaker = breaker
        self._budget = budget
        self._limiter = limiter
        self._count_attempts = count_attempts
        self._max_states = max_states

    # The call

    def call(self, job: Job) -> Flow[Any]:  # noqa: C901, PLR0915  # the hot path, in one generator
        """The whole flow of one call. Returns the reply, or a `Stop`."""
        ports = self.ports
        clock = ports.now
        job.started = now = clock()
        job.deadline = now + job.patience
        verbosity = ports.verbosity
        job.verbosity = verbosity()
        try:
            if self.closed:
                result: Any = Stop(Reason.CLOSED, job)
            elif job.plain and (state := self.states.get(job.key, NO_STATE)).gate.closed:
                # Nothing stands in the way: the first attempt as in `_guarded`, but without a generator per stage.
                breaker = state.gate
                ticket = breaker.ticket
                if state.budget is not None:
                    state.budget.record_call(now)
                attempt = self._attempt
                if attempt.admit(job, state, now):
                    try:
                        result = yield job
                        if result.status_code >= 300:
                            result = yield from attempt.load(job, result)
                    except BaseException:
                        self.bulkhead.leave()
                        breaker.leave(ticket)
                        raise
                    attempt.done(job, state, result)
                    if not 200 <= result.status_code < 400 or not breaker.spotless:
                        result = yield from self._behind(job, state, breaker, ticket, result)
                    elif not state.limiter.idle:
                        state.limiter.succeeded(clock())
                else:
                    result = yield from self._behind(job, state, breaker, ticket)
            elif job.cache is None or self.cache is None:
                result = yield from self._guarded(job)
            else:
                result = yield from self.cache.call(job)
            if job.method not in SAFE and self.cache is not None:
                self.cache.written(job, result)
        except BaseException as error:
            if job.on_end is not None:
                job.on_end(None)
            self._broken_off(job, error)
            raise
        seconds = clock() - now
        status = result.status_code
        if status < 0:
            self._stopped(job, result, seconds)
            return result
        attempts = job.attempts
        record = ports.record
        record(job.key, seconds, "success", attempts, status)
        if job.verbosity:
            ports.emit(CallFinished(job.id, job.route, job.key, attempts, status, "success", seconds, False, False, ""))
        return result

    def fresh(self, known: KnownUse) -> Any:
        """The reply to a call whose answer is kept and fresh: what `call` would return, without a flow.

        None if it takes a flow, as it also does as long as somebody wants to hear of finished calls.
        """
        ports, cache = self.ports, self.cache
        verbosity = ports.verbosity
        if cache is None or self.closed or verbosity():
            return None
        clock = ports.now
        now = clock()
        use, origin, asked = known
        reply = cache.fresh(use, now, asked)
        if reply is not None:
            record = ports.record
            record(origin, clock() - now, "success", 0, reply.status_code)
        return reply

    def _stopped(self, job: Job, stop: Stop, seconds: float) -> None:
        outcome = stop.outcome
        status = outcome.status if outcome is not None else 0
        ended = outcome.kind if outcome is not None and stop.reason is Reason.OUTCOME else stop.reason
        how = ended.name.lower()
        self.ports.record(job.key, seconds, how, job.attempts, status)
        self.ports.emit(
            CallFinished(job.id, job.route, job.key, job.attempts, status, how, seconds, True, stop.spent, stop.why)
        )

    def _broken_off(self, job: Job, error: BaseException) -> None:
        """The call is cancelled, or ends with what auth or the caller's predicate raised."""
        ports = self.ports
        seconds = ports.now() - job.started
        failed = isinstance(error, Exception)
        how, what = ("error", type(error).__name__) if failed else ("cancelled", "")
        ports.record(job.key, seconds, how, job.attempts, 0)
        ports.emit(CallFinished(job.id, job.route, job.key, job.attempts, 0, how, seconds, True, False, what))

    # The breaker's gate, and the attempts behind it

    def _guarded(self, job: Job) -> Flow[Any]:
        state = self.states.get(job.key) or self._new_state(job.key)
        if state.budget is not None:
            state.budget.record_call(job.started)
        breaker = state.breaker if job.circuit is None else self._circuit(state, job.key, job.circuit)
        if breaker is None or self._count_attempts:
            return (yield from self._attempts(job, state, breaker, -1))
        ticket = breaker.enter(self.ports.now())
        if ticket < 0:
            return self._refused(job, breaker, None)
        return (yield from self._behind(job, state, breaker, ticket))

    def _behind(self, job: Job, state: State, breaker: Breaker, ticket: int, reply: Any = None) -> Flow[Any]:
        """The attempts behind the gate, and the ticket brought back. `reply`: that of the first, if made."""
        try:
            result = yield from self._attempts(job, state, breaker, ticket, reply)
        except BaseException:
            breaker.leave(ticket)
            raise
        if not breaker.spotless or job.on_end is not None or result.status_code < 0:
            self._close_gate(job, breaker, ticket, result)
        return result

    def _close_gate(self, job: Job, breaker: Breaker, ticket: int, result: Any) -> None:
        now = self.ports.now()
        if result.__class__ is Stop:
            outcome = result.outcome
            kind = None if outcome is None or result.reason is Reason.CLOSED else outcome.kind
            settle(breaker, ticket, kind, now, now - job.began)
        elif job.on_end is None:
            breaker.succeed(ticket, now, now - job.began)
        else:
            if breaker.is_probe(ticket):
                # A stream may live for hours: its head is answer enough to end the probing of everybody else.
                breaker.succeed(ticket, now, now - job.began)
                ticket = breaker.enter(now)
                if breaker.is_probe(ticket):
                    breaker.leave(ticket)
                    ticket = -1
            if ticket >= 0:
                job.on_end.gate(breaker, ticket)

    def _refused(self, job: Job, breaker: Breaker, last: Outcome | None) -> Stop:
        now = self.ports.now()
        wait = breaker.retry_after(now)
        return Stop.local(job, Reason.CIRCUIT_OPEN, last, f"the circuit breaker is {breaker.state(now)}", wait)

    def _attempts(  # noqa: C901, PLR0915  # a loop that reads from top to bottom
        self, job: Job, state: State, breaker: Breaker | None, ticket: int, reply: Any = None
    ) -> Flow[Any]:
        """Attempts until one is good enough or there is no point in another. `reply`: that of the first, if made."""
        ports = self.ports
        ask = job.plan.retry.retry_if
        each = breaker if self._count_attempts else None
        last: Outcome | None = None
        previous: float | None = None
        budget = state.budget
        made, paid = -1, 0.0  # the attempts before a retry that is paid for and not sent yet, and when it was paid for
        try:
            while True:
                if reply is not None:
                    pass
                elif each is not None:
                    ticket = each.enter(ports.now())
                    if ticket < 0:
                        return self._or_success(self._refused(job, each, last))
                    reply = yield from self._counted(job, state, each, ticket, last)
                elif job.auth is None:
                    reply = yield from self._attempt.send(job, state, last)
                else:
                    reply = yield from self._authenticated(job, state, last)
                status = reply.status_code
                if ask is None and 200 <= status < 400:
                    limiter = state.limiter_of(job.lane)
                    if not limiter.idle:
                        limiter.succeeded(ports.now())
                    return reply
                if status < 0:
                    return self._or_success(reply)
                outcome = self._outcome(job, reply, state)
                wanted: bool | None = None
                if ask is not None:
                    wanted = yield from self._asked(ask, outcome)
                if outcome.kind is Kind.OK and wanted is not True:
                    return reply
                if self.closed and not outcome.status:
                    return Stop.ended(job, Reason.CLOSED, outcome, "the client was closed")
                if outcome.kind is Kind.LATE:
                    why = "the deadline passed while the attempt was in flight"
                    return Stop.ended(job, Reason.DEADLINE, last, why)
                last = outcome
                now = ports.now()
                step = self._decided(job, outcome, breaker, ticket, previous, wanted)
                if budget is not None and isinstance(step, Again) and not budget.spend(now):
                    step = _OVERSPENT
                if isinstance(step, Halt):
                    if outcome.kind is Kind.OK:
                        return reply
                    return Stop.ended(job, Reason.OUTCOME, last, step.why, step.retry_after, spent=step.spent)
                previous = step.delay
                made, paid = job.attempts, now
                if job.on_end is not None:
                    yield from self._dropped(job, reply)
                stop = yield from self._backoff(job, breaker, ticket, outcome, step.delay)
                if stop is not None:
                    return self._or_success(stop)
                reply = None
        finally:
            if made == job.attempts and budget is not None:
                budget.refund(paid)

    def _decided(
        self,
        job: Job,
        outcome: Outcome,
        breaker: Breaker | None,
        ticket: int,
        previous: float | None,
        wanted: bool | None,  # noqa: FBT001  # the answer, not a switch
    ) -> Again | Halt:
        """Whether to try again after this outcome, and when."""
        if breaker is not None and breaker.is_probe(ticket):
            return Halt("it was the probe of a half-open circuit breaker, which is not retried")
        ports = self.ports
        return job.plan.retry.next(  # type: ignore[no-any-return]
            outcome,
            attempts=job.attempts,
            idempotent=job.idempotent,
            keyed=job.keyed,
            replayable=job.replayable,
            left=job.deadline - ports.now(),
            previous=previous,
            rand=ports.rand,
            wanted=wanted,
        )

    def _outcome(self, job: Job, reply: Any, state: State) -> Outcome:
        """What the reply stands for; feeds the limiter, and what the server may have executed."""
        ports = self.ports
        outcome = ports.classify(job, reply)
        if outcome.may_have_executed and outcome.kind is not Kind.OK:
            job.executed = True
        limiter = state.limiter_of(job.lane)
        if outcome.kind is Kind.THROTTLED:
            limiter.throttled(outcome.retry_after, ports.now(), job.began)
        elif outcome.kind is Kind.OK and not limiter.idle:
            limiter.succeeded(ports.now())
        return outcome

    def _asked(self, ask: Callable[[Outcome], bool | None], outcome: Outcome) -> Flow[bool | None]:
        """The user's predicate, called outside the lock. What it raises goes to the caller."""
        answer = yield Io(ask, outcome)
        if answer.__class__ is Failed:
            raise answer.error
        return None if answer is None else bool(answer)

    def _counted(self, job: Job, state: State, breaker: Breaker, ticket: int, last: Outcome | None) -> Flow[Any]:
        """One attempt that the breaker counts by itself."""
        try:
            reply = yield from (
                self._attempt.send(job, state, last) if job.auth is None else self._authenticated(job, state, last)
            )
        except BaseException:
            breaker.leave(ticket)
            raise
        if job.on_end is not None:
            self._close_gate(job, breaker, ticket, reply)
            return reply
        now = self.ports.now()
        kind = None if reply.status_code < 0 else self.ports.classify(job, reply).kind
        settle(breaker, ticket, kind, now, now - job.began)
        return reply

    def _backoff(
        self, job: Job, breaker: Breaker | None, ticket: int, outcome: Outcome, delay: float
    ) -> Flow[Stop | None]:
        """Waits before the next attempt; what makes that pointless ends the call with the outcome that it has."""
        if not self.closed:
            ports = self.ports
            ports.emit(RetryScheduled(job.id, job.route, job.key, job.attempts, delay, outcome.cause))
            yield from self._attempt.sleep(ports.now() + delay)
        if self.closed:
            return Stop.ended(job, Reason.CLOSED, outcome, "the client was closed")
        if breaker is not None and not breaker.closed and not self._count_attempts and breaker.interrupted(ticket):
            return self._refused(job, breaker, outcome)
        return None

    # One attempt

    def _authenticated(self, job: Job, state: State, last: Outcome | None) -> Flow[Any]:
        auth = job.auth
        yield from auth.apply(job)
        reply = yield from self._attempt.send(job, state, last)
        while reply.status_code > 0 and (yield from auth.retry(job, reply)):
            if job.on_end is not None:
                yield from self._dropped(job, reply)
            reply = yield from self._attempt.send(job, state, last, 0)
        return reply

    def _dropped(self, job: Job, reply: Any) -> Flow[None]:
        """Closes a stream whose head was not good enough."""
        end, job.on_end = job.on_end, None
        end(Kind.OK)
        yield Io(self.ports.discard, reply)

    # Ends

    def _or_success(self, stop: Stop) -> Any:
        """The last reply, if that was a success which only the caller's predicate wanted to be repeated."""
        outcome = stop.outcome
        if outcome is None or outcome.kind is not Kind.OK or stop.reason is not Reason.OUTCOME or stop.job.stream:
            return stop
        return outcome.reply

    # State

    def _new_state(self, key: str) -> State:
        if len(self.states) >= self._max_states:
            # Absolute URLs to ever new hosts must not grow the table: the oldest one goes, with what it remembers.
            del self.states[next(iter(self.states))]
        state = self.states[key] = State(
            self._breaker(key) if self._breaker is not None else None,
            self._budget() if self._budget is not None else None,
            self._limiter,
            count_attempts=self._count_attempts,
        )
        return state

    def _circuit(self, state: State, key: str, circuit: str) -> Breaker | None:
        if self._breaker is None:
            return None
        breaker = state.circuits.get(circuit)
        if breaker is None:
            if len(state.circuits) >= self._max_states:
                del state.circuits[next(iter(state.circuits))]
            breaker = state.circuits[circuit] = self._breaker(f"{key} {circuit}")
        return breaker

    def breaker(self, key: str, circuit: str | None = None) -> Breaker | None:
        """The breaker of an origin, or of a finer key in it; made if there is none yet, None if there are none."""
        state = self.states.get(key) or self._new_state(key)
        return state.breaker if circuit is None else self._circuit(state, key, circuit)

    def limiter(self, key: str, lane: str | None = None) -> Limiter:
        """The rate limiter of an origin, or of a lane in it; made if there is none yet."""
        return (self.states.get(key) or self._new_state(key)).limiter_of(lane)

    def close(self) -> None:
        """No new calls; everybody who waits is woken and fails."""
        self.closed = True
        self._attempt.close()

    def reset(self) -> None:
        """Forgets what is in flight: after a fork, the parent's calls are not this process's."""
        self._attempt.reset()
        if self.cache is not None:
            self.cache.reset()
        for state in self.states.values():
            for limiter in (state.limiter, *state.lanes.values()):
                limiter.reset()
            for breaker in (state.breaker, *state.circuits.values()):
                if breaker is not None:
                    breaker.reset()
