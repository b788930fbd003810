"""What people can do with executions, and what services are sent for them."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.servers.integration.executions import store
from tests.support.executions import run, serving

pytestmark = pytest.mark.loopback

NOWHERE = "3f2b8a52-5a1c-4a0e-9a51-000000000000"


def test_a_workflow_is_not_deleted_while_an_execution_of_it_is_created(storage, service, monkeypatch):
    original = store.create
    service.held["a"] = threading.Event()

    async def main() -> None:
        created, deleting = asyncio.Event(), asyncio.Event()

        async def slow(*args: Any) -> Any:
            execution = await original(*args)
            created.set()
            await deleting.wait()
            # A deletion that waits for nobody would be done by then.
            await asyncio.sleep(0.3)
            return execution

        monkeypatch.setattr(store, "create", slow)
        async with serving(storage) as api:
            workflow = await api.workflow(service, "a")
            executed = asyncio.create_task(api("POST", f"/workflows/{workflow}/execute", {}))
            await created.wait()
            deleting.set()
            status, answer = await api("DELETE", f"/workflows/{workflow}")
            assert (await executed)[0] == 202
            assert status == 409 and "1 execution" in answer["detail"], answer
            service.held.pop("a").set()

    run(main)


def test_each_step_gets_the_input_and_what_the_steps_before_it_put_out(storage, service):
    service.actions["a"] = lambda body: (200, {"text": "from a", "kept": body["x"]})

    async def main() -> None:
        async with serving(storage) as api:
            workflow = await api.workflow(service, "a", "b")
            context = {"request_id": "traced", "who": "test"}
            status, found = await api(
                "POST", f"/workflows/{workflow}/execute", {"input_data": {"x": 1}, "context": context, "wait": 20}
            )
            assert status == 200
            first, second = found["steps"]
            assert (first["input"], first["output"]) == ({"x": 1}, {"text": "from a", "kept": 1})
            assert (second["input"], second["output"]) == ({"x": 1, "text": "from a", "kept": 1}, {"b": 3})
            assert (first["next"], second["next"], first["service"]) == ("s1", None, "a b")
            assert (found["status"], found["result"], found["error"]) == ("COMPLETED", {"b": 3}, None)
            assert (found["input_data"], found["context"], found["run"]) == ({"x": 1}, context, 1)
            assert [step["attempts"] for step in found["steps"]] == [1, 1]
            for one in (found, first, second):
                assert one["started_at"] <= one["ended_at"]
            assert await api.get(found["id"]) == found
            assert [one.body for one in service.called] == [first["input"], second["input"]]
            assert [one.key for one in service.called] == [f"{found['id']}:s0", f"{found['id']}:s1"]
            assert {one.correlation_id for one in service.called} == {"traced"}
            assert await api.happened(found["id"]) == [
                "execution.created",
                "execution.started",
                "step.started s0",
                "step.completed s0",
                "step.started s1",
                "step.completed s1",
                "execution.completed",
            ]

    run(main)


def test_the_services_see_the_id_of_the_request_where_the_context_has_none_that_fits(storage, service):
    async def main() -> None:
        async with serving(storage) as api:
            workflow = await api.workflow(service, "a")
            path, sent = f"/workflows/{workflow}/execute", {"wait": 20, "context": {"request_id": "two words"}}
            found = await api.ok("POST", path, sent, x_request_id="from-outside")
            assert found["request_id"] == "from-outside"
            made = await api.ok("POST", path, {"wait": 20})
            assert [one.correlation_id for one in service.called] == ["from-outside", made["request_id"]]

    run(main)


def test_a_step_that_fails_ends_the_execution_and_a_resume_goes_on_there(storage, service):
    service.actions["b"] = lambda body: (400, {"detail": "no"})

    async def main() -> None:
        async with serving(storage) as api:
            workflow = await api.workflow(service, "a", "b", "c")
            found = await api.execute(workflow, wait=20)
            assert (found["status"], found["result"]) == ("FAILED", None)
            assert found["error"]["step"] == "s1" and found["error"]["status"] == 400
            assert found["error"]["may_have_executed"] is False
            assert found["steps"][1]["error"] == {
                name: value for name, value in found["error"].items() if name != "step"
            }
            assert [step["status"] for step in found["steps"]] == ["COMPLETED", "FAILED", "PENDING"]
            assert (await api("POST", f"/executions/{found['id']}/cancel"))[0] == 409
            service.actions.clear()
            resumed = await api.ok("POST", f"/executions/{found['id']}/resume")
            assert (resumed["status"], resumed["run"], resumed["error"]) == ("PENDING", 2, None)
            done = await api.get(found["id"], wait=20)
            assert (done["status"], [step["attempts"] for step in done["steps"]]) == ("COMPLETED", [1, 2, 1])
            # The service refused it for good under the first key.
            keys = [one.key for one in service.called if one.action == "b"]
            assert keys == [f"{found['id']}:s1", f"{found['id']}:s1:2"]
            assert (await api("POST", f"/executions/{found['id']}/resume"))[0] == 409
            happened = await api.happened(found["id"])
            assert happened[5:8] == ["step.failed s1", "execution.failed s1", "execution.resumed"], happened

    run(main)


@pytest.mark.parametrize("output", [b"no json", b'["no object"]', b'{"a": NaN}', b'{"a": "\\u0000"}', b'{"a": 1e999}'])
def test_an_output_that_cannot_be_used_fails_the_step_for_good(tmp_path, storage, service, output):
    service.actions["a"] = lambda body: (200, output)

    async def main() -> None:
        async with serving(storage) as api:
            found = await api.execute(await api.workflow(service, "a"), wait=20)
            assert (found["status"], found["error"]["may_have_executed"]) == ("FAILED", True), found
            await api.ok("POST", f"/executions/{found['id']}/resume")
            await api.get(found["id"], wait=20)
            assert [one.key for one in service.called] == [f"{found['id']}:s0", f"{found['id']}:s0:2"]

    run(main)


def test_cancelling_interrupts_the_request_and_what_comes_later_changes_nothing(storage, service):
    service.held["b"] = threading.Event()

    async def main() -> None:
        async with serving(storage) as api:
            workflow = await api.workflow(service, "a", "b", "c")
            begun = (await api.execute(workflow))["id"]
            await api.until(begun, lambda found: found["steps"][1]["status"] == "RUNNING")
            waiting = asyncio.create_task(api.get(begun, wait=20))
            cancelled = await api.ok("POST", f"/executions/{begun}/cancel")
            assert [step["status"] for step in cancelled["steps"]] == ["COMPLETED", "CANCELLED", "PENDING"]
            assert (cancelled["status"], cancelled["error"]) == ("CANCELLED", None)
            assert await waiting == cancelled
            assert await api.ok("POST", f"/executions/{begun}/cancel") == cancelled
            service.held.pop("b").set()
            await asyncio.sleep(0.3)
            assert await api.get(begun) == cancelled
            # Nobody knows whether it was executed, so it keeps its key.
            await api.ok("POST", f"/executions/{begun}/resume")
            assert (await api.get(begun, wait=20))["status"] == "COMPLETED"
            assert [one.key for one in service.called if one.action == "b"] == [f"{begun}:s1"] * 2
            assert service.effects[("b", f"{begun}:s1")] == 1

    run(main)


def test_a_request_that_is_repeated_with_its_key_begins_nothing_and_waits_for_the_first(storage, service):
    async def main() -> None:
        async with serving(storage) as api:
            workflow = await api.workflow(service, "a")
            path = f"/workflows/{workflow}/execute"
            answers = await asyncio.gather(
                *[api("POST", path, {"wait": 20}, idempotency_key="one") for _ in range(4)],
            )
            assert {status for status, _ in answers} == {200}
            assert len({found["id"] for _, found in answers}) == 1
            assert (await api("POST", path, {"wait": 1}, idempotency_key="one"))[0] == 422
            first = await api.ok("POST", path, {}, idempotency_key="two")
            await api.get(first["id"], wait=20)
            assert (await api("POST", path, {}, idempotency_key="two"))[1]["status"] == "COMPLETED"
            assert len(service.called) == 2

    run(main)


def test_events_are_there_as_soon_as_something_happens(storage, service):
    service.held["a"] = threading.Event()

    async def main() -> None:
        async with serving(storage) as api:
            begun = (await api.execute(await api.workflow(service, "a")))["id"]
            await api.until(begun, lambda found: found["status"] == "RUNNING")
            events = f"/executions/{begun}/events"
            first = await api.ok("GET", f"{events}?limit=2")
            assert (first["last"], first["done"], len(first["events"])) == (2, False, 2)
            assert await api.ok("GET", f"{events}?after=3") == {
                "events": [],
                "last": 3,
                "status": "RUNNING",
                "done": False,
            }
            waiting = asyncio.create_task(api.ok("GET", f"{events}?after=3&wait=20"))
            await asyncio.sleep(0.05)
            service.held.pop("a").set()
            found = await waiting
            assert [one["kind"] for one in found["events"]] == ["step.completed", "execution.completed"]
            assert (found["last"], found["status"], found["done"]) == (5, "COMPLETED", True)
            assert (await api.ok("GET", f"{events}?after=5&wait=20"))["done"] is True

    run(main)


def test_a_step_has_its_time_and_the_execution_has_its(storage, service):
    service.held["slow"] = threading.Event()

    async def main() -> None:
        async with serving(storage) as api:
            workflow = await api.workflow(service, "slow", timeout=0.3, deduplicates=False)
            found = await api.execute(workflow, wait=20)
            assert (found["status"], found["steps"][0]["timeout"]) == ("FAILED", 0.3)
            assert found["error"]["may_have_executed"] is True
            assert "the execution's timeout" not in found["error"]["message"]
            workflow = await api.workflow(service, "fast", "slow", deduplicates=False)
            found = await api.execute(workflow, wait=20, timeout=4)
            assert (found["status"], found["timeout"], found["error"]["step"]) == ("FAILED", 4, "s1")
            assert "the execution's timeout of 4 s was over" in found["error"]["message"]
            service.held.pop("slow").set()
            # Another run has the whole time again.
            await api.ok("POST", f"/executions/{found['id']}/resume")
            assert (await api.get(found["id"], wait=20))["status"] == "COMPLETED"

    run(main)


def test_an_input_that_has_grown_too_large_fails_its_step(storage, service):
    service.actions["a"] = lambda body: (200, {"more": "x" * 900})
    service.actions["b"] = lambda body: (200, {"even more": "x" * 900})

    async def main() -> None:
        async with serving(storage, max_body_bytes=1_500) as api:
            found = await api.execute(await api.workflow(service, "a", "b", "c"), wait=20)
            assert [step["status"] for step in found["steps"]] == ["COMPLETED", "COMPLETED", "FAILED"]
            assert "INTEGRATION_MAX_BODY_BYTES" in found["error"]["message"] and found["error"]["step"] == "s2"
            assert found["steps"][2]["attempts"] == 0 and len(service.called) == 2
            await api.ok("POST", f"/executions/{found['id']}/resume")
            assert (await api.get(found["id"], wait=20))["error"] == found["error"]

    run(main)


def test_a_step_calls_its_service_where_that_is_when_the_step_begins(storage, service):
    service.held["a"] = threading.Event()

    async def main() -> None:
        async with serving(storage) as api:
            workflow = await api.workflow(service, "a", "b")
            begun = (await api.execute(workflow))["id"]
            await api.until(begun, lambda found: found["status"] == "RUNNING")
            (registered,) = (await api.ok("GET", "/services"))["items"]
            await api.ok("PUT", f"/services/{registered['id']}", {"endpoint": f"{service.url}/plain"})
            while ("a", f"{begun}:s0") not in service.effects:
                await asyncio.sleep(0.01)
            service.held.pop("a").set()
            assert (await api.get(begun, wait=20))["status"] == "COMPLETED"
            service.held["a"] = threading.Event()
            begun = (await api.execute(workflow))["id"]
            await api.until(begun, lambda found: found["status"] == "RUNNING")
            assert (await api("DELETE", f"/workflows/{workflow}"))[0] == 409
            await api.ok("POST", f"/executions/{begun}/cancel")
            await api.ok("DELETE", f"/workflows/{workflow}")
            await api.ok("DELETE", f"/services/{registered['id']}")
            await api.ok("POST", f"/executions/{begun}/resume")
            found = await api.get(begun, wait=20)
            assert (found["status"], found["steps"][0]["attempts"]) == ("FAILED", 1), found
            assert "is not registered" in found["error"]["message"]
            assert found["error"]["may_have_executed"] is True

    run(main)


def test_lists_have_pages_and_the_newest_first(storage, service):
    service.actions["bad"] = lambda body: (400, {})

    async def main() -> None:
        async with serving(storage) as api:
            good, bad = await api.workflow(service, "a"), await api.workflow(service, "bad")
            ids = [(await api.execute(one, wait=20))["id"] for one in (good, good, bad, good)]
            everything = await api.ok("GET", "/executions?per_page=3")
            assert [one["id"] for one in everything["items"]] == ids[:0:-1]
            assert {name: everything[name] for name in ("total", "page", "per_page", "pages")} == {
                "total": 4,
                "page": 1,
                "per_page": 3,
                "pages": 2,
            }
            second = await api.ok("GET", "/executions?per_page=3&page=2")
            assert [one["id"] for one in second["items"]] == ids[:1]
            assert second["items"][0] == await api.get(ids[0])
            for path in (f"/executions?workflow_id={good}", f"/workflows/{good}/executions?"):
                found = await api.ok("GET", path)
                assert [one["id"] for one in found["items"]] == [ids[3], ids[1], ids[0]]
                assert (await api.ok("GET", f"{path}&status=FAILED"))["total"] == 0
            assert (await api.ok("GET", "/executions?status=FAILED"))["total"] == 1
            assert (await api.ok("GET", "/executions?workflow_id=nothing"))["items"] == []
            assert (await api.ok("GET", "/health"))["executions"] == {
                "PENDING": 0,
                "RUNNING": 0,
                "COMPLETED": 3,
                "FAILED": 1,
                "CANCELLED": 0,
            }
            for query in ("page=0", "per_page=101", "per_page=0", "status=DONE", "page=x"):
                assert (await api("GET", f"/executions?{query}"))[0] == 422

    run(main)


def test_what_cannot_be_done_says_why(storage, service):
    async def main() -> None:
        async with serving(storage) as api:
            for execution in (NOWHERE, "no-uuid", "{" + NOWHERE + "}"):
                for method, path in (
                    ("GET", ""),
                    ("GET", "?wait=1"),
                    ("GET", "/events"),
                    ("GET", "/events?wait=1"),
                    ("POST", "/cancel"),
                    ("POST", "/resume"),
                ):
                    status, told = await api(method, f"/executions/{execution}{path}")
                    assert (status, told["resource_type"], told["resource_id"]) == (404, "execution", execution)
            for method, path in (("POST", "execute"), ("GET", "executions")):
                status, told = await api(method, f"/workflows/{NOWHERE}/{path}", {} if method == "POST" else None)
                assert (status, told["resource_type"], told["resource_id"]) == (404, "workflow", NOWHERE)
            workflow = await api.workflow(service, "a")
            wrong: tuple[dict[str, Any], ...] = (
                {"wait": 31},
                {"wait": -1},
                {"wait": "1"},
                {"timeout": 0},
                {"input_data": []},
                {"input_data": {"a": "\x00"}},
                {"context": 1},
            )
            for body in wrong:
                status, told = await api("POST", f"/workflows/{workflow}/execute", body)
                assert status == 422 and told["detail"][0]["loc"][:2] == ["body", next(iter(body))], (body, told)
            for query in ("wait=31", "wait=nan", "wait=-1"):
                assert (await api("GET", f"/executions/{NOWHERE}?{query}"))[0] == 422
            await api.ok("PUT", f"/workflows/{workflow}", {"status": "INACTIVE"})
            assert (await api("POST", f"/workflows/{workflow}/execute", {}))[0] == 409
            assert service.called == []

    run(main)


def test_input_is_checked_before_anything_begins(storage, service):
    schema = {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}}

    async def main() -> None:
        async with serving(storage) as api:
            body: dict[str, Any] = {
                "name": "strict",
                "endpoint": service.url + "/keyed",
                "actions": [{"name": "a", "input_schema": schema}],
            }
            await api.ok("POST", "/services", body)
            steps = [{"id": "first", "service": "strict", "action": "a", "next": None}]
            workflow = (await api.ok("POST", "/workflows", {"name": "w", "steps": steps}))["id"]
            path = f"/workflows/{workflow}/execute"
            status, told = await api("POST", path, {"input_data": {"x": "no"}}, idempotency_key="k")
            assert status == 422
            assert told["detail"][0]["loc"] == ["body", "input_data", "x"] and "first" in told["detail"][0]["msg"]
            assert (await api("POST", path, {"input_data": {"x": "no"}}, idempotency_key="k")) == (status, told)
            assert (await api("POST", path, {}))[1]["detail"][0]["loc"] == ["body", "input_data"]
            assert (await api.ok("GET", "/executions"))["total"] == 0
            assert (await api("POST", path, {"input_data": {"x": 1}, "wait": 20}))[0] == 200

    run(main)


def test_more_than_there_is_room_for_wait_their_turn(storage, service):
    service.held["a"] = threading.Event()

    async def main() -> None:
        async with serving(storage, concurrency=2) as api:
            workflow = await api.workflow(service, "a")
            begun = [(await api.execute(workflow))["id"] for _ in range(5)]
            for one in begun[:2]:
                await api.until(one, lambda found: found["status"] == "RUNNING")
            await asyncio.sleep(0.6)
            assert (await api.ok("GET", "/executions?status=PENDING"))["total"] == 3
            await api.ok("POST", f"/executions/{begun[4]}/cancel")
            service.held.pop("a").set()
            assert [(await api.get(one, wait=20))["status"] for one in begun] == ["COMPLETED"] * 4 + ["CANCELLED"]
            assert len(service.called) == 4

    run(main)


def test_times_are_those_of_the_clock(tmp_path, storage, service):
    now = datetime(2031, 2, 3, 4, 5, 6, 789, tzinfo=UTC)

    async def main() -> None:
        async with serving(storage, lambda: now) as api:
            found = await api.execute(await api.workflow(service, "a"), wait=20)
            times = {found[name] for name in ("created_at", "started_at", "ended_at", "updated_at")}
            assert times == {"2031-02-03T04:05:06.000789Z"}

    run(main)
