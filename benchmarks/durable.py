"""Workflow executions whose servers are killed with SIGKILL in the middle, and what durability costs.

    python benchmarks/durable.py [--executions 500] [--kills 5] [--database sqlite|postgresql] [--postgres URL]

Executions of three steps call a service on the loopback interface, once one that answers a repeated idempotency key
with its first answer, once one that does everything again. On SQLite there is one server, killed and started again; on
PostgreSQL there are two, killed in turns. The exit status is 1 if an execution does not end well, a step is not done at
least once, or a step of the service that deduplicates is done twice.

Then the rate: executions that are waited for, and the same calls without a workflow around them. PostgreSQL is left out
where it is not installed; with --postgres the database of that URL is used, and has to be an empty one.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1]))

from holdfast.servers.integration.calling import ServiceCaller, Target
from holdfast.servers.integration.settings import Settings
from in_process import quiet
from tests.support.kills import ACTIONS, Survived, survive
from tests.support.postgres import binaries, postgres
from tests.support.serving import serving
from tests.support.workflows import Api, counting_service
from timing import Times, contest

KINDS = ("sqlite", "postgresql")
SERVERS = {"sqlite": 1, "postgresql": 2}
IN_FLIGHT = 16
CALLS = 48
"""Executions in a round of the rate."""

INPUT = {"text": "A sentence of some length, as it may be sent to a service.", "number": 1}


def wrong(seen: Survived, *, deduplicates: bool) -> int:
    """How many executions or steps are not as they should be."""
    lost = seen.executions - seen.completed + sum(count == 0 for count in seen.effects)
    return lost + (sum(count > 1 for count in seen.effects) if deduplicates else 0)


@contextmanager
def databases(kinds: tuple[str, ...], url: str | None) -> Iterator[dict[str, list[str]]]:
    """Options of `holdfast serve` for each kind of database that there is; each empty, or made empty by `emptied`."""
    with ExitStack() as stack:
        found: dict[str, list[str]] = {}
        if "sqlite" in kinds:
            found["sqlite"] = []
        if "postgresql" in kinds and url is not None:
            found["postgresql"] = ["--database-url", url]
        elif "postgresql" in kinds and (programs := binaries()) is not None:
            found["postgresql"] = ["--database-url", stack.enter_context(postgres(programs)).url]
        yield found


def kills(kind: str, options: list[str], executions: int, times: int, *, deduplicates: bool) -> Survived:
    """One row of the table."""
    with tempfile.TemporaryDirectory(prefix="holdfast-durable-") as folder:
        return survive(
            Path(folder),
            options,
            servers=SERVERS[kind],
            executions=executions,
            kills=times,
            deduplicates=deduplicates,
        )


def _serve(pipe: Connection) -> None:
    with counting_service() as service:
        pipe.send(service.url)
        pipe.recv()


@contextmanager
def service_process() -> Iterator[str]:
    """The URL of the service in a process of its own, so that it takes nothing from who calls it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def rate(kinds: dict[str, list[str]], seconds: float) -> Times:
    """Seconds per execution: of a workflow on each database, and `direct`, its calls with nothing around them."""

    async def main(url: str, servers: dict[str, Api]) -> Times:
        workflows = {kind: api.workflow(f"{kind} {uuid4()}", url, *ACTIONS) for kind, api in servers.items()}
        targets = [Target(uuid4(), "direct", f"{url}/keyed", True, action, {}, {}) for action in ACTIONS]
        limits = httpx2.Limits(max_connections=IN_FLIGHT)
        async with (
            ServiceCaller(Settings()) as caller,
            httpx2.AsyncClient(trust_env=False, timeout=120, limits=limits) as client,
        ):

            async def in_flight(count: int, one) -> None:
                waiting = iter(range(count))

                async def worker() -> None:
                    for _ in waiting:
                        await one()

                async with asyncio.TaskGroup() as group:
                    for _ in range(IN_FLIGHT):
                        group.create_task(worker())

            async def direct(count: int) -> None:
                async def one() -> None:
                    data, name = dict(INPUT), uuid4()
                    for target in targets:
                        key = f"{name}:{target.action}"
                        data |= (await caller.call(target, data, key=key, correlation_id=None, timeout=30)).output

                await in_flight(count, one)

            def through(kind: str):
                async def executions(count: int) -> None:
                    async def one() -> None:
                        path = f"{servers[kind].url}/workflows/{workflows[kind]}/execute"
                        answer = await client.post(path, json={"input_data": INPUT, "wait": 30})
                        assert answer.status_code == 200, answer.text

                    await in_flight(count, one)

                return executions

            contestants = {"direct": direct, **{kind: through(kind) for kind in servers}}
            return await contest(contestants, calls=CALLS, seconds=seconds, clock=time.perf_counter)

    quiet()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-durable-")))
        url = stack.enter_context(service_process())
        servers = {kind: Api(stack.enter_context(serving(folder / kind, *options))) for kind, options in kinds.items()}
        return asyncio.run(main(url, servers))


def tell(times: Times, kind: str) -> str:
    """The rate of one database, in words."""
    share = 1 - 1 / times.ratio(kind, "direct")
    return f"{1 / times.median(kind):.0f} executions per second, {share:.0%} of the time for durability"


def main() -> None:
    parser = argparse.ArgumentParser(description="Executions whose servers are killed, and what durability costs.")
    parser.add_argument("--executions", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--database", choices=KINDS, action="append", help="one kind; may be repeated")
    parser.add_argument("--postgres", metavar="URL", help="an empty database to use, instead of a server of its own")
    parser.add_argument("--seconds", type=float, default=30.0, help="for the rate; 0 leaves it out")
    arguments = parser.parse_args()
    failed = 0
    print(
        f"{'database':<12}{'service':<15}{'executions':>10}{'kills':>7}{'completed':>11}{'requests':>10}{'s':>7}  done"
    )
    for kind in arguments.database or KINDS:
        for deduplicates in (True, False):
            with databases((kind,), arguments.postgres) as found:
                if kind not in found:
                    print(f"{kind:<12}not installed")
                    break
                seen = kills(kind, found[kind], arguments.executions, arguments.kills, deduplicates=deduplicates)
            service = "deduplicates" if deduplicates else "does it again"
            done = ", ".join(f"{count} steps {times} x" for times, count in seen.times_done.items())
            print(
                f"{kind:<12}{service:<15}{seen.executions:>10}{seen.kills:>7}{seen.completed:>11}{seen.requests:>10}"
                f"{seen.seconds:>7.0f}  {done}",
                flush=True,
            )
            for error in seen.errors[:5]:
                print(f"  {error}")
            failed += wrong(seen, deduplicates=deduplicates)
    if arguments.seconds:
        with databases(tuple(arguments.database or KINDS), arguments.postgres) as found:
            times = rate(found, arguments.seconds)
            for kind in found:
                print(f"{kind:<12}{tell(times, kind)}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
