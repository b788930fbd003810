"""Bulks: results in order, exact errors, batches, workers, progress, and what stops one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

import holdfast
from holdfast.codegen import AsyncCodegenClient, BulkOperationError, CodegenAPIError, CreateAgentRunRequest
from holdfast.testing import Step, VirtualClock
from tests.support.codegen import BASE, RUN, Service, body_of
from tests.support.colours import Colour, is_a


def test_the_guides_way(service: Service, colour: Colour) -> None:
    client = service.client()
    result = colour(client.bulk_get_users("123", ["1", "2", "3", "4", "5"]))
    assert [user and str(user.id) for user in result.results] == ["1", "2", "3", "4", "5"]
    assert result.success_rate == 100.0 and result.duration_seconds > 0 and len(service.requests) == 5
    configs = [{"prompt": f"Do {number}", "metadata": {"number": number}} for number in range(3)]
    made = colour(client.bulk_create_agent_runs(123, configs))
    assert (made.total_items, made.successful_items, made.failed_items) == (3, 3, 0)
    assert len({run and run.id for run in made.results}) == 3
    sent = [body_of(one) for one in service.requests if one.method == "POST"]
    assert sorted(sent, key=lambda one: one["prompt"]) == configs
    colour(client.close())


def test_what_is_missing_is_named(service: Service, client: AsyncCodegenClient) -> None:
    result = client.bulk_get_users("123", ["3", "99999", "1"]).result()
    assert (result.total_items, result.successful_items, result.failed_items) == (3, 2, 1)
    assert [user and user.id for user in result.results] == [3, None, 1]
    (failure,) = result.errors
    assert (failure["index"], failure["item"], failure["error_type"]) == (1, "99999", "NotFoundError")
    assert "User not found." in failure["error"] and result.success_rate == pytest.approx(200 / 3)


def test_a_thousand_with_failures_in_their_order(service: Service) -> None:
    service.users = 900
    client = service.client(max_retries=2, retry_delay=0.001, retry_max_wait=0.001, rate_limit_requests_per_period=9999)
    ids = list(range(1, 1001))
    random.Random(7).shuffle(ids)
    for one in ids[::10]:
        service.broken[f"GET {BASE}/users/{one}"] = [503]  # once
    seen: list[tuple[int, int | None]] = []
    result = client.bulk_get_users(123, ids, workers=10, progress=lambda done, of: seen.append((done, of))).result()
    missing = {index for index, one in enumerate(ids) if one > 900}
    assert [user.id if user else None for user in result.results] == [one if one <= 900 else None for one in ids]
    assert [failure.index for failure in result.errors] == sorted(missing)
    assert all(failure.item == ids[failure.index] for failure in result.errors)
    assert seen[0] == (0, 1000) and seen[-1] == (1000, 1000)
    assert [done for done, _ in seen] == list(range(1001))


def test_an_item_that_is_wrong_is_not_sent(service: Service, client: AsyncCodegenClient) -> None:
    configs: list[Any] = [
        {"prompt": "right"},
        {"prompt": ""},
        {"prompt": "p", "promt": "x"},
        {"metadata": {}},
        "p",
        CreateAgentRunRequest(prompt="right too"),
    ]
    result = client.bulk_create_agent_runs(123, configs).result()
    assert [failure.index for failure in result.errors] == [1, 2, 3, 4]
    assert len(service.requests) == 2 and result.successful_items == 2
    assert {failure.error_type for failure in result.errors} == {"ValidationError"}
    assert "prompt: it is empty" in result.errors[0].error and "promt" in result.errors[1].error
    assert all("\n" not in failure.error for failure in result.errors)


def test_a_run_that_may_exist_says_so(service: Service, client: AsyncCodegenClient) -> None:
    service.broken[f"POST {RUN}"] = [httpx2.ReadError("reset")]
    result = client.bulk_create_agent_runs(123, [{"prompt": "p"}] * 3, workers=1).result()
    (failure,) = result.errors
    assert failure.index == 0 and isinstance(failure.exception, CodegenAPIError)
    assert failure.exception.may_have_executed and failure.error_type == "NetworkError"
    assert service.asked[f"POST {RUN}"] == 3


class InFlight:
    """How many are answered at a time, and in which order they were begun."""

    def __init__(self, clock: VirtualClock) -> None:
        self.now = self.most = 0
        self.begun: list[tuple[float, str]] = []
        self.clock = clock

    def __call__(self, request: httpx2.Request) -> Step:
        self.begun.append((round(self.clock.elapsed, 3), request.url.path.rsplit("/", 1)[1]))
        return Step(json={"id": 1}, delay=1.0)


@pytest.mark.parametrize(
    ("settings", "given", "begins"),
    [
        ({}, {}, [0] * 5 + [1] * 5 + [2] * 2),
        ({"bulk_max_workers": 12}, {}, [0] * 12),
        ({}, {"workers": 3}, [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3),
        ({"bulk_batch_size": 4}, {}, [0] * 4 + [1] * 4 + [2] * 4),
        ({"bulk_batch_size": 4}, {"batch_size": 6, "workers": 4}, [0] * 4 + [1] * 2 + [2] * 4 + [3] * 2),
    ],
)
def test_workers_and_batches(
    holdfast_clock: VirtualClock, settings: dict[str, Any], given: dict[str, Any], begins: list[int]
) -> None:
    service = Service()
    watched = InFlight(holdfast_clock)
    service.transport = type(service.transport)(watched)
    client = service.client(**settings)
    assert client.bulk_get_users(123, range(1, 13), **given).result().successful_items == 12
    assert [when for when, _ in watched.begun] == begins
    assert sorted(int(id_) for _, id_ in watched.begun) == list(range(1, 13))


def test_a_bulk_of_nothing_and_of_an_iterator(service: Service, client: AsyncCodegenClient) -> None:
    seen: list[Any] = []
    empty = client.bulk_get_users(123, [], progress=lambda *told: seen.append(told)).result()
    assert (empty.total_items, empty.success_rate, seen) == (0, 100.0, [(0, 0)])

    def ids() -> Iterator[int]:
        yield from (1, 2, 3)

    seen.clear()
    result = client.bulk_get_users(123, ids(), batch_size=2, progress=lambda *told: seen.append(told)).result()
    assert result.successful_items == 3 and seen == [(0, None), (1, None), (2, None), (3, None)]


def test_one_may_stop_at_the_first_failure(service: Service, client: AsyncCodegenClient) -> None:
    call = client.bulk_get_users(123, [1, 2, 99, 3, 4], batch_size=2, workers=1, stop_on_error=True)
    with pytest.raises(BulkOperationError) as caught:
        call.result()
    error = caught.value
    assert is_a(error, holdfast.NotFoundError) and error.result is not None
    assert [failure.index for failure in error.result.errors] == [2]
    assert (error.result.total_items, error.result.successful_items) == (3, 2) and len(service.requests) == 3


def test_a_deadline_is_for_the_whole(holdfast_clock: VirtualClock, service: Service) -> None:
    service.transport = type(service.transport)(InFlight(holdfast_clock))
    client = service.client()
    with pytest.raises(BulkOperationError) as caught:
        client.bulk_get_users(123, range(1, 13), batch_size=2, workers=1, deadline=5.5).result()
    error = caught.value
    assert is_a(error, holdfast.DeadlineExceededError) and holdfast_clock.elapsed == pytest.approx(5.5, abs=0.1)
    assert error.result is not None and (error.result.successful_items, error.result.failed_items) == (5, 1)
    assert error.result.errors[0].index == 5 and error.result.duration_seconds == pytest.approx(5.5, abs=0.1)


def test_a_bulk_that_is_cancelled_sends_nothing_more(service: Service, holdfast_clock: VirtualClock) -> None:
    watched = InFlight(holdfast_clock)
    service.transport = type(service.transport)(watched)
    client = service.client()

    async def main() -> None:
        task = asyncio.create_task(client.bulk_get_users(123, range(1, 100), batch_size=10))
        await holdfast_clock.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await holdfast_clock.sleep(10)

    asyncio.run(main())
    assert len(watched.begun) == 10 and client.resilient.bulkhead.in_flight == 0


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"user_ids": "123"}, TypeError, "must be a list, or another iterable, not str"),
        ({"user_ids": 7}, TypeError, "not int"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be a whole number, not float"),
        ({"workers": 0}, ValueError, "workers must be at least 1, not 0"),
        ({"progress": 7}, TypeError, "progress must be a function"),
        ({"deadline": -1}, ValueError, "deadline"),
    ],
)
def test_arguments_that_are_wrong(
    client: AsyncCodegenClient, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        client.bulk_get_users(123, **{"user_ids": [1], **arguments}).result()


def test_bulks_are_counted(service: Service, client: AsyncCodegenClient) -> None:
    client.bulk_get_users(123, [1, 99]).result()
    with pytest.raises(BulkOperationError):
        client.bulk_get_users(123, [99, 1], workers=1, stop_on_error=True).result()
    found = client.get_metrics_summary()["bulk_operations"]
    assert found["enabled"] is True and (found["max_workers"], found["batch_size"]) == (5, 100)
    assert (found["total_operations"], found["total_items"], found["failed_items"]) == (2, 3, 2)
    assert found["success_rate"] == pytest.approx(100 / 3) and found["duration_seconds"] > 0
