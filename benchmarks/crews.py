"""Crews executed through lost connections and refusals: how often each ran, and how many results arrived.

.venv/bin/python benchmarks/crews.py [--calls 200]

30 % of all requests are struck by a reset (before the crew runs, after it, or in the middle of the answer) or a 503.
The client makes 10 attempts, without retry budget and circuit breaker. The exit status is 1 if a crew ran twice, or one
ran of which its caller does not know that it may have.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.exactly_once import Seen, execute


def wrong(seen: Seen, *, deduplicated: bool) -> int:
    """How many executions are not as they should be."""
    lacking = seen.calls - len(seen.results) if deduplicated else 0
    return len(seen.more_than_once()) + len(seen.unaccounted()) + lacking


def tell(seen: Seen) -> str:
    """What came of it, in one line."""
    silent = seen.executed.keys() - seen.results
    return (
        f"{len(seen.executed)} executed, {len(seen.more_than_once())} twice; {len(seen.results)} results delivered;"
        f" {len(silent)} executed without a result, {len(seen.unaccounted())} of them without may_have_executed"
    )


def measure(calls: int) -> Iterator[tuple[bool, Seen]]:
    """Executions where the client is told that the server deduplicates, and where it is not."""
    for deduplicated in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            yield deduplicated, execute(Path(folder), calls, server_deduplicates=deduplicated)


def main() -> None:
    parser = argparse.ArgumentParser(description="Crews under injected failures.")
    parser.add_argument("--calls", type=int, default=200, help="at the same time (default: %(default)s)")
    failed = 0
    for deduplicated, seen in measure(parser.parse_args().calls):
        print(f"server_deduplicates={deduplicated}: {seen.calls} calls, {seen.requests} requests, {seen.seconds:.1f} s")
        print(f"  {tell(seen)}", flush=True)
        failed += wrong(seen, deduplicated=deduplicated)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
