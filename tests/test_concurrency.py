"""One client under many threads, several event loops, forks and cancellations: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast import CircuitBreaker, PoolTimeoutError, ResilientClient, get_request_id
from holdfast.testing import FaultTransport, Step
from tests.support.wire import Background, Received, answer, config, echo, in_loop, serve, until, wait_until

NOWHERE = "http://service.test"

pytestmark = pytest.mark.loopback


class Gauge:
    """Counts what it answers at the same time. Counted down before the answer goes out, it never counts too many."""

    def __init__(self, seconds: float = 0.002) -> None:
        self._seconds = seconds
        self.now = 0
        self.peak = 0

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self.now += 1
        self.peak = max(self.peak, self.now)
        await asyncio.sleep(self._seconds)
        self.now -= 1
        writer.write(answer(200, request.target))


def leaks(client: ResilientClient) -> dict[str, int]:
    """What is still taken, by name; empty if nothing is."""
    assembly = client._assembly
    held = {
        "slots": client.bulkhead.in_flight,
        "queue": client.bulkhead.queued,
        "sleepers": len(assembly.pipeline._attempt._sleepers),
        "pending": len(assembly.runtime.pending),
        "deadlines": sum(len(driver.deadlines.busy) for driver in assembly.connections._by_loop.values()),
        "background": sum(len(driver._background) for driver in assembly.connections._by_loop.values()),
    }
    return {name: count for name, count in held.items() if count}


# Threads and loops


def test_threads_and_loops_together_never_exceed_the_bulkhead() -> None:
    gauge = Gauge()
    with serve(gauge) as server:
        client = ResilientClient(config(server.url, bulkhead={"max_concurrency": 5}))

        def on_a_thread(number: int) -> None:
            for turn in range(30):
                path = f"/thread-{number}-{turn}"
                assert client.get(path).result().text == path

        async def on_a_loop(number: int) -> None:
            async def one(turn: int) -> None:
                path = f"/loop-{number}-{turn}"
                assert (await client.get(path)).text == path

            await asyncio.gather(*(one(turn) for turn in range(120)))
            # This loop's pool is closed by this loop; the client itself stays open for the others.
            await client._assembly.connections.driver(asyncio.get_running_loop()).aclose()

        workers = [Background(lambda number=number: on_a_thread(number)) for number in range(8)]  # type: ignore[misc]
        workers += [Background(lambda number=number: asyncio.run(on_a_loop(number))) for number in range(2)]  # type: ignore[misc]
        for worker in workers:
            worker.outcome(60)
        assert gauge.peak == 5
        assert leaks(client) == {}
        assert client.metrics().total.calls == 8 * 30 + 2 * 120
        assert len(server.ids()) == len(set(server.ids())) == 480
        client.close().result()


def test_a_second_event_loop_gets_a_pool_of_its_own() -> None:
    with serve(echo) as server:
        client = ResilientClient(config(server.url))
        drivers = []

        async def use() -> None:
            for _ in range(3):
                await client.get("/")
            drivers.append(client._assembly.connections.driver(asyncio.get_running_loop()))
            await drivers[-1].aclose()

        asyncio.run(use())
        asyncio.run(use())
        assert drivers[0] is not drivers[1]
        assert server.connections == 2 and len(server.requests) == 6
        client.close().result()


def test_two_loops_that_take_turns_keep_their_pools() -> None:
    with serve(echo) as server:
        client = ResilientClient(config(server.url))
        with asyncio.Runner() as one, asyncio.Runner() as two:
            for _ in range(5):
                for runner in (one, two):
                    assert runner.run(client.get("/")).status_code == 200
            assert server.connections == 2
            for runner in (one, two):
                driver = client._assembly.connections.driver(runner.get_loop())
                runner.run(driver.aclose())
        client.close().result()


def test_closed_loops_are_let_go() -> None:
    client = ResilientClient(config(NOWHERE), transport=FaultTransport([200]))
    loops = []

    async def use() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await client.get("/")

    for _ in range(10):
        asyncio.run(use())
    gc.collect()
    assert sum(loop() is not None for loop in loops) <= 1
    assert len(client._assembly.connections._by_loop) <= 1
    client.close().result()
    gc.collect()
    assert not any(loop() for loop in loops)


def test_slots_pass_between_threads_and_loops() -> None:
    inside, leave = threading.Event(), threading.Event()

    def script(request: httpx2.Request) -> Step:
        if request.url.path == "/hold":
            inside.set()
            assert leave.wait(10)
        return Step(200)

    client = ResilientClient(config(NOWHERE, bulkhead={"max_concurrency": 1}), transport=FaultTransport(script))
    holder = Background(lambda: client.get("/hold").result())
    assert inside.wait(10)
    others = [
        Background(lambda: asyncio.run(client.get("/"))),
        Background(lambda: client.get("/").result()),
        Background(lambda: asyncio.run(client.get("/"))),
    ]
    wait_until(lambda: client.bulkhead.queued == 3)
    leave.set()
    for thread in (holder, *others):
        assert thread.outcome(10).status_code == 200
    assert leaks(client) == {}


def test_a_loop_that_moves_to_another_thread_is_woken_there() -> None:
    inside, leave = threading.Event(), threading.Event()

    def answering(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/hold":
            inside.set()
            assert leave.wait(10)
        return httpx2.Response(200)

    client = ResilientClient(
        config(NOWHERE, bulkhead={"max_concurrency": 1}), transport=httpx2.MockTransport(answering)
    )
    loop = asyncio.new_event_loop()

    async def get() -> int:
        return (await client.get("/")).status_code

    assert loop.run_until_complete(get()) == 200  # here the loop's driver is made
    holder = Background(lambda: client.get("/hold").result())
    assert inside.wait(10)
    moved = Background(lambda: loop.run_until_complete(get()))
    wait_until(lambda: client.bulkhead.queued == 1)
    time.sleep(0.05)  # until it sleeps in its selector
    with client._assembly.runtime:
        client._assembly.pipeline.bulkhead.leave()  # a slot comes back on the thread that the loop ran on before
    assert moved.outcome(5) == 200
    leave.set()
    holder.outcome()
    loop.close()


# Loops that are closed in the middle of it


@contextlib.contextmanager
def abandoned(client: ResilientClient, calls: int, ready: Callable[[], bool]) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in which `calls` have come to a halt, and which is closed at the end without cancelling them."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending!"

    async def start() -> list[asyncio.Task[Any]]:
        tasks = [asyncio.ensure_future(client.get("/")) for _ in range(calls)]
        await until(ready)
        return tasks

    tasks = loop.run_until_complete(start())
    try:
        yield loop
    finally:
        loop.close()
        del tasks


def test_a_loop_closed_with_waiters_loses_no_slot_and_crashes_nobody() -> None:
    inside, leave = threading.Event(), threading.Event()

    def script(request: httpx2.Request) -> Step:
        if request.url.path == "/hold":
            inside.set()
            assert leave.wait(10)
        return Step(200)

    client = ResilientClient(config(NOWHERE, bulkhead={"max_concurrency": 1}), transport=FaultTransport(script))
    holder = Background(lambda: client.get("/hold").result())
    assert inside.wait(10)
    with abandoned(client, 3, lambda: client.bulkhead.queued == 3):
        pass
    behind = Background(lambda: client.get("/").result())
    wait_until(lambda: client.bulkhead.queued == 4)
    leave.set()
    assert holder.outcome(5).status_code == 200  # the releaser is not told "Event loop is closed"
    assert behind.outcome(5).status_code == 200
    assert client.bulkhead.in_flight == 0
    gc.collect()
    assert client.get("/").result().status_code == 200
    assert leaks(client) == {}


def test_a_slot_granted_to_a_loop_that_is_closed_before_it_runs_again_is_passed_on() -> None:
    inside, leave = threading.Event(), threading.Event()

    def script(request: httpx2.Request) -> Step:
        if request.url.path == "/hold":
            inside.set()
            assert leave.wait(10)
        return Step(200)

    client = ResilientClient(config(NOWHERE, bulkhead={"max_concurrency": 1}), transport=FaultTransport(script))
    holder = Background(lambda: client.get("/hold").result())
    assert inside.wait(10)
    with abandoned(client, 1, lambda: client.bulkhead.queued == 1):
        leave.set()
        holder.outcome(5)
        assert (client.bulkhead.in_flight, client.bulkhead.queued) == (1, 0)
    gc.collect()
    assert client.bulkhead.in_flight == 0
    assert client.get("/").result().status_code == 200


def test_calls_in_flight_on_a_loop_that_is_closed_give_back_their_slots() -> None:
    class Hanging(httpx2.AsyncBaseTransport, httpx2.BaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            await asyncio.Event().wait()
            raise AssertionError

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200)

    client = ResilientClient(
        config(NOWHERE, bulkhead={"max_concurrency": 2, "acquisition_timeout": 2.0}), transport=Hanging()
    )
    with abandoned(client, 2, lambda: client.bulkhead.in_flight == 2):
        pass
    gc.collect()
    assert client.get("/").result().status_code == 200
    assert leaks(client) == {}


# Forks


def forked(child: Callable[[], Any]) -> tuple[int, int]:
    """Runs a function in a forked child, which writes its result as JSON. Returns the pid and the pipe to read."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns where there are threads, as there are here: the child uses none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    code = 1
    try:
        os.close(reading)
        os.write(writing, json.dumps(child()).encode())
        os.close(writing)
        code = 0
    except BaseException as error:
        os.write(writing, json.dumps(f"{type(error).__name__}: {error}").encode())
    finally:
        os._exit(code)


