"""`holdfast serve` with crews, as a process: connections that break, servers that are stopped or killed."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdfast.auth import get_internal_token
from tests.support.crews import DIARY
from tests.support.postgres import Postgres
from tests.support.serving import PATIENCE, Serving, finished, free_offset, request, serving

pytestmark = [pytest.mark.loopback, pytest.mark.slow]


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    made = tmp_path / "diary"
    made.touch()
    return made


@pytest.fixture
def env(diary) -> dict[str, str]:
    return {
        "HOLDFAST_CREWS_MODULES": "tests.support.crews:counted, tests.support.crews:blocking",
        "HOLDFAST_CREWS_LEASE_SECONDS": "1",
        DIARY: str(diary),
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def body(crew: str, **inputs: Any) -> bytes:
    return json.dumps({"crew_name": crew, "inputs": inputs, "timeout": 60}).encode()


def headers(key: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {get_internal_token()}",
        "Content-Type": "application/json",
        "Idempotency-Key": key,
    }


def execute(server: Serving, key: str, crew: str, **inputs: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{8001 + server.offset}/execute_crew"
    status, text = request(url, "POST", body(crew, **inputs), headers(key))
    assert status == 200, text
    return dict(json.loads(text))


def send_and_leave(server: Serving, key: str, crew: str, **inputs: Any) -> None:
    """A request whose connection is cut before there is an answer."""
    sent = body(crew, **inputs)
    head = "".join(f"{name}: {value}\r\n" for name, value in {**headers(key), "Content-Length": len(sent)}.items())
    with socket.create_connection(("127.0.0.1", 8001 + server.offset)) as connection:
        connection.sendall(f"POST /execute_crew HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + sent)
        # Until it has been read for certain.
        time.sleep(0.2)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(diary: Path) -> list[str]:
    return diary.read_text().splitlines()


def test_an_execution_goes_on_when_the_connection_breaks(data, env, diary):
    with serving(data, env=env) as server:
        send_and_leave(server, "k", "counted", number=1, seconds=0.5)
        wait_for(lambda: lines(diary) == ["1"])
        answer = execute(server, "k", "counted", number=1, seconds=0.5)
        assert (answer["success"], answer["result"]) == (True, {"number": 1, "seconds": 0.5})
        send_and_leave(server, "l", "blocking", number=2, seconds=0.3)
        assert execute(server, "l", "blocking", number=2, seconds=0.3)["result"] == "done"
    assert lines(diary) == ["1", "began 2", "ended 2"]


@pytest.fixture(params=["sqlite", "postgresql"])
def options(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "sqlite":
        return []
    server: Postgres = request.getfixturevalue("postgres_server")
    return ["--database-url", server.emptied()]


def test_what_a_killed_server_was_executing_is_not_executed_again(data, env, diary, options):
    with serving(data, *options, env=env) as server:
        done = execute(server, "done", "counted", number=0)
        for number in (1, 2, 3):
            send_and_leave(server, f"k{number}", "counted", number=number, seconds=600)
        wait_for(lambda: len(lines(diary)) == 4)
        server.process.send_signal(signal.SIGKILL)
        server.process.communicate(timeout=10)
    with serving(data, *options, env=env) as server, ThreadPoolExecutor(6) as pool:
        assert execute(server, "done", "counted", number=0) == done
        asked = [
            pool.submit(execute, server, f"k{number}", "counted", number=number, seconds=600)
            for number in (1, 2, 3)
            for _ in range(2)
        ]
        answers = [one.result() for one in asked]
        assert answers[0::2] == answers[1::2]
        for answer in answers:
            assert (answer["success"], answer["result"]) == (False, None)
            assert "interrupted" in answer["error"] and "may have been executed in part" in answer["error"]
        # Under a key of its own it is a new execution.
        assert execute(server, "new", "counted", number=1)["success"] is True
    assert sorted(lines(diary)) == ["0", "1", "1", "2", "3"]


def test_a_server_that_is_stopped_says_what_it_interrupted(data, env, diary):
    with serving(data, env=env) as server:
        send_and_leave(server, "async", "counted", number=1, seconds=600)
        send_and_leave(server, "thread", "blocking", number=2, seconds=600)
        send_and_leave(server, "short", "counted", number=3, seconds=2)
        wait_for(lambda: len(lines(diary)) == 3)
        code, out = server.stop()
        assert (code, "Traceback" in out) == (0, False), out
        assert "2 executions are interrupted" in out
    with serving(data, env=env) as server:
        for key, crew, inputs in [
            ("async", "counted", {"number": 1, "seconds": 600}),
            ("thread", "blocking", {"number": 2, "seconds": 600}),
        ]:
            assert "interrupted" in execute(server, key, crew, **inputs)["error"]
        assert execute(server, "short", "counted", number=3, seconds=2)["success"] is True
    assert sorted(lines(diary)) == ["1", "3", "began 2"]


def test_a_server_that_cannot_stop_is_ended_and_says_what_kept_it(data, env, diary):
    crews = ["tests.support.crews:deaf", "tests.support.crews:stubborn", "tests.support.crews:counted"]
    env = {**env, "HOLDFAST_CREWS_MODULES": ",".join(crews)}
    with (
        serving(data / "deaf", env=env) as deaf,
        serving(data / "stubborn", env=env) as stubborn,
        serving(data / "locked", env=env) as locked,
        closing(sqlite3.connect(data / "locked" / "sessions.db")) as other,
    ):
        send_and_leave(deaf, "k", "deaf")
        send_and_leave(stubborn, "k", "stubborn")
        wait_for(lambda: sorted(lines(diary)) == ["deaf", "stubborn"])
        other.execute("BEGIN IMMEDIATE")
        # Still asking when the server stops.
        url, sent = f"http://127.0.0.1:{8001 + locked.offset}/api/v1/sessions", b'{"scope": {}}'
        with ThreadPoolExecutor(1) as pool:
            pool.submit(request, url, "POST", sent, headers("k"))
            time.sleep(0.5)
            for server in (deaf, stubborn, locked):
                server.process.send_signal(signal.SIGTERM)
            # By itself each would take ten minutes, or never stop.
            ends = [server.process.communicate(timeout=PATIENCE)[0] for server in (deaf, stubborn, locked)]
    assert [server.process.returncode for server in (deaf, stubborn, locked)] == [1, 1, 1]
    assert "in deaf\n" in ends[0], ends[0]
    assert "what still runs: crew stubborn" in ends[1], ends[1]
    assert "what still runs: Task-" in ends[2], ends[2]
    # Nothing is broken by it.
    with serving(data / "stubborn", env={**env, "HOLDFAST_CREWS_MODULES": crews[2]}) as server:
        assert "interrupted" in execute(server, "k", "stubborn")["error"]


def test_two_processes_on_one_database_execute_once(data, env, diary, options):
    with (
        serving(data, *options, env=env) as one,
        serving(data, *options, env=env) as other,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [
            pool.submit(execute, server, f"k{number}", "counted", number=number, seconds=1.5)
            for number in range(3)
            for server in (one, other)
        ]
        answers = [one.result() for one in asked]
    assert answers[0::2] == answers[1::2]
    assert all(answer["success"] for answer in answers)
    assert sorted(lines(diary)) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"ENVIRONMENT": "production", "API_SECRET_KEY": ""}, "API_SECRET_KEY is not set"),
        ({"HOLDFAST_CREWS_MODULES": "nowhere.to.be.found"}, "HOLDFAST_CREWS_MODULES: nowhere.to.be.found: "),
        ({"HOLDFAST_CREWS_MAX_CONCURRENCY": "0"}, "HOLDFAST_CREWS_MAX_CONCURRENCY: "),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(data, extra, says):
    done = finished("serve", "--port-offset", str(free_offset()), "--data-dir", str(data), env=extra)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = (line for line in done.stderr.splitlines() if " WARNING holdfast.auth: " not in line)
    assert line.startswith("holdfast serve: ") and says in line
