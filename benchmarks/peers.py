"""The same load by Holdfast and by the clients of others, each in processes of its own, in turns.

    python benchmarks/peers.py [--quick] [--rounds 5] [--json FILE] [--html FILE] [--only CASE] [--client NAME]

Figures are medians over the rounds. "x" is calls per second as a multiple of the base's in the same round: that of bare
httpx2, for typed calls that of openai's client. Processor time is that of the client's process, all of its threads
together, and is what other programs on the machine disturb least. The server counts its requests, and a process whose
count differs is told as wrong; that makes the exit status 1. Targets that are not met do not.

The clients of others are in .venv-bench, made by `make peers`; those that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from against import page, text
from against.contestants import CONTESTANTS
from against.rounds import CASES, QUICK, play
from against.sync_contestants import CONTESTANTS as SYNC

ROUNDS, QUICK_ROUNDS = 5, 3
SECONDS, QUICK_SECONDS = 0.6, 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description="The same load by Holdfast and by the clients of others.")
    parser.add_argument("--quick", action="store_true", help="fewer cases, three shorter rounds")
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}")
    parser.add_argument("--seconds", type=float, help=f"that are measured in each process; default: {SECONDS}")
    parser.add_argument("--only", choices=[case.name for case in CASES], action="append", help="may be repeated")
    parser.add_argument("--client", choices=sorted({*CONTESTANTS, *SYNC}), action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the figures to this file")
    arguments = parser.parse_args()
    wanted = arguments.only or (QUICK if arguments.quick else [case.name for case in CASES])
    cases = [case for case in CASES if case.name in wanted]
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    about = text.About.of_this_machine(rounds, seconds)
    print(f"{about.machine}\n{about.how}\n", flush=True)
    began = time.perf_counter()

    def tell(line: str) -> None:
        print(f"{line}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)

    figures = play(cases, rounds, seconds, arguments.client, tell)
    print("\n".join(text.lines(cases, figures)))
    if arguments.json is not None:
        written = json.dumps(text.as_json(about, cases, figures), indent=2)
        arguments.json.write_text(f"{written}\n", encoding="utf-8")
    if arguments.html is not None:
        arguments.html.write_text(page.html(about, cases, figures), encoding="utf-8")
    sys.exit(bool(figures.wrong))


if __name__ == "__main__":
    main()