def joined(pid: int, reading: int, patience: float = 20.0) -> Any:
    """The child's result."""
    with open(reading, "rb") as pipe:
        os.set_blocking(reading, False)
        said, end = b"", time.monotonic() + patience
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                said += pipe.read() or b""
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                said += pipe.read() or b""
                assert os.waitstatus_to_exitcode(status) == 0, said.decode()
                return json.loads(said)
            time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pytest.fail("the child hangs")


def calls_of(client: ResilientClient, who: str, count: int) -> list[list[str]]:
    """Request and answer of so many calls."""
    seen = []
    for number in range(count):
        got = client.post(f"/{who}/{number}", json={"who": who}).result().json()
        seen.append([f"/{who}/{number}", got["target"], got["headers"]["x-request-id"], got["body"]])
    return seen


def test_parent_and_child_of_a_fork_get_their_own_answers() -> None:
    with serve(echo) as server:
        client = ResilientClient(config(server.url))
        client.get("/warm").result()  # leaves a connection in the pool
        seed = client._assembly.random.random
        pid, pipe = forked(lambda: [calls_of(client, "child", 30), seed()])
        mine = calls_of(client, "parent", 30)
        theirs, drawn = joined(pid, pipe)
        assert drawn != seed()
        for asked, answered, _, body in (*mine, *theirs):
            assert asked == answered and json.loads(body)["who"] in asked
        ids = [one[2] for one in (*mine, *theirs)]
        assert len(set(ids)) == 60 and not {one.partition("-")[0] for one in ids[:30]} & {
            one.partition("-")[0] for one in ids[30:]
        }
        assert len(set(server.ids())) == 61
        client.close().result()


