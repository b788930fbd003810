"""The Codegen client and the reference server, which share no code, in processes of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.codegen import (
    AsyncCodegenClient,
    AuthenticationError,
    ClientConfig,
    CodegenAPIError,
    NotFoundError,
    ValidationError,
)
from tests.support.codegen_runs import TOKEN, create
from tests.support.colours import Colour
from tests.support.serving import request, serving

pytestmark = pytest.mark.loopback


class Server:
    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, **settings: Any) -> AsyncCodegenClient:
        known = {"api_token": TOKEN, "org_id": 123, "base_url": f"{self.url}/v1", "log_level": "CRITICAL"}
        quick = {"retry_delay": 0.01, "retry_max_wait": 0.05, "rate_limit_requests_per_period": 6000}
        return AsyncCodegenClient(ClientConfig(**{**known, **quick, **settings}))

    def misbehave(self, rule: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        status, said = request(f"{self.url}/_faults", "POST", json.dumps(rule).encode(), headers)
        assert status < 300, said


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"CODEGEN_API_TOKEN": TOKEN, "CODEGEN_RELAXED_LIMITS": "true", "CODEGEN_RUN_SECONDS": "0.5"}
    with serving(tmp_path_factory.mktemp("data"), "--faults", env=env) as server:
        yield Server(f"http://127.0.0.1:{8010 + server.offset}")


@pytest.fixture
def server(running: Server) -> Server:
    assert request(f"{running.url}/_faults", "DELETE")[0] == 200
    return running


def test_everything_there_is(server: Server, colour: Colour) -> None:
    client = server.client(agent_run_poll_interval=0.1)
    me = colour(client.get_current_user())
    assert me.github_username and colour(client.get_user(user_id=me.id)).id == me.id
    users = colour(client.get_users(limit=10))
    assert len(users) == 10 and users.total == 25
    assert len(colour(client.get_users(limit=10).all())) == 25
    assert colour(client.get_organization()).id == 123 and colour(client.get_organizations()).total == 1
    assert colour(client.get_repositories()).total is not None
    run = colour(client.create_agent_run(prompt="Review", metadata={"priority": "high", "none": None}))
    assert run.organization_id == 123 and not run.is_finished
    done = colour(client.wait_for_agent_run_completion(run_id=run.id, timeout=60))
    assert done.succeeded and done.metadata == {"priority": "high", "none": None}
    again = colour(client.resume_agent_run(run_id=run.id, prompt="And the tests"))
    assert again.id == run.id
    assert colour(client.wait_for_agent_run_completion(run_id=run.id, timeout=60)).succeeded
    logs = colour(client.get_agent_run_logs(run_id=run.id, limit=2))
    assert logs.id == run.id and logs.total_logs is not None and len(logs.logs) <= 2
    assert run.id in [one.id for one in colour(client.list_agent_runs(source_type="API"))]
    result = colour(client.bulk_get_users(user_ids=["3", "99999", "1"]))
    assert [user and user.id for user in result.results] == [3, None, 1]
    assert result.errors[0].error_type == "NotFoundError"
    assert colour(client.health_check()).healthy
    colour(client.close())


def test_what_goes_wrong(server: Server, colour: Colour) -> None:
    client = server.client()
    for call in (client.get_user(user_id=99999), client.get_agent_run(run_id=99999)):
        missing = colour.error(call, NotFoundError)
        assert missing.resource_id == "99999"
    assert colour.error(client.get_users("no-number"), ValidationError).field_errors.keys() == {"org_id"}
    assert colour.error(client.get_users(7), CodegenAPIError).status_code in (403, 404)
    stranger = server.client(api_token="another-token-altogether")
    refused = colour.error(stranger.get_current_user(), AuthenticationError)
    assert "another-token" not in str(refused)
    colour(client.close())
    colour(stranger.close())


def test_no_run_is_made_twice_and_none_is_kept_quiet_about(server: Server) -> None:
    seen = create(server.url, runs=40)
    assert seen.existing and not seen.twice
    assert len(seen.returned) <= len(seen.existing) <= len(seen.returned) + len(seen.doubtful)
    assert not seen.unaccounted and seen.doubtful
