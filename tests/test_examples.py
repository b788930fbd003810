"""The examples, run as their readers run them: by themselves, and against servers that are there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.serving import Serving, environment, serving

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

FOLDER = Path(__file__).parents[1] / "examples"
PATIENCE = 120.0
OFFSET = "EXAMPLES_PORT_OFFSET"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    env = {"HOLDFAST_CREWS_MODULES": "orders", "PYTHONPATH": str(FOLDER)}
    with serving(tmp_path_factory.mktemp("data"), "--faults", env=env) as server:
        yield server


def run(name: str, folder: Path, **env: str) -> str:
    """What an example prints."""
    own = {name: value for name, value in environment().items() if name != OFFSET}
    ran = subprocess.run(
        [sys.executable, FOLDER / name],
        cwd=folder,
        env={**own, **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, f"{name} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with servers"])
def test_a_conversation_becomes_memory(tmp_path, request, alone):
    env = {} if alone else {OFFSET: str(request.getfixturevalue("servers").offset)}
    said = run("conversation_memory.py", tmp_path, **env)
    assert said.count("once more: 3 events read") == 2 and said.count("0 memories created, 4 facts skipped") == 1
    found, left = said.split("What goes with")[0], said.split("What is left:")[1]
    assert found.count("User is allergic to peanuts") == 2 and left.count("User is allergic to peanuts") == 1
    assert "0.62  User is allergic to peanuts" in said
    assert "7 memories compared, 2 merged into 2 others, 0 missing, 0 failures" in said
    assert said.count("Consolidated from 2 memories: ") == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with servers"])
def test_services_become_a_workflow(tmp_path, request, alone):
    env = {} if alone else {OFFSET: str(request.getfixturevalue("servers").offset)}
    said = run("document_workflow.py", tmp_path, **env)
    assert "Before anything is registered: steps.0.service, steps.1.service are wrong" in said
    events = [line.split() for line in said.split("One document:")[1].split("Many documents")[0].splitlines()[1:-1]]
    assert events == [
        ["execution.created"],
        ["execution.started"],
        ["step.started", "extract-text"],
        ["step.completed", "extract-text"],
        ["step.started", "find-sentiment"],
        ["step.completed", "find-sentiment"],
        ["execution.completed"],
    ]
    assert "the sentiment is positive, with a score of 1.0" in said
    assert "20 documents, 20 right results" in said
    assert "asked 40 times, and has failed 20 times" in said and "20 texts were extracted, 0 of them twice" in said
    assert list(tmp_path.iterdir()) == []


def test_crews_under_faults_run_once(tmp_path, servers):
    said = run("crew_under_faults.py", tmp_path, **{OFFSET: str(servers.offset)})
    keyed, plain = said.split("server_deduplicates=False")
    assert "60 delivered" in keyed and "60 booked by the server, 0 of them twice" in keyed
    assert "failed, may have run" in plain and "booked by the server, 0 of them twice" in plain
    assert said.count("  0 booked without anybody being told") == 2
    assert "such as: POST /execute_crew on Crews Service" in plain


def test_the_codegen_client_topic_by_topic(tmp_path, servers):
    said = run("enhanced_client_usage.py", tmp_path, **{OFFSET: str(servers.offset)})
    assert [line[4:] for line in said.splitlines() if line.startswith("--- ")] == [
        "Basic usage",
        "Advanced configuration",
        "Caching",
        "Bulk operations",
        "Streaming",
        "Webhook handling",
        "Error handling",
        "Monitoring and health",
        "Performance",
    ]
    for line in (
        r"run \d+ succeeded: COMPLETE",
        r"1 answer from the cache",
        r"4 users, 80 %",
        r"3 runs created",
        r"at least 4 runs: True",
        r"told that run 42 is completed",
        r"refused for its signature",
        r"no agent run 99999",
        r"overall healthy: .*",
        r"2 calls failed; p95 below 5 s: True",
        r"60 users by 11 requests, .*",
    ):
        assert re.search(f"^{line}$", said, re.MULTILINE), (line, said)
    assert list(tmp_path.iterdir()) == []


def test_runs_are_created_in_bulk(tmp_path, servers):
    said = run("bulk_creation.py", tmp_path, **{OFFSET: str(servers.offset)})
    assert "7 of 8 runs created\n  number 3 was not: " in said and "prompt: it is empty" in said
    assert "{'COMPLETE': 7}" in said


def test_a_receiver_is_told_of_the_end_of_a_run(tmp_path, servers):
    said = run("webhook_receiver.py", tmp_path, **{OFFSET: str(servers.offset)})
    assert "verified by standard: True; of that run: True\n1 received, 1 verified, 1 handled\n" in said
