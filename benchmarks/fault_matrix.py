"""Prints the fault matrix: what comes of a request when the server misbehaves, with Holdfast and with other clients.

    .venv/bin/python benchmarks/fault_matrix.py [--case NAME] [--all] [--engine native] [--alone]

Real sockets on the loopback interface; "executed" is counted by the server. Takes two minutes. The exit status is
1 if Holdfast did anything else in a cell than its documentation says; what, is listed below the table.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import holdfast
from fault_columns import CALL, COLUMNS, STEP, Column
from tests.support.fault_cases import CASES, KINDS, NATIVE, Case, Kind, Scene
from tests.support.fault_runs import GRACE, Settings, run
from tests.support.faulty_peers import BOMB_SIZE, OK, SECRET, stacked_bomb

CUT = 10.0
"""Seconds after which the harness ends a call."""

AT_A_TIME = 12
"""Cells; they mostly wait."""

HOLDFAST = Settings(
    deadline=CALL,
    slow_deadline=CALL,
    config={
        "timeout": {"connect": STEP, "read": STEP, "write": STEP, "pool": STEP},
        "retry": {"min_wait_seconds": 0.1, "max_wait_seconds": 0.5},
    },
    leftovers=False,
)

LEGEND = f"""
Each cell is what came of a GET, of a POST with an Idempotency-Key of the caller's, and of a plain POST; one word where
it was the same for all three.

