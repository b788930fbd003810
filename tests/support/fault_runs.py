"""Runs one cell of the fault matrix with Holdfast, and says what is wrong with what came of it."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from holdfast import BulkheadConfig, ClientConfig, LoggingConfig, ResilientClient, exceptions
from holdfast.call import Call
from tests.support.fault_cases import Case, Expected, Kind, Scene
from tests.support.faulty_peers import OK, SECRET, Peer, fine, stacked_bomb

GRACE: Final = 0.25
"""Seconds by which a call may outlast its deadline."""

MOST_MEMORY: Final = 2_500_000
"""Bytes that a call may take to refuse a body, with `max_response_bytes` at 1 MiB."""

_KEPT_HOME: Final = {"x-api-key", "x-request-id", "idempotency-key", "authorization", "cookie"}
_STUCK = 3.0  # seconds past the deadline after which the peer ends the call
_SETTLING = 2.0  # seconds in which what was closed has to be gone


@dataclass
class Ran:
    """What came of a call.

    Attributes:
        error: what it raised, None if it survived.
        seconds: how long it took.
        executed: how often the server acted on it.
        complaints: what should have been otherwise. `late`: only that it took too long is among them.
    """

    error: BaseException | None
    seconds: float
    executed: int
    complaints: list[str] = field(default_factory=list)
    late: bool = False


@dataclass(frozen=True)
class Settings:
    """How Holdfast is set up.

    Attributes:
        deadline: seconds of a call; `slow_deadline` of one that only the deadline can end.
        config: settings of the client besides.
        leftovers: whether sockets and threads of this process are counted; not beside other cells.
    """

    deadline: float
    slow_deadline: float
    config: dict[str, Any]
    leftovers: bool = True


FOR_TESTS: Final = Settings(
    deadline=6.0,
    slow_deadline=0.5,
    config={
        "timeout": {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0},
        "retry": {"min_wait_seconds": 0.01, "max_wait_seconds": 0.02},
        "max_response_bytes": 1024 * 1024,
    },
)


def run(case: Case, kind: Kind, *, sync: bool, settings: Settings = FOR_TESTS) -> Ran:
    """Runs a cell. One that was late, and nothing else, is run again: the machine may have been busy."""
    for _ in range(2):
        ran = _run(case, kind, sync=sync, settings=settings)
        if not ran.late:
            return ran
    return _run(case, kind, sync=sync, settings=settings)


def _run(case: Case, kind: Kind, *, sync: bool, settings: Settings) -> Ran:
    if case.bulky:
        stacked_bomb()  # kept from now on: its making is not to be measured
    before = _sockets(), set(threading.enumerate())
    deadline = settings.slow_deadline if case.slow else settings.deadline
    with ExitStack() as stack:
        scene = case.scene(stack)
        healthy = stack.enter_context(Peer(fine))
        act = stack.enter_context(_actor(sync=sync))
        # One connection and one slot: whoever keeps one of them shows by the next call.
        config = ClientConfig(
            base_url=scene.url,
            deadline=deadline,
            headers={"X-API-Key": SECRET},
            trust_env=False,
            bulkhead=BulkheadConfig(max_concurrency=1, acquisition_timeout=1.0),
            logging=LoggingConfig(level="CRITICAL"),
        )
        client = ResilientClient(config.model_copy(update=settings.config).model_copy(update=case.settings))
        if case.warm:
            act(client.get("/warm"))
        with _watch(scene, deadline) as cut, _memory(measured=case.bulky and settings.leftovers) as peak:
            reply, error, seconds = _send(act, client, kind)
        ran = Ran(error, seconds, scene.executed)
        if cut.is_set():
            ran.complaints.append(f"hung: cut {_STUCK:g} s past the deadline")
        _judge(ran, case, case.expected[kind], reply)
        if kind == "POST" and ran.executed > 1:
            ran.complaints.append(f"a plain POST was executed {ran.executed} times")
        ran.complaints += _shown_elsewhere(scene)
        if peak() > MOST_MEMORY:
            ran.complaints.append(f"it took {peak() / 1e6:.1f} MB of memory")
        ran.complaints += _leftovers(act, client, healthy, scene)
        act(client.close())
    if settings.leftovers:
        ran.complaints += _left_in_process(*before)
    if seconds > deadline + GRACE:
        ran.late = not ran.complaints
        ran.complaints.append(f"{seconds - deadline:.2f} s past the deadline")
    return ran


class _Actor:
    """Sends calls in one colour: under a loop of its own, or on the calling thread."""

    def __init__(self, runner: asyncio.Runner | None) -> None:
        self._runner = runner

    def __call__(self, call: Call[Any]) -> Any:
        if self._runner is None:
            return call.result()

        async def main() -> Any:
            return await call

        return self._runner.run(main())

    def tasks(self) -> int:
        """Tasks that are not done."""
        return 0 if self._runner is None else len(asyncio.all_tasks(self._runner.get_loop()))

    def settle(self) -> None:
        """Lets the loop do what it has left to do."""
        if self._runner is not None:
            self._runner.run(asyncio.sleep(0.01))


@contextmanager
def _actor(*, sync: bool) -> Iterator[_Actor]:
    if sync:
        yield _Actor(None)
        return
    with asyncio.Runner() as runner:
        yield _Actor(runner)


def _send(act: _Actor, client: ResilientClient, kind: Kind) -> tuple[Any, BaseException | None, float]:
    began = time.monotonic()
    try:
        if kind == "GET":
            call = client.get("/thing")
        elif kind == "POST":
            call = client.post("/thing", json={"n": 1})
        else:
            call = client.post("/thing", json={"n": 1}, idempotency_key="the-caller's-own")
        return act(call), None, time.monotonic() - began
    except Exception as error:
        return None, error, time.monotonic() - began


@contextmanager
def _watch(scene: Scene, deadline: float) -> Iterator[threading.Event]:
    """Ends a call that does not end, by closing the peer."""
    cut = threading.Event()

    def end() -> None:
        cut.set()
        scene.close()

    timer = threading.Timer(deadline + _STUCK, end)
    timer.start()
    try:
        yield cut
    finally:
        timer.cancel()
        timer.join()


@contextmanager
def _memory(*, measured: bool) -> Iterator[Callable[[], int]]:
    """Tells afterwards how much was allocated at most."""
    peak = 0
    if not measured:
        yield lambda: peak
        return
    tracemalloc.start()
    try:
        yield lambda: peak
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _judge(ran: Ran, case: Case, expected: Expected, reply: Any) -> None:
    complain, error = ran.complaints.append, ran.error
    least, most = expected.executed
    if not least <= ran.executed <= most:
        complain(f"executed {ran.executed} times, not {least}" + (f" to {most}" if most != least else ""))
    if error is None:
        if expected.error is not None:
            complain(f"survived instead of raising {expected.error}")
        if not isinstance(reply, httpx2.Response) or reply.content != OK:
            complain(f"wrong data: {reply!r}")
        if ran.seconds < case.least:
            complain(f"survived after {ran.seconds:.2f} s, sooner than was asked for")
        return
    if not isinstance(error, exceptions.HoldfastError):
        complain(f"not one of our errors: {error!r}")
        return
    if expected.error is None:
        complain(f"did not survive: {error!r}")
    elif not _fits(error, expected.error):
        complain(f"raised {error!r} instead of {expected.error}")
    elif error.may_have_executed is not expected.may_have_executed:
        complain(f"may_have_executed is {error.may_have_executed}: {error}")
    if ran.executed and not error.may_have_executed:
        complain("denies what was executed")
    if expected.attempts is not None and error.attempts != expected.attempts:
        complain(f"{error.attempts} attempts instead of {expected.attempts}: {error}")
    if expected.retry_after is not None and error.retry_after != expected.retry_after:
        complain(f"retry_after is {error.retry_after}")
    if expected.at_once and ran.seconds > 1.0:
        complain(f"raised only after {ran.seconds:.2f} s")


def _fits(error: exceptions.HoldfastError, name: str) -> bool:
    """Whether an error is of the class, and of none below it but the deadline's."""
    return type(error).__name__ == name or (
        name == "APITimeoutError" and isinstance(error, exceptions.DeadlineExceededError)
    )


