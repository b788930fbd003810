"""What one process does: makes one client, loads the server with it, and prints what it saw as one line of JSON.

    python -m against.load JSON

Nothing here but the contestant needs more than the standard library: it runs in environments without Holdfast.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from against import contestants, sync_contestants

LEAST_WARM_UP = 0.15
"""Seconds of calls before those that count."""

HELD = 1_000


@dataclass(frozen=True)
class Job:
    """What is asked of the process: `what` is the name of a call (`get`, `post`, ...), or `hold`."""

    name: str
    colour: str
    what: str
    url: str
    in_flight: int
    seconds: float
    certificate: str | None = None
    uvloop: bool = False


@dataclass
class Seen:
    """What came of it. `requests`: all that the server must have counted, those of the warm-up too; times in s."""

    requests: int
    calls: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    memory: int = 0
    versions: str = ""


def quantile(sorted_values: list[float], share: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


def settle() -> None:
    gc.collect()
    gc.freeze()


def figures(warm: int, latencies: list[float], wall: float, cpu: float) -> Seen:
    latencies.sort()
    calls = len(latencies)
    return Seen(warm + calls, calls, wall, cpu, quantile(latencies, 0.5), quantile(latencies, 0.99))


# Under asyncio


async def crowd(call: Callable[[], Awaitable[None]], in_flight: int, seconds: float, least: int) -> list[float]:
    """So many callers at once, each calling again when it has its answer, until the time is up."""
    latencies: list[float] = []
    clock = time.perf_counter
    until = clock() + seconds

    async def caller() -> None:
        done = latencies.append
        while clock() < until or len(latencies) < least:
            began = clock()
            await call()
            done(clock() - began)

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return latencies


async def load(job: Job) -> Seen:
    async with contestants.open_client(job) as calls:
        call = getattr(calls, job.what)
        await call()  # so that what is imported late is
        warm = 1 + len(await crowd(call, job.in_flight, LEAST_WARM_UP, 2 * job.in_flight))
        settle()
        cpu, wall = time.process_time(), time.perf_counter()
        latencies = await crowd(call, job.in_flight, job.seconds, job.in_flight)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return figures(warm, latencies, wall, cpu)


async def hold(job: Job) -> Seen:
    """How much the process grows by calls that wait for their answer."""
    async with contestants.open_client(job) as calls:
        await calls.get()
        settle()
        before = resident()
        waiting = [asyncio.ensure_future(calls.held()) for _ in range(job.in_flight)]
        until = time.monotonic() + 30
        while (await asyncio.to_thread(ask, job.url, "/count"))["held"] < job.in_flight:
            if time.monotonic() > until:
                raise TimeoutError(f"not all {job.in_flight} calls have reached the server")
            await asyncio.sleep(0.02)
        memory = resident() - before
        await asyncio.to_thread(ask, job.url, "/release")
        await asyncio.gather(*waiting)
    return Seen(1 + job.in_flight, memory=memory)


def ask(url: str, path: str) -> Any:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}{path}", timeout=10) as response:
        return json.load(response)


def resident() -> int:
    """Bytes; 0 where /proc does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


# In threads


def crew(call: Callable[[], None], threads: int, seconds: float, least: int) -> list[float]:
    """As `crowd`, in threads."""
    clock = time.perf_counter
    until = clock() + seconds
    parts: list[list[float]] = [[] for _ in range(threads)]
    failures: list[BaseException] = []

    def caller(latencies: list[float]) -> None:
        try:
            while clock() < until or len(latencies) < least:
                began = clock()
                call()
                latencies.append(clock() - began)
        except BaseException as error:  # noqa: BLE001  # raised below
            failures.append(error)

    running = [threading.Thread(target=caller, args=(part,)) for part in parts]
    for one in running:
        one.start()
    for one in running:
        one.join()
    if failures:
        raise failures[0]
    return [latency for part in parts for latency in part]


def load_sync(job: Job) -> Seen:
    with sync_contestants.open_client(job) as calls:
        call = getattr(calls, job.what)
        call()
        warm = 1 + len(crew(call, job.in_flight, LEAST_WARM_UP, 2))
        settle()
        cpu, wall = time.process_time(), time.perf_counter()
        latencies = crew(call, job.in_flight, job.seconds, 1)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return figures(warm, latencies, wall, cpu)


def run(job: Job) -> Seen:
    if job.colour == "sync":
        seen = load_sync(job)
        seen.versions = sync_contestants.version_of(job.name)
        return seen
    factory = None
    if job.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        seen = runner.run(hold(job) if job.what == "held" else load(job))
    seen.versions = contestants.version_of(job.name)
    return seen


if __name__ == "__main__":
    print(json.dumps(asdict(run(Job(**json.loads(sys.argv[1]))))))
