"""A thousand clients in an outage, under virtual time: what the retry budget and the circuit breaker spare the server.

.venv/bin/python benchmarks/storm.py [--clients 1000] [--calls 100]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.storm import BUDGETED, GUARDED, NAIVE, storm


def main() -> None:
    parser = argparse.ArgumentParser(description="Many clients in an outage.")
    parser.add_argument("--clients", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=100, help="of each, one a second (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"{arguments.clients} clients x {arguments.calls} calls, the server down from second 20 to 60")
    for name, config in (("five attempts", NAIVE), ("with a budget", BUDGETED), ("and a breaker", GUARDED)):
        began = time.perf_counter()
        seen = storm(arguments.clients, arguments.calls, config)
        took = time.perf_counter() - began
        print(
            f"{name}: {seen.load():.2f} requests per call in the outage, {seen.requests.total()} in all, "
            f"{seen.outcomes['200']} calls succeeded; {seen.ended:.0f} virtual seconds in {took:.1f} real ones"
        )


if __name__ == "__main__":
    main()
