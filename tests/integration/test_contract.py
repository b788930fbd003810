"""The Service Integration client and the reference server, which share no code, and services on sockets behind it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.integration import (
    ConflictError,
    ResourceNotFoundError,
    ServiceActionError,
    ServiceIntegrationClient,
    ServiceIntegrationSettings,
    ValidationError,
    WorkflowExecutionError,
    WorkflowResult,
)
from tests.support.colours import Colour
from tests.support.integration import MISSING
from tests.support.loopback import Answer, Loopback, Seen, json_answer
from tests.support.serving import request, serving

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
ADDRESS = {"type": "object", "properties": {"document_url": {"type": "string"}}, "required": ["document_url"]}
DOCUMENT = {"document_url": "https://example.com/document.pdf"}
FAULTS: list[dict[str, Any]] = [
    {"kind": "reset"},
    {"kind": "reset", "at": "after"},
    {"kind": "reset", "at": "body"},
    {"kind": "status", "status": 503},
]


class Texts:
    """A service with three actions. It remembers what each key was used for, and holds back while `gate` is shut."""

    def __init__(self) -> None:
        self.server = Loopback(default=json_answer(404, "{}"))
        self.done: Counter[str] = Counter()
        self.failing = False
        self.gate = threading.Event()
        self.gate.set()
        self.server.on("/api", json_answer(200, "{}"))
        for action in ("extract", "analyze", "hold"):
            self.server.on(f"/api/{action}", self._act)

    @property
    def endpoint(self) -> str:
        return f"{self.server.url}/api"

    def _act(self, seen: Seen) -> Answer:
        action, given = seen.path.rpartition("/")[2], json.loads(seen.body)
        if self.failing:
            return json_answer(500, '{"detail": "out of order"}')
        if action == "hold":
            self.gate.wait(20)
        self.done[str(seen.get("Idempotency-Key"))] += 1
        outputs = {"extract": {"text": f"text of {given.get('document_url')}"}, "hold": {"held": True}}
        output = outputs.get(action) or {"sentiment": "positive", "score": 0.75, "length": len(given["text"])}
        return json_answer(200, json.dumps(output))


class Service:
    """The server, and how it is told to misbehave."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, **settings: Any) -> ServiceIntegrationClient:
        values = {
            "url": f"{self.url}/api",
            "retry_delay": 0.01,
            "retry_max_wait": 0.05,
            "retry_budget": False,
            **settings,
        }
        return ServiceIntegrationClient(settings=ServiceIntegrationSettings(**values))

    def misbehave(self, rule: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        status, said = request(f"{self.url}/_faults", "POST", json.dumps(rule).encode(), headers)
        assert status < 300, said

    def behave(self) -> None:
        assert request(f"{self.url}/_faults", "DELETE")[0] == 200


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("data"), "--faults") as server:
        yield Service(f"http://127.0.0.1:{8005 + server.offset}")


@pytest.fixture
def service(running: Service) -> Service:
    running.behave()
    return running


@pytest.fixture
def texts() -> Iterator[Texts]:
    texts = Texts()
    yield texts
    texts.gate.set()
    texts.server.close()


@pytest.fixture
def client(service: Service, colour: Colour) -> Iterator[ServiceIntegrationClient]:
    client = service.client()
    for workflow in colour(client.get_workflows(per_page=100).all()):
        colour(client.delete_workflow(workflow.id))
    for one in colour(client.get_services(per_page=100).all()):
        colour(client.deregister_service(one.id))
    yield client
    colour(client.close())


def actions() -> list[dict[str, Any]]:
    return [
        {"name": "extract", "description": "d", "input_schema": ADDRESS, "output_schema": TEXT},
        {"name": "analyze", "input_schema": TEXT},
        {"name": "hold"},
    ]


def steps(*names: str) -> list[dict[str, Any]]:
    following = [*names[1:], None]
    return [
        {"id": f"{name}-it", "service": "texts", "action": name, "next": to and f"{to}-it"}
        for name, to in zip(names, following, strict=True)
    ]


def register(client: ServiceIntegrationClient, texts: Texts, name: str = "texts", **more: Any) -> Any:
    return client.register_service(name, "d", endpoint=texts.endpoint, actions=actions(), **more)


