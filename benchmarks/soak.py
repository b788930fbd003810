"""Keeps 64 calls in flight against a server that fails at random, cancels some, and looks for what is left behind.

    .venv/bin/python benchmarks/soak.py [--engine native] [--seconds 300] [--sync 16] [--seed 1] [--tracemalloc]

One client serves all calls: tasks of one event loop, and threads. It works in rounds. After each nothing may be in
flight: no slot, waiter, task or thread, no more sockets than the pools hold, and no growing memory. Each answer has to
be the one to its request: the server repeats X-Request-ID and an id in the body. The exit status is 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import os
import random
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import httpx2

from holdfast import (
    BulkheadConfig,
    CircuitBreakerConfig,
    ClientConfig,
    HoldfastError,
    LoggingConfig,
    RateLimitConfig,
    ResilientClient,
    RetryBudgetConfig,
    RetryConfig,
)
from holdfast.call import Call

IN_FLIGHT = 64
DEADLINE = 0.4
"""Seconds of a call: silent and trickling answers end by it."""

GRACE = 0.25
"""Seconds by which a call may outlast it. More is counted, and only shown: a busy machine is no error."""

SLOTS = 40
"""Of the bulkhead: fewer than callers, so that some wait."""

GROWTH = 6.0
"""MiB of resident memory by which the rounds after the first third may grow."""

CANCELLED = 0.15
"""The share of the calls under asyncio that is cancelled."""

KINDS = {"get": 45, "cached": 15, "keyed": 15, "plain": 18, "stream": 4, "stream, left early": 3}
"""What is asked for, and how often."""

LOST = 0.02
"""The share of the requests that may meet a connection which the server has just closed."""

_SETTLING = 3.0  # seconds in which what was closed has to be gone


@dataclass(frozen=True)
class Asked:
    """What a call asks for: a path, in one of the `KINDS`, with an id in the body of a POST."""

    kind: str
    path: str
    id: str | None


@dataclass
class Round:
    """How things stood at the end of a round, nothing being in flight."""

    sockets: int
    resident: float
    objects: int


@dataclass
class Soak:
    """The calls, and what came of them."""

    client: ResilientClient
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    worst: float = 0.0
    late: int = 0
    lag: float = 0.0
    peak: int = 0
    _ids: Iterator[int] = field(default_factory=count)

    def ask(self, chance: random.Random) -> Asked:
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        id_ = f"id-{next(self._ids)}" if kind in ("keyed", "plain") else None
        return Asked(kind, f"/item/{chance.randrange(40)}", id_)

    def make(self, asked: Asked) -> Call[httpx2.Response]:
        if asked.kind == "get":
            return self.client.get(asked.path)
        if asked.kind == "cached":
            return self.client.get(asked.path, cache_ttl=0.02)
        if asked.kind == "keyed":
            return self.client.post(asked.path, json={"id": asked.id}, idempotency_key=asked.id)
        return self.client.post(asked.path, json={"id": asked.id}, headers={"X-Plain": "yes"})

    async def perform(self, asked: Asked) -> None:
        """Makes a call with await, and checks what comes."""
        if not asked.kind.startswith("stream"):
            self.check(await self.make(asked), asked)
            return
        async with self.client.stream("GET", asked.path, deadline=DEADLINE) as response:
            if asked.kind == "stream":
                await response.aread()
                self.check(response, asked)
            else:
                async for _ in response.aiter_bytes(100):
                    break

    def perform_sync(self, asked: Asked) -> None:
        """The same on a thread."""
        if not asked.kind.startswith("stream"):
            self.check(self.make(asked).result(), asked)
            return
        with self.client.stream("GET", asked.path, deadline=DEADLINE) as response:
            if asked.kind == "stream":
                response.read()
                self.check(response, asked)
            else:
                for _ in response.iter_bytes(100):
                    break

    def check(self, response: httpx2.Response, asked: Asked) -> None:
        """Whether this is the answer to that request."""
        told, sent = response.json(), response.request.headers["x-request-id"]
        if (told["path"], told["id"]) != (asked.path, asked.id):
            self.wrong.append(f"asked for {asked.path} {asked.id}, got {told['path']} {told['id']}")
        if asked.kind == "cached":  # one request may have answered many
            sent = told["request_id"]
        if told["request_id"] != sent or response.headers.get("x-request-id", sent) != sent:
            self.wrong.append(f"request {sent}, answer {told['request_id']}")

    def took(self, seconds: float) -> None:
        self.worst = max(self.worst, seconds)
        self.late += seconds > DEADLINE + GRACE

    def failed(self, error: Exception) -> None:
        self.outcomes[type(error).__name__] += 1
        if not isinstance(error, HoldfastError):
            at = traceback.extract_tb(error.__traceback__)[-1]
            self.wrong.append(f"not one of our errors: {error!r}, {Path(at.filename).name} line {at.lineno}")

    async def caller(self, number: int, until: float) -> None:
        """One after the other under asyncio, some of them cancelled at some point."""
        chance = random.Random(f"{self.seed} {number} {until}")
        while (began := time.monotonic()) < until:
            self.peak = max(self.peak, self.client.bulkhead.in_flight + self.client.bulkhead.queued)
            task = asyncio.create_task(self.perform(self.ask(chance)))
            if chance.random() < CANCELLED:
                await asyncio.wait([task], timeout=chance.expovariate(1 / 0.01))
                task.cancel()
            try:
                await task
                self.outcomes["answered"] += 1
            except asyncio.CancelledError:
                self.outcomes["cancelled"] += 1
            except Exception as error:  # noqa: BLE001  # of whatever kind: ours are told from others
                self.failed(error)
            self.took(time.monotonic() - began)

    def thread(self, number: int, until: float) -> None:
        """One after the other on a thread."""
        chance = random.Random(f"{self.seed} {number} {until}")
        while (began := time.monotonic()) < until:
            try:
                self.perform_sync(self.ask(chance))
                self.outcomes["answered"] += 1
            except Exception as error:  # noqa: BLE001  # of whatever kind: ours are told from others
                self.failed(error)
            self.took(time.monotonic() - began)

    async def pulse(self) -> None:
        """Measures by how much the event loop itself is late, which no deadline can make up for."""
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self.lag = max(self.lag, time.monotonic() - due)

    async def round(self, seconds: float, threads: int) -> None:
        """Keeps calls in flight for so long, and looks at what is left."""
        until = time.monotonic() + seconds
        running = [
            threading.Thread(target=self.thread, args=(number, until), name=f"caller-{number}", daemon=True)
            for number in range(threads)
        ]
        before = set(threading.enumerate())
        for one in running:
            one.start()
        pulse = asyncio.create_task(self.pulse())
        async with asyncio.TaskGroup() as group:
            for number in range(threads, IN_FLIGHT):
                group.create_task(self.caller(number, until))
        for one in running:
            await asyncio.to_thread(one.join, 30.0)
        pulse.cancel()
        await self._quiet(before)
        gc.collect()
        self.rounds.append(Round(descriptors(), resident(), len(gc.get_objects())))

    async def _quiet(self, threads: set[threading.Thread]) -> None:
        """Waits until nothing goes on any more, or complains."""
        until = time.monotonic() + _SETTLING
        while left := self._left(threads):
            if time.monotonic() > until:
                self.wrong.append(f"after a round: {left}")
                return
            await asyncio.sleep(0.01)

    def _left(self, threads: set[threading.Thread]) -> dict[str, int]:
        bulkhead = self.client.bulkhead
        workers = {one for one in threading.enumerate() if one.name.startswith("asyncio_")}  # of to_thread
        held = {
            "slots": bulkhead.in_flight,
            "waiters": bulkhead.queued,
            "tasks": len(asyncio.all_tasks()) - 1,
            "threads": len(set(threading.enumerate()) - threads - workers),
        }
        return {name: number for name, number in held.items() if number}


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident() -> float:
    """MiB of memory that this process takes, without what the C library keeps of what was given back."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def slope(values: list[float], seconds: float) -> float:
    """The growth per minute of values that are so many seconds apart: the least squares' line."""
    if len(values) < 2:
        return 0.0
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    rise = sum((at - middle) * (value - mean) for at, value in enumerate(values))
    return rise / sum((at - middle) ** 2 for at in range(len(values))) / seconds * 60


