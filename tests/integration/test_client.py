"""The Service Integration client against a stand-in for its server: what it sends, and makes of the answers."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from holdfast import exceptions as core
from holdfast.integration import (
    CircuitBreakerOpenError,
    ConflictError,
    MaxRetriesExceededError,
    ResourceNotFoundError,
    ServiceActionError,
    ServiceIntegrationClient,
    ServiceIntegrationError,
    ServiceIntegrationSettings,
    ServiceUnavailableError,
    ValidationError,
)
from holdfast.testing import FaultTransport, Step, VirtualClock
from tests.support.colours import Colour, is_a
from tests.support.integration import MISSING, RefusalError, StubRegistry
from tests.support.loopback import Loopback, answer

ACTION = {"name": "extract", "description": "d", "input_schema": {"type": "object"}, "output_schema": True}
ENDPOINT = "http://text-extraction:8000/api"
EXTRACT = {"id": "extract-text", "service": "text-extraction", "action": "extract", "next": None}


def client_of(script: Any, **settings: Any) -> tuple[ServiceIntegrationClient, FaultTransport]:
    transport = FaultTransport(script)
    return ServiceIntegrationClient(settings=ServiceIntegrationSettings(**settings), transport=transport), transport


def sent(transport: FaultTransport) -> Any:
    return json.loads(transport.requests[-1].content)


@pytest.fixture
def client(registry: StubRegistry) -> ServiceIntegrationClient:
    return client_of(registry)[0]


def register(client: ServiceIntegrationClient, name: Any = "text-extraction", **more: Any) -> Any:
    given = {"description": "", "endpoint": ENDPOINT, "actions": [ACTION], **more}
    return client.register_service(name, **given)


# What there is


def test_the_way_of_a_service(registry: StubRegistry, colour: Colour) -> None:
    client, transport = client_of(registry)
    service = colour(register(client, description="Texts", metadata={"version": None}, deduplicates=True))
    new = {"name": "text-extraction", "description": "Texts", "endpoint": ENDPOINT, "actions": [ACTION]}
    assert sent(transport) == {**new, "metadata": {"version": None}, "deduplicates": True}
    assert (service.name, service["id"], service.actions[0].name) == ("text-extraction", service.id, "extract")
    changed = colour(client.update_service(service_id=service.id, name="v2", status="ACTIVE"))
    assert sent(transport) == {"name": "v2", "status": "ACTIVE"}
    assert (changed.name, changed.description, changed.deduplicates) == ("v2", "Texts", True)
    assert colour(client.get_service(service_id=service.id)).name == "v2"
    output = colour(client.execute_service_action(service.id, "extract", {"a": None}, context={"request_id": "r"}))
    assert sent(transport) == {"input_data": {"a": None}, "context": {"request_id": "r"}}
    assert output == {"echo": {"a": None}}
    assert colour(client.deregister_service(service_id=service.id))["success"] is True
    missing = colour.error(client.get_service(service.id), ResourceNotFoundError)
    assert (missing.resource_type, missing.resource_id) == ("service", service.id)
    colour(client.close())


def test_the_way_of_a_workflow(registry: StubRegistry, colour: Colour) -> None:
    client, transport = client_of(registry)
    colour(register(client))
    workflow = colour(client.create_workflow(name="documents", description="d", steps=[EXTRACT], metadata={"a": 1}))
    assert sent(transport) == {"name": "documents", "description": "d", "steps": [EXTRACT], "metadata": {"a": 1}}
    assert workflow["steps"][0]["next"] is None and workflow.status == "ACTIVE"
    # What was read can be sent back.
    again = colour(client.update_workflow(workflow.id, steps=[*workflow.steps, {**EXTRACT, "id": "b", "timeout": 5}]))
    assert [step.id for step in again.steps] == ["extract-text", "b"] and again.steps[1].timeout == 5
    assert sent(transport)["steps"][0] == EXTRACT
    inactive = colour(client.update_workflow(workflow_id=workflow.id, status="INACTIVE"))
    assert (inactive.status, inactive.name) == ("INACTIVE", "documents")
    refused = colour.error(client.execute_workflow(workflow.id), ConflictError)
    assert "INACTIVE" in str(refused) and refused.status_code == 409
    colour(client.delete_workflow(workflow_id=workflow.id))
    assert colour.error(client.get_workflow(workflow.id), ResourceNotFoundError).resource_type == "workflow"
    colour(client.close())


@pytest.mark.parametrize("name", ["services", "workflows", "executions", "workflow_executions"])
def test_lists_come_in_pages_and_are_walked_over_all_of_them(
    registry: StubRegistry, client: ServiceIntegrationClient, name: str
) -> None:
    for number in range(12):
        register(client, f"service-{number}").result()
    made = client.create_workflow("w", steps=[{**EXTRACT, "service": "service-0"}]).result()
    for _ in range(11):
        made = client.create_workflow("w", steps=made.steps).result()
    for _ in range(12):
        client.execute_workflow(made.id).result()
    arguments = {"workflow_id": made.id} if name == "workflow_executions" else {}
    method = getattr(client, f"get_{name}")

    async def main() -> None:
        first = await method(**arguments)
        assert (len(first["items"]), first["total"], first.total, first["pages"]) == (10, 12, 12, 2)
        assert len((await method(**arguments, page=2, per_page=10))["items"]) == 2
        beyond = await method(**arguments, page=9)
        assert beyond["items"] == [] and beyond["total"] == 12
        walked = [item.id async for item in method(**arguments, per_page=5)]
        assert len(set(walked)) == 12 == len(await method(**arguments, per_page=7).all())

    asyncio.run(main())
    # As the guide reads them, without await.
    assert dict(method(**arguments))["page"] == 1 and len(method(**arguments, page=2)["items"]) == 2
    status = "COMPLETED" if "executions" in name else "ACTIVE"
    assert method(**arguments, status=status)["total"] == 12
    other = "FAILED" if "executions" in name else "INACTIVE"
    assert method(**arguments, status=other)["items"] == []


def test_health(registry: StubRegistry, client: ServiceIntegrationClient) -> None:
    assert client.get_integration_health()["status"] == "healthy"
    up, down = register(client).result(), register(client, "down", endpoint="http://127.0.0.1:1").result()
    assert dict(client.get_service_health(service_id=up.id))["status"] == "healthy"
    found = client.get_service_health(down.id).result()
    assert (found.status, found.error, found.status_code) == ("unhealthy", "connection refused", None)


def test_methods_are_coroutine_functions_and_unsent_calls_warn(client: ServiceIntegrationClient) -> None:
    for name in ("create_workflow", "get_services", "get_service", "execute_workflow", "validate_workflow"):
        assert inspect.iscoroutinefunction(getattr(client, name)), name
    for make in (
        lambda: client.execute_workflow("1"),
        lambda: client.get_services(),
        lambda: client.validate_workflow([EXTRACT]),
    ):
        with pytest.warns(RuntimeWarning, match="never sent") as caught:
            _dropped(make)
        assert len(caught) == 1


def _dropped(make: Callable[[], object]) -> None:
    make()
    gc.collect()


# How often it is tried

OPERATIONS: list[tuple[Callable[[ServiceIntegrationClient], Any], int, float, float]] = [
    (lambda c: c.create_workflow("w", steps=[EXTRACT]), 4, 0.5, 4),
    (register, 4, 0.5, 4),
    (lambda c: c.execute_workflow("1"), 4, 0.5, 4),
    (lambda c: c.start_workflow("1"), 4, 0.5, 4),
    (lambda c: c.execute_service_action("1", "a"), 4, 0.5, 4),
    (lambda c: c.update_workflow("1", "w"), 4, 0.5, 4),
    (lambda c: c.update_service("1", "s"), 4, 0.5, 4),
    (lambda c: c.cancel_execution("1"), 4, 0.5, 4),
    (lambda c: c.resume_execution("1"), 4, 0.5, 4),
    (lambda c: c.delete_workflow("1"), 3, 1, 4),
    (lambda c: c.deregister_service("1"), 3, 1, 4),
    (lambda c: c.get_workflow("1"), 3, 0.5, 2),
    (lambda c: c.get_services(), 3, 0.5, 2),
    (lambda c: c.get_services().all(), 3, 0.5, 2),
    (lambda c: c.get_integration_health(), 3, 0.5, 2),
    (lambda c: c.validate_workflow([EXTRACT]), 3, 0.5, 2),
]


@pytest.mark.parametrize("failure", [503, 502, httpx2.ConnectError, httpx2.ReadTimeout, httpx2.ReadError])
@pytest.mark.parametrize(("make", "requests", "shortest", "longest"), OPERATIONS)
def test_each_kind_of_operation_has_its_own_retries(
    holdfast_clock: VirtualClock, make: Any, requests: int, shortest: float, longest: float, failure: Any
) -> None:
    client, transport = client_of(failure)
    with pytest.raises(MaxRetriesExceededError) as caught:
        make(client).result()
    error = caught.value
    assert error.attempts == requests == len(transport.requests)
    assert len({request.headers["x-request-id"] for request in transport.requests}) == 1
    steps = [min(longest, shortest * 2**number) for number in range(1, requests)]
    assert all(shortest <= wait <= step for wait, step in zip(holdfast_clock.waits, steps, strict=True))
    last: Any = error.last_error
    assert isinstance(last, ServiceUnavailableError) and last.service_name == "Service Integration"
    assert error.__cause__ is last and error.request_id == last.request_id and error.endpoint == last.endpoint
    assert not isinstance(error, (core.ServiceUnavailableError, core.APIConnectionError))
    assert isinstance(error, (ServiceIntegrationError, core.MaxRetriesExceededError))
    assert isinstance(failure, int) is isinstance(last, httpx2.HTTPStatusError)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.attempts, type(copy.last_error)) == (type(error), requests, type(last))


@pytest.mark.parametrize("failure", [500, 505, 408])
def test_other_failures_stay_what_they_are_after_the_last_retry(holdfast_clock: VirtualClock, failure: int) -> None:
    client, transport = client_of(failure)
    with pytest.raises(core.APIConnectionError) as caught:
        client.get_workflow("1").result()
    assert len(transport.requests) == 3 and caught.value.retries_spent
    assert isinstance(caught.value, ServiceIntegrationError) and not is_a(caught.value, ServiceUnavailableError)


def test_an_unavailable_service_that_is_not_retried_is_that_and_no_more(holdfast_clock: VirtualClock) -> None:
    client, transport = client_of(Step(503, headers={"Retry-After": "86400"}))
    with pytest.raises(ServiceUnavailableError) as caught:
        client.create_workflow("w", steps=[EXTRACT]).result()
    assert len(transport.requests) == 1 and caught.value.retry_after == 86400
    assert caught.value.service_name == "Service Integration" and not caught.value.retries_spent
    # Nor is one that was allowed no retry.
    with pytest.raises(ServiceUnavailableError):
        client.get_workflow("1").with_options(retry=None).result()
    assert len(transport.requests) == 2


def test_an_open_breaker_is_told(holdfast_clock: VirtualClock) -> None:
    client, transport = client_of(503)
    for _ in range(5):
        with pytest.raises(MaxRetriesExceededError):
            client.get_workflow("1").result()
    with pytest.raises(CircuitBreakerOpenError) as caught:
        client.get_workflow("1").result()
    assert isinstance(caught.value, ServiceUnavailableError) and len(transport.requests) == 15


def test_what_a_view_or_a_call_says_wins(holdfast_clock: VirtualClock) -> None:
    client, transport = client_of(503)
    with pytest.raises(MaxRetriesExceededError) as caught:
        client.with_options(retry=ServiceIntegrationSettings(max_retries=2).retry("read")).get_workflow("1").result()
    assert caught.value.attempts == 2 == len(transport.requests)
    slow, transport = client_of(Step(delay=1000))
    with pytest.raises(TimeoutError):
        slow.with_options(deadline=3.0).get_workflow("1").result()
    assert len(transport.requests) == 1


def test_a_lost_answer_is_asked_for_again_with_the_same_key(registry: StubRegistry) -> None:
    lost: list[str] = []

    def script(request: httpx2.Request) -> Any:
        done = registry(request)
        lost.append(request.headers["idempotency-key"])
        return httpx2.ReadError if len(lost) < 3 else done

    client, _ = client_of(script)
    register(client).result()
    assert len(registry.services) == 1 and len(lost) == 3 and len(set(lost)) == 1
    careful, transport = client_of(httpx2.ReadError, server_deduplicates=False)
    with pytest.raises(ServiceUnavailableError) as caught:
        register(careful).result()
    assert len(transport.requests) == 1 and caught.value.may_have_executed


# Errors


def test_what_the_service_finds_wrong_is_told_by_field(colour: Colour) -> None:
    detail = [
        {"loc": ["body", "steps", 0, "service"], "msg": "step 'a': no service is called 'x'", "type": "t"},
        {"loc": ["body", "steps", 0, "service"], "msg": "and more", "type": "t"},
        {"loc": ["body", "name"], "msg": "too long", "type": "t"},
    ]
    client, _ = client_of(Step(422, json={"detail": detail}))
    error = colour.error(client.create_workflow("w", steps=[EXTRACT]), ValidationError)
    found = {"steps.0.service": "step 'a': no service is called 'x'; and more", "name": "too long"}
    assert error.validation_errors == found and error.field_errors["name"] == ["too long"]
    assert is_a(error, core.InvalidRequestError) and is_a(error, httpx2.HTTPStatusError)
    assert pickle.loads(pickle.dumps(error)).validation_errors == found
    for body, said in (({"detail": "no"}, "no"), (["?"], None)):
        client, _ = client_of(Step(400, json=body))
        error = colour.error(client.get_workflow("1"), ValidationError)
        assert error.validation_errors == {"request": said or error.message}


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda c: register(c, ""), "name"),
        (lambda c: register(c, "x" * 201), "name"),
        (lambda c: register(c, 7), "name"),
        (lambda c: register(c, endpoint="text-extraction:8000"), "endpoint"),
        (lambda c: register(c, endpoint="ftp://text-extraction"), "endpoint"),
        (lambda c: register(c, actions="extract"), "actions"),
        (lambda c: register(c, actions=["extract"]), "actions.0"),
        (lambda c: register(c, actions=[{"name": "a/b"}]), "actions.0.name"),
        (lambda c: register(c, actions=[{"name": ".."}]), "actions.0.name"),
        (lambda c: register(c, actions=[{"name": "a", "inputs": {}}]), "actions.0.inputs"),
        (lambda c: register(c, actions=[{"name": "a", "input_schema": "{}"}]), "actions.0.input_schema"),
        (lambda c: register(c, actions=[{"name": "a", "output_schema": {"a": {1}}}]), "actions.0.output_schema"),
        (lambda c: register(c, metadata=["a"]), "metadata"),
        (lambda c: register(c, metadata={"a": float("nan")}), "metadata"),
        (lambda c: c.update_service("1", status="active"), "status"),
        (lambda c: c.update_service("", name="n"), "service_id"),
        (lambda c: c.get_service(None), "service_id"),
        (lambda c: c.get_services(status="RUNNING"), "status"),
        (lambda c: c.get_services(page=0), "page"),
        (lambda c: c.get_services(per_page=101), "per_page"),
        (lambda c: c.get_services(per_page="many"), "per_page"),
        (lambda c: c.create_workflow("", steps=[EXTRACT]), "name"),
        (lambda c: c.create_workflow("w", steps=[]), "steps"),
        (lambda c: c.create_workflow("w", steps=7), "steps"),
        (lambda c: c.create_workflow("w", steps=EXTRACT), "steps"),
        (lambda c: c.create_workflow("w", steps=["a"]), "steps.0"),
        (lambda c: c.create_workflow("w", steps=[EXTRACT] * 101), "steps"),
        (lambda c: c.create_workflow("w", steps=[{**EXTRACT, "next": 7}]), "steps.0.next"),
        (lambda c: c.create_workflow("w", steps=[{**EXTRACT, "timeout": 0}]), "steps.0.timeout"),
        (lambda c: c.create_workflow("w", steps=[{**EXTRACT, "timeout": 3601}]), "steps.0.timeout"),
        (lambda c: c.create_workflow("w", steps=[{"id": "a", "action": "b"}]), "steps.0.service"),
        (lambda c: c.create_workflow("w", description="x" * 10_001, steps=[EXTRACT]), "description"),
        (lambda c: c.validate_workflow(["a"]), "steps.0"),
        (lambda c: c.execute_workflow("1", ["a"]), "input_data"),
        (lambda c: c.execute_workflow("1", {"a": {1, 2}}), "input_data"),
        (lambda c: c.execute_workflow("1", {"a": "\ud800"}), "input_data"),
        (lambda c: c.execute_workflow("1", {}, "context"), "context"),
        (lambda c: c.execute_workflow("1", timeout=0), "timeout"),
        (lambda c: c.execute_workflow("1", deadline=-1), "deadline"),
        (lambda c: c.execute_workflow("1", deadline="soon"), "deadline"),
        (lambda c: c.execute_workflow(""), "workflow_id"),
        (lambda c: c.start_workflow(".."), "workflow_id"),
        (lambda c: c.wait_for_execution(""), "execution_id"),
        (lambda c: c.wait_for_execution("1", deadline=0), "deadline"),
        (lambda c: c.get_workflow_execution_status("1", wait=31), "wait"),
        (lambda c: c.get_execution_events("1", after=-1), "after"),
        (lambda c: c.get_executions(status="ACTIVE"), "status"),
        (lambda c: c.get_workflow_executions("1", status="completed"), "status"),
        (lambda c: c.execute_service_action("1", ""), "action"),
        (lambda c: c.execute_service_action("1", "a", input_data="x"), "input_data"),
    ],
)
def test_arguments_that_are_wrong_are_told_and_not_sent(colour: Colour, make: Any, field: str) -> None:
    client, transport = client_of(200)
    error = colour.error(make(client), ValidationError)
    assert list(error.validation_errors) == [field] and field in str(error) and "not sent" in str(error)
    assert "Value error" not in str(error)  # pydantic's word for a check of ours
    assert str(error).startswith("ServiceIntegrationClient.") and not error.may_have_executed
    assert error.response is None and not is_a(error, httpx2.HTTPStatusError) and not transport.requests
    colour(client.close())


def test_a_name_that_is_taken_and_a_service_in_use_are_conflicts(client: ServiceIntegrationClient) -> None:
    service = register(client).result()
    client.create_workflow("w", steps=[EXTRACT]).result()
    for call in (register(client), client.deregister_service(service.id)):
        with pytest.raises(ConflictError) as caught:
            call.result()
        assert is_a(caught.value, core.ConflictError) and caught.value.status_code == 409


def test_what_is_missing_is_named(client: ServiceIntegrationClient) -> None:
    service = register(client).result()
    for call, kind, name in (
        (client.update_workflow(MISSING, "w"), "workflow", MISSING),
        (client.execute_service_action(service.id, "guess"), "action", "guess"),
        (client.get_workflow_execution_status(MISSING), "execution", MISSING),
        (client.wait_for_execution(MISSING), "execution", MISSING),
    ):
        with pytest.raises(ResourceNotFoundError) as caught:
            call.result()
        assert (caught.value.resource_type, caught.value.resource_id) == (kind, name)
        assert is_a(caught.value, core.NotFoundError) and not caught.value.may_have_executed


def test_a_server_of_another_kind_is_told_from_one_without_the_thing() -> None:
    client, _ = client_of(Step(404, json={"detail": "Not Found"}))
    with pytest.raises(
        ResourceNotFoundError, match=r"no such endpoint: check base_url \(SERVICE_INTEGRATION_URL\)"
    ) as e:
        client.get_services().result()
    assert (e.value.resource_type, e.value.resource_id) == ("endpoint", "GET /api/services")


def test_a_service_behind_the_service_that_failed(registry: StubRegistry, client: ServiceIntegrationClient) -> None:
    service = register(client).result()
    facts = {"service": "text-extraction", "action": "extract", "step": None, "status": 500}
    for told, may in (({"may_have_executed": False}, False), ({"may_have_executed": True}, True), ({}, True)):
        registry.outputs["extract"] = RefusalError(424, {"detail": "it answered 500", **facts, **told})
        before = registry.counts.total()
        with pytest.raises(ServiceActionError) as caught:
            client.execute_service_action(service.id, "extract", {}).result()
        error = caught.value
        assert (error.service, error.action, error.step, error.status) == ("text-extraction", "extract", None, 500)
        assert error.may_have_executed is may and error.status_code == 424 and "it answered 500" in str(error)
        assert is_a(error, core.APIStatusError) and registry.counts.total() == before + 1


@pytest.mark.loopback
@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"id": 7}', b""])
def test_an_answer_that_cannot_be_used_is_none_of_the_documented_errors(body: bytes) -> None:
    with Loopback() as server, ServiceIntegrationClient(server.url) as client:
        server.default = answer(200, body, ("Content-Type", "application/json"))
        with pytest.raises(core.ResponseError) as caught:
            client.create_workflow("w", steps=[EXTRACT]).result()
        assert is_a(caught.value, ServiceIntegrationError) and caught.value.may_have_executed
        others = (ValidationError, ResourceNotFoundError, ServiceUnavailableError, MaxRetriesExceededError)
        assert not any(is_a(caught.value, other) for other in others) and len(server.seen) == 1


@pytest.mark.loopback
def test_it_speaks_http(colour: Colour) -> None:
    stub = StubRegistry()
    with Loopback() as server:
        for path in ("/api/services", "/api/workflows"):
            server.on(path, stub.answer)
        client = ServiceIntegrationClient(f"{server.url}/api", timeout=5)
        colour(register(client))
        workflow = colour(client.create_workflow("w", steps=[EXTRACT]))
        server.on(f"/api/workflows/{workflow.id}/execute", stub.answer)
        assert colour(client.execute_workflow(workflow.id, {"a": 1}))["sentiment"] == "good"
        seen = server.last
        assert json.loads(seen.body) == {"input_data": {"a": 1}}
        assert seen.get("Idempotency-Key") == seen.get("X-Request-ID")
        colour(client.close())


def test_after_closing_it_says_so(client: ServiceIntegrationClient) -> None:
    client.close().result()
    with pytest.raises(ServiceIntegrationError, match="closed") as caught:
        client.get_services().result()
    assert isinstance(caught.value, core.ClientClosedError)
