"""Prints what verification makes of webhooks that are right, forged, stale and senseless.

    .venv/bin/python benchmarks/webhooks.py [--cases 20000] [--seed 0]

Headers and bodies are made by hypothesis. Only WebhookError may escape, no forged webhook may pass, every one that is
signed as it should be must, and no message may tell a secret or a right signature: the exit status is 1 otherwise, and
the smallest webhook that shows it is printed. Takes about four minutes of processor time.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import NonInteractiveExampleWarning

from tests.support.webhook_cases import Case, cases, verdict

COLUMNS = ("passed", "signature", "timestamp", "malformed", "too_large")
BATCH = 2_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", NonInteractiveExampleWarning)
    table: Counter[tuple[str, str]] = Counter()
    began = time.perf_counter()
    number = options.seed
    while (left := options.cases - table.total()) > 0:
        # In batches, for hypothesis slows down as it remembers what it has tried.
        batch(min(BATCH, left), number, table)
        number += 1
    seconds = time.perf_counter() - began
    print("| webhook | cases | " + " | ".join(COLUMNS) + " |")
    print("|---" * (2 + len(COLUMNS)) + "|")
    for kind in ("genuine", "forged", "stale", "junk"):
        row = [table[kind, column] for column in COLUMNS]
        print(f"| {kind} | {sum(row):,} | " + " | ".join(f"{one:,}" for one in row) + " |")
    print(f"\n{table.total():,} cases in {seconds:.0f} s. Other exceptions than WebhookError: 0. Forged and passed: 0.")
    return 0


def batch(size: int, number: int, table: Counter[tuple[str, str]]) -> None:
    """Tries so many cases, and counts what comes of them.

    Raises:
        Exception: what has escaped, or an AssertionError that says what should not have been.
    """

    @seed(number)
    @settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def one(case: Case) -> None:
        outcome = verdict(case)
        if table.total() < goal:
            table[case.kind, outcome] += 1

    goal = table.total() + size
    one()


if __name__ == "__main__":
    sys.exit(main())
