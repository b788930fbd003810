"""Executions: started once, waited for until they end, followed, however often the connection is lost. Virtual time."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from holdfast import exceptions as core
from holdfast.integration import (
    ConflictError,
    Execution,
    MaxRetriesExceededError,
    ResourceNotFoundError,
    ServiceIntegrationClient,
    ServiceIntegrationError,
    ServiceIntegrationSettings,
    ServiceUnavailableError,
    ValidationError,
    WorkflowDeadlineError,
    WorkflowExecutionError,
    WorkflowResult,
)
from holdfast.testing import FaultTransport, VirtualClock
from tests.support.colours import Colour, is_a
from tests.support.integration import MISSING, StubRegistry

STEPS = [
    {"id": "extract", "service": "texts", "action": "extract", "next": "analyze"},
    {"id": "analyze", "service": "texts", "action": "analyze", "next": None},
]
KINDS = [
    "execution.created",
    "execution.started",
    "step.started",
    "step.completed",
    "step.started",
    "step.completed",
    "execution.completed",
]


class Unsteady:
    """A script that asks a registry, unless a test says otherwise.

    Attributes:
        before: requests for which it gives something get that, and the registry hears nothing. `after`: the same, but
            the registry has done it.
    """

    def __init__(self, registry: StubRegistry) -> None:
        self.registry = registry
        self.asked = 0
        self.before: Callable[[httpx2.Request], Any] = lambda request: None
        self.after: Callable[[httpx2.Request], Any] = lambda request: None

    def __call__(self, request: httpx2.Request) -> Any:
        self.asked += 1
        failure = self.before(request)
        if failure is not None:
            return failure
        done = self.registry(request)
        failure = self.after(request)
        return done if failure is None else failure


@pytest.fixture
def unsteady(registry: StubRegistry) -> Unsteady:
    return Unsteady(registry)


@pytest.fixture
def client(unsteady: Unsteady) -> ServiceIntegrationClient:
    return made(unsteady)


def made(script: Any, **settings: Any) -> ServiceIntegrationClient:
    made = ServiceIntegrationSettings(**settings)
    return ServiceIntegrationClient(settings=made, transport=FaultTransport(script))


def workflow_in(registry: StubRegistry, **more: Any) -> str:
    registry.services["s"] = {"id": "s", "name": "texts", "endpoint": "http://t/api", "actions": [], "status": "ACTIVE"}
    registry.workflows["w"] = {"id": "w", "name": "documents", "steps": STEPS, "status": "ACTIVE", **more}
    return "w"


# Waiting for the end


def test_the_result_is_the_last_output_with_its_execution(registry: StubRegistry, colour: Colour) -> None:
    client = made(registry)
    result = colour(client.execute_workflow(workflow_in(registry), {"a": None}, {"project_id": "4"}))
    assert result == {"sentiment": "good", "execution_id": result.execution_id, "status": "COMPLETED"}
    assert json.loads(json.dumps(result)) == result and result["sentiment"] == "good"
    assert result.output == {"sentiment": "good"} and result.execution.context == {"project_id": "4"}
    assert registry.started == [{"input_data": {"a": None}, "context": {"project_id": "4"}}]
    assert set(registry.counts) == {"POST /workflows/w/execute"}
    copy = pickle.loads(pickle.dumps(result))
    assert type(copy) is WorkflowResult and copy == result and copy.execution_id == result.execution_id
    status = colour(client.get_workflow_execution_status(execution_id=result["execution_id"]))
    assert (status.status, status.workflow_id, status.ended) == ("COMPLETED", "w", True)
    assert status["request_id"] == status.started_by != status.request_id
    colour(client.close())


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ({"status": "mine", "execution_id": 7}, {"status": "mine", "execution_id": 7}),
        ({}, {"status": "COMPLETED"}),
        (None, {"status": "COMPLETED"}),
        ([1], {"status": "COMPLETED"}),
    ],
)
def test_names_of_the_output_come_first(registry: StubRegistry, output: Any, shown: dict[str, Any]) -> None:
    registry.outcome = {"status": "COMPLETED", "result": output}
    result = made(registry).execute_workflow(workflow_in(registry)).result()
    assert result == {"execution_id": result.execution_id, **shown}
    assert result.output == output and result.execution_id in registry.executions


def test_a_long_one_is_waited_for_by_its_id(
    registry: StubRegistry, holdfast_clock: VirtualClock, colour: Colour
) -> None:
    registry.lasts = 50.0
    client = made(registry)
    result = colour(client.execute_workflow(workflow_in(registry), timeout=500))
    assert result["sentiment"] == "good" and registry.started[0]["timeout"] == 500
    # It is heard of as soon as it has ended, and until then asked for no more often than need be.
    assert 100.0 <= holdfast_clock.elapsed <= 100.2
    assert registry.counts["POST /workflows/w/execute"] == 1
    assert registry.counts["GET /executions/*"] == len(registry.waits) - 1 <= 20
    assert registry.waits[0] == 0.0 and set(registry.waits[1:]) == {5.0}
    colour(client.close())


@pytest.mark.parametrize(
    ("settings", "options", "wait"),
    [
        ({}, {}, 5.0),
        ({"timeout": 4}, {}, 2.0),
        ({"timeout": 300}, {}, 30.0),
        ({}, {"timeout": 3.0}, 1.5),
        ({}, {"timeout": None}, 30.0),
    ],
)
def test_the_service_waits_for_less_than_it_is_waited_for(
    registry: StubRegistry, settings: Any, options: Any, wait: float
) -> None:
    registry.lasts = 40.0
    client = made(registry, **settings)
    view = client.with_options(**options) if options else client
    assert view.execute_workflow(workflow_in(registry)).result()["status"] == "COMPLETED"
    assert set(registry.waits) == {0.0, wait}
    registry.waits.clear()
    assert [event.number for event in view.follow(view.start_workflow("w").result().id)][-1] == 7
    assert set(registry.waits) == {0.0, wait}


def test_a_lost_connection_starts_nothing_twice(
    registry: StubRegistry, unsteady: Unsteady, client: ServiceIntegrationClient
) -> None:
    registry.lasts = 2.0
    unsteady.after = lambda request: httpx2.ReadError if unsteady.asked in (1, 2, 4, 5) else None
    assert client.execute_workflow(workflow_in(registry), {"a": 1}).result()["sentiment"] == "good"
    assert len(registry.started) == 1 and registry.counts["POST /workflows/w/execute"] == 3


def test_without_a_promise_of_the_server_nothing_that_may_have_started_is_started_again(
    registry: StubRegistry, unsteady: Unsteady
) -> None:
    unsteady.after = lambda request: httpx2.ReadError
    client = made(unsteady, server_deduplicates=False)
    with pytest.raises(ServiceUnavailableError) as caught:
        client.execute_workflow(workflow_in(registry)).result()
    assert caught.value.may_have_executed and unsteady.asked == 1


@pytest.mark.parametrize(("away", "survives"), [(30.0, True), (4_000.0, False)])
def test_a_service_that_is_away_for_a_while_is_waited_for(
    registry: StubRegistry,
    holdfast_clock: VirtualClock,
    unsteady: Unsteady,
    colour: Colour,
    away: float,
    survives: bool,
) -> None:
    registry.lasts = 100.0
    unsteady.before = lambda request: httpx2.ConnectError if 10 < holdfast_clock.elapsed < 10 + away else None
    client = made(unsteady)
    if survives:
        assert colour(client.execute_workflow(workflow_in(registry)))["sentiment"] == "good"
        assert 200.0 <= holdfast_clock.elapsed <= 240.0
    else:
        error = colour.error(client.execute_workflow(workflow_in(registry)), ServiceIntegrationError)
        assert error.execution_id in registry.executions and error.may_have_executed
        assert holdfast_clock.elapsed < 300 and len(registry.started) == 1
        holdfast_clock.advance(4_000)
        assert colour(client.wait_for_execution(error.execution_id))["sentiment"] == "good"
    colour(client.close())


def test_what_is_lost_while_the_service_waits_is_never_the_id(
    registry: StubRegistry, holdfast_clock: VirtualClock, unsteady: Unsteady, colour: Colour
) -> None:
    registry.lasts = 100.0
    unsteady.after = lambda request: httpx2.ReadError if registry.waits[-1] and holdfast_clock.elapsed < 20 else None
    client = made(unsteady)
    result = colour(client.execute_workflow(workflow_in(registry)))
    assert result["sentiment"] == "good" and list(registry.executions) == [result.execution_id]
    colour(client.close())


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_one_that_does_not_complete_is_an_error(registry: StubRegistry, colour: Colour, status: str) -> None:
    failure = {"step": "analyze", "message": "the service\nanswered 500", "status": 500, "may_have_executed": True}
    registry.outcome = {"status": status, "error": failure if status == "FAILED" else None}
    client = made(registry)
    error = colour.error(client.execute_workflow(workflow_in(registry)), WorkflowExecutionError)
    (execution_id,) = registry.executions
    assert (error.execution_id, error.status, error.execution.status) == (execution_id, status, status)
    if status == "FAILED":
        assert (error.step, error.error) == ("analyze", "the service\nanswered 500")
        assert f"execution {execution_id} of workflow w failed at step 'analyze': the service answered 500. " in str(
            error
        )
        assert error.execution.error.status == 500
    else:
        assert (error.step, error.error) == (None, None) and "was cancelled. " in str(error)
    assert error.may_have_executed and not isinstance(error, (core.APIConnectionError, core.APIStatusError))
    again = colour.error(client.wait_for_execution(execution_id), WorkflowExecutionError)
    assert again.execution_id == execution_id and len(registry.started) == 1
    assert pickle.loads(pickle.dumps(error)).execution.id == execution_id
    colour(client.close())


def test_what_went_wrong_is_shown_at_some_length(registry: StubRegistry) -> None:
    registry.outcome = {"status": "FAILED", "error": {"step": "a", "message": "http://" + "x" * 1000}}
    with pytest.raises(WorkflowExecutionError, match=r"at step 'a': http://x{292}…\. resume_execution\(") as caught:
        made(registry).execute_workflow(workflow_in(registry)).result()
    assert caught.value.error == "http://" + "x" * 1000


@pytest.mark.parametrize("deadline", [0.01, 1.0, 4.0, 7.0, 60.0])
def test_a_deadline_ends_the_waiting_and_not_the_execution(
    registry: StubRegistry, holdfast_clock: VirtualClock, colour: Colour, deadline: float
) -> None:
    registry.lasts = 50.0
    client = made(registry)
    error = colour.error(client.execute_workflow(workflow_in(registry), deadline=deadline), WorkflowDeadlineError)
    assert deadline - 0.2 <= holdfast_clock.elapsed <= deadline + 0.02
    (execution_id,) = registry.executions
    assert error.execution_id == execution_id and error.execution.status == "RUNNING"
    assert is_a(error, core.DeadlineExceededError) and is_a(error, TimeoutError) and error.may_have_executed
    assert not isinstance(error, core.ServiceUnavailableError) and f"wait_for_execution({execution_id!r})" in str(error)
    late = colour.error(client.wait_for_execution(execution_id, deadline=1.0), WorkflowDeadlineError)
    assert late.execution.id == execution_id and len(registry.started) == 1
    assert colour(client.wait_for_execution(execution_id, deadline=500))["sentiment"] == "good"
    assert 100 <= holdfast_clock.elapsed <= 100.2
    colour(client.close())


def test_a_service_that_does_not_answer_is_given_up_at_the_deadline(holdfast_clock: VirtualClock) -> None:
    client = made(httpx2.ConnectError, circuit_breaker=False)
    with pytest.raises(core.APIConnectionError) as caught:
        client.execute_workflow("w", deadline=1.0).result()
    assert holdfast_clock.elapsed <= 1.01 and isinstance(caught.value, ServiceUnavailableError)
    with pytest.raises(WorkflowDeadlineError) as late:
        client.wait_for_execution("e", deadline=2.0).result()
    assert late.value.execution is None and late.value.execution_id == "e" and holdfast_clock.elapsed <= 3.02
    # Nobody has seen whether it has ended.
    assert "nothing was heard of the execution e" in str(late.value) and "ConnectError" in str(late.value)
    assert "has not ended" not in str(late.value)


def test_a_deadline_that_passes_while_the_service_is_away_says_so(
    registry: StubRegistry, unsteady: Unsteady, client: ServiceIntegrationClient, holdfast_clock: VirtualClock
) -> None:
    registry.lasts = 50.0
    unsteady.before = lambda request: httpx2.ConnectError if holdfast_clock.elapsed > 16 else None
    with pytest.raises(WorkflowDeadlineError, match=r"it was RUNNING when last looked at, and then .*ConnectError"):
        client.execute_workflow(workflow_in(registry), deadline=20.0).result()


def test_who_stops_waiting_stops_polling_and_not_the_execution(registry: StubRegistry) -> None:
    registry.lasts = 1e6
    client = made(registry)

    async def main() -> None:
        task = asyncio.create_task(client.execute_workflow(workflow_in(registry)))
        while registry.counts["GET /executions/*"] < 3:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        asked = registry.counts.total()
        for _ in range(50):
            await asyncio.sleep(0)
        assert registry.counts.total() == asked

    asyncio.run(main())
    assert registry.counts["POST /executions/*/cancel"] == 0
    (execution_id,) = registry.executions
    assert client.get_workflow_execution_status(execution_id)["status"] == "RUNNING"


def test_many_at_once(registry: StubRegistry, holdfast_clock: VirtualClock) -> None:
    registry.lasts = 20.0
    client = made(registry)

    async def main() -> list[WorkflowResult]:
        calls = [client.execute_workflow(workflow_in(registry), {"number": number}) for number in range(30)]
        return await asyncio.gather(*calls)

    results = asyncio.run(main())
    assert len({result.execution_id for result in results}) == 30 == len(registry.started)
    assert [result.execution.input_data["number"] for result in results] == list(range(30))
    assert holdfast_clock.elapsed <= 41


# Start, cancel, resume


def test_start_cancel_resume(registry: StubRegistry, holdfast_clock: VirtualClock, colour: Colour) -> None:
    registry.lasts = 50.0
    client = made(registry)
    execution = colour(client.start_workflow(workflow_in(registry), {"a": 1}))
    assert type(execution) is Execution and not execution.ended and registry.waits == [0.0]
    assert colour(client.cancel_execution(execution.id)).status == "CANCELLED"
    resumed = colour(client.resume_execution(execution.id))
    assert (resumed.status, resumed.run) == ("PENDING", 2)
    assert colour(client.wait_for_execution(execution.id)) == {
        "resumed": True, "execution_id": execution.id, "status": "COMPLETED",
    }  # fmt: skip
    for call in (client.cancel_execution(execution.id), client.resume_execution(execution.id)):
        assert colour.error(call, ConflictError).status_code == 409
    assert colour.error(client.cancel_execution(MISSING), ResourceNotFoundError).resource_type == "execution"
    colour(client.close())


# Following


def followed(client: ServiceIntegrationClient, colour: Colour, execution_id: str, **more: Any) -> list[Any]:
    events = client.follow(execution_id, **more)
    if colour.sync:
        return list(events)

    async def main() -> list[Any]:
        return [event async for event in events]

    return colour.run(main())


def test_events_come_as_they_happen(registry: StubRegistry, holdfast_clock: VirtualClock, colour: Colour) -> None:
    registry.lasts = 30.0
    client = made(registry)
    execution = colour(client.start_workflow(workflow_in(registry)))
    times: list[float] = []
    found: list[Any] = []
    if colour.sync:
        for event in client.follow(execution.id):
            times.append(holdfast_clock.elapsed)
            found.append(event)
    else:

        async def main() -> None:
            async for event in client.follow(execution.id):
                times.append(holdfast_clock.elapsed)
                found.append(event)

        colour.run(main())
    assert [event.kind for event in found] == KINDS and [event.number for event in found] == [*range(1, 8)]
    assert [event.step for event in found[2:6]] == ["extract", "extract", "analyze", "analyze"]
    due = [0, 0, 0, 30, 30, 60, 60]
    assert all(0 <= at - when <= 0.2 for at, when in zip(times, due, strict=True)), times
    assert registry.counts["GET /executions/*/events"] <= 16
    # Of one that has ended, all events are there at once; from a number on, those after it.
    assert [event.kind for event in followed(client, colour, execution.id)] == KINDS
    assert [event.number for event in followed(client, colour, execution.id, after=5)] == [6, 7]
    assert followed(client, colour, execution.id, after=7) == []
    batch = colour(client.get_execution_events(execution.id, 2, limit=3))
    assert [event.number for event in batch.events] == [3, 4, 5] and not batch.done
    colour(client.close())


@pytest.mark.parametrize("failure", [httpx2.ReadError, httpx2.ConnectError, httpx2.ReadTimeout, 503, 500])
def test_no_event_is_lost_or_comes_twice_over_lost_connections(
    registry: StubRegistry, unsteady: Unsteady, client: ServiceIntegrationClient, colour: Colour, failure: Any
) -> None:
    registry.lasts = 7.0
    execution = colour(client.start_workflow(workflow_in(registry)))
    unsteady.before = lambda request: failure if unsteady.asked % 3 == 0 else None
    unsteady.after = lambda request: failure if unsteady.asked % 4 == 0 else None
    found = followed(client, colour, execution.id)
    assert [(event.number, event.kind) for event in found] == list(enumerate(KINDS, start=1))
    colour(client.close())


def test_events_that_come_again_or_out_of_order_are_put_right(holdfast_clock: VirtualClock) -> None:
    def batch(*numbers: int, done: bool = False) -> httpx2.Response:
        return httpx2.Response(200, json={"events": [{"number": n, "kind": "x"} for n in numbers], "done": done})

    client = made([batch(2, 1), batch(), batch(1, 2, 3), batch(3, done=True)])
    assert [event.number for event in client.follow("e")] == [1, 2, 3]


def test_a_service_that_stays_away_ends_the_following(
    registry: StubRegistry, unsteady: Unsteady, client: ServiceIntegrationClient, holdfast_clock: VirtualClock
) -> None:
    registry.lasts = 30.0
    execution = client.start_workflow(workflow_in(registry)).result()
    unsteady.before = lambda request: httpx2.ConnectError if holdfast_clock.elapsed > 20 else None
    seen = []
    with pytest.raises((MaxRetriesExceededError, ServiceUnavailableError)) as caught:
        for event in client.follow(execution.id):
            seen.append(event.number)  # noqa: PERF401  # what came before the error is what matters
    assert seen == [1, 2, 3] and holdfast_clock.elapsed < 200 and caught.value.execution_id == execution.id
    unsteady.before = lambda request: None
    holdfast_clock.advance(30)
    assert [event.number for event in client.follow(execution.id, after=3)] == [4, 5, 6, 7]


def test_a_cancelled_execution_ends_the_following(registry: StubRegistry) -> None:
    registry.lasts = 1e6
    client = made(registry)
    execution = client.start_workflow(workflow_in(registry)).result()
    kinds = []
    for event in client.follow(execution.id):
        kinds.append(event.kind)
        if event.kind == "step.started":
            client.cancel_execution(execution.id).result()
    assert kinds == [*KINDS[:3], "execution.cancelled"]


def test_what_cannot_be_followed(registry: StubRegistry, colour: Colour) -> None:
    client = made(registry)
    for arguments, kind in (
        ({"execution_id": MISSING}, ResourceNotFoundError),
        ({"execution_id": ""}, ValidationError),
        ({"execution_id": "e", "after": -1}, ValidationError),
        ({"execution_id": "e", "after": "all"}, ValidationError),
    ):
        with pytest.raises(kind):
            followed(client, colour, **arguments)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="write 'async for'"):
            for _ in client.follow("e"):
                pass

    asyncio.run(main())
    colour(client.close())


def test_leaving_the_loop_asks_no_more(registry: StubRegistry, colour: Colour) -> None:
    registry.lasts = 1e6
    client = made(registry)
    execution = colour(client.start_workflow(workflow_in(registry)))
    if colour.sync:
        for _ in client.follow(execution.id):
            break
    else:

        async def main() -> None:
            async for _ in client.follow(execution.id):
                break

        colour.run(main())
    assert registry.counts["GET /executions/*/events"] == 1
    colour(client.close())
