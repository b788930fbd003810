"""Looks for leaks: throws at every yield of every scenario, then generates runs of a whole pipeline.

    .venv/bin/python benchmarks/leaks.py [--runs 5000] [--mutants]

Exits with an error, and the shortest run that shows it, if a slot, probe, token, retry or flight is not given back.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.core.test_mutants import PLACES, caught, mutated
from tests.core.test_pipeline_machine import PipelineMachine
from tests.support.crowds import ALL
from tests.support.throwing import points, throws


def throw_everywhere() -> None:
    began, thrown, leaking = time.perf_counter(), 0, 0
    for crowd in ALL:
        for what, found in throws(crowd):
            thrown += 1
            if found:
                leaking += 1
                print(f"{what}: {'; '.join(found)}")
    total = sum(points(crowd) for crowd in ALL)
    print(f"{total} points in {len(ALL)} scenarios, {thrown} throws, {leaking} leaks", end="")
    print(f", {time.perf_counter() - began:.1f} s")
    if leaking:
        sys.exit(1)


def generate(runs: int) -> None:
    began = time.perf_counter()
    chosen = settings(
        max_examples=runs,
        stateful_step_count=60,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(PipelineMachine, settings=chosen)
    figures = ", ".join(f"{count} {name}" for name, count in PipelineMachine.figures.items())
    print(f"{figures}, 0 leaks, {time.perf_counter() - began:.1f} s")


def drop() -> None:
    survivors = 0
    for place in PLACES:
        with mutated(place):
            found = caught()
        survivors += not found
        print(f"{place.module}.py {place.line}, without {place.text}: {found or 'NOT CAUGHT'}")
    print(f"{len(PLACES)} mutants, {survivors} not caught")
    if survivors:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Looks for what flows do not give back.")
    parser.add_argument("--runs", type=int, default=5000, help="runs to generate (default: %(default)s)")
    parser.add_argument("--mutants", action="store_true", help="also drop every give-back, one at a time")
    arguments = parser.parse_args()
    throw_everywhere()
    if arguments.mutants:
        drop()
    generate(arguments.runs)


if __name__ == "__main__":
    main()
