"""The plugin as users get it: loaded by pytest through its entry point, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

TESTS = """
import asyncio
import time

from holdfast import ClientConfig, ResilientClient
from holdfast.testing import FaultTransport


def test_clock(holdfast_clock):
    config = ClientConfig(base_url="https://api.example.com")
    began = time.monotonic()
    with ResilientClient(config, transport=FaultTransport([503, 503, 200])) as client:
        assert client.get("/").result().status_code == 200
    assert len(holdfast_clock.waits) == 2 and time.monotonic() - began < holdfast_clock.elapsed


def test_server(faulty_server):
    faulty_server.misbehave("status=418")
    with ResilientClient(ClientConfig(base_url=faulty_server.url, trust_env=False)) as client:
        try:
            client.get("/").result()
        except Exception as error:
            assert error.status_code == 418


def test_it_behaves_again(faulty_server):
    assert faulty_server.struck() == {}
    with ResilientClient(ClientConfig(base_url=faulty_server.url, trust_env=False)) as client:
        assert client.get("/").result().status_code == 200
"""

NOTHING = """
import sys


def test_nothing_is_loaded_for_those_who_ask_for_nothing():
    loaded = {name for name in sys.modules if name.partition(".")[0] in ("holdfast", "httpx2", "pydantic", "uvicorn")}
    assert loaded <= {"holdfast", "holdfast._lazy", "holdfast._version", "holdfast.testing", "holdfast.testing.plugin"}
"""


def run(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *options]
    # Our own settings say not to load it: none of them here.
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return subprocess.run([*command, str(folder)], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_it_is_registered():
    (point,) = entry_points(group="pytest11", name="holdfast")
    assert point.value == "holdfast.testing.plugin"


def test_its_fixtures_are_there(tmp_path: Path):
    done = run(tmp_path, TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_it_costs_nothing_to_those_who_do_not_use_it(tmp_path: Path):
    done = run(tmp_path, NOTHING, "-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:logfire")
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_can_be_left_out(tmp_path: Path):
    done = run(tmp_path, TESTS, "-p", "no:holdfast")
    assert "fixture 'holdfast_clock' not found" in done.stdout


def test_its_fixtures_are_described(tmp_path: Path):
    shown = run(tmp_path, TESTS, "--fixtures").stdout
    for name in ("holdfast_clock", "faulty_server"):
        assert f"{name} -- " in shown
    assert "_holdfast_server" not in shown


def test_without_the_extra_the_server_says_what_is_missing(tmp_path: Path):
    blocked = "import sys\nsys.modules['uvicorn'] = None\n"
    done = run(tmp_path, blocked + TESTS, "-k", "server")
    assert "faulty_server needs the extra 'servers' of Holdfast" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