- **ok**: the right data came back.
- **error**: one of the exceptions that the library documents.
- **untyped**: another exception, from below.
- **hang**: it was still waiting when the harness cut it after {CUT:g} s.
- **wrong data**: something else than what the server had to say was returned as the answer.
- **no limit**: it took all of {BOMB_SIZE // 2**20} MiB into memory.
- **twice**: the server executed a plain POST more than once.
- **leak**: another origin was shown the X-API-Key of the first.

All timeouts of single steps are {STEP:g} s. Whole calls are bounded to {CALL:g} s where the library has a setting for
it: Holdfast (`deadline`) and aiohttp (`total`). Holdfast waits 0.1 to 0.5 s before a retry; otherwise retries are those
that each library makes by default (openai and anthropic: two; httpx2 and requests: none; aiohttp: one, of idempotent
requests whose connection broke). Redirects are followed.
"""


@dataclass
class Cell:
    """What came of one call."""

    word: str
    seconds: float
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compared:
    """A column of the table, and how to run a cell of it."""

    title: str
    cell: Callable[[Case, Kind], Cell]


def ours(engine: str, *, sync: bool) -> Callable[[Case, Kind], Cell]:
    settings = replace(HOLDFAST, config={**HOLDFAST.config, "engine": engine})

    def cell(case: Case, kind: Kind) -> Cell:
        if engine == "native":
            case = replace(case, expected=NATIVE.get(case.name, case.expected))
        ran = run(case, kind, sync=sync, settings=settings)
        if ran.complaints:
            return Cell("BUG", ran.seconds, tuple(ran.complaints))
        return Cell("ok" if ran.error is None else "error", ran.seconds)

    return cell


def others(column: Column) -> Callable[[Case, Kind], Cell]:
    def cell(case: Case, kind: Kind) -> Cell:
        with ExitStack() as stack:
            scene = case.scene(stack)
            came: list[tuple[Any, Exception | None]] = []

            def call() -> None:
                try:
                    came.append((column.send(case, scene, kind), None))
                except Exception as error:  # noqa: BLE001  # of whatever kind: that is the question
                    came.append((None, error))

            # A daemon: one that sleeps for the day that a server told it to must not keep this program.
            caller = threading.Thread(target=call, daemon=True)
            began = time.monotonic()
            caller.start()
            caller.join(CUT)
            seconds = time.monotonic() - began
            if not came:
                scene.close()
                caller.join(2.0)
                return Cell("hang", seconds)
            return Cell(word(column, case, kind, scene, *came[0]), seconds)

    return cell


def word(column: Column, case: Case, kind: Kind, scene: Scene, result: Any, error: Exception | None) -> str:
    """The worst that can be said about a call that ended."""
    if kind == "POST" and scene.executed > 1:
        return "twice"
    if scene.elsewhere is not None and any(
        SECRET in one.headers.get("x-api-key", "") for one in scene.elsewhere.requests
    ):
        return "leak"
    if error is not None:
        return "error" if isinstance(error, column.typed) else "untyped"
    if isinstance(result, bytes):
        result = {"ok": True} if result.startswith(OK) and not result[len(OK) :].strip() else None
    if result != {"ok": True}:
        return "wrong data"
    return "no limit" if case.bulky else "ok"


def shown(cells: list[Cell]) -> str:
    words = [cell.word for cell in cells]
    return words[0] if len(set(words)) == 1 else " / ".join(words)


def table(cases: Iterable[Case], columns: list[Compared]) -> tuple[list[str], list[str]]:
    """The lines of the table, and the complaints about Holdfast."""
    cases = list(cases)
    cells: dict[tuple[str, str, Kind], Cell] = {}

    def fill(one: tuple[Compared, Case, Kind]) -> None:
        column, case, kind = one
        cells[column.title, case.name, kind] = column.cell(case, kind)

    wanted = list(product(columns, cases, KINDS))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(fill, [one for one in wanted if not one[1].bulky]))
    # What keeps the processor busy, and may fill the memory, one at a time.
    for one in wanted:
        if one[1].bulky:
            fill(one)
    lines = [
        f"| | {' | '.join(column.title for column in columns)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    complaints: list[str] = []
    counts: dict[str, Counter[str]] = {column.title: Counter() for column in columns}
    longest = dict.fromkeys(counts, 0.0)
    for case in cases:
        line = [case.label]
        for column in columns:
            three = [cells[column.title, case.name, kind] for kind in KINDS]
            counts[column.title].update(cell.word for cell in three)
            longest[column.title] = max(longest[column.title], *(cell.seconds for cell in three))
            for kind, cell in zip(KINDS, three, strict=True):
                complaints += [f"{column.title}, {case.name}, {kind}: {what}" for what in cell.complaints]
            line.append(shown(three))
        lines.append(f"| {' | '.join(line)} |")
    for name, words in (("ok", ["ok"]), ("ok or error", ["ok", "error"])):
        totals = [sum(counts[column.title][word] for word in words) for column in columns]
        lines.append(f"| **{name}, of {len(KINDS) * len(cases)}** | {' | '.join(map(str, totals))} |")
    waits = [f"cut at {CUT:g} s" if seconds >= CUT else f"{seconds:.1f} s" for seconds in longest.values()]
    lines.append(f"| **longest call** | {' | '.join(waits)} |")
    return lines, complaints


def main() -> None:
    parser = argparse.ArgumentParser(description="What comes of a request when the server misbehaves.")
    parser.add_argument("--case", choices=[case.name for case in CASES], action="append", help="a row; may be repeated")
    parser.add_argument("--all", action="store_true", help="also the rows that are tested for Holdfast alone")
    parser.add_argument("--engine", choices=["native", "httpx2"], default="httpx2", help="of Holdfast")
    parser.add_argument("--alone", action="store_true", help="Holdfast without the others")
    arguments = parser.parse_args()
    # The peers are on this machine; a proxy of the environment is not.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    stacked_bomb()
    cases = [case for case in CASES if case.name in (arguments.case or ()) or not (arguments.case or case.twin)]
    name = f"Holdfast {holdfast.__version__}" + (", native" if arguments.engine == "native" else "")
    columns = [
        Compared(f"{name}, async", ours(arguments.engine, sync=False)),
        Compared(f"{name}, sync", ours(arguments.engine, sync=True)),
    ]
    peers = [] if arguments.alone else [Compared(column.title, others(column)) for column in COLUMNS]
    began = time.monotonic()
    alone: list[str] = []
    if arguments.all:
        _, alone = table([case for case in CASES if case.twin], columns)
    lines, complaints = table(cases, [*columns, *peers])
    complaints += alone
    print("\n".join(lines))
    print(LEGEND)
    told = f"{len(complaints)} complaints:" if complaints else "no complaints."
    print(f"Python {platform.python_version()}, {time.monotonic() - began:.0f} s. Holdfast is held to what its README")
    print(f"says of repeating, to `may_have_executed`, and to at most {GRACE:g} s past the deadline: {told}")
    for complaint in complaints:
        print(f"  {complaint}")
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
