"""What is kept, for how long, and what makes it be forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from holdfast import Call
from holdfast.codegen import AsyncCodegenClient, CodegenAPIError, NotFoundError
from holdfast.testing import VirtualClock
from tests.support.codegen import BASE, RUN, Service
from tests.support.colours import Colour

KINDS: list[tuple[str, float, Callable[[AsyncCodegenClient], Call[Any]]]] = [
    ("GET /v1/users/me", 600.0, lambda client: client.get_current_user()),
    (f"GET {BASE}/users/7", 600.0, lambda client: client.get_user(123, 7)),
    (f"GET {BASE}/users", 600.0, lambda client: client.get_users(123)),
    ("GET /v1/organizations", 1800.0, lambda client: client.get_organizations()),
    ("GET /v1/organizations", 1800.0, lambda client: client.get_organization(123)),
    (f"GET {BASE}/repos", 90.0, lambda client: client.get_repositories(123)),
    (f"GET {RUN}/1", 60.0, lambda client: client.get_agent_run(123, 1)),
    (f"GET {RUN}s", 60.0, lambda client: client.list_agent_runs(123)),
    ("GET /v1/alpha/organizations/123/agent/run/1/logs", 60.0, lambda client: client.get_agent_run_logs(123, 1)),
]


@pytest.mark.parametrize(("endpoint", "ttl", "call"), KINDS)
def test_every_kind_is_kept_for_its_time(holdfast_clock: VirtualClock, endpoint: str, ttl: float, call: Any) -> None:
    service = Service()
    client = service.client(cache_ttl_seconds=90.0)
    client.create_agent_run(123, "p").result()
    for _ in range(3):
        call(client).result()
    holdfast_clock.advance(ttl - 1.0)
    call(client).result()
    assert service.asked[endpoint] == 1
    holdfast_clock.advance(2.0)
    call(client).result()
    assert service.asked[endpoint] == 2


def test_both_calls_give_the_user(service: Service, colour: Colour) -> None:
    client = service.client()
    first, second = colour(client.get_current_user()), colour(client.get_current_user())
    assert first == second and first is not second and len(service.requests) == 1
    colour(client.close())


def test_without_caching_everything_is_asked(service: Service) -> None:
    client = service.client(enable_caching=False)
    for _ in range(2):
        client.get_current_user().result()
        client.get_users(123).result()
    assert len(service.requests) == 4 and len(client.resilient.cache) == 0


def test_each_client_has_a_cache_of_its_own(service: Service) -> None:
    for _ in range(2):
        service.client().get_current_user().result()
    assert len(service.requests) == 2


def test_one_call_may_go_past_the_cache(service: Service, client: AsyncCodegenClient) -> None:
    client.get_current_user().result()
    client.get_current_user().with_options(cache_ttl=0).result()
    client.with_options(cache_ttl=0).get_current_user().result()
    assert len(service.requests) == 3


def test_the_cache_holds_no_more_than_it_may(service: Service) -> None:
    client = service.client(cache_max_size=3)
    for number in (1, 2, 3, 4, 1):
        client.get_user(123, number).result()
    assert len(client.resilient.cache) == 3 and service.asked[f"GET {BASE}/users/1"] == 2


READS = (f"GET {RUN}/1", f"GET {RUN}s", "GET /v1/alpha/organizations/123/agent/run/1/logs")


def read(client: AsyncCodegenClient) -> None:
    client.get_agent_run(123, 1).result()
    client.list_agent_runs(123).result()
    client.get_agent_run_logs(123, 1).result()
    client.get_current_user().result()


@pytest.mark.parametrize("resumed", [False, True])
def test_creating_and_resuming_forget_the_runs(service: Service, client: AsyncCodegenClient, resumed: bool) -> None:
    client.create_agent_run(123, "p").result()
    read(client)
    (client.resume_agent_run(123, 1, "on") if resumed else client.create_agent_run(123, "p")).result()
    read(client)
    assert [service.asked[one] for one in READS] == [2, 2, 2]
    assert service.asked["GET /v1/users/me"] == 1


@pytest.mark.parametrize(("failure", "asked"), [(httpx2.ReadTimeout("slow"), 2), (422, 1)])
def test_what_may_have_been_created_is_looked_for(
    service: Service, client: AsyncCodegenClient, failure: Any, asked: int
) -> None:
    client.create_agent_run(123, "p").result()
    client.list_agent_runs(123).result()
    service.broken[f"POST {RUN}"] = [failure]
    with pytest.raises(CodegenAPIError):
        client.create_agent_run(123, "p").result()
    client.list_agent_runs(123).result()
    assert service.asked[f"GET {RUN}s"] == asked


def test_the_runs_of_others_stay(service: Service, client: AsyncCodegenClient) -> None:
    other = "GET /v1/organizations/7/agent/run/1"
    service.broken[other] = [200, 200]
    client.create_agent_run(123, "p").result()
    client.get_agent_run(7, 1).raw().result()
    client.create_agent_run(123, "p").result()
    client.get_agent_run(7, 1).raw().result()
    assert service.asked[other] == 1


def test_polls_go_past_the_cache_and_their_end_is_seen(holdfast_clock: VirtualClock, service: Service) -> None:
    client = service.client()
    client.create_agent_run(123, "p").result()
    assert client.get_agent_run(123, 1).result().status == "PENDING"
    assert client.wait_for_agent_run_completion(123, 1).result().status == "COMPLETE"
    assert client.get_agent_run(123, 1).result().status == "COMPLETE"


def test_an_organization_that_is_not_in_the_list_is_looked_for_again(
    service: Service, client: AsyncCodegenClient
) -> None:
    for _ in range(2):
        with pytest.raises(NotFoundError):
            client.get_organization(7).result()
    assert service.asked["GET /v1/organizations"] == 2


def test_one_request_for_many_who_ask_at_once(service: Service) -> None:
    colour = Colour(sync=False)
    client = service.client()

    async def main() -> None:
        import asyncio

        users = await asyncio.gather(*(client.get_current_user() for _ in range(20)))
        assert {user.id for user in users} == {1}

    colour.run(main())
    assert len(service.requests) == 1
    colour.close()
