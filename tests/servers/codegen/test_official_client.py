"""The official generated client, as its publisher made it, against the server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from codegen_api_client.api.agents_api import AgentsApi
from codegen_api_client.api.organizations_api import OrganizationsApi
from codegen_api_client.api.users_api import UsersApi
from codegen_api_client.api_client import ApiClient
from codegen_api_client.configuration import Configuration
from codegen_api_client.exceptions import ApiException, ForbiddenException, NotFoundException
from codegen_api_client.models.create_agent_run_input import CreateAgentRunInput

from tests.support.serving import serving

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

TOKEN = "a-token-of-the-tests"
BEARER = f"Bearer {TOKEN}"
# One method per operation; the generator made each three times over, under its tags.
CREATE = "create_agent_run_v1_organizations_org_id_agent_run_post"
GET = "get_agent_run_v1_organizations_org_id_agent_run_agent_run_id_get"
ORGANIZATIONS = "get_organizations_v1_organizations_get"
USER = "get_user_v1_organizations_org_id_users_user_id_get"
USERS = "get_users_v1_organizations_org_id_users_get"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    env = {"CODEGEN_API_TOKEN": TOKEN, "CODEGEN_ORG_ID": "123", "CODEGEN_RUN_SECONDS": "0.5"}
    with serving(tmp_path_factory.mktemp("data"), env=env) as server:
        configuration = Configuration(host=f"http://127.0.0.1:{8010 + server.offset}", retries=False)
        with ApiClient(configuration) as client:
            yield client
            client.rest_client.pool_manager.clear()


@pytest.mark.parametrize("variant", ["", "_0", "_1"])
def test_its_five_operations(client, variant):
    organizations = getattr(OrganizationsApi(client), ORGANIZATIONS + variant)(authorization=BEARER)
    assert [one.id for one in organizations.items] == [123]
    page = getattr(UsersApi(client), USERS + variant)("123", skip=20, limit=10, authorization=BEARER)
    assert ([user.id for user in page.items], page.total, page.pages) == ([21, 22, 23, 24, 25], 25, 3)
    user = getattr(UsersApi(client), USER + variant)("123", "21", authorization=BEARER)
    assert user == page.items[0]
    agents = AgentsApi(client)
    asked = CreateAgentRunInput(prompt="Review the latest change")
    run = getattr(agents, CREATE + variant)(123, asked, authorization=BEARER)
    assert (run.organization_id, run.status, run.result) == (123, "PENDING", None)
    deadline = time.monotonic() + 30
    while run.status != "COMPLETE":
        assert run.status in {"PENDING", "ACTIVE"} and time.monotonic() < deadline
        time.sleep(0.2)
        run = getattr(agents, GET + variant)(run.id, 123, authorization=BEARER)
    assert run.result == "Done: Review the latest change"


def test_its_errors(client):
    users, agents = UsersApi(client), AgentsApi(client)
    with pytest.raises(NotFoundException, match="User not found in organization 123: 99999"):
        getattr(users, USER)("123", "99999", authorization=BEARER)
    with pytest.raises(ForbiddenException, match="You do not have access to organization 7"):
        getattr(users, USERS)("7", authorization=BEARER)
    with pytest.raises(ApiException) as caught:
        getattr(users, USERS)("123", authorization="Bearer another")
    assert caught.value.status == 401
    asked = CreateAgentRunInput(prompt="Once too often")
    with pytest.raises(ApiException) as caught:
        for _ in range(11):
            getattr(agents, CREATE)(123, asked, authorization=BEARER)
    assert caught.value.status == 429
    # It makes an object of the answer's body.
    assert caught.value.data is not None and "10 requests in 60 s" in caught.value.data.detail
    assert caught.value.headers is not None and 0 < int(caught.value.headers["Retry-After"]) <= 60
