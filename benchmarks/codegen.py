"""The Codegen client's figures: users streamed, users in bulk, the adaptive limiter, runs that are created once.

.venv/bin/python benchmarks/codegen.py [--only stream|bulk|limiter|runs]

The exit status is 1 if something came out of order, went missing, was created twice, or exists without its caller
knowing that it may.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1]))

from holdfast.codegen import AsyncCodegenClient, ClientConfig
from tests.support.codegen_limits import Load, load
from tests.support.codegen_runs import TOKEN, Created, create
from tests.support.serving import serving

USERS = "/v1/organizations/123/users"
WARM_UP = 1_000  # users; by then everything that is made once has been made


def client_of(respond: Callable[[httpx2.Request], httpx2.Response]) -> AsyncCodegenClient:
    """A client of a service in this process, whose own rate limit does not bind."""
    config = ClientConfig(
        api_token=TOKEN,
        org_id=123,
        rate_limit_requests_per_period=1_000_000,
        retry_delay=0.001,
        retry_max_wait=0.001,
        log_level="CRITICAL",
    )
    return AsyncCodegenClient(config, transport=httpx2.MockTransport(respond))


def user(number: int) -> dict[str, object]:
    name = f"user-{number}"
    return {"id": number, "github_user_id": f"{number}", "github_username": name, "email": f"{name}@example.com"}


# Streams


@dataclass
class Streamed:
    """How many users were walked over; the most memory that was allocated meanwhile, in bytes; seconds."""

    users: int
    peak: int
    seconds: float


def stream(users: int, *, keep: bool = False) -> Streamed:
    """A walk over so many users. `keep`: puts all of them into a list, for comparison."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        skip, limit = int(request.url.params["skip"]), int(request.url.params["limit"])
        items = [user(number) for number in range(skip + 1, min(skip + limit, users) + 1)]
        pages = -(-users // limit)
        about = {"total": users, "page": skip // limit + 1, "size": limit, "pages": pages}
        return httpx2.Response(200, json={"items": items, **about})

    async def main() -> Streamed:
        async with client_of(respond) as client:
            seen, kept = 0, []
            async for one in client.get_users_stream():
                seen += 1
                if keep:
                    kept.append(one)
                assert one.id == seen
                if seen == min(WARM_UP, users):
                    gc.collect()
                    tracemalloc.start()
                    before, began = tracemalloc.get_traced_memory()[0], time.perf_counter()
            peak, seconds = tracemalloc.get_traced_memory()[1] - before, time.perf_counter() - began
            tracemalloc.stop()
            return Streamed(seen, peak, seconds)

    return asyncio.run(main())


# Bulks


@dataclass
class Bulk:
    """What became of many users: how many results are not where they belong, and errors that are not exact."""

    items: int
    failed: int
    misplaced: int
    wrong_errors: int
    requests: int
    seconds: float


def bulk(items: int = 1_000, workers: int = 10) -> Bulk:
    """A tenth of the users do not exist; another tenth is answered once with 503."""
    chance = random.Random(1)
    ids = list(range(1, items + 1))
    chance.shuffle(ids)
    missing = set(chance.sample(ids, items // 10))
    busy = set(chance.sample(sorted(set(ids) - missing), items // 10))
    requests = 0

    async def respond(request: httpx2.Request) -> httpx2.Response:
        nonlocal requests
        requests += 1
        await asyncio.sleep(0.001 * chance.random())
        number = int(request.url.path.rsplit("/", 1)[1])
        if number in missing:
            return httpx2.Response(404, json={"message": "User not found.", "status_code": 404})
        if number in busy:
            busy.discard(number)
            return httpx2.Response(503, json={"message": "Busy.", "status_code": 503})
        return httpx2.Response(200, json=user(number))

    async def main() -> Bulk:
        async with client_of(respond) as client:
            patient = client.with_options(deadline=None)
            result = await patient.bulk_get_users(123, ids, workers=workers)
        right = [None if one in missing else one for one in ids]
        found = [None if one is None else one.id for one in result.results]
        expected = [(index, one, "NotFoundError") for index, one in enumerate(ids) if one in missing]
        errors = [(one.index, one.item, one.error_type) for one in result.errors]
        return Bulk(
            items,
            result.failed_items,
            sum(one != other for one, other in zip(found, right, strict=True)),
            len(set(errors) ^ set(expected)) + (errors != sorted(errors)),
            requests,
            result.duration_seconds,
        )

    return asyncio.run(main())


# The limiter

LOADS = {
    "1 client, 20 workers, reading": (1, 20, "GET"),
    "10 clients of 5 workers, reading": (10, 5, "GET"),
    "1 client, 10 workers, creating": (1, 10, "POST"),
    "10 clients of 2 workers, creating": (10, 2, "POST"),
}


def limited(name: str, *, headers: bool) -> Load:
    """Five virtual minutes of as much as can be had, against the service's own limits."""
    clients, workers, method = LOADS[name]
    return load(clients, workers, method, 300.0, headers=headers)


# Runs


def created(runs: int = 100) -> Created:
    """Runs that are created while 30 % of the requests are reset, before or after the server acts, or in its answer."""
    env = {"CODEGEN_API_TOKEN": TOKEN, "CODEGEN_RELAXED_LIMITS": "true"}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), "--faults", env=env) as server:
        return create(f"http://127.0.0.1:{8010 + server.offset}", runs)


# Printing


def show_stream() -> int:
    # What grows is the table of parsed URLs, which is bounded, and a number for each page, to notice circles.
    few, many, kept = stream(2_000), stream(10_000), stream(10_000, keep=True)
    for name, one in (("2,000 users streamed", few), ("10,000 users streamed", many), ("10,000 in a list", kept)):
        each = one.seconds / (one.users - WARM_UP) * 1e6
        print(f"  {name:<22} at most {one.peak / 1024:>8,.0f} KiB allocated, {each:.0f} us a user with tracemalloc")
    return many.peak > kept.peak / 10


def show_bulk() -> int:
    one = bulk()
    print(
        f"  {one.items:,} users by 10 workers, {one.requests:,} requests: {one.failed} failed, {one.misplaced} results"
        f" out of their place, {one.wrong_errors} errors not exact; {one.seconds:.2f} s"
    )
    return one.misplaced + one.wrong_errors


def show_limiter() -> int:
    for headers in (True, False):
        print(f"  answers tell the limit: {'yes' if headers else 'no, only Retry-After of a 429'}")
        for name in LOADS:
            one = limited(name, headers=headers)
            rates = " to ".join(sorted({f"{min(one.rates):.0f}", f"{max(one.rates):.0f}"}))
            print(
                f"    {name:<34} {one.accepted:>3} of {one.ideal:>3} ({one.accepted / one.ideal:.0%}), {one.refused:>3}"
                f" refused ({one.refused_after(150.0)} of them in the second half); in the end {rates} a minute each"
            )
    return 0


def show_runs() -> int:
    one = created()
    print(f"  {one.runs} runs wanted, {one.requests} requests, {one.struck} of them struck:")
    print(
        f"  {len(one.returned)} returned <= {len(one.existing)} exist <= {len(one.returned)} + {len(one.doubtful)} with"
        f" may_have_executed; {len(one.refused)} failed for certain, {len(one.twice)} exist twice,"
        f" {len(one.unaccounted)} unaccounted for"
    )
    in_bounds = len(one.returned) <= len(one.existing) <= len(one.returned) + len(one.doubtful)
    return len(one.twice) + len(one.unaccounted) + (not in_bounds)


PARTS = {"stream": show_stream, "bulk": show_bulk, "limiter": show_limiter, "runs": show_runs}


def main() -> None:
    parser = argparse.ArgumentParser(description="The Codegen client's figures.")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be repeated")
    wrong = 0
    for part in parser.parse_args().only or PARTS:
        print(f"{part}:")
        wrong += PARTS[part]()
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
