"""The figures as a text table, and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from against.contestants import CONTESTANTS
from against.rounds import LOADED, Case, Figures, growth
from against.sync_contestants import CONTESTANTS as SYNC

FLAT = 1.5


@dataclass(frozen=True)
class About:
    """Where and how it was measured."""

    machine: str
    how: str

    @classmethod
    def of_this_machine(cls, rounds: int, seconds: float) -> About:
        model = next(_processors(), platform.processor() or platform.machine())
        load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
        machine = (
            f"{platform.system()}, {model}, {os.cpu_count()} processors, load {load} before;"
            f" {platform.python_implementation()} {platform.python_version()}"
        )
        how = (
            f"medians of {rounds} rounds of {seconds} s, each client and round in a process of its own, in turns;"
            " one server process, on uvloop, on the loopback interface"
        )
        return cls(machine, how)


def _processors() -> Iterator[str]:
    about = Path("/proc/cpuinfo")
    if about.exists():
        for line in about.read_text().splitlines():
            if line.startswith("model name"):
                yield line.partition(":")[2].strip()


@dataclass(frozen=True)
class Row:
    """One contestant in one case, with all that is shown of it."""

    title: str
    ours: bool
    times: float | None
    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float
    server: float
    rounds: int


def title_of(case: Case, name: str) -> str:
    return (SYNC if case.colour == "sync" else CONTESTANTS)[name].title


def rows(case: Case, figures: Figures) -> list[Row]:
    """The contestants of a case in the order of the table."""
    found = figures.results.get(case.name, {})
    made = []
    for name in case.names():
        if name not in found:
            continue
        one, ours = found[name], name.startswith("holdfast")
        count = len(one.rounds)
        if not one.rounds[0].calls:
            made.append(Row(title_of(case, name), ours, None, 0.0, 0.0, 0.0, 0.0, one.memory, 0.0, count))
            continue
        times = figures.times(case, name)
        made.append(Row(title_of(case, name), ours, times, one.rate, one.p50, one.p99, one.cpu, 0.0, one.server, count))
    return made


def lines(cases: list[Case], figures: Figures) -> Iterator[str]:
    for case in cases:
        shown = rows(case, figures)
        if not shown:
            continue
        if case.what == "held":
            yield f"{case.title:<52}{'KiB a call':>12}"
            for row in shown:
                yield f"  {row.title:<50}{row.memory / 1024 / case.in_flight:>12.1f}"
        else:
            head = f"{'x':>8}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'server':>8}"
            yield f"{case.title:<52}{head}"
            for row in shown:
                times = "" if row.times is None else f"{row.times:.1f}"
                figure = f"{times:>8}{row.rate:>10,.0f}{row.p50 * 1e3:>9.2f}{row.p99 * 1e3:>9.2f}{row.cpu * 1e6:>9.0f}"
                limit = "  the server was the limit" if row.server > LOADED else ""
                yield f"  {row.title:<50}{figure}{row.server:>8.0%}{limit}"
        yield ""
    grown = {name: growth(figures.results, name) for name in CONTESTANTS}
    if any(one is not None for one in grown.values()):
        yield "Processor time per call at 1,024 in flight, as a multiple of that at 16"
        for name, one in grown.items():
            if one is not None:
                ours = f" (at most {FLAT})" if CONTESTANTS[name].ours else ""
                yield f"  {CONTESTANTS[name].title:<50}{one:>8.2f}{ours}"
        yield ""
    for name, version in sorted(figures.versions.items()):
        yield f"{name}: {version}"
    for name, why in figures.left_out.items():
        yield f"left out: {name}: {why}"
    for one in figures.wrong:
        yield f"wrong: {one}"


def as_json(about: About, cases: list[Case], figures: Figures) -> dict[str, Any]:
    """All that was measured, round by round."""
    return {
        "about": asdict(about),
        "versions": figures.versions,
        "left_out": figures.left_out,
        "wrong": figures.wrong,
        "growth_16_to_1024": {name: growth(figures.results, name) for name in CONTESTANTS},
        "cases": [
            {
                "name": case.name,
                "title": case.title,
                "in_flight": case.in_flight,
                "base": case.base,
                "contestants": {
                    name: {"times": figures.times(case, name) if one.rounds[0].calls else None, **one.figures()}
                    for name, one in figures.results.get(case.name, {}).items()
                },
            }
            for case in cases
        ],
    }
