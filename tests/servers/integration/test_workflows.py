"""The registry's workflows, in process."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from holdfast.servers.integration.plans import plan, target
from tests.support.registry import TEXT_IN, step

NOW = "2024-02-29T12:00:00.123456Z"
MISSING = "6e1f4b9c-0000-4000-8000-000000000000"


def test_a_workflow_is_kept_as_it_was_given(everywhere):
    everywhere.service()
    given = {
        "name": "document-processing",
        "description": "d",
        # In no particular order.
        "steps": [
            {**step("third", None), "timeout": 2.5},
            {**step("first", "second", action="clean"), "timeout": None},
            {**step("second", "third"), "timeout": 3600},
        ],
        "metadata": {"version": "1.0.0"},
        "status": "INACTIVE",
    }
    answer = everywhere("POST", "/workflows", given)
    workflow = answer.json()
    assert answer.status_code == 201
    assert str(UUID(workflow["id"])) == workflow["id"]
    assert workflow == {**given, "id": workflow["id"], "created_at": NOW, "updated_at": NOW}
    assert everywhere.ok("GET", f"/workflows/{workflow['id']}") == workflow
    assert everywhere.ok("GET", "/health")["workflows"] == {"total": 1, "active": 0}


def test_an_execution_learns_the_order_and_the_schemas(everywhere):
    actions = [{"name": "extract", "input_schema": TEXT_IN, "output_schema": True}, {"name": "clean"}]
    service = everywhere.service(actions=actions, deduplicates=True)
    workflow = everywhere.workflow(step("c", None), step("a", "b", action="clean"), step("b", "c"))
    database = everywhere.served.app.state.resources.database

    async def planned():
        async with database.reading() as connection:
            found = await plan(connection, workflow["id"])
            assert await target(connection, found.steps[0].service_id, "gone") is None
            assert await target(connection, MISSING, "clean") is None
            return found, await target(connection, service["id"], "extract")

    found, action = everywhere.served.run(planned())
    assert [one.id for one in found.steps] == ["a", "b", "c"]
    assert [one.next for one in found.steps] == ["b", "c", None]
    assert [one.input_schema for one in found.steps] == [{}, TEXT_IN, TEXT_IN]
    assert found.steps[1].output_schema is True and found.active
    assert (action.name, action.endpoint, action.deduplicates, action.active) == (
        "text",
        "http://text.invalid/api",
        True,
        True,
    )
    everywhere.ok("PUT", f"/services/{service['id']}", {"status": "INACTIVE", "endpoint": "http://v2.invalid"})
    _, action = everywhere.served.run(planned())
    assert (action.endpoint, action.active) == ("http://v2.invalid", False)


REFUSED: list[tuple[dict[str, Any], set[str]]] = [
    ({"name": ""}, {"name"}),
    ({"steps": []}, {"steps"}),
    ({"steps": [step(str(n), None) for n in range(101)]}, {"steps"}),
    ({"steps": [step("", None)]}, {"steps.0.id"}),
    ({"steps": [step("i" * 201, None)]}, {"steps.0.id"}),
    ({"steps": [{**step("a", None), "timeout": 0}]}, {"steps.0.timeout"}),
    ({"steps": [{**step("a", None), "timeout": 3601}]}, {"steps.0.timeout"}),
    ({"steps": [{**step("a", None), "timeout": "1"}]}, {"steps.0.timeout"}),
    ({"steps": [{"id": "a"}]}, {"steps.0.service", "steps.0.action"}),
    ({"steps": [step("a", None, service="x")]}, {"steps.0.service"}),
    ({"steps": [step("a", None, action="x")]}, {"steps.0.action"}),
    ({"steps": [step("a", "x")]}, {"steps.0.next"}),
    ({"steps": [step("a", "a")]}, {"steps.0.next"}),
    ({"steps": [step("a", "b"), step("b", "a")]}, {"steps.1.next"}),
    ({"steps": [step("a", None), step("b", None)]}, {"steps.1.id"}),
    ({"steps": [step("a", "c"), step("b", "c"), step("c", None)]}, {"steps.1.next", "steps.1.id"}),
    ({"steps": [step("a", None), step("a", None)]}, {"steps.1.id"}),
]


def test_what_cannot_be_a_workflow_names_the_place(registry):
    registry.service()
    for fields, where in REFUSED:
        problems = registry.problems("POST", "/workflows", {"name": "w", "steps": [step("a", None)], **fields})
        assert problems.keys() == where, (fields, problems)
    assert registry.ok("GET", "/workflows")["total"] == 0


def test_all_that_is_wrong_with_steps_is_told_at_once_and_what_to_do(registry):
    registry.service()
    steps = [step("a", "b"), step("b", None, service="no"), step("c", "d"), step("d", "c"), step("e", "b", action="no")]
    assert registry.problems("POST", "/workflows", {"name": "w", "steps": steps}) == {
        "steps.1.service": "step 'b': no service is called 'no'; register it first",
        "steps.3.next": "step 'd': closes a cycle, c -> d -> c; a workflow has to end",
        "steps.4.action": "step 'e': service 'text' has no action 'no'; it has 'extract', 'clean'",
        "steps.4.next": "step 'e': leads to 'b', as step 'a' does; only one step may",
        "steps.4.id": "step 'e': is never reached, for no step leads to it, and the workflow begins with 'a'; let the"
        " step before it name it as its next, or leave it out",
    }


def test_there_is_no_such_workflow(registry):
    for missing in (MISSING, "123"):
        for method, body in [("GET", None), ("PUT", {"name": "n"}), ("DELETE", None)]:
            answer = registry(method, f"/workflows/{missing}", body)
            assert (answer.status_code, answer.json()) == (
                404,
                {"detail": f"Workflow not found: {missing}", "resource_type": "workflow", "resource_id": missing},
            )


def test_a_change_changes_what_is_given(everywhere):
    everywhere.service()
    before = everywhere.workflow(description="d", metadata={"a": 1})
    path = f"/workflows/{before['id']}"
    everywhere.served.clock.advance(seconds=1)
    assert everywhere.ok("PUT", path, {}) == before
    later = {"updated_at": "2024-02-29T12:00:01.123456Z"}
    changed = everywhere.ok("PUT", path, {"name": "v2", "status": "INACTIVE"})
    assert changed == {**before, "name": "v2", "status": "INACTIVE", **later}
    steps = [{**step("b", "c"), "timeout": 1.0}, {**step("c", None, action="clean"), "timeout": None}]
    assert everywhere.ok("PUT", path, {"steps": steps}) == {**changed, "steps": steps}
    assert everywhere.problems("PUT", path, {"steps": [step("a", "b")]}).keys() == {"steps.0.next"}
    for name in ("name", "steps", "metadata", "status", "description"):
        assert everywhere.problems("PUT", path, {name: None}).keys() == {name}
    assert everywhere.ok("GET", path) == {**changed, "steps": steps}


def test_lists_have_pages_and_filters(everywhere):
    everywhere.service()
    # Names need not be unique.
    made = [everywhere.workflow(status="INACTIVE" if n % 2 else "ACTIVE") for n in range(5)][::-1]
    assert everywhere.ok("GET", "/workflows") == {"items": made, "total": 5, "page": 1, "per_page": 10, "pages": 1}
    page = everywhere.ok("GET", "/workflows", params={"page": 2, "per_page": 2})
    assert page == {"items": made[2:4], "total": 5, "page": 2, "per_page": 2, "pages": 3}
    page = everywhere.ok("GET", "/workflows", params={"status": "INACTIVE", "per_page": 1, "page": 2})
    assert (page["items"], page["total"], page["pages"]) == ([made[3]], 2, 2)
    assert everywhere.ok("GET", "/workflows", params={"page": 99})["items"] == []
    for params in ({"page": 0}, {"per_page": 101}, {"status": "x"}):
        assert everywhere.refused("GET", "/workflows", params=params)[0] == 422


def test_a_workflow_that_is_executed_stays(registry, peer):
    registry.service(endpoint=peer.url, status="INACTIVE")
    workflow = registry.workflow()
    database = registry.served.app.state.resources.database
    unfinished = registry.ok("POST", f"/workflows/{workflow['id']}/execute", {"wait": 10})
    assert unfinished["status"] == "FAILED"

    async def unfinish(status: str) -> None:
        from sqlalchemy import update

        from holdfast.servers.integration.executions.tables import executions

        async with database.writing() as connection:
            await connection.execute(update(executions).values(status=status))

    registry.served.run(unfinish("PENDING"))
    status, detail = registry.refused("DELETE", f"/workflows/{workflow['id']}")
    assert status == 409 and "1 execution " in detail
    registry.served.run(unfinish("FAILED"))
    assert registry.ok("DELETE", f"/workflows/{workflow['id']}")["success"] is True
    assert registry.refused("GET", f"/workflows/{workflow['id']}")[0] == 404
    assert registry.ok("GET", f"/executions/{unfinished['id']}")["workflow_id"] == workflow["id"]


def test_a_service_is_not_removed_while_a_workflow_comes_to_use_it(everywhere):
    ask = everywhere.served.ask
    for turn in range(6):
        service = everywhere.service(f"s{turn}")
        steps = [step("a", None, service=f"s{turn}")]
        asked = [
            ask("POST", "/api/workflows", {"name": "w", "steps": steps}),
            ask("DELETE", f"/api/services/{service['id']}"),
        ]
        order = asked if turn % 2 else asked[::-1]
        answers = everywhere.served.together(*order)
        made, gone = answers if turn % 2 else answers[::-1]
        assert (made.status_code, gone.status_code) in {(201, 409), (422, 200)}
