"""The Codegen client: what each method sends, what it makes of the answer, and what it raises."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
from typing import Any

import httpx2
import pytest

import holdfast
from holdfast import RetryConfig
from holdfast.auth import BearerAuth
from holdfast.codegen import (
    AsyncCodegenClient,
    AuthenticationError,
    ClientConfig,
    CodegenAPIError,
    ConfigurationError,
    NetworkError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TimeoutError,  # noqa: A004
    ValidationError,
)
from holdfast.testing import FaultTransport, Step, VirtualClock
from tests.support.codegen import BASE, RUN, TOKEN, Service, body_of, problem
from tests.support.colours import Colour, is_a
from tests.support.loopback import RESET, Loopback, json_answer

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def test_the_basic_usage(service: Service, client: AsyncCodegenClient, holdfast_clock: VirtualClock) -> None:
    async def main() -> None:
        async with service.client() as c:
            user = await c.get_current_user()
            assert user.github_username == "user-1" and user["new_field"] == [1]
            run = await c.create_agent_run(org_id=123, prompt="Review", metadata={"priority": "high"})
            done = await c.wait_for_agent_run_completion(org_id=123, run_id=run.id, timeout=1800)
            assert done.status == "COMPLETE" and done.succeeded and not done.failed

    asyncio.run(main())
    sent = next(one for one in service.requests if one.method == "POST")
    assert body_of(sent) == {"prompt": "Review", "metadata": {"priority": "high"}}
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert sent.headers["x-request-id"].startswith("codegen-")
    assert holdfast_clock.waits == (5.0, 5.0)


def test_everything_in_both_colours(service: Service, colour: Colour) -> None:
    client = service.client()
    assert colour(client.get_current_user()).id == 1
    assert colour(client.get_user("123", "7")).github_username == "user-7"
    assert colour(client.get_user(user_id=7)).id == 7
    page = colour(client.get_users(skip=20, limit=10))
    assert [user.id for user in page] == [21, 22, 23, 24, 25] and page.total == 25
    assert colour(client.get_organizations()).items[0].name == "org 122"
    assert colour(client.get_organization(123)).name == "org 123"
    assert colour(client.get_repositories()).items[0].full_name == "ada/kit"
    run = colour(client.create_agent_run(prompt="Do it"))
    assert (run.id, run.organization_id, run.status) == (1, 123, "PENDING")
    assert colour(client.get_agent_run(123, run.id)).id == colour(client.get_agent_run(run_id="1")).id == 1
    assert [one.id for one in colour(client.list_agent_runs(123, source_type="API", user_id=3))] == [1]
    assert colour(client.resume_agent_run(123, 1, "Go on")).status == "PENDING"
    logs = colour(client.get_agent_run_logs(123, 1, limit=5, reverse=True))
    assert logs.logs[0].thought == "so" and logs.total_logs == 1
    colour(client.close())


def test_what_is_sent(service: Service, client: AsyncCodegenClient) -> None:
    client.create_agent_run(
        "123", "p", images=[PIXEL], metadata={"none": None}, repo_id=7, model="m", agent_type="codegen"
    ).result()
    assert body_of(service.requests[-1]) == {
        "prompt": "p",
        "images": [PIXEL],
        "metadata": {"none": None},
        "repo_id": 7,
        "model": "m",
        "agent_type": "codegen",
    }
    client.create_agent_run(prompt="p").result()
    assert body_of(service.requests[-1]) == {"prompt": "p"}
    client.resume_agent_run(123, "1", "on", images=[PIXEL]).result()
    assert service.requests[-1].url.path == f"{RUN}/resume"
    assert body_of(service.requests[-1]) == {"agent_run_id": 1, "prompt": "on", "images": [PIXEL]}
    client.list_agent_runs(123, user_id=3, source_type="GITHUB", skip=2, limit=1).result()
    assert dict(service.requests[-1].url.params) == {
        "skip": "2",
        "limit": "1",
        "user_id": "3",
        "source_type": "GITHUB",
    }
    client.get_agent_run_logs(123, 1, skip=1, limit=2, reverse=True).result()
    assert service.requests[-1].url.path == "/v1/alpha/organizations/123/agent/run/1/logs"
    assert dict(service.requests[-1].url.params) == {"skip": "1", "limit": "2", "reverse": "true"}


def test_methods_count_as_coroutine_functions(client: AsyncCodegenClient) -> None:
    for name in ("get_user", "create_agent_run", "wait_for_agent_run_completion", "bulk_get_users", "health_check"):
        assert inspect.iscoroutinefunction(getattr(client, name)), name


# Lists


def test_a_stream_walks_over_all_pages(service: Service, colour: Colour) -> None:
    service.users = 250
    client = service.client()

    async def ids() -> list[int]:
        return [user.id async for user in client.get_users_stream("123")]

    found = [user.id for user in client.get_users_stream("123")] if colour.sync else colour.run(ids())
    assert found == list(range(1, 251))
    assert [one.url.params["skip"] for one in service.requests] == ["0", "100", "200"]
    colour(client.close())


def test_all_runs_newest_first(service: Service, client: AsyncCodegenClient) -> None:
    for _ in range(5):
        client.create_agent_run(prompt="p").result()
    assert [run.id for run in client.get_all_agent_runs(123, page_size=2)] == [5, 4, 3, 2, 1]
    assert service.asked[f"GET {RUN}s"] == 3
    client.list_agent_runs().all().result()
    assert [run.id for run in client.get_all_agent_runs(123)] == [5, 4, 3, 2, 1]
    assert service.asked[f"GET {RUN}s"] == 5  # past the cache


def test_an_organization_is_found_on_a_later_page(client: AsyncCodegenClient) -> None:
    def page(request: httpx2.Request) -> Step:
        skip = int(request.url.params["skip"])
        items = [{"id": number, "name": f"org {number}"} for number in range(skip + 1, min(skip + 100, 250) + 1)]
        return Step(json={"items": items, "total": 250, "page": 1, "size": 100, "pages": 3})

    transport = FaultTransport(page)
    other = AsyncCodegenClient(ClientConfig(api_token=TOKEN, log_level="CRITICAL"), transport=transport)
    assert other.get_organization(203).result().name == "org 203" and len(transport.requests) == 3
    with pytest.raises(NotFoundError) as caught:
        other.get_organization("251").result()
    assert (caught.value.resource_type, caught.value.resource_id) == ("organization", "251")
    assert "no access to an organization with the id 251" in str(caught.value)


# Arguments that are wrong


def wrong(call: Any) -> Any:
    with pytest.raises(ValidationError) as caught:
        call.result()
    assert is_a(caught.value, holdfast.InvalidRequestError) and caught.value.response is None
    assert "was not sent" in caught.value.message and not caught.value.may_have_executed
    return {field: list(messages) for field, messages in caught.value.field_errors.items()}


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        ("prompt", "", "it is empty"),
        ("prompt", " \n", "it is empty"),
        ("prompt", None, "valid string"),
        ("prompt", 7, "valid string"),
        ("prompt", "x" * 100_001, "at most 100000 characters"),
        ("images", ["http://example.com/a.png"], "data URI"),
        ("images", "no", "valid list"),
        ("metadata", "no", "valid dictionary"),
        ("metadata", {"a": float("nan")}, "JSON"),
        ("repo_id", "seven", "valid integer"),
        ("repo_id", 0, "greater than or equal to 1"),
        ("model", "", "at least 1 character"),
        ("agent_type", "human", "'codegen' or 'claude_code'"),
    ],
)
def test_a_run_that_cannot_be_is_not_sent(
    service: Service, client: AsyncCodegenClient, argument: str, value: Any, said: str
) -> None:
    errors = wrong(client.create_agent_run(123, **{"prompt": "p", argument: value}))
    assert [name.split(".")[0] for name in errors] == [argument]
    assert said in str(errors) and not service.requests


def test_ids_and_parts_are_looked_at_too(service: Service, client: AsyncCodegenClient) -> None:
    assert wrong(client.get_user(123, "")) == {"user_id": ["it is empty"]}
    assert wrong(client.get_agent_run(123, True)).keys() == {"run_id"}
    assert wrong(client.get_agent_run(" ", 1)).keys() == {"org_id"}
    assert wrong(client.get_users(123, limit=101)).keys() == {"limit"}
    assert wrong(client.get_users_stream(123, page_size=0)).keys() == {"limit"}
    assert wrong(client.list_agent_runs(123, source_type="MAIL")).keys() == {"source_type"}  # type: ignore[arg-type]
    assert wrong(client.resume_agent_run(123, "one", "on")).keys() == {"agent_run_id"}
    assert wrong(client.resume_agent_run(123, 1, "")).keys() == {"prompt"}
    assert wrong(client.wait_for_agent_run_completion(123, 1, timeout=0)).keys() == {"timeout"}
    assert not service.requests


def test_an_id_cannot_leave_its_place_in_the_path(service: Service, client: AsyncCodegenClient) -> None:
    with pytest.raises(ValidationError, match="dot segment"):
        client.get_user(123, "../../users/me").result()
    service.broken["GET /v1/organizations/123/users/a/b?c"] = [Step(json={"id": 9})]
    assert client.get_user(123, "a/b?c").result().id == 9
    assert [one.url.raw_path for one in service.requests] == [b"/v1/organizations/123/users/a%2Fb%3Fc"]


def test_without_an_organization_nothing_can_be_asked() -> None:
    client = AsyncCodegenClient(ClientConfig(api_token=TOKEN), transport=FaultTransport(200))
    with pytest.raises(ConfigurationError, match="CODEGEN_ORG_ID"):
        client.get_users().result()


# Errors

STATUSES = [
    (400, 1, ValidationError),
    (401, 1, AuthenticationError),
    (402, 1, QuotaExceededError),
    (403, 1, AuthenticationError),
    (404, 1, NotFoundError),
    (409, 1, CodegenAPIError),
    (422, 1, ValidationError),
    (429, 4, RateLimitError),
    (500, 4, ServerError),
    (502, 4, ServerError),
    (503, 4, ServerError),
    (504, 4, ServerError),
]


@pytest.mark.parametrize(("status", "requests", "kind"), STATUSES)
def test_statuses(
    service: Service, client: AsyncCodegenClient, status: int, requests: int, kind: type[CodegenAPIError]
) -> None:
    service.broken["GET /v1/users/me"] = [problem(status, "it is so")] * 9
    with pytest.raises(CodegenAPIError) as caught:
        client.get_current_user().result()
    assert type(caught.value).__name__ == kind.__name__ and isinstance(caught.value, kind)
    assert is_a(caught.value, httpx2.HTTPStatusError) and caught.value.status_code == status
    assert "it is so" in caught.value.message and caught.value.endpoint == "GET /v1/users/me"
    assert len(service.requests) == requests and caught.value.request_id
    assert TOKEN not in str(caught.value) and TOKEN.encode() not in pickle.dumps(caught.value)


def test_errors_of_the_service_name_the_fields(service: Service, client: AsyncCodegenClient) -> None:
    detail = [{"loc": ["body", "prompt"], "msg": "too rude", "type": "x"}]
    service.broken[f"POST {RUN}"] = [Step(422, json={"detail": detail})]
    with pytest.raises(ValidationError) as caught:
        client.create_agent_run(prompt="p").result()
    assert caught.value.field_errors == {"prompt": ["too rude"]}


def test_what_was_not_found_is_told(client: AsyncCodegenClient) -> None:
    for call, kind in (
        (client.get_user(123, "99"), "user"),
        (client.get_agent_run(123, 99), "agent run"),
        (client.resume_agent_run(123, 99, "on"), "agent run"),
        (client.get_agent_run_logs(123, 99), "agent run"),
    ):
        with pytest.raises(NotFoundError) as caught:
            call.result()
        assert (caught.value.resource_type, caught.value.resource_id) == (kind, "99")


def test_nobody_waits_for_a_day(service: Service, client: AsyncCodegenClient) -> None:
    service.broken[f"POST {RUN}"] = [problem(429, "later", **{"Retry-After": "86400"})]
    with pytest.raises(RateLimitError) as caught:
        client.create_agent_run(prompt="p").result()
    assert caught.value.retry_after == 86400 and len(service.requests) == 1


@pytest.mark.parametrize(
    ("failure", "kind", "cause"),
    [
        (httpx2.ConnectError("refused"), NetworkError, httpx2.ConnectError),
        (httpx2.ReadError("reset"), NetworkError, httpx2.ReadError),
        (httpx2.ReadTimeout("slow"), TimeoutError, httpx2.ReadTimeout),
    ],
)
def test_what_happens_to_the_connection(
    service: Service, client: AsyncCodegenClient, failure: Exception, kind: type[Exception], cause: type[Exception]
) -> None:
    service.broken["GET /v1/users/me"] = [failure] * 9
    with pytest.raises(CodegenAPIError) as caught:
        client.get_current_user().result()
    assert type(caught.value).__name__ == kind.__name__
    assert is_a(caught.value, kind) and is_a(caught.value, cause)
    assert is_a(caught.value, OSError) is (kind is TimeoutError)  # the builtin TimeoutError is one


def test_a_deadline_of_the_callers_is_a_timeout(service: Service, holdfast_clock: VirtualClock) -> None:
    service.broken["GET /v1/users/me"] = [Step(delay=20.0, json={"id": 1})]
    with pytest.raises(TimeoutError) as caught:
        service.client().get_current_user().with_options(deadline=2.0).result()
    assert is_a(caught.value, holdfast.DeadlineExceededError)


def test_an_open_circuit_is_an_error_of_this_client(service: Service) -> None:
    client = service.client(max_retries=0)
    service.broken["GET /v1/users/me"] = [500] * 9
    for _ in range(5):
        with pytest.raises(ServerError):
            client.get_current_user().result()
    with pytest.raises(CodegenAPIError, match="Circuit breaker is OPEN") as caught:
        client.get_current_user().result()
    assert is_a(caught.value, holdfast.CircuitOpenError) and not is_a(caught.value, NetworkError)


def test_a_closed_client_says_so(service: Service) -> None:
    client = service.client()
    client.close().result()
    with pytest.raises(CodegenAPIError, match="closed"):
        client.get_current_user().result()


# What costs money

AMBIGUOUS = [httpx2.ReadTimeout("slow"), httpx2.ReadError("reset"), 500, 502, 504, 408]
CERTAIN = [httpx2.ConnectError("refused"), 429, 503]


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("failure", AMBIGUOUS)
def test_a_run_that_may_exist_is_not_made_again(
    service: Service, client: AsyncCodegenClient, failure: Any, resumed: bool
) -> None:
    path = f"{RUN}/resume" if resumed else RUN
    service.broken[f"POST {path}"] = [failure]
    call = client.resume_agent_run(123, 1, "on") if resumed else client.create_agent_run(123, "p")
    with pytest.raises(CodegenAPIError) as caught:
        call.result()
    assert caught.value.may_have_executed and "The server may have executed it" in str(caught.value)
    assert service.asked[f"POST {path}"] == 1


@pytest.mark.parametrize("failure", CERTAIN)
def test_a_run_that_cannot_exist_is_made_again(service: Service, client: AsyncCodegenClient, failure: Any) -> None:
    service.broken[f"POST {RUN}"] = [failure, failure]
    assert client.create_agent_run(123, "p").result().id == 1
    assert service.asked[f"POST {RUN}"] == 3 and len(service.runs) == 1
    assert len({one.headers["idempotency-key"] for one in service.requests}) == 1


def test_a_view_with_more_retries_pays_no_more(service: Service, client: AsyncCodegenClient) -> None:
    service.broken[f"POST {RUN}"] = [500]
    patient = client.with_options(retry=RetryConfig(max_attempts=9, min_wait_seconds=0, max_wait_seconds=0))
    with pytest.raises(ServerError):
        patient.create_agent_run(123, "p").result()
    assert len(service.requests) == 1
    service.broken[f"POST {RUN}"] = [500]
    wanted = client.with_options(retry=RetryConfig(min_wait_seconds=0, max_wait_seconds=0, replay="answered"))
    assert wanted.create_agent_run(123, "p").result().id == 1


@pytest.mark.loopback
def test_a_run_is_not_made_again_after_a_real_reset(colour: Colour) -> None:
    with Loopback() as server:
        made = {"id": 5, "organization_id": 123, "status": "PENDING"}
        server.on(RUN, RESET, json_answer(200, json.dumps(made)))
        config = ClientConfig(api_token=TOKEN, org_id=123, base_url=f"{server.url}/v1", log_level="CRITICAL")
        client = AsyncCodegenClient(config)
        error = colour.error(client.create_agent_run(prompt="p"), NetworkError)
        assert error.may_have_executed and len(server.seen) == 1
        assert colour(client.create_agent_run(prompt="p")).id == 5
        colour(client.close())


# Until a run has ended


@pytest.mark.parametrize("status", ["COMPLETE", "completed", "Failed", "CANCELLED", "error"])
def test_a_run_is_waited_for_however_it_ends(holdfast_clock: VirtualClock, colour: Colour, status: str) -> None:
    service = Service(states=("PENDING", "ACTIVE", "EVALUATING", status))
    client = service.client(agent_run_poll_interval=2.0)
    run = colour(client.create_agent_run(prompt="p"))
    seen: list[str | None] = []
    done = colour(client.wait_for_agent_run_completion(123, run.id, on_update=lambda one: seen.append(one.status)))
    assert done.status == status and done.is_finished and done.succeeded is status.lower().startswith("complete")
    assert seen == ["PENDING", "ACTIVE", "EVALUATING", status] and holdfast_clock.waits == (2.0, 2.0, 2.0)
    colour(client.close())


@pytest.mark.parametrize("status", ["PAUSED", "A_NEW_ONE", None])
def test_a_run_that_does_not_end_is_a_timeout(holdfast_clock: VirtualClock, status: Any) -> None:
    service = Service(states=("PENDING", status))
    client = service.client()
    client.create_agent_run(prompt="p").result()
    with pytest.raises(TimeoutError) as caught:
        client.wait_for_agent_run_completion(run_id=1, timeout=60).result()
    assert 55 <= holdfast_clock.elapsed <= 61
    assert is_a(caught.value, holdfast.DeadlineExceededError) and "60 s passed" in str(caught.value)
    assert caught.value.last_result.status == status  # type: ignore[attr-defined]


def test_waiting_outlasts_a_restart_of_the_service(holdfast_clock: VirtualClock) -> None:
    service = Service()
    client = service.client(max_retries=0)
    client.create_agent_run(prompt="p").result()
    service.broken[f"GET {RUN}/1"] = [503, httpx2.ConnectError("refused"), 502]
    assert client.wait_for_agent_run_completion(run_id=1).result().succeeded


def test_waiting_for_a_run_that_is_not_there(service: Service, client: AsyncCodegenClient) -> None:
    with pytest.raises(NotFoundError):
        client.wait_for_agent_run_completion(123, 99).result()
    assert len(service.requests) == 1


def test_the_time_to_wait_comes_from_the_settings(holdfast_clock: VirtualClock) -> None:
    service = Service(states=("ACTIVE",))
    client = service.client(agent_run_timeout=30.0, agent_run_poll_interval=10.0)
    client.create_agent_run(prompt="p").result()
    with pytest.raises(TimeoutError):
        client.wait_for_agent_run_completion(run_id=1).result()
    assert 25 <= holdfast_clock.elapsed <= 31


# Making one


def test_a_client_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for token in (None, "", "  "):
        with pytest.raises(ConfigurationError, match="CODEGEN_API_TOKEN") as caught:
            AsyncCodegenClient(ClientConfig(api_token=token))
        assert is_a(caught.value, ValueError)
    with pytest.raises(ConfigurationError, match="cannot be sent") as caught:
        AsyncCodegenClient(ClientConfig(api_token="with\nline"))
    assert "with\nline" not in str(caught.value)
    monkeypatch.setenv("CODEGEN_API_TOKEN", TOKEN)
    assert AsyncCodegenClient().config.token.get_secret_value() == TOKEN
    with pytest.raises(TypeError, match="must be a holdfast"):
        AsyncCodegenClient("token")  # type: ignore[arg-type]


def test_other_credentials_may_take_the_tokens_place(service: Service) -> None:
    client = AsyncCodegenClient(ClientConfig(org_id=1), auth=BearerAuth(TOKEN), transport=service.transport)
    assert client.get_current_user().result().id == 1


def test_changing_the_settings_later_changes_nothing(service: Service) -> None:
    config = ClientConfig(api_token=TOKEN, org_id=123, log_level="CRITICAL")
    client = AsyncCodegenClient(config, transport=service.transport)
    config.org_id = "7"
    config.enable_bulk_operations = False
    assert client.bulk_get_users(user_ids=[1]).result().successful_items == 1
    assert service.asked[f"GET {BASE}/users/1"] == 1


def test_what_is_switched_off_says_by_which_variable(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    for feature in ("WEBHOOKS", "BULK_OPERATIONS", "STREAMING"):
        monkeypatch.setenv(f"CODEGEN_ENABLE_{feature}", "false")
    client = service.client()
    for use, variable in (
        (lambda: client.get_users_stream(123), "CODEGEN_ENABLE_STREAMING"),
        (lambda: client.get_all_agent_runs(123), "CODEGEN_ENABLE_STREAMING"),
        (lambda: client.bulk_get_users(123, [1]), "CODEGEN_ENABLE_BULK_OPERATIONS"),
        (lambda: client.bulk_create_agent_runs(123, []), "CODEGEN_ENABLE_BULK_OPERATIONS"),
        (client.get_webhook_handler, "CODEGEN_ENABLE_WEBHOOKS"),
        (lambda: client.process_webhook(b"{}"), "CODEGEN_ENABLE_WEBHOOKS"),
    ):
        with pytest.raises(ConfigurationError, match=f"switched off: .*{variable}=true"):
            use()
    assert not service.requests