def test_a_fork_between_two_loops() -> None:
    with serve(echo) as server:
        client = ResilientClient(config(server.url))

        async def calls(who: str) -> list[list[str]]:
            answers = await asyncio.gather(*(client.get(f"/{who}/{number}") for number in range(30)))
            return [[f"/{who}/{number}", one.json()["target"]] for number, one in enumerate(answers)]

        with asyncio.Runner() as runner:
            runner.run(calls("warm"))
            pid, pipe = forked(lambda: asyncio.run(calls("child")))
            mine = runner.run(calls("parent"))
            theirs = joined(pid, pipe)
            assert all(asked == answered for asked, answered in (*mine, *theirs))
            assert len(mine) == len(theirs) == 30
            runner.run(client.close())


def test_what_is_in_flight_at_a_fork_is_not_the_childs() -> None:
    inside, leave = threading.Event(), threading.Event()

    def answering(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/hold":
            inside.set()
            assert leave.wait(10)
        return httpx2.Response(200)

    client = ResilientClient(
        config(NOWHERE, bulkhead={"max_concurrency": 1, "acquisition_timeout": 1.0}),
        transport=httpx2.MockTransport(answering),
    )
    holder = Background(lambda: client.get("/hold").result())
    assert inside.wait(10)

    def child() -> list[int]:
        before = client.bulkhead.in_flight
        return [before, client.get("/").result().status_code, client.bulkhead.in_flight]

    assert joined(*forked(child)) == [0, 200, 0]
    assert client.bulkhead.in_flight == 1
    leave.set()
    assert holder.outcome().status_code == 200


def test_a_fork_while_other_threads_hold_the_lock() -> None:
    client = ResilientClient(config(NOWHERE), transport=httpx2.MockTransport(lambda request: httpx2.Response(200)))
    stop = threading.Event()

    def busy() -> int:
        count = 0
        while not stop.is_set():
            client.get("/").result()
            count += 1
        return count

    threads = [Background(busy) for _ in range(2)]
    try:
        for _ in range(15):
            assert joined(*forked(lambda: client.get("/").result().status_code)) == 200
    finally:
        stop.set()
    assert all(thread.outcome() > 0 for thread in threads)


# Cancelling


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets in /proc")
@in_loop
async def test_a_thousand_cancelled_calls_leave_nothing_behind() -> None:
    rand = random.Random(7)

    async def sometimes(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(rand.random() * 0.03)
        writer.write(answer(rand.choice([200, 500, 503]), "x" * 2000))

    with serve(sometimes) as server:
        settings = config(
            server.url,
            bulkhead={"max_concurrency": 20},
            retry={"min_wait_seconds": 0.01, "max_wait_seconds": 0.02, "budget": None},
            circuit_breaker={"enabled": False},
        )
        client = ResilientClient(settings)
        await client._ensure_initialized()
        before = set(Path("/proc/self/fd").iterdir())
        cancelled = 0
        for _ in range(10):
            calls = [client.get("/") for _ in range(100)]
            tasks = [asyncio.ensure_future(call) for call in calls]
            for task in tasks:
                asyncio.get_running_loop().call_later(rand.random() * 0.15, task.cancel)
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled += sum(isinstance(one, asyncio.CancelledError) for one in ended)
            assert all(isinstance(one, (asyncio.CancelledError, httpx2.Response, httpx2.HTTPError)) for one in ended)
        assert cancelled > 500
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert leaks(client) == {}
        assert not client._assembly.connections.driver(asyncio.get_running_loop()).deadlines.expired
        # What is left are idle connections of the pool.
        await until(lambda: server.open_connections <= 20)
        await client.close()
        await until(lambda: server.open_connections == 0)
        await until(lambda: len(set(Path("/proc/self/fd").iterdir()) - before) == 0)


@in_loop
async def test_cancelling_those_who_wait_hands_their_slots_on() -> None:
    gauge = Gauge(0.001)
    with serve(gauge) as server:
        async with ResilientClient(config(server.url, bulkhead={"max_concurrency": 2})) as client:
            rand = random.Random(3)
            tasks = [asyncio.ensure_future(client.get("/")) for _ in range(300)]
            for number, task in enumerate(tasks):
                if rand.random() < 0.5:
                    task.cancel()
                if number % 7 == 0:
                    await asyncio.sleep(0.001)
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, (asyncio.CancelledError, httpx2.Response)) for one in ended)
            assert sum(isinstance(one, httpx2.Response) for one in ended) > 100
            assert gauge.peak <= 2 and leaks(client) == {}


