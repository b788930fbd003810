"""The circuit breaker by itself: what counts, who is let through, and the ways to put it around something."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import logging
import math
import threading
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent import futures
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast import APIConnectionError, CircuitBreaker, CircuitOpenError, ClientConfig, ResilientClient, RetryConfig
from holdfast.testing import FaultTransport, Step, VirtualClock
from tests.support.calls import in_thread


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def broken() -> None:
    raise OSError("it is down")


def tripped(clock: Clock | None = None, **settings: Any) -> CircuitBreaker:
    breaker = CircuitBreaker(2, 30.0, clock=clock or Clock(), **settings)
    fail(breaker, 2)
    assert breaker.state == "open"
    return breaker


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(OSError, match="it is down"):
            breaker(broken)()


# States


def test_failures_in_a_row_open_it():
    breaker = CircuitBreaker(clock=Clock())
    assert (breaker.state, breaker.retry_after) == ("closed", 0.0)
    fail(breaker, 4)
    assert breaker(lambda: 7)() == 7
    fail(breaker, 4)
    assert breaker.state == "closed"
    fail(breaker)
    assert (breaker.state, breaker.retry_after) == ("open", 30.0)


def test_open_it_calls_nothing_and_says_when_to_come_back():
    clock, called = Clock(), []
    breaker = tripped(clock, name="payments")
    clock.now += 18
    with pytest.raises(CircuitOpenError, match=r"Circuit breaker is OPEN for another 12 s: payments") as caught:
        breaker(lambda: called.append(1))()
    assert caught.value.retry_after == 12.0 and not called
    assert issubclass(caught.type, APIConnectionError)
    assert caught.value.endpoint == "payments"
    assert "the last time with OSError" in str(caught.value) and "it is down" not in str(caught.value)
    assert caught.value.attempts == 0 and not caught.value.may_have_executed


def test_without_a_name_the_function_is_named():
    with pytest.raises(CircuitOpenError, match=r"OPEN for another 30 s: broken has been failing"):
        tripped()(broken)()
    with pytest.raises(CircuitOpenError, match="OPEN for another 30 s: the guarded block has been"), tripped():
        pass


def test_after_the_recovery_timeout_a_success_closes_it_and_a_failure_opens_it_again():
    clock = Clock()
    breaker = tripped(clock)
    clock.now += 30
    assert (breaker.state, breaker.retry_after) == ("half_open", 0.0)
    fail(breaker)
    assert (breaker.state, breaker.retry_after) == ("open", 30.0)
    clock.now += 30
    assert breaker(lambda: 7)() == 7 and breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "closed"


@pytest.mark.parametrize("probes", [1, 2, 3])
def test_half_open_it_admits_exactly_the_probes(probes):
    clock = Clock()
    breaker = tripped(clock, half_open_probes=probes)
    clock.now += 30
    admitted, over = [], threading.Event()
    arrived = threading.Barrier(20)

    def work() -> None:
        admitted.append(1)
        assert over.wait(10)

    def come() -> bool:
        arrived.wait(10)
        try:
            breaker(work)()
        except CircuitOpenError as error:
            refusals.append(error)
            if len(refusals) == 20 - probes:
                over.set()
            return False
        return True

    refusals: list[CircuitOpenError] = []
    with futures.ThreadPoolExecutor(20) as pool:
        came = list(pool.map(lambda _: come(), range(20)))
    assert sum(came) == len(admitted) == probes
    assert {error.retry_after for error in refusals} == {0.0}
    assert "OPEN but for probes, and enough of those are in flight: test_half" in str(refusals[0])
    assert breaker.state == "closed"


def test_reset_closes_it_and_forgets():
    breaker = tripped()
    breaker.reset()
    assert breaker.state == "closed" and breaker(lambda: 7)() == 7
    fail(breaker)
    breaker.reset()
    fail(breaker)
    assert breaker.state == "closed"


def test_a_call_from_before_the_reset_changes_nothing():
    breaker = CircuitBreaker(1, clock=Clock())
    call = Held(breaker, "decorator")
    breaker.reset()
    call.end(OSError("late"))
    assert breaker.state == "closed"


def test_it_lives_by_the_clock_of_tests():
    with VirtualClock() as clock:
        breaker = CircuitBreaker(1, 30.0, clock=clock.now)
        fail(breaker)
        clock.advance(30)
        assert breaker.state == "half_open"


# What is a failure


def test_only_expected_exceptions_are_failures():
    breaker = CircuitBreaker(2, expected_exceptions=(ConnectionError, TimeoutError), clock=Clock())

    def raising(error: Exception) -> None:
        with pytest.raises(type(error)):
            breaker(lambda: (_ for _ in ()).throw(error))()

    for _ in range(5):
        raising(ValueError("no such thing"))
    raising(ConnectionResetError())
    raising(ValueError("an answer"))
    raising(TimeoutError())
    assert breaker.state == "closed"
    raising(ConnectionResetError())
    assert breaker.state == "open"


NEUTRAL = [asyncio.CancelledError, futures.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit]


@pytest.mark.parametrize("error", NEUTRAL)
@pytest.mark.parametrize("form", ["decorator", "async decorator", "with", "async with"])
def test_cancellation_is_neither_success_nor_failure(error, form):
    clock = Clock()
    breaker = CircuitBreaker(2, 30.0, clock=clock)
    fail(breaker)
    for _ in range(3):
        Held(breaker, form).end(error())
    assert breaker.state == "closed"
    fail(breaker)  # the second in a row, whatever was cancelled between them
    assert breaker.state == "open"
    clock.now += 30
    Held(breaker, form).end(error())
    assert breaker.state == "half_open"  # and has a place for the next
    assert breaker(lambda: 7)() == 7 and breaker.state == "closed"


def test_a_cancelled_task_leaves_the_probes_place():
    clock = Clock()
    breaker = tripped(clock)
    clock.now += 30

    @breaker
    async def hangs() -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(hangs())
        await asyncio.sleep(0)
        with pytest.raises(CircuitOpenError):
            await hangs()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert breaker.state == "half_open" and breaker(lambda: 7)() == 7


# As a decorator


def test_a_function_stays_what_it_is():
    breaker = CircuitBreaker(clock=Clock())

    @breaker
    def greet(name: str, *, loud: bool = False) -> str:
        """Greets."""
        return name.upper() if loud else name

    @breaker
    async def greet_async(name: str) -> str:
        return name

    assert greet("Ada", loud=True) == "ADA" and asyncio.run(greet_async("Ada")) == "Ada"
    assert greet.__name__ == "greet" and greet.__doc__ == "Greets."
    assert list(inspect.signature(greet).parameters) == ["name", "loud"]
    assert inspect.iscoroutinefunction(greet_async) and not inspect.iscoroutinefunction(greet)


def test_methods_and_partials_and_objects():
    breaker = CircuitBreaker(1, clock=Clock())

    class Door:
        @breaker
        def knock(self, times: int) -> int:
            return times

        @staticmethod
        @breaker
        def made() -> str:
            return "made"

        async def __call__(self) -> str:
            raise OSError("it is down")

    assert Door().knock(3) == 3 and Door.made() == "made"
    assert breaker(functools.partial(max, 3))(4) == 4
    guarded = breaker(Door())
    assert inspect.iscoroutinefunction(guarded)
    with pytest.raises(OSError, match="it is down"):
        asyncio.run(guarded())
    assert breaker.state == "open"


def test_async_functions_are_judged_when_awaited():
    breaker = CircuitBreaker(1, clock=Clock())

    @breaker
    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("it is down")

    pending = fails()
    assert breaker.state == "closed"
    with pytest.raises(OSError, match="it is down"):
        asyncio.run(pending)
    assert breaker.state == "open"
    with pytest.raises(CircuitOpenError):
        asyncio.run(fails())


@pytest.mark.parametrize("marked", [False, True])
def test_what_a_plain_function_returns_is_judged_when_awaited(marked):
    clock = Clock()
    breaker = CircuitBreaker(1, 30.0, clock=clock)
    transport = FaultTransport([503, Step(json=1)])
    config = ClientConfig(base_url="http://x.test", retry=RetryConfig(max_attempts=1))
    client = ResilientClient(config, transport=transport)
    get = breaker(client.get if marked else lambda path: client.get(path))

    async def main() -> None:
        unsent = get("/a")
        with pytest.raises(APIConnectionError):
            await get("/a")
        assert breaker.state == "open"
        with pytest.raises(CircuitOpenError):
            await unsent
        assert len(transport.requests) == 1
        clock.now += 30
        assert (await get("/a")).json() == 1 and breaker.state == "closed"

    asyncio.run(main())


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Counting:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize("function", [generator, async_generator, functools.partial(generator), Counting()])
def test_generator_functions_are_refused(function):
    with pytest.raises(TypeError, match="is a generator function: calling it does nothing yet"):
        CircuitBreaker()(function)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (classmethod(lambda cls: cls), "<lambda> belongs below @classmethod, not above"),
        (staticmethod(broken), "broken belongs below @staticmethod, not above"),
        (7, "guards what can be called, not 7"),
    ],
)
def test_what_cannot_be_guarded_is_refused(function: Any, said: str):
    with pytest.raises(TypeError, match=said):
        CircuitBreaker()(function)


# As a context manager


def test_blocks_count():
    breaker = CircuitBreaker(2, clock=Clock())
    with breaker as same:
        assert same is breaker
    for _ in range(2):
        with pytest.raises(OSError, match="it is down"), breaker:
            broken()
    entered = False
    with pytest.raises(CircuitOpenError), breaker:
        entered = True
    assert not entered


def test_async_blocks_count():
    breaker = CircuitBreaker(2, clock=Clock())

    async def main() -> None:
        async with breaker as same:
            assert same is breaker
        for _ in range(2):
            with pytest.raises(OSError, match="it is down"):
                async with breaker:
                    await asyncio.sleep(0)
                    broken()
        with pytest.raises(CircuitOpenError):
            async with breaker:
                pytest.fail("it was entered")

    asyncio.run(main())


def test_blocks_within_blocks_and_tasks_beside_each_other_are_told_apart():
    clock = Clock()
    one, two = CircuitBreaker(1, 30.0, clock=clock), CircuitBreaker(1, 30.0, clock=clock)
    with suppress(OSError), one:
        with one, two:
            pass
        broken()
    assert (one.state, two.state) == ("open", "closed")

    clock.now += 30
    began = asyncio.Event()

    async def old() -> None:
        with suppress(OSError):
            async with two:
                await began.wait()
                broken()

    async def main() -> None:
        task = asyncio.create_task(old())
        await asyncio.sleep(0)
        async with one:  # the probe
            began.set()
            await task
            assert (one.state, two.state) == ("half_open", "open")
        assert one.state == "closed"

    asyncio.run(main())


def test_a_block_that_is_left_in_another_context_gives_the_probe_back():
    clock = Clock()
    breaker = tripped(clock)

    @contextmanager
    def dependency() -> Iterator[None]:
        with breaker:
            yield

    for _ in range(2):  # what had been entered before does not disturb
        clock.now += 30
        given = dependency()
        in_thread(given.__enter__)
        with pytest.raises(CircuitOpenError):
            breaker.__enter__()
        in_thread(functools.partial(given.__exit__, None, None, None))
        assert breaker.state == "closed"
        fail(breaker, 2)


def test_exit_stacks():
    clock = Clock()
    breaker = tripped(clock)
    clock.now += 30
    with ExitStack() as stack:
        stack.enter_context(breaker)
        assert breaker.state == "half_open"
    assert breaker.state == "closed"

    async def main() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(breaker)
            broken()

    for _ in range(2):
        with pytest.raises(OSError, match="it is down"):
            asyncio.run(main())
    assert breaker.state == "open"


def test_blocks_that_are_left_in_another_order():
    clock = Clock()
    one, two = tripped(clock), tripped(clock)
    clock.now += 30
    first, second = ExitStack(), ExitStack()
    first.enter_context(one)
    second.enter_context(two)
    first.close()
    assert (one.state, two.state) == ("closed", "half_open")
    with pytest.raises(CircuitOpenError):
        two.__enter__()
    second.close()
    assert two.state == "closed"


def test_an_abandoned_generator_gives_the_probe_back():
    clock = Clock()
    breaker = tripped(clock)
    clock.now += 30

    def guarded() -> Iterator[int]:
        with breaker:
            yield 1

    steps = guarded()
    assert next(steps) == 1
    del steps
    gc.collect()
    assert breaker.state == "half_open"
    with breaker:
        pass
    assert breaker.state == "closed"


# Settings, logs, forks


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"failure_threshold": 0}, ValueError, "failure_threshold must be at least 1, not 0"),
        ({"failure_threshold": True}, TypeError, "failure_threshold must be a whole number, not bool"),
        ({"failure_threshold": 2.0}, TypeError, "failure_threshold must be a whole number, not float"),
        ({"recovery_timeout": 0}, ValueError, "recovery_timeout must be more than 0 seconds"),
        ({"recovery_timeout": math.inf}, ValueError, "recovery_timeout must be more than 0 seconds, and finite"),
        ({"recovery_timeout": math.nan}, ValueError, "recovery_timeout must be more than 0 seconds"),
        ({"recovery_timeout": "30"}, TypeError, "recovery_timeout must be a number of seconds, not str"),
        ({"name": 5}, TypeError, "name must be text, not int"),
        ({"clock": 0.0}, TypeError, "clock must be a function that gives monotonic seconds, not float"),
        ({"half_open_probes": -1}, ValueError, "half_open_probes must be at least 1"),
        ({"expected_exceptions": BaseException}, TypeError, "expected_exceptions must be a subclass of Exception"),
        ({"expected_exceptions": (OSError, "x")}, TypeError, "expected_exceptions must be .* not 'x'"),
        ({"expected_exceptions": ()}, ValueError, "expected_exceptions is empty"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], error: type[Exception], said: str):
    with pytest.raises(error, match=said):
        CircuitBreaker(**settings)


def test_the_first_two_settings_go_by_their_place():
    breaker = CircuitBreaker(1, 5, clock=Clock())
    fail(breaker)
    assert breaker.retry_after == 5.0


def test_changes_are_logged(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    breaker = tripped(clock, name="payments")
    clock.now += 30
    breaker(lambda: 7)()
    breaker.reset()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "circuit breaker of payments: closed -> open, next probe in 30 s, after OSError"),
        ("WARNING", "circuit breaker of payments: open -> half_open"),
        ("INFO", "circuit breaker of payments: half_open -> closed"),
    ]
    assert repr(breaker) == "<CircuitBreaker payments (closed)>"


# Any number of calls at once, under virtual time


@types.coroutine
def pause() -> Generator[None, None, None]:
    yield


class Held:
    """A call through the breaker that is in the middle of its work until `end`."""

    def __init__(self, breaker: CircuitBreaker, form: str) -> None:
        async def guarded() -> None:
            async with breaker:
                await pause()

        async def guarded_sync() -> None:
            with breaker:
                await pause()

        def sync() -> None:
            self._begun.set()
            assert self._ended.wait(10)
            if self._error is not None:
                raise self._error

        self._form = form
        self._error: BaseException | None = None
        self._begun, self._ended = threading.Event(), threading.Event()
        if form == "decorator":
            self._outcome: list[BaseException | None] = []
            self._thread = threading.Thread(target=self._run, args=(breaker(sync),))
            self._thread.start()
            while not self._begun.wait(0.001) and self._thread.is_alive():
                pass
            if not self._begun.is_set():
                self._thread.join()
                assert isinstance(self._outcome[0], CircuitOpenError)
                raise self._outcome[0]
            return
        made: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "async decorator": breaker(_paused),
            "with": guarded_sync,
            "async with": guarded,
        }
        self._coroutine = made[form]()
        self._context = contextvars.copy_context()  # as a task has one
        self._context.run(self._coroutine.send, None)

    def _run(self, function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            self._outcome.append(error)
        else:
            self._outcome.append(None)

    def end(self, error: BaseException | None = None) -> None:
        self._error = error
        if self._form == "decorator":
            self._ended.set()
            self._thread.join(10)
            assert self._outcome == [error]
            return
        try:
            if error is None:
                self._context.run(self._coroutine.send, None)
            else:
                self._context.run(self._coroutine.throw, error)
        except StopIteration:
            assert error is None
        except BaseException as raised:
            if raised is not error:
                raise
        else:
            pytest.fail("it has not ended")


async def _paused() -> None:
    await pause()


@dataclass
class Running:
    call: Held
    era: int
    probe: bool


class Modelled(RuleBasedStateMachine):
    """Calls of every form begin and end in any order while time passes: the breaker must be in the model's state."""

    @initialize(threshold=st.integers(1, 3), probes=st.integers(1, 3))
    def build(self, threshold: int, probes: int) -> None:
        self.clock = Clock()
        self.threshold, self.probes = threshold, probes
        self.breaker = CircuitBreaker(
            threshold, 10.0, half_open_probes=probes, expected_exceptions=OSError, clock=self.clock
        )
        self.running: list[Running] = []
        self.state, self.era, self.opened, self.row, self.proved = "closed", 0, 0.0, 0, 0

    def go(self, state: str) -> None:
        self.state, self.row, self.proved = state, 0, 0
        self.era += 1
        if state == "open":
            self.opened = self.clock.now

    def rested(self) -> bool:
        return self.state == "open" and self.clock.now >= self.opened + 10.0

    @rule(seconds=st.sampled_from([0.5, 9.5, 10.0, 25.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(form=st.sampled_from(["async decorator", "with", "async with"]))
    def begin(self, form: str) -> None:
        if self.rested():
            self.go("half_open")
        probing = sum(one.probe and one.era == self.era for one in self.running)
        half = self.state == "half_open"
        admitted = self.state == "closed" or (half and probing + self.proved < self.probes)
        try:
            call = Held(self.breaker, form)
        except CircuitOpenError as error:
            refused: CircuitOpenError | None = error
        else:
            refused = None
            self.running.append(Running(call, self.era, half))
        assert (refused is None) is admitted
        if refused is not None:
            left = self.opened + 10.0 - self.clock.now if self.state == "open" else 0.0
            assert refused.retry_after == pytest.approx(left)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "answer", "cancelled"]))
    def end(self, data: st.DataObject, how: str) -> None:
        one = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        errors = {"failure": OSError("down"), "answer": ValueError("no"), "cancelled": asyncio.CancelledError()}
        one.call.end(errors.get(how))
        if one.era != self.era or how == "cancelled":
            return
        if how == "failure":
            self.row += 1
            if one.probe or self.row >= self.threshold:
                self.go("open")
        else:
            self.row = 0
            self.proved += one.probe
            if one.probe and self.proved >= self.probes:
                self.go("closed")

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.go("closed")

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "breaker"):
            assert self.breaker.state == ("half_open" if self.rested() else self.state)

    def teardown(self) -> None:
        for one in getattr(self, "running", []):
            one.call.end()


TestModelled = Modelled.TestCase
