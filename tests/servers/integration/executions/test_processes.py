"""`holdfast serve` with executions, as processes: stopped, killed, and side by side on one database."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from tests.support.kills import ENVIRONMENT, survive
from tests.support.postgres import Postgres
from tests.support.serving import serving
from tests.support.workflows import Api

pytestmark = [pytest.mark.loopback, pytest.mark.slow]


@pytest.fixture(params=["sqlite", "postgresql"])
def options(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "sqlite":
        return []
    server: Postgres = request.getfixturevalue("postgres_server")
    return ["--database-url", server.emptied()]


def said(out: str) -> list[str]:
    """What a server had to complain of, besides that it has no secret."""
    usual = ("  http://", " INFO holdfast.", " WARNING holdfast.auth: ")
    return [line for line in out.splitlines() if not any(part in line for part in usual)]


def test_a_server_that_is_stopped_in_the_middle_of_a_step_goes_on_when_it_starts_again(tmp_path, service, options):
    service.held["b"] = threading.Event()
    with serving(tmp_path, *options, env=ENVIRONMENT) as server:
        api = Api(server)
        workflow = api.workflow("s", service.url, "a", "b", "c")
        begun = api.execute(workflow)["id"]
        api.until(begun, lambda found: found["steps"][1]["status"] == "RUNNING")
        while ("b", f"{begun}:s1") not in service.effects:
            time.sleep(0.02)
        before = time.monotonic()
        code, out = server.stop()
        assert time.monotonic() - before < 9
        assert code == 0 and [line.partition(": ")[2] for line in said(out)] == [
            "1 execution is left in the middle of a step, to be gone on with later"
        ], out
    service.held.pop("b").set()
    with serving(tmp_path, *options, env=ENVIRONMENT) as server:
        api = Api(server)
        found = api.ended(begun)
        assert (found["status"], found["run"]) == ("COMPLETED", 1), found
        kinds = [one["kind"] for one in api.ok("GET", f"/executions/{begun}/events")["events"]]
        assert kinds.count("step.started") == 4 and kinds.count("step.completed") == 3
        code, out = server.stop()
        assert (code, said(out)) == (0, []), out
    # The same step twice, with the same key, and done once.
    assert service.requests == {("a", f"{begun}:s0"): 1, ("b", f"{begun}:s1"): 2, ("c", f"{begun}:s2"): 1}
    assert set(service.effects.values()) == {1}


def test_those_who_wait_are_answered_when_the_server_stops(tmp_path, service):
    service.held["a"] = threading.Event()
    with serving(tmp_path, env=ENVIRONMENT) as server:
        api = Api(server)
        begun = api.execute(api.workflow("s", service.url, "a"))["id"]
        answers: list[tuple[int, Any]] = []
        asked = [f"/executions/{begun}?wait=30", f"/executions/{begun}/events?after=99&wait=30"]
        threads = [threading.Thread(target=lambda path=path: answers.append(api("GET", path))) for path in asked]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        code, out = server.stop()
        assert code == 0, out
        for thread in threads:
            thread.join()
    assert [answer[0] for answer in answers] == [200, 200], answers


@pytest.mark.parametrize("deduplicates", [True, False])
def test_executions_survive_servers_that_are_killed_over_and_over(tmp_path, options, deduplicates):
    seen = survive(tmp_path, options, servers=2 if options else 1, executions=40, kills=2, deduplicates=deduplicates)
    assert seen.completed == 40
    if deduplicates:
        assert seen.times_done == {1: 120}
    else:
        # A step that was under way when its server died, and nothing else, may be done once more.
        assert min(seen.effects) == 1 and max(seen.effects) <= 3 and sum(seen.effects) <= 120 + 2 * 20


def test_two_servers_on_one_database_see_and_cancel_each_others_executions(tmp_path, service, options):
    service.held["b"] = threading.Event()
    with (
        serving(tmp_path, *options, env=ENVIRONMENT) as first,
        serving(tmp_path, *options, env=ENVIRONMENT) as second,
    ):
        one, other = Api(first), Api(second)
        workflow = one.workflow("s", service.url, "a", "b")
        begun = one.execute(workflow)["id"]
        other.until(begun, lambda found: found["steps"][1]["status"] == "RUNNING")
        assert other.ok("POST", f"/executions/{begun}/cancel")["status"] == "CANCELLED"
        assert one.ok("GET", f"/executions/{begun}")["status"] == "CANCELLED"
        # The request of the first is given up, so it has nothing to wait for when it stops.
        time.sleep(1.5)
        code, out = first.stop()
        assert code == 0 and "left in the middle" not in out, out
        service.held.pop("b").set()
        other.ok("POST", f"/executions/{begun}/resume")
        found = other.ended(begun)
        assert (found["status"], found["run"], found["steps"][0]["attempts"]) == ("COMPLETED", 2, 1)
    assert service.effects[("b", f"{begun}:s1")] == 1


def test_what_one_server_has_no_room_for_another_one_does(tmp_path, service, options):
    service.held["a"] = threading.Event()
    env = {**ENVIRONMENT, "INTEGRATION_CONCURRENCY": "1"}
    with serving(tmp_path, *options, env=env) as first, serving(tmp_path, *options, env=env) as second:
        one, other = Api(first), Api(second)
        workflow = one.workflow("s", service.url, "a")
        begun = [one.execute(workflow)["id"] for _ in range(2)]
        for execution in begun:
            other.until(execution, lambda found: found["status"] == "RUNNING")
        service.held.pop("a").set()
        assert {other.ended(execution)["status"] for execution in begun} == {"COMPLETED"}
    assert sorted(service.requests.values()) == [1, 1]


def test_a_server_that_is_believed_dead_and_is_not_does_no_harm(tmp_path, service, options):
    service.held["b"] = threading.Event()
    with (
        serving(tmp_path, *options, env=ENVIRONMENT) as first,
        serving(tmp_path, *options, env=ENVIRONMENT) as second,
    ):
        one, other = Api(first), Api(second)
        workflow = one.workflow("s", service.url, "a", "b", "c")
        begun = one.execute(workflow)["id"]
        other.until(begun, lambda found: found["steps"][1]["status"] == "RUNNING")
        for last in (False, False, False, True):
            first.process.send_signal(signal.SIGSTOP)
            try:
                other.until(begun, lambda found: found["steps"][1]["attempts"] == 2, 60 if last else 8)
                break
            except AssertionError:
                # It may be in the middle of a transaction, and nobody gets past its locks.
                if last:
                    raise
            finally:
                first.process.send_signal(signal.SIGCONT)
        service.held.pop("b").set()
        assert other.ended(begun)["status"] == "COMPLETED"
        time.sleep(1)
        assert one.ok("GET", f"/executions/{begun}")["status"] == "COMPLETED"
        again = one.execute(workflow, wait=10)
        assert again["status"] == "COMPLETED"
    assert all(count == 1 for count in service.effects.values())
