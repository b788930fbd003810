"""Prints what Holdfast costs, as ratios to bare httpx2 and others measured in the same run and in turns.

    python benchmarks/run.py [--quick] [--json FILE]

The ratio is the median over the rounds; "best" is that of the fastest rounds, which other programs disturb less. The
exit status is 0 whether the targets are met or not: a busy machine is no error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import importing
import in_process
import loopback
from timing import Times

SECONDS = {
    "async": 60.0,
    "sync": 25.0,
    "loopback": 30.0,
    "import": 35.0,
    "typed": 20.0,
    "memories": 20.0,
    "crews": 30.0,
    "durable": 30.0,
    "codegen": 60.0,
}
QUICK = {
    "async": 12.0,
    "sync": 4.0,
    "loopback": 5.0,
    "import": 7.0,
    "typed": 4.0,
    "memories": 5.0,
    "crews": 10.0,
    "durable": 10.0,
    "codegen": 20.0,
}


@dataclass(frozen=True)
class Line:
    """One figure. Times are in microseconds per call, or per import. `note` says more about it."""

    name: str
    ratio: float
    best: float
    target: float | None
    ours: float
    base: float
    note: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.ratio <= self.target


def line(name: str, times: Times, ours: str, base: str, target: float | None = None) -> Line:
    ratio, best = times.ratio(ours, base), times.best_ratio(ours, base)
    return Line(name, ratio, best, target, times.median(ours) * 1e6, times.median(base) * 1e6)


def calls_async(seconds: float) -> Iterator[Line]:
    times = asyncio.run(in_process.measure_async(100, seconds))
    yield line("async get, every layer on / bare", times, "everything", "bare", 0.65)
    yield line("the same, each looked up in the cache / bare", times, "looked up", "bare")
    yield line("async get, default settings / bare", times, "default", "bare", 0.65)
    yield line("async get, every layer on / glued stack", times, "everything", "glued", 0.35)
    yield line("glued stack / bare", times, "glued", "bare")
    yield line("pipeline with Call, no send / bare get", times, "no send", "bare", 0.08)
    yield line("the same, every layer on / bare get", times, "no send, everything", "bare")
    yield line("cache hit / bare get", times, "hit", "bare", 0.05)
    yield line("async post of JSON, default / bare", times, "post", "bare post")


def calls_sync(seconds: float) -> Iterator[Line]:
    times = in_process.measure_sync(100, seconds)
    yield line("sync get, every layer on / bare", times, "everything", "bare", 0.65)
    yield line("sync get, default settings / bare", times, "default", "bare", 0.65)


def calls_over_loopback(seconds: float) -> Iterator[Line]:
    times = asyncio.run(loopback.measure(3 * loopback.IN_FLIGHT, seconds))
    yield line(f"loopback, {loopback.IN_FLIGHT} in flight / bare", times, "ours", "bare", 0.95)
    yield line("the same by the native engine / bare", times, "native", "bare", 1 / 12)


def imports(seconds: float) -> Iterator[Line]:
    times = importing.measure(seconds)
    yield line("import ResilientClient, ClientConfig / import httpx2", times, "holdfast", "httpx2", 2.0)
    yield line("the same and a first client / import httpx2", times, "client", "httpx2")
    yield line("import httpx2 and pydantic / import httpx2", times, "pydantic", "httpx2")


def typed_calls(seconds: float) -> Iterator[Line]:
    import typed

    times = asyncio.run(typed.measure(100, seconds))
    yield line("typed get_session / bare get", times, "typed", "bare")
    yield line("the same / bare get with .json()", times, "typed", "bare json")
    yield line("the same / plain ResilientClient.get", times, "typed", "plain")
    yield line("openai's typed models.retrieve / bare get", times, "openai", "bare model")


def many_memories(seconds: float) -> Iterator[Line]:
    import memories

    for one in memories.measure(seconds):
        times = one.times
        for name, base in (("list_user", "health"), ("search_user", "health"), ("search_all", "numpy")):
            ratio = times.median(name) / times.median(base)
            best = min(times.rounds[name]) / min(times.rounds[base])
            note = f"p99 {one.p99(name) * 1e6:.0f} us of {len(times.rounds[name])}"
            if name == "search_all":
                note += f"; {one.exact} of {memories.EXACT} searches exactly as numpy's"
            what = f"{one.count:,} in {one.database}: {memories.SHORT[name]} / {memories.SHORT[base]}"
            yield Line(what, ratio, best, None, times.median(name) * 1e6, times.median(base) * 1e6, note)


def crews_under_faults(seconds: float) -> Iterator[Line]:
    import crews

    calls = 200 if seconds >= SECONDS["crews"] else 40
    for deduplicated, seen in crews.measure(calls):
        name = "keyed" if deduplicated else "not keyed"
        wrong = crews.wrong(seen, deduplicated=deduplicated) / calls
        each, per_call = seen.seconds / calls * 1e6, seen.requests / calls
        note = f"{per_call:.2f} requests per call; {crews.tell(seen)}"
        yield Line(f"{calls} crews, 30 % faults, {name}: wrong / calls", wrong, wrong, 0.0, each, 0.0, note)


def durable_executions(seconds: float) -> Iterator[Line]:
    import durable

    with durable.databases(durable.KINDS, None) as found:
        times = durable.rate(found, seconds)
    for kind in found:
        what = f"workflow of 3 steps in {kind} / its calls alone"
        yield replace(line(what, times, kind, "direct"), note=durable.tell(times, kind))


def codegen_figures(seconds: float) -> Iterator[Line]:
    import codegen

    many, kept = codegen.stream(10_000), codegen.stream(10_000, keep=True)
    share = many.peak / kept.peak
    note = f"{many.peak / 1024:,.0f} and {kept.peak / 1024:,.0f} KiB at most"
    yield Line("memory: 10,000 users streamed / in a list", share, share, 0.1, 0.0, 0.0, note)
    one = codegen.bulk()
    wrong, each = (one.misplaced + one.wrong_errors) / one.items, one.seconds / one.items * 1e6
    yield Line(
        "1,000 users in bulk, 10 % failures: wrong / items", wrong, wrong, 0.0, each, 0.0, f"{one.failed} failed"
    )
    for name in codegen.LOADS:
        seen = codegen.limited(name, headers=True)
        done, note = seen.accepted / seen.ideal, f"{seen.refused} refused, {seen.accepted} of {seen.ideal} in 5 minutes"
        yield Line(f"{name}: done / ideal", done, done, None, 0.0, 0.0, note)
    runs = codegen.created(100 if seconds >= SECONDS["codegen"] else 40)
    bad = (len(runs.twice) + len(runs.unaccounted)) / runs.runs
    note = f"{len(runs.returned)} <= {len(runs.existing)} <= {len(runs.returned)} + {len(runs.doubtful)}"
    each = runs.seconds / runs.runs * 1e6
    yield Line(f"{runs.runs} agent runs, 30 % resets: wrong / runs", bad, bad, 0.0, each, 0.0, note)


PARTS: dict[str, Callable[[float], Iterator[Line]]] = {
    "async": calls_async,
    "sync": calls_sync,
    "loopback": calls_over_loopback,
    "import": imports,
    "typed": typed_calls,
    "memories": many_memories,
    "crews": crews_under_faults,
    "durable": durable_executions,
    "codegen": codegen_figures,
}


def show(one: Line) -> str:
    target = "" if one.target is None else f"{one.target:.2f}"
    met = {None: "", True: "yes", False: "NO"}[one.met]
    figures = f"{one.ratio:>7.3f}{one.best:>8.3f}{target:>8}  {met:<4}{one.ours:>10.1f}{one.base:>10.1f}"
    return f"{one.name:<54}{figures}  {one.note}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description="What Holdfast costs, as ratios to bare httpx2.")
    parser.add_argument("--quick", action="store_true", help="for less time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be repeated")
    arguments = parser.parse_args()
    seconds = QUICK if arguments.quick else SECONDS
    about = f"Python {platform.python_version()}, httpx2 {version('httpx2')}, {platform.machine()}"
    print(f"{about}; medians, in us of processor time (loopback, memories, durable: of time)\n")
    print(f"{'':<54}{'ratio':>7}{'best':>8}{'target':>8}  {'met':<4}{'us':>10}{'base us':>10}")
    began = time.perf_counter()
    lines: list[Line] = []
    for part in arguments.only or PARTS:
        for one in PARTS[part](seconds[part]):
            lines.append(one)
            print(show(one), flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")
    if arguments.json is not None:
        figures = [{**asdict(one), "met": one.met} for one in lines]
        arguments.json.write_text(json.dumps({"about": about, "lines": figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
