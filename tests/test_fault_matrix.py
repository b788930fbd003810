"""The fault matrix over real sockets, for a GET, a POST with a key and a plain POST; both colours, each engine.

Every call survives or ends in one of our typed errors with the right `may_have_executed`, at most 0.25 s past its
deadline. No plain POST is executed twice. No socket, task, slot or thread is left behind, and no other origin is shown
what was not meant for it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast import ClientConfig, ResilientClient
from holdfast.core.bulkhead import Bulkhead
from holdfast.http.redirects import Redirects
from tests.support.fault_cases import CASES, KINDS, NATIVE, Case, Kind
from tests.support.fault_runs import FOR_TESTS, run
from tests.support.faulty_peers import Peer, mute

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

BY_NAME = {case.name: case for case in CASES}


def cells() -> Iterator[Any]:
    for case in CASES:
        for kind in KINDS:
            for by in ("async", "native", "sync", "native-sync"):
                yield pytest.param(case, kind, by, id=f"{case.name}, {kind}, {by}")


@pytest.mark.parametrize(("case", "kind", "by"), list(cells()))
def test_every_fault_is_survived_or_told(case: Case, kind: Kind, by: str) -> None:
    engine = "native" if by.startswith("native") else "httpx2"
    if engine == "native":
        case = replace(case, expected=NATIVE.get(case.name, case.expected))
    settings = replace(FOR_TESTS, config={**FOR_TESTS.config, "engine": engine})
    ran = run(case, kind, sync=by.endswith("sync") and by != "async", settings=settings)
    assert ran.complaints == []


def test_a_call_cancelled_in_the_tls_handshake_leaves_no_socket() -> None:
    async def cancelled(url: str) -> int:
        async with ResilientClient(ClientConfig(base_url=url, trust_env=False)) as client:
            task = asyncio.create_task(client.get("/thing"))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.sleep(0.05)
        return peer.open

    with Peer(mute) as peer:
        assert asyncio.run(cancelled(f"https://127.0.0.1:{peer.port}")) == 0


# The matrix itself can fail


def complaints(name: str, kind: Kind, *, sync: bool = False, **config: Any) -> str:
    settings = replace(FOR_TESTS, config={**FOR_TESTS.config, **config})
    return "; ".join(run(BY_NAME[name], kind, sync=sync, settings=settings).complaints)


def test_it_tells_of_a_post_that_is_executed_twice() -> None:
    reckless = {"min_wait_seconds": 0.0, "max_wait_seconds": 0.0, "replay": "always"}
    assert "a plain POST was executed 2 times" in complaints("reset-before", "POST", retry=reckless)


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
def test_it_tells_of_a_slot_that_is_not_given_back(monkeypatch: pytest.MonkeyPatch, sync: bool) -> None:
    monkeypatch.setattr(Bulkhead, "leave", lambda self: None)
    assert "1 slots left; the next call failed" in complaints("short-body", "POST", sync=sync)


def test_it_tells_of_a_body_without_limit() -> None:
    assert "MB of memory" in complaints("gzip-bomb", "GET", max_response_bytes=None)


def test_it_tells_of_a_call_that_outlasts_its_deadline() -> None:
    late = replace(FOR_TESTS, config={**FOR_TESTS.config, "deadline": None})
    assert "hung" in "; ".join(run(BY_NAME["trickled-body"], "GET", sync=False, settings=late).complaints)


def test_it_tells_of_what_another_origin_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    careful = Redirects._next

    def careless(self: Redirects, hop: Any, status: int, target: Any) -> Any:
        job = careful(self, hop, status, target)
        job.headers += [pair for pair in hop.headers if pair[0].startswith(b"X-")]
        return job

    monkeypatch.setattr(Redirects, "_next", careless)
    assert "another origin was shown: x-api-key, x-request-id" in complaints("redirect-away", "GET")


def test_the_command_prints_the_table() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "fault_matrix.py"
    command = [sys.executable, str(script), "--case", "503-twice"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    row = next(line for line in ended.stdout.splitlines() if line.startswith("| 503 twice"))
    assert row == "| 503 twice, then 200 | ok | ok | error | error | error | ok | ok |"
    assert "no complaints" in ended.stdout
