"""Compares the native engine with httpx2's on generated responses, and says where they differ and who is right.

    .venv/bin/python benchmarks/differential.py [--cases 20000] [--seed 1] [--sync]

Every answer of a server, whole, cut off, damaged, coded or nonsense, is given to a client of each engine. What they
make of it has to be the same, or differ for a reason that has its section of an RFC (tests/support/differential.py).
The exit status is 1 if there is anything else.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.differential import Bench, made, verdict  # found from here on only

SHOWN = 10
EACH = 2_000
"""Cases of one server. Connections that have ended keep their ports for a minute, and there are no more than 28,000."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The native engine and httpx2's on the same bytes.")
    parser.add_argument("--cases", type=int, default=20_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the cases (default: %(default)s)")
    parser.add_argument("--sync", action="store_true", help="use the clients without an event loop")
    arguments = parser.parse_args()
    verdicts: Counter[str] = Counter()
    unexplained = 0
    bench = Bench(sync=arguments.sync)
    began = time.monotonic()
    try:
        for number in range(arguments.cases):
            if number and number % EACH == 0:
                bench.close()
                bench = Bench(sync=arguments.sync)
            case = made(random.Random(f"{arguments.seed} {number}"))
            ours, theirs = bench.told("native", case), bench.told("httpx2", case)
            found = verdict(ours, theirs)
            verdicts[found or "UNEXPLAINED"] += 1
            if found is None:
                unexplained += 1
                if unexplained <= SHOWN:
                    print(f"case {number}: {b''.join(case.pieces)[:600]!r}\n  native: {ours}\n  httpx2: {theirs}\n")
    finally:
        bench.close()
    for found, times in verdicts.most_common():
        print(f"{times:>8}  {found}")
    took = time.monotonic() - began
    print(f"{arguments.cases} cases of seed {arguments.seed} in {took:.0f} s, {unexplained} unexplained differences")
    sys.exit(bool(unexplained))


if __name__ == "__main__":
    main()