def test_everything_there_is(client: ServiceIntegrationClient, colour: Colour, texts: Texts) -> None:
    made = colour(register(client, texts, metadata={"version": "1", "none": None}, deduplicates=True))
    assert (made.name, made.deduplicates, made.metadata) == ("texts", True, {"version": "1", "none": None})
    assert [action.name for action in made.actions] == ["extract", "analyze", "hold"]
    assert colour(client.get_service(made.id)) == made and made.created_at is not None
    other = colour(client.register_service("down", endpoint="http://127.0.0.1:1/api", actions=[{"name": "a"}]))
    assert colour(client.update_service(other.id, status="INACTIVE")).status == "INACTIVE"
    page = colour(client.get_services(status="ACTIVE"))
    assert ([one.id for one in page], page.total, page["pages"]) == ([made.id], 1, 1)
    assert [one.id for one in colour(client.get_services(per_page=1).all())] == [other.id, made.id]
    assert colour(client.get_service_health(made.id)).status == "healthy"
    assert colour(client.get_service_health(other.id)).status == "unhealthy"
    assert colour(client.get_integration_health()).status == "healthy"
    output = colour(client.execute_service_action(made.id, "extract", DOCUMENT, {"request_id": "r-1"}))
    assert output == {"text": "text of https://example.com/document.pdf"}
    assert json.loads(texts.server.last.body) == DOCUMENT and texts.server.last.get("X-Correlation-ID") == "r-1"

    path = steps("extract", "analyze")
    colour(client.validate_workflow(path))
    workflow = colour(client.create_workflow("documents", "d", steps=path, metadata={"a": 1}))
    assert [dict(step)["next"] for step in workflow.steps] == ["analyze-it", None]
    renamed = colour(client.update_workflow(workflow.id, "documents v2", steps=workflow.steps))
    assert (renamed.name, renamed.description, renamed.steps) == ("documents v2", "d", workflow.steps)
    assert colour(client.get_workflow(workflow.id)).name == "documents v2"
    result = colour(client.execute_workflow(workflow.id, DOCUMENT, {"request_id": "r-2", "project_id": "4"}))
    assert type(result) is WorkflowResult and (result["sentiment"], result["score"]) == ("positive", 0.75)
    execution = colour(client.get_workflow_execution_status(result["execution_id"]))
    assert execution.status == "COMPLETED" and execution.context == {"request_id": "r-2", "project_id": "4"}
    assert [(step.id, step.status, step.attempts) for step in execution.steps] == [
        ("extract-it", "COMPLETED", 1),
        ("analyze-it", "COMPLETED", 1),
    ]
    for listed in (client.get_workflow_executions(workflow.id, status="COMPLETED"), client.get_executions(workflow.id)):
        assert [one.id for one in colour(listed)] == [execution.id]
    colour(client.delete_workflow(workflow.id))
    assert colour(client.deregister_service(made.id)) is not None


def test_what_goes_wrong(client: ServiceIntegrationClient, colour: Colour, texts: Texts) -> None:
    service = colour(register(client, texts))
    taken = colour.error(register(client, texts), ConflictError)
    assert "texts" in str(taken)
    for path, said in (
        ([{**steps("extract")[0], "service": "nobody"}], "nobody"),
        ([{**steps("extract")[0], "action": "guess"}], "guess"),
        ([{**steps("extract")[0], "next": "nowhere"}], "nowhere"),
        ([{**steps("extract")[0], "next": "extract-it"}], "extract-it"),
    ):
        before = colour.error(client.validate_workflow(path), ValidationError)
        refused = colour.error(client.create_workflow("w", steps=path), ValidationError)
        for error in (before, refused):
            assert any("extract-it" in text and said in text for text in error.validation_errors.values()), error
        # What is found here is found there, and at the same place.
        assert set(before.validation_errors) <= set(refused.validation_errors)
    assert colour(client.get_workflows()).total == 0
    workflow = colour(client.create_workflow("w", steps=steps("extract", "analyze")))
    assert "w" in str(colour.error(client.deregister_service(service.id), ConflictError))
    for call in (
        client.execute_workflow(workflow.id, {}),
        client.execute_service_action(service.id, "extract", {"document_url": 7}),
        client.register_service("x", endpoint="http://169.254.169.254/", actions=actions()),
        client.register_service("x", endpoint=texts.endpoint, actions=[{"name": "a", "input_schema": {"type": 7}}]),
    ):
        assert colour.error(call, ValidationError).status_code == 422
    for missing, kind in (
        (client.get_service(MISSING), "service"),
        (client.get_workflow("no-uuid"), "workflow"),
        (client.execute_workflow(MISSING, {}), "workflow"),
        (client.get_workflow_execution_status(MISSING), "execution"),
        (client.execute_service_action(service.id, "guess", {}), "action"),
    ):
        error = colour.error(missing, ResourceNotFoundError)
        assert error.resource_type == kind and error.resource_id in (MISSING, "no-uuid", "guess")
    texts.failing = True
    failed = colour.error(client.execute_service_action(service.id, "extract", DOCUMENT), ServiceActionError)
    assert (failed.service, failed.action, failed.status, failed.status_code) == ("texts", "extract", 500, 424)
    ended = colour.error(client.execute_workflow(workflow.id, DOCUMENT), WorkflowExecutionError)
    assert (ended.status, ended.step, ended.execution.error.status) == ("FAILED", "extract-it", 500)
    assert ended.error and ended.execution.steps[0].error.message
    texts.failing = False
    resumed = colour(client.resume_execution(ended.execution_id))
    assert (resumed.id, resumed.run) == (ended.execution_id, 2)
    assert colour(client.wait_for_execution(ended.execution_id))["sentiment"] == "positive"
    colour.error(client.resume_execution(ended.execution_id), ConflictError)
    colour(client.update_workflow(workflow.id, status="INACTIVE"))
    colour.error(client.execute_workflow(workflow.id, DOCUMENT), ConflictError)


