"""Throws an exception into one flow at one of its yields, and looks for what was not given back afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.core.breaker import Breaker
from holdfast.core.budget import RetryBudget
from holdfast.core.effects import CannotWait, Child, Flow, Job, Park, Sleeper, Waiter
from holdfast.core.flow import Pipeline
from holdfast.core.limiter import Limiter
from holdfast.testing.scenario import Scenario, start_virtual
from holdfast.testing.virtual import Fiber, VirtualClient, VirtualTime

ERRORS: Final = (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt)
AT_THE_YIELD: Final = "at the yield"
WITH_THE_REPLY: Final = "with the reply"  # what was waited for has come, and the flow is thrown into instead of resumed
MOMENTS: Final = (AT_THE_YIELD, WITH_THE_REPLY)


@dataclass(slots=True)
class Plan:
    """At which yield of a run, counted over all its flows, what is thrown; and what was seen on the way.

    `refusable`: the yields at which a driver may refuse to wait.
    """

    point: int = -1
    moment: str = AT_THE_YIELD
    error: type[BaseException] = GeneratorExit
    points: int = 0
    refusable: list[int] = field(default_factory=list)
    sends: int = 0
    attempts: dict[Job, int] = field(default_factory=dict)
    thrown: bool = False
    wrong: str = ""
    pipeline: Pipeline | None = None

    def retries(self) -> int:
        """How many attempts were retries."""
        return sum(max(attempts - 1, 0) for attempts in self.attempts.values())


class Tap(Generator[Any, Any, Any]):
    """A flow that counts its yields, and is thrown into at one of them."""

    def __init__(self, flow: Flow[Any], plan: Plan) -> None:
        self.flow = flow
        self.plan = plan
        self.due = False
        self.waiters: list[Waiter] = []

    def send(self, value: Any) -> Any:
        if self.due:
            return self._thrown()
        try:
            effect = self.flow.send(value)
        except BaseException:
            self._look_for_waiters()
            raise
        return self._seen(effect)

    def _seen(self, effect: Any) -> Any:
        plan = self.plan
        if effect.__class__ is Park and effect.waiter is not None:
            self.waiters.append(effect.waiter)
            if not effect.waiter.woken and not isinstance(effect.waiter, Child | Sleeper):
                plan.refusable.append(plan.points)
        if effect.__class__ is Job and effect.attempts:  # the hops of a redirect are no attempts
            plan.attempts[effect] = effect.attempts
            plan.sends += 1  # with renewed credentials, more than one in an attempt
        number, plan.points = plan.points, plan.points + 1
        if number == plan.point:
            if plan.moment is AT_THE_YIELD:
                return self._thrown()
            self.due = True
        return effect

    def _thrown(self) -> Any:
        plan = self.plan
        self.due = False
        plan.thrown = True
        error = plan.error()
        try:
            effect = self.flow.throw(error)
        except StopIteration:
            if plan.error is not CannotWait:
                plan.wrong = f"the flow ended with a result after {error!r}"
            self._look_for_waiters()
            raise
        except BaseException as raised:
            if raised is not error:
                plan.wrong = f"{error!r} was thrown in and came out as {raised!r}"
            self._look_for_waiters()
            raise
        if plan.error is CannotWait:
            return self._seen(effect)
        plan.wrong = f"the flow went on with {effect!r} after {error!r}"
        return effect

    def throw(self, *error: Any) -> Any:
        return self.flow.throw(*error)

    def _look_for_waiters(self) -> None:
        """A flow that has ended stands in no queue, where it would keep others from their place."""
        pipeline = self.plan.pipeline
        assert pipeline is not None
        queues: list[Collection[Waiter]] = [pipeline.bulkhead._queue, pipeline._attempt._sleepers]
        if pipeline.cache is not None:
            queues += [flight.followers for flight in pipeline.cache._cache._live]
        if any(waiter in queue for waiter in self.waiters for queue in queues):
            self.plan.wrong = "a flow that has ended stands in a queue"


class TappedTime(VirtualTime):
    """Virtual time in which every flow of a client is tapped, spawned ones too."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.fibers: list[Fiber] = []

    def start(self, flow: Flow[Any], send: Callable[[Job], tuple[float, Any]], child: Child | None = None) -> Fiber:
        # The runner's own flows, which only start calls, are no part of what is looked at.
        tapped = flow if child is None else Tap(flow, self.plan)
        fiber = super().start(tapped, send, child)
        self.fibers.append(fiber)
        return fiber


class CountingLimiter(Limiter):
    """A limiter that knows how many tokens are taken and not given back."""

    taken = 0

    def take(self, now: float) -> bool:
        return self.reserve(now, 0.0) is not None

    def reserve(self, now: float, max_wait: float) -> float | None:
        wait = super().reserve(now, max_wait)
        if wait is not None:
            self.taken += 1
        return wait

    def give_back(self, now: float) -> None:
        self.taken -= 1
        super().give_back(now)


class CountingBreaker(Breaker):
    """A breaker that wants to be told everything, and knows how many tickets are out."""

    out = 0

    @property
    def ticket(self) -> int:
        self.out += 1
        return self._ticket

    @ticket.setter
    def ticket(self, value: int) -> None:
        self._ticket = value

    @property
    def spotless(self) -> bool:
        return False

    @spotless.setter
    def spotless(self, value: bool) -> None:
        pass

    def enter(self, now: float) -> int:
        counted = self.closed
        ticket = super().enter(now)
        if ticket >= 0 and not counted:
            self.out += 1
        return ticket

    def succeed(self, ticket: int, now: float, seconds: float = 0.0) -> None:
        self.out -= 1
        super().succeed(ticket, now, seconds)

    def fail(self, ticket: int, now: float, seconds: float = 0.0) -> None:
        self.out -= 1
        super().fail(ticket, now, seconds)

    def leave(self, ticket: int) -> None:
        self.out -= 1
        super().leave(ticket)


