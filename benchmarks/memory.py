"""Prints what 50,000 calls in a row leave in memory, on a mock transport.

python benchmarks/memory.py [--calls N]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from holdfast import ClientConfig, HoldfastError, ResilientClient

WARM_UP = 3_000
"""Calls before measuring: what grows to a bound, such as the table of parsed URLs, has grown to it by then."""


def make() -> ResilientClient:
    """A client that is given a bit of everything: answers, failures with retries, answers to keep."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.startswith("/fail"):
            return httpx2.Response(500, json={"detail": "broken"})
        return httpx2.Response(200, json={"id": request.url.path})

    settings = ClientConfig.model_validate(
        {
            "base_url": "http://service.test",
            "retry": {"min_wait_seconds": 0.0, "max_wait_seconds": 0.0, "budget": {"ratio": 1.0}},
            "circuit_breaker": {"failure_threshold": 1_000_000},
            "cache": {"max_entries": 100},
            "logging": {"level": "CRITICAL"},
        }
    )
    return ResilientClient(settings, transport=httpx2.MockTransport(respond))


def paths(calls: int) -> Iterator[tuple[str, float]]:
    """Path and time to live of each call: one in ten fails, two in ten are kept and pushed out again."""
    for number in range(calls):
        kind = number % 10
        if kind == 3:
            yield f"/fail/{number % 7}", 0.0
        elif kind in (5, 6):
            yield f"/kept/{number % 200}", 60.0
        else:
            yield f"/pets/{number % 600}", 0.0


async def calls_async(client: ResilientClient, calls: int) -> None:
    for path, ttl in paths(calls):
        try:
            await client.get(path, cache_ttl=ttl)
        except HoldfastError:
            pass


def calls_sync(client: ResilientClient, calls: int) -> None:
    for path, ttl in paths(calls):
        try:
            client.get(path, cache_ttl=ttl).result()
        except HoldfastError:
            pass


def grown(colour: str, calls: int) -> tuple[int, int, float]:
    """What so many calls leave when all garbage is collected.

    Returns:
        Blocks of memory that Python's allocator gave out, bytes by which the process has grown, seconds they took.
    """
    client = make()
    if colour == "sync":
        calls_sync(client, WARM_UP)
        before, began = measured(), time.perf_counter()
        calls_sync(client, calls)
        seconds, after = time.perf_counter() - began, measured()
        client.close().result()
        return after[0] - before[0], after[1] - before[1], seconds

    async def main() -> tuple[int, int, float]:
        async with client:
            await calls_async(client, WARM_UP)
            before, began = measured(), time.perf_counter()
            await calls_async(client, calls)
            seconds, after = time.perf_counter() - began, measured()
            return after[0] - before[0], after[1] - before[1], seconds

    return asyncio.run(main())


def measured() -> tuple[int, int]:
    """Allocated blocks, and resident bytes (0 where /proc does not tell)."""
    gc.collect()
    status = Path("/proc/self/status")
    if not status.exists():
        return sys.getallocatedblocks(), 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return sys.getallocatedblocks(), int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="What many calls in a row leave in memory.")
    parser.add_argument("--calls", type=int, default=50_000)
    calls = parser.parse_args().calls
    for colour in ("async", "sync"):
        blocks, resident, seconds = grown(colour, calls)
        each = seconds / calls * 1e6
        print(
            f"{calls:,} {colour} calls ({each:.0f} us each) left {blocks:+,} blocks of memory"
            f" ({blocks / calls:.4f} a call), {resident / 1024:+,.0f} KiB resident"
        )


if __name__ == "__main__":
    main()