def test_one_is_followed_and_cancelled(client: ServiceIntegrationClient, colour: Colour, texts: Texts) -> None:
    colour(register(client, texts))
    workflow = colour(client.create_workflow("w", steps=steps("extract", "hold")))
    texts.gate.clear()
    execution = colour(client.start_workflow(workflow.id, DOCUMENT))
    kinds: list[tuple[str, str | None]] = []

    async def follow() -> None:
        async for event in client.follow(execution.id):
            kinds.append((event.kind, event.step))
            if kinds[-1] == ("step.started", "hold-it"):
                assert (await client.cancel_execution(execution.id)).status == "CANCELLED"

    if colour.sync:
        for event in client.follow(execution.id):
            kinds.append((event.kind, event.step))
            if kinds[-1] == ("step.started", "hold-it"):
                assert client.cancel_execution(execution.id).result().status == "CANCELLED"
    else:
        colour.run(follow())
    assert kinds[:2] == [("execution.created", None), ("execution.started", None)]
    assert kinds[2:5] == [("step.started", "extract-it"), ("step.completed", "extract-it"), ("step.started", "hold-it")]
    assert kinds[-1] == ("execution.cancelled", None)
    error = colour.error(client.wait_for_execution(execution.id), WorkflowExecutionError)
    assert error.status == "CANCELLED"
    texts.gate.set()
    colour(client.resume_execution(execution.id))
    assert colour(client.wait_for_execution(execution.id))["held"] is True


@pytest.mark.parametrize("fault", FAULTS)
def test_everything_happens_once_however_often_it_is_asked_for(
    service: Service, client: ServiceIntegrationClient, colour: Colour, texts: Texts, fault: dict[str, Any]
) -> None:
    def twice(path: str) -> None:
        service.behave()
        service.misbehave({**fault, "path": path, "count": 2})

    twice("/api/services")
    made = colour(register(client, texts, deduplicates=True))
    twice("/api/workflows")
    workflow = colour(client.create_workflow("w", steps=steps("extract", "analyze")))
    twice(f"/api/workflows/{workflow.id}/execute")
    result = colour(client.execute_workflow(workflow.id, DOCUMENT))
    assert colour(client.get_executions(workflow.id)).total == 1 and result["sentiment"] == "positive"
    twice(f"/api/executions/{result.execution_id}/events")
    events = client.follow(result.execution_id)
    numbers = [event.number for event in events] if colour.sync else colour.run(_numbers(events))
    assert numbers == [*range(1, len(numbers) + 1)] and len(numbers) >= 6
    twice(f"/api/services/{made.id}/actions/extract")
    assert colour(client.execute_service_action(made.id, "extract", DOCUMENT))["text"]
    twice(f"/api/workflows/{workflow.id}")
    colour(client.delete_workflow(workflow.id))
    service.behave()
    assert colour(client.get_services()).total == 1 and colour(client.get_workflows()).total == 0
    assert len(texts.done) == 3 and set(texts.done.values()) == {1}


async def _numbers(events: Any) -> list[int]:
    return [event.number async for event in events]


def test_a_storm(service: Service, texts: Texts) -> None:
    settings = {"max_retries": 20, "circuit_breaker": False, "acquisition_timeout": 60}

    async def main() -> list[WorkflowResult]:
        async with service.client(**settings) as client:
            await client.register_service("stormy", endpoint=texts.endpoint, actions=actions(), deduplicates=True)
            path = [{**step, "service": "stormy"} for step in steps("extract", "analyze")]
            workflow = await client.create_workflow("stormy", steps=path)
            for fault in FAULTS:
                service.misbehave({**fault, "path": "/api/**", "rate": 0.1})
            calls = [client.execute_workflow(workflow.id, {"document_url": "x" * number}) for number in range(40)]
            results = await asyncio.gather(*calls)
            service.behave()
            assert (await client.get_executions(workflow.id)).total == 40
            return results

    results = asyncio.run(main())
    assert [result["length"] for result in results] == [8 + number for number in range(40)]
    assert len(texts.done) == 80 and set(texts.done.values()) == {1}