@in_loop
async def test_timeouts_of_the_caller_are_cancellations() -> None:
    async def silent(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    with serve(silent) as server:
        settings = config(server.url, bulkhead={"max_concurrency": 1, "acquisition_timeout": 0.05})
        async with ResilientClient(settings) as client:
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.03):
                        await client.get("/")
            assert leaks(client) == {} and client.circuit_breaker.state == "closed"
            task = asyncio.ensure_future(client.get("/"))
            await until(lambda: client.bulkhead.in_flight == 1)
            with pytest.raises(PoolTimeoutError):
                await client.get("/")
            task.cancel()
            await asyncio.wait([task])
            assert leaks(client) == {}


def test_the_probe_of_a_breaker_and_the_ids_of_a_parent_are_not_those_of_its_child():
    now = [0.0]
    breaker = CircuitBreaker(1, 30.0, clock=lambda: now[0])
    with contextlib.suppress(OSError), breaker:
        raise OSError("down")
    now[0] = 30.0

    def child() -> list[str]:
        with breaker:  # the place of the parent's probe is free
            pass
        return [breaker.state, get_request_id()]

    get_request_id()
    with breaker:
        state, made = joined(*forked(child))
        assert breaker.state == "half_open"
    assert (state, breaker.state) == ("closed", "closed")
    assert made.rpartition("-")[0] != get_request_id().rpartition("-")[0]


# Memory


@pytest.mark.slow
@pytest.mark.parametrize("colour", ["async", "sync"])
def test_many_calls_leave_memory_flat(colour: str) -> None:
    from benchmarks.memory import grown

    calls = 3_000  # benchmarks/memory.py makes 50,000
    blocks, _, _ = grown(colour, calls)
    assert blocks / calls < 0.1


def test_ever_new_urls_and_origins_are_remembered_up_to_a_bound() -> None:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200))
    with ResilientClient(config(NOWHERE), transport=transport) as client:
        for number in range(2_500):
            client.get(f"http://host-{number}.test/{number}").result()
        assembly = client._assembly
        assert len(assembly.origins._targets) <= 1024
        assert len(assembly.pipeline.states) <= 1000
        assert len(client.metrics().origins) <= 1001