def _shown_elsewhere(scene: Scene) -> list[str]:
    """What another origin was shown that was not meant for it."""
    if scene.elsewhere is None:
        return []
    shown = {name for request in scene.elsewhere.requests for name in request.headers if name in _KEPT_HOME} | {
        "body" for request in scene.elsewhere.requests if request.body
    }
    return [f"another origin was shown: {', '.join(sorted(shown))}"] if shown else []


def _leftovers(act: _Actor, client: ResilientClient, healthy: Peer, scene: Scene) -> list[str]:
    """What the call left behind in its client."""
    found: list[str] = []
    act.settle()
    held = {"slots": client.bulkhead.in_flight, "waiters": client.bulkhead.queued, "tasks": act.tasks()}
    found += [f"{count} {name} left" for name, count in held.items() if count]
    try:
        # Takes the only slot and the only connection of the pool.
        act(client.get(f"{healthy.url}/thing", deadline=2.0))
    except Exception as error:
        found.append(f"the next call failed: {error!r}")
    if not _soon(lambda: not any(peer.open for peer in scene.peers)):
        found.append(f"{sum(peer.open for peer in scene.peers)} connections left")
    return found


def _left_in_process(sockets: int, threads: set[threading.Thread]) -> list[str]:
    found: list[str] = []
    if not _soon(lambda: _sockets() <= sockets):
        found.append(f"{_sockets() - sockets} sockets left")
    if not _soon(lambda: set(threading.enumerate()) <= threads):
        found.append(f"threads left: {set(threading.enumerate()) - threads}")
    return found


def _sockets() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _soon(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + _SETTLING
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