class CountingBudget(RetryBudget):
    """A budget that knows how many retries are taken and not refunded."""

    taken = 0

    def spend(self, now: float) -> bool:
        allowed = super().spend(now)
        self.taken += allowed
        return allowed

    def refund(self, spent_at: float) -> None:
        self.taken -= 1
        super().refund(spent_at)


def count(pipeline: Pipeline) -> None:
    """Makes the breakers, limiters and budgets of a new pipeline count."""
    limiter, budget, breaker = pipeline._limiter, pipeline._budget, pipeline._breaker

    def counting_breaker(key: str) -> Breaker:
        assert breaker is not None
        made = breaker(key)
        return CountingBreaker(made._policy, made._on_change)

    def counting_limiter() -> Limiter:
        return CountingLimiter(limiter()._policy)

    def counting_budget() -> RetryBudget:
        assert budget is not None
        made = budget()
        return CountingBudget(made.ratio, made._width * 10, made.floor)

    pipeline._limiter = counting_limiter
    if budget is not None:
        pipeline._budget = counting_budget
    if breaker is not None:
        pipeline._breaker = counting_breaker


def breakers_of(pipeline: Pipeline) -> Iterator[Breaker]:
    for state in pipeline.states.values():
        if state.breaker is not None:
            yield state.breaker
        yield from state.circuits.values()


def missing(pipeline: Pipeline, metered: int | None, retries: int, now: float) -> Iterator[str]:
    """What a pipeline at rest has not got back.

    Args:
        pipeline: one that was made to `count`.
        metered: how many requests took a token; None if not every one does.
        retries: how many retries were sent.
        now: the time.
    """
    bulkhead = pipeline.bulkhead
    if bulkhead.in_flight or bulkhead.queued:
        yield f"{bulkhead.in_flight} slots taken, {bulkhead.queued} in the queue"
    if pipeline._attempt._sleepers:
        yield f"{len(pipeline._attempt._sleepers)} sleepers"
    if pipeline.cache is not None and pipeline.cache._cache.flights:
        yield f"{pipeline.cache._cache.flights} flights"
    later = now + 1e6
    for breaker in breakers_of(pipeline):
        if isinstance(breaker, CountingBreaker) and breaker.out:
            yield f"{breaker.out} tickets of a breaker"
        if breaker._probes:
            yield f"{breaker._probes} probes in flight"
        ticket = breaker.enter(later)
        if ticket < 0:
            yield f"a breaker that is {breaker.state(later)} and admits nobody"
        else:
            breaker.leave(ticket)
    states = pipeline.states.values()
    tokens = sum(state.limiter.taken for state in states if isinstance(state.limiter, CountingLimiter))
    if metered is not None and tokens != metered:
        yield f"{tokens} tokens taken for {metered} requests"
    budgets = [state.budget for state in states if isinstance(state.budget, CountingBudget)]
    spent = sum(budget.taken for budget in budgets)
    if budgets and spent != retries:
        yield f"{spent} retries taken from the budget for {retries} that were sent"


@dataclass(frozen=True, slots=True)
class Crowd:
    """A scenario with what else happens to its client: at a time, something is done to it."""

    scenario: Scenario
    acts: tuple[tuple[float, Callable[[VirtualClient], object]], ...] = ()

    @property
    def name(self) -> str:
        return self.scenario.name


def leaks(crowd: Crowd, plan: Plan) -> list[str]:
    """Runs a crowd with one throw, and tells what is missing afterwards."""
    scenario = crowd.scenario
    world = TappedTime(plan)
    client = VirtualClient(world, scenario.config, scenario.script)
    pipeline = client.assembly.pipeline
    count(pipeline)
    plan.pipeline = pipeline
    start_virtual(scenario, client)
    for when, act in crowd.acts:
        world.at(when, lambda act=act: act(client))  # type: ignore[misc]
    world.run()
    found = [plan.wrong] if plan.wrong else []
    waiting = sum(not fiber.done for fiber in world.fibers)
    if waiting:
        found.append(f"{waiting} flows wait for ever")
    metered = scenario.config.rate_limit.rate is not None
    found += missing(pipeline, plan.sends if metered else None, plan.retries(), world.now)
    return found


def points(crowd: Crowd) -> int:
    """At how many yields of a crowd something can be thrown."""
    plan = Plan()
    found = leaks(crowd, plan)
    assert not found, f"{crowd.name}, nothing thrown: {found}"
    return plan.points


def throws(crowd: Crowd, errors: Iterable[type[BaseException]] = ERRORS) -> Iterator[tuple[str, list[str]]]:
    """Throws everything at every yield of a crowd, one at a time: what was done, and what is missing after it."""
    for number in range(points(crowd)):
        for moment in MOMENTS:
            for error in errors:
                plan = Plan(number, moment, error)
                found = leaks(crowd, plan)
                if not plan.thrown:
                    found.append("it was not thrown")
                yield f"{crowd.name}: {error.__name__} {moment} {number}", found


def refusals(crowd: Crowd) -> Iterator[tuple[str, list[str]]]:
    """Refuses every wait of a crowd that others would have to end, one at a time: as `throws`."""
    seen = Plan()
    leaks(crowd, seen)
    for number in seen.refusable:
        plan = Plan(number, AT_THE_YIELD, CannotWait)
        found = leaks(crowd, plan)
        if not plan.thrown:
            found.append("it was not refused")
        yield f"{crowd.name}: refused to wait at {number}", found
