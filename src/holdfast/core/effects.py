"""The closed set of effects that a flow may yield, and what a driver replies to each.

A *flow* is a generator that holds the resilience logic and does no I/O. It yields

========  ==========================================================  =====================================
effect    asks the driver to                                          reply
========  ==========================================================  =====================================
`Job`     send this call's request                                    the engine's response, or `Failed`
`Io`      do any other port call (read, close, load, call a function) its result, or `Failed`
`Park`    wait for a waiter or a point in time, whichever is first    ``waiter.woken``; False without waiter;
                                                                      or `CannotWait` is thrown
`Spawn`   start another flow beside this one                          at once: its `Child`
========  ==========================================================  =====================================

Drivers run the same flow under asyncio, under threads and under virtual time. They step a flow while holding the
client's lock and never hold it across an effect, so nothing in this package locks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeAlias, TypeVar

R = TypeVar("R")

FOREVER = float("inf")
"""The deadline of something that has none; also "wait without a time limit"."""


class Waiter:
    """A place in a queue: made by a policy, parked on by a flow, woken by whoever frees what it waits for.

    `notify` is bound by the driver in the same locked step that yields the `Park`, so no wake-up falls in between.
    """

    __slots__ = ("gone", "notify", "value", "woken")

    def __init__(self) -> None:
        self.woken = False
        self.gone = False
        self.value: Any = None
        self.notify: Callable[[], bool] | None = None

    def wake(self, value: Any = None) -> bool:
        """Hands `value` to the one who waits here.

        Returns:
            False if nobody is there any more (woken before, given up, or its event loop is closed): what was offered
            stays with the caller, who offers it to the next in line.
        """
        if self.woken or self.gone:
            return False
        self.woken = True
        self.value = value
        if self.notify is not None and not self.notify():
            self.woken = False
            self.gone = True
            return False
        return True


class Sleeper(Waiter):
    """What a flow is woken early by that waits for a time, and for nothing that another flow has to give back."""

    __slots__ = ()


class CannotWait(RuntimeError):  # noqa: N818  # it is an answer to a `Park`, as `Failed` is to other effects
    """Thrown into a flow that parks on others, by a driver that must not wait for them; its text says why."""


class Child(Waiter):
    """The handle on a spawned flow: a waiter woken by its end, whose `value` is the flow's result or a `Failed`."""

    __slots__ = ("cancel",)

    def __init__(self) -> None:
        super().__init__()
        self.cancel: Callable[[], None] = _nothing


def _nothing() -> None:
    """Cancels what has not been started."""


class Failed:
    """An exception as a reply: the port call raised it. Has `status_code` 0 so that it can be told from a response."""

    __slots__ = ("error",)
    status_code = 0

    def __init__(self, error: Exception) -> None:
        self.error = error


class Job:
    """One call's own data, and at the same time the effect "send it": ``reply = yield job``.

    Made by the layer above, which also owns `url`, `body` and `context`; the core passes those on unread.

    Attributes:
        timeouts: seconds of connect, read, write and pool for one attempt; `longest` is the longest of them.
        stream: True if the reply is wanted as soon as its head is there. `cap` is the most bytes of a decoded body.
        replayable: whether the body can be sent again. `follow`: whether redirects are followed.
        plan: the `Plan` of this call. `cache`: its `CacheUse`, or None. `auth`: its `Authenticator`, or None.
        key: what the state is kept by (the origin); `circuit` and `lane`: finer keys for the breaker alone, and for the
            rate limiter alone, or None.
        route: method and path for people. `id`: the request id.
        idempotent, keyed: the columns of the replay table.
        plain: whether it has no `auth`, `cache`, `circuit`, `lane`, `announce`, no predicate on its outcome, and is no
            stream: then it takes a short way if all is well.
        patience: seconds for the whole call; `deadline` is the time they end, set at the start.
        started, began: when the call and its last attempt began.
        attempts, executed: how many were sent, and whether the server may have acted on any of them.
        verbosity: 0 for warnings only, 1 for the finished call, 2 for everything.
        announce: called with the job and the seconds left before each attempt, or None.
        on_end: for a stream: called once, with the `Kind` of its end, when the reply is closed.
    """

    # A job is made for every call: its defaults are one dict that is copied, rather than twenty assignments.
    stream: bool = False
    replayable: bool = True
    idempotent: bool = True
    keyed: bool = False
    follow: bool = False
    cap: int | None = None
    cache: Any = None
    auth: Any = None
    circuit: str | None = None
    lane: str | None = None
    plain: bool = False
    patience: float = FOREVER
    longest: float = FOREVER
    deadline: float = FOREVER
    started: float = 0.0
    began: float = 0.0
    attempts: int = 0
    executed: bool = False
    verbosity: int = 0
    on_end: Any = None
    announce: Any = None

    def __init__(
        self,
        method: str,
        url: Any,
        headers: list[tuple[bytes, bytes]],
        body: Any,
        timeouts: dict[str, float | None],
        plan: Any,
        key: str,
        route: str,
        request_id: str,
        context: Any = None,
    ) -> None:
        self.__dict__ = _DEFAULTS.copy()
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeouts = timeouts
        self.plan = plan
        self.key = key
        self.route = route
        self.id = request_id
        self.context = context

    def clone(self) -> Job:
        """The same request as a call of its own."""
        clone = object.__new__(Job)
        clone.__dict__ = self.__dict__.copy()
        clone.attempts = 0
        clone.executed = False
        clone.on_end = None
        return clone


_DEFAULTS = {name: getattr(Job, name) for name in Job.__annotations__}


class Io:
    """Any port call but the job's own send. `op` is called with `arg`; under asyncio an awaitable result is awaited."""

    __slots__ = ("arg", "deadline", "op")

    def __init__(self, op: Callable[[Any], Any], arg: Any = None, deadline: float = FOREVER) -> None:
        self.op = op
        self.arg = arg
        self.deadline = deadline


class Park:
    """Wait until `waiter` is woken, at most until the time `until` (monotonic seconds). Without a waiter, a sleep."""

    __slots__ = ("until", "waiter")

    def __init__(self, until: float, waiter: Waiter | None = None) -> None:
        self.until = until
        self.waiter = waiter


class Spawn:
    """Start `flow` beside this one. It is cancelled through the `Child` that is replied at once."""

    __slots__ = ("flow",)

    def __init__(self, flow: Flow[Any]) -> None:
        self.flow = flow


class Reply(Protocol):
    """What a flow looks at in a response itself; all else is told by the ports."""

    @property
    def status_code(self) -> int: ...


Effect: TypeAlias = Job | Io | Park | Spawn
Flow: TypeAlias = Generator[Effect, Any, R]