@contextmanager
def peer(seed: int) -> Iterator[str]:
    """The server's URL, while it runs."""
    command = [sys.executable, str(Path(__file__).with_name("soak_peer.py")), "--seed", str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.stdin.close()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()


def statistics(url: str) -> dict[str, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/stats", timeout=10.0) as response:
        told: dict[str, Any] = json.load(response)
    return told


def config(url: str, engine: Literal["auto", "native", "httpx2"] = "auto") -> ClientConfig:
    """Every layer on, and every wait short."""
    return ClientConfig(
        base_url=url,
        deadline=DEADLINE,
        trust_env=False,
        retry=RetryConfig(min_wait_seconds=0.002, max_wait_seconds=0.02, budget=RetryBudgetConfig(ratio=0.5)),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=5, recovery_timeout=0.05),
        bulkhead=BulkheadConfig(max_concurrency=SLOTS),
        rate_limit=RateLimitConfig(rate=3_000, burst=30),
        logging=LoggingConfig(level="CRITICAL"),
        engine=engine,
    )


async def soak(url: str, arguments: argparse.Namespace) -> Soak:
    seconds = max(arguments.seconds / 12, 1.0)
    before = descriptors()
    running = Soak(ResilientClient(config(url, arguments.engine)), arguments.seed)
    first: tracemalloc.Snapshot | None = None
    print(f"{'s':>6}{'calls':>10}{'sockets':>9}{'MiB':>8}{'objects':>10}", flush=True)
    began = time.monotonic()
    for number in range(12):
        await running.round(seconds, arguments.sync)
        last, calls = running.rounds[-1], sum(running.outcomes.values())
        shown = f"{last.sockets:>9}{last.resident:>8.1f}{last.objects:>10}"
        print(f"{time.monotonic() - began:>6.0f}{calls:>10}{shown}", flush=True)
        if last.sockets > before + 2 * SLOTS:
            running.wrong.append(f"{last.sockets - before} sockets for two pools of {SLOTS}")
        if arguments.tracemalloc and number == 3:
            first = tracemalloc.take_snapshot()
    if first is not None:
        for line in tracemalloc.take_snapshot().compare_to(first, "lineno")[:15]:
            print(f"  {line}")
    await running.client.close()
    left = 0
    for _ in range(100):
        left = descriptors() - before
        if left <= 0:
            break
        await asyncio.sleep(0.02)
    if left > 0:
        running.wrong.append(f"{left} sockets left after closing")
    return running


def judge(running: Soak, arguments: argparse.Namespace, told: dict[str, Any]) -> None:
    """Prints the figures, and complains about memory and the server's view."""
    settled = running.rounds[len(running.rounds) // 3 :]
    grown = settled[-1].resident - settled[0].resident
    per_minute = slope([one.resident for one in settled], arguments.seconds / len(running.rounds))
    if grown > GROWTH:
        running.wrong.append(f"memory grew by {grown:.1f} MiB in the last two thirds")
    # One connection is that of the statistics.
    if told["open"] > 1:
        running.wrong.append(f"the server still has {told['open'] - 1} connections")
    if told["twice"]:
        running.wrong.append(f"{told['twice']} plain POSTs were executed twice")
    sent, received = running.client.metrics().total.attempts, sum(told["done"].values())
    # The request of a call that was cut off may have got no further than the pool, and a few meet a connection that the
    # server has just closed.
    cut = running.outcomes["cancelled"] + running.outcomes["DeadlineExceededError"]
    if received > sent:
        running.wrong.append(f"the server was asked {received} times, {sent} requests were counted")
    if sent - received > cut + LOST * sent:
        running.wrong.append(f"the server was asked only {received} times, {sent} requests were counted")
    outcomes = ", ".join(f"{number} {name}" for name, number in running.outcomes.most_common())
    done = ", ".join(f"{number} {name}" for name, number in sorted(told["done"].items(), key=lambda one: -one[1]))
    print(f"\ncalls: {outcomes}")
    print(f"the server: {done}; {told['connections']} connections")
    print(f"requests: {sent} counted here, {received} there")
    print(f"at most {running.peak} calls in flight or waiting, of {IN_FLIGHT} callers, {arguments.sync} on threads")
    print(f"longest call {running.worst:.2f} s; {running.late} more than {GRACE} s past the deadline of {DEADLINE} s,")
    print(f"beside an event loop that was itself up to {running.lag:.2f} s late at a time")
    print(f"memory: {grown:+.1f} MiB, {per_minute:+.2f} MiB a minute, after the first third", end="; ")
    print(f"objects {settled[-1].objects - settled[0].objects:+d}")


def main() -> None:
    parser = argparse.ArgumentParser(description="A long run with faults and cancellations.")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long (default: %(default)s)")
    parser.add_argument(
        "--sync", type=int, default=16, help=f"of the {IN_FLIGHT} callers, on threads (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of faults and calls (default: %(default)s)")
    parser.add_argument("--engine", choices=["auto", "native", "httpx2"], default="auto", help="what sends")
    parser.add_argument("--tracemalloc", action="store_true", help="show the lines that hold more and more")
    arguments = parser.parse_args()
    if arguments.tracemalloc:
        tracemalloc.start()
    with peer(arguments.seed) as url:
        running = asyncio.run(soak(url, arguments))
        time.sleep(0.2)
        judge(running, arguments, statistics(url))
    wrong = Counter(running.wrong)
    print("nothing was left behind, every answer fits its request" if not wrong else f"{wrong.total()} complaints:")
    for what, times in wrong.most_common(30):
        print(f"  {what}" + (f" ({times} times)" if times > 1 else ""))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
