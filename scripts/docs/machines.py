"""The state machines of the layers, as their code has them: from its table where it has one, else found by trying."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.config import CacheConfig, ClientConfig, RetryConfig
from holdfast.core.backoff import Backoff
from holdfast.core.breaker import TRANSITIONS, Breaker, BreakerPolicy
from holdfast.core.budget import RetryBudget
from holdfast.core.bulkhead import FULL, GRANTED, Bulkhead
from holdfast.core.effects import Waiter
from holdfast.core.events import CacheUsed, Event
from holdfast.core.limiter import Limiter, LimiterPolicy
from holdfast.core.outcome import Kind, Outcome
from holdfast.core.retry import Again, RetryPolicy
from holdfast.testing import Step, VirtualClient, VirtualTime
from scripts.docs.explore import explore
from scripts.docs.svg import Edge, Layout


@dataclass(frozen=True)
class Machine:
    """A state machine: its edges, and where its states are drawn."""

    name: str
    edges: tuple[Edge, ...]
    layout: Layout
    said: Mapping[str, str] = field(default_factory=dict)


def machines() -> dict[str, Machine]:
    """All machines, by the name of their file."""
    return {
        "retry": _retry(),
        "budget": _budget(),
        "circuit-breaker": _breaker(),
        "bulkhead": _bulkhead(),
        "token-bucket": _bucket(),
        "server-pace": _pace(),
        "cache": _cache(),
    }


def _edges(found: Mapping[tuple[str, str], Iterable[str]]) -> tuple[Edge, ...]:
    """One edge for each pair of states, with everything that leads from one to the other."""
    joined: dict[tuple[str, str], list[str]] = {}
    for (old, event), news in found.items():
        for new in sorted(news):
            joined.setdefault((old, new), []).append(event)
    return tuple(Edge(old, new, tuple(labels)) for (old, new), labels in joined.items())


def _changes(
    found: Mapping[tuple[str, str], set[str]], *, loops: Iterable[str] = ()
) -> dict[tuple[str, str], set[str]]:
    """Without the events that change nothing anybody could see, except for those in `loops`."""
    kept = {key: {new for new in news if new != key[0] or key[1] in loops} for key, news in found.items()}
    return {key: news for key, news in kept.items() if news}


# The circuit breaker has its table.


def _breaker() -> Machine:
    edges = _edges({(old, trigger.name.lower()): {new} for (old, trigger), new in TRANSITIONS.items() if old != new})
    layout = Layout(
        {"closed": (82, 50), "open": (330, 50), "half_open": (330, 250), "isolated": (82, 250)},
        290,
        "closed",
        {
            ("closed", "open"): -14,
            ("open", "closed"): -14,
            ("open", "half_open"): -24,
            ("half_open", "open"): -24,
            ("half_open", "closed"): -16,
            ("closed", "isolated"): -20,
            ("isolated", "closed"): -20,
            ("open", "isolated"): -16,
            ("half_open", "isolated"): 0,
        },
        shifts={
            ("closed", "open"): (0, -10),
            ("open", "closed"): (0, 10),
            ("half_open", "closed"): (54, 54),
            ("open", "isolated"): (-62, 48),
            ("open", "half_open"): (28, 0),
            ("half_open", "open"): (-24, 0),
            ("closed", "isolated"): (32, 0),
            ("isolated", "closed"): (-26, 0),
        },
    )
    return Machine("Circuit breaker", edges, layout)


# The others are found by trying.


def _retry() -> Machine:
    """Of one call. What its attempts may end with is tried on the policy, for a GET that has everything left."""
    policy = RetryPolicy(max_attempts=3, backoff=Backoff(jitter="off"))

    def decided(kind: Kind, **limits: Any) -> bool:
        given = {"attempts": 1, "left": 300.0, "replayable": True, **limits}
        outcome = Outcome(kind)
        fixed: dict[str, Any] = {
            "idempotent": True,
            "keyed": False,
            "previous": None,
            "rand": lambda: 0.5,
            "wanted": None,
        }
        return isinstance(policy.next(outcome, **given, **fixed), Again)

    failures = [kind for kind in Kind if kind is not Kind.OK]
    found: dict[tuple[str, str], set[str]] = {("attempt", "good answer"): {"answered"}}
    if any(decided(kind) for kind in failures):
        found["attempt", "may be replayed"] = {"waiting"}
        found["waiting", "wait is over"] = {"attempt"}
        found["waiting", ", ".join(_interruptions())] = {"raised"}
    if not all(decided(kind) for kind in failures):
        found["attempt", "must not be replayed"] = {"raised"}
    limits: dict[str, dict[str, Any]] = {
        "attempts": {"attempts": 3},
        "deadline": {"left": 0.5},
        "body": {"replayable": False},
    }
    spent = [name for name, limit in limits.items() if not decided(Kind.UNAVAILABLE, **limit)]
    found["attempt", f"{', '.join(spent)} or budget spent"] = {"raised"}
    layout = Layout(
        {"attempt": (82, 50), "waiting": (330, 50), "answered": (82, 230), "raised": (330, 230)},
        270,
        "attempt",
        {("attempt", "waiting"): -14, ("waiting", "attempt"): -14},
        shifts={("attempt", "waiting"): (0, -10), ("waiting", "attempt"): (0, 10), ("attempt", "raised"): (-4, 4)},
    )
    return Machine("One call and its attempts", _edges(found), layout)


def _interruptions() -> list[str]:
    """What ends a call that waits for its next attempt."""

    def ends(act: Callable[[VirtualClient], object]) -> bool:
        world = VirtualTime()
        client = VirtualClient(world, ClientConfig(base_url="https://api.example.com"), [503, 200])
        call = client.start("GET", "/")
        world.run(until=0.5)
        act(client)
        world.run()
        return client.error(call) is not None

    def opened(client: VirtualClient) -> None:
        breaker = client.assembly.pipeline.breaker("https://api.example.com")
        if breaker is not None:
            breaker.isolate(client.world.now)

    acts: dict[str, Callable[[VirtualClient], object]] = {
        "nothing": lambda _: None,
        "breaker opened": opened,
        "client closed": lambda client: client.assembly.shut(),
    }
    return [name for name, act in acts.items() if ends(act)]


class _Budgeted:
    def __init__(self) -> None:
        self.budget = RetryBudget(ratio=0.5, window=10.0, floor=1)
        self.now = 100.0

    def retry(self) -> bool:
        return self.budget.spend(self.now)

    def call(self) -> None:
        self.budget.record_call(self.now)

    def later(self) -> None:
        self.now += 12.0


def _budget() -> Machine:
    found = explore(
        _Budgeted,
        {"retry": _Budgeted.retry, "more calls": _Budgeted.call, "window passes": _Budgeted.later},
        lambda world: "retries allowed" if world.retry() else "retries refused",
        5,
    )
    layout = Layout(
        {"retries allowed": (82, 60), "retries refused": (330, 60)},
        130,
        "retries allowed",
        {("retries allowed", "retries refused"): -20, ("retries refused", "retries allowed"): -20},
        shifts={("retries allowed", "retries refused"): (0, -8), ("retries refused", "retries allowed"): (0, 12)},
    )
    return Machine("Retry budget", _edges(_changes(found)), layout)


class _Crowded:
    def __init__(self) -> None:
        self.bulkhead = Bulkhead(2, max_queue=1)
        self.inside = 0
        self.waiters: list[Waiter] = []

    def enter(self) -> None:
        waiter = self.bulkhead.enter()
        if waiter is None:
            self.inside += 1
        elif waiter is not FULL:
            self.waiters.append(waiter)

    def leave(self) -> bool | None:
        if not self.inside:
            return False
        self.inside -= 1
        self.bulkhead.leave()
        for waiter in [one for one in self.waiters if one.woken and one.value is GRANTED]:
            self.waiters.remove(waiter)
            self.inside += 1
        return None

    def abandon(self) -> bool | None:
        if not self.waiters:
            return False
        self.bulkhead.abandon(self.waiters.pop())
        return None

    def state(self) -> str:
        waiter = self.bulkhead.enter()
        return "slots free" if waiter is None else "queue full" if waiter is FULL else "slots taken"


def _bulkhead() -> Machine:
    found = explore(
        _Crowded,
        {
            "attempt begins": _Crowded.enter,
            "attempt ends": _Crowded.leave,
            "wait is given up": _Crowded.abandon,
        },
        _Crowded.state,
        6,
    )
    layout = Layout(
        {"slots free": (82, 50), "slots taken": (296, 50), "queue full": (296, 210)},
        250,
        "slots free",
        {
            ("slots free", "slots taken"): -14,
            ("slots taken", "slots free"): -14,
            ("slots taken", "queue full"): -20,
            ("queue full", "slots taken"): -20,
        },
        {"queue full": "left"},
        {
            ("slots free", "slots taken"): (0, -10),
            ("slots taken", "slots free"): (0, 10),
            ("slots taken", "queue full"): (48, 0),
            ("queue full", "slots taken"): (-66, 0),
            ("queue full", "queue full"): (-40, 0),
        },
    )
    refused = {key: news for key, news in found.items() if key == ("queue full", "attempt begins")}
    edges = _edges({**_changes(found), **refused})
    named = tuple(Edge(edge.old, edge.new, ("attempt is refused",)) if edge.old == edge.new else edge for edge in edges)
    return Machine("Bulkhead", named, layout)


class _Limited:
    def __init__(self, policy: LimiterPolicy) -> None:
        self.limiter = Limiter(policy)
        self.now = 100.0

    def send(self) -> bool | None:
        if self.limiter.idle:
            return None
        return None if self.limiter.reserve(self.now, 0.0) is not None else False

    def told(self, remaining: int) -> None:
        self.limiter.paced(remaining, 30.0, self.now)

    def throttled(self) -> None:
        self.limiter.throttled(30.0, self.now)

    def later(self) -> None:
        self.now += 31.0

    def succeeded(self) -> None:
        self.limiter.succeeded(self.now)


def _bucket() -> Machine:
    policy = LimiterPolicy(rate=2, period=10.0)
    found = explore(
        lambda: _Limited(policy),
        {"attempt takes a token": _Limited.send, "tokens flow in": _Limited.later},
        lambda world: "tokens left" if world.limiter.retry_after(world.now) == 0.0 else "empty",
        5,
    )
    layout = Layout(
        {"tokens left": (82, 60), "empty": (330, 60)},
        120,
        "tokens left",
        {("tokens left", "empty"): -20, ("empty", "tokens left"): -20},
        shifts={("tokens left", "empty"): (0, -8), ("empty", "tokens left"): (0, 8)},
    )
    return Machine("Token bucket", _edges(_changes(found)), layout)


def _pace() -> Machine:
    def state(world: _Limited) -> str:
        if world.limiter.idle:
            return "idle"
        return "counting" if world.limiter.retry_after(world.now) == 0.0 else "holding back"

    found = explore(
        lambda: _Limited(LimiterPolicy()),
        {
            "attempt": _Limited.send,
            "headers: 1 left": lambda world: world.told(1),
            "headers: none left": lambda world: world.told(0),
            "429 with Retry-After": _Limited.throttled,
            "time passes": _Limited.later,
            "good answer": _Limited.succeeded,
        },
        state,
        4,
    )
    layout = Layout(
        {"idle": (82, 50), "counting": (330, 50), "holding back": (206, 280)},
        320,
        "idle",
        {
            ("idle", "counting"): -14,
            ("counting", "idle"): -14,
            ("counting", "holding back"): -26,
            ("holding back", "counting"): -26,
            ("idle", "holding back"): 20,
        },
        shifts={
            ("idle", "counting"): (0, -10),
            ("counting", "idle"): (0, 10),
            ("counting", "holding back"): (46, 26),
            ("holding back", "counting"): (-4, -22),
            ("idle", "holding back"): (-16, 16),
        },
    )
    return Machine("The server's pace", _edges(_changes(found)), layout)


_TTL = 10.0
_CACHED = CacheConfig(default_ttl=_TTL, stale_while_revalidate=_TTL, stale_if_error=2 * _TTL)


class _Remembering:
    """A client whose server answers or fails as it is told, under virtual time."""

    def __init__(self) -> None:
        self.world = VirtualTime()
        self.events: list[Event] = []
        self.good = True
        config = ClientConfig(base_url="https://api.example.com", cache=_CACHED, retry=RetryConfig(max_attempts=1))
        self.client = VirtualClient(self.world, config, self._answer, (self.events.append,))

    def _answer(self, request: object) -> Step:
        return Step(200) if self.good else Step(500)

    def call(self, method: str = "GET", *, good: bool = True) -> str:
        """How the cache took part in the answer; empty if it did not."""
        self.good = good
        self.events.clear()
        self.client.start(method, "/")
        self.world.run()
        return next((event.how for event in self.events if isinstance(event, CacheUsed)), "")

    def later(self) -> None:
        self.world.run(until=self.world.now + _TTL)


def _kept(world: _Remembering) -> str:
    how = world.call(good=False)
    names = {"": "nothing kept", "hit": "fresh", "stale": "stale", "stale-if-error": "only for errors"}
    return names[how]


def _cache() -> Machine:
    events: dict[str, Callable[[_Remembering], object]] = {
        "good answer": _Remembering.call,
        "TTL passes": _Remembering.later,
        "write, invalidation": lambda world: world.call("PUT"),
    }
    found = explore(_Remembering, events, _kept, 4)
    layout = Layout(
        {"nothing kept": (82, 50), "fresh": (314, 50), "stale": (314, 250), "only for errors": (82, 250)},
        290,
        "nothing kept",
        {
            ("nothing kept", "fresh"): -14,
            ("fresh", "nothing kept"): -14,
            ("fresh", "stale"): -22,
            ("stale", "fresh"): -22,
            ("stale", "nothing kept"): -16,
            ("only for errors", "fresh"): -16,
        },
        shifts={
            ("nothing kept", "fresh"): (0, -10),
            ("fresh", "nothing kept"): (0, 10),
            ("fresh", "stale"): (36, 0),
            ("stale", "fresh"): (-14, -24),
            ("stale", "nothing kept"): (52, 50),
            ("only for errors", "nothing kept"): (-10, 0),
            ("only for errors", "fresh"): (-24, 26),
            ("stale", "only for errors"): (0, 0),
        },
    )
    return Machine("A cached answer", _edges(_changes(found)), layout)


def breaker_states_are_reached() -> set[str]:
    """The states that a real breaker can be brought into, to be compared with those of its table."""

    class World:
        def __init__(self) -> None:
            self.breaker = Breaker(BreakerPolicy(failure_threshold=1))
            self.now = 100.0

        def fail(self) -> None:
            ticket = self.breaker.enter(self.now)
            if ticket >= 0:
                self.breaker.fail(ticket, self.now)

        def later(self) -> None:
            self.now += 31.0

    found = explore(
        World,
        {
            "fails": World.fail,
            "later": World.later,
            "isolated": lambda world: world.breaker.isolate(world.now),
            "closed": lambda world: world.breaker.close(world.now),
        },
        lambda world: world.breaker.state(world.now),
        4,
    )
    return {new for news in found.values() for new in news}
