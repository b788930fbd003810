"""Requests and replies against the official contract, which is not part of the project."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from requests.structures import CaseInsensitiveDict
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from holdfast.servers.codegen.router import router
from tests.support.codegen_served import ORGANIZATION, RUN, RUNS, CodegenServed, codegen_served
from tests.support.serving import Serving, serving

SHARED = Path(__file__).parents[4] / "shared"
CONTRACT = SHARED / "openapi" / "codegen.json"
EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "12"))

OURS = {401, 413}
"""Statuses that the contract names nowhere: no token, or too large a body."""

SERVED = sorted({route.path for route in router.routes if hasattr(route, "path")})


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    if not CONTRACT.exists():
        if SHARED.exists():
            pytest.fail(f"{CONTRACT} is missing, though there is {SHARED}")
        pytest.skip(f"the official contract is not here: {CONTRACT}")
    document: dict[str, Any] = json.loads(CONTRACT.read_text())
    return document


class Checked:
    """Asks the server, and holds what is sent and what is answered against the contract."""

    def __init__(self, codegen: CodegenServed, contract: dict[str, Any]) -> None:
        self._codegen = codegen
        self._contract = contract
        self.seen: set[tuple[str, str, int]] = set()

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        template, operation = self._operation(method, path.partition("?")[0])
        answer = self._codegen(method, path, body, **options)
        if body is not None and answer.status_code != 422:
            self._validate(operation["requestBody"], body)
        status = answer.status_code
        self.seen.add((method, template, status))
        described = operation["responses"].get(str(status))
        if described is None:
            # Of an organization that is not one's own the contract says nothing where repositories are listed.
            assert status in OURS or (status, template) == (403, "/v1/organizations/{org_id}/repos"), (template, status)
            described = self._contract["paths"]["/v1/users/me"]["get"]["responses"]["403"]
        if status != 413:
            self._validate(described, answer.json())
        return answer.json()

    def _operation(self, method: str, path: str) -> tuple[str, dict[str, Any]]:
        found = [
            (template, operations[method.lower()])
            for template, operations in self._contract["paths"].items()
            if method.lower() in operations and re.fullmatch(re.sub(r"\{\w+\}", r"[^/]+", template), path)
        ]
        # /agent/run/resume is not /agent/run/{id}
        return min(found, key=lambda one: one[0].count("{"))

    def _validate(self, described: dict[str, Any], instance: Any) -> None:
        schema = {**described["content"]["application/json"]["schema"], "components": self._contract["components"]}
        jsonschema_rs.validator_for(schema).validate(instance)


def test_every_kind_of_answer_is_as_the_contract_says(contract, tmp_path):
    from holdfast.servers.service import Storage

    with codegen_served(Storage(tmp_path), max_body_bytes=100_000) as codegen:
        ask = Checked(codegen, contract)
        ask("GET", "/v1/users/me")
        ask("GET", "/v1/users/me", headers={"Authorization": ""})
        ask("GET", "/v1/organizations?skip=0&limit=1")
        for path in (f"{ORGANIZATION}/users", f"{ORGANIZATION}/repos", RUNS):
            ask("GET", path)
            ask("GET", f"{path}?skip=3&limit=2")
            ask("GET", f"{path}?limit=0")
            ask("GET", path.replace("123", "7"))
        for user in ("1", "99999", "me"):
            ask("GET", f"{ORGANIZATION}/users/{user}")
        whole = {
            "prompt": "Do it",
            "images": ["data:image/png;base64,iVBORw0KGgo="],
            "metadata": {"a": [1, None]},
            "repo_id": 1,
            "model": "best",
            "agent_type": "claude_code",
        }
        run = ask("POST", RUN, whole)["id"]
        ask("POST", RUN, {"prompt": "[fail] Do it", "metadata": None})
        ask("POST", RUN, {"prompt": ""})
        ask("POST", RUN, {"prompt": "x", "repo_id": 9})
        ask("POST", RUN.replace("123", "7"), {"prompt": "x"})
        ask("POST", RUN, {"prompt": "x" * 200_000})
        logs = f"/v1/alpha{RUN[3:]}/{run}/logs"
        for _ in range(4):
            ask("GET", f"{RUN}/{run}")
            ask("GET", RUNS)
            ask("GET", logs)
            codegen.clock.advance(seconds=1)
        ask("GET", f"{RUN}/99999")
        ask("GET", f"{logs}?reverse=true&limit=1")
        ask("GET", logs.replace(str(run), "99999"))
        ask("POST", f"{RUN}/resume", {"agent_run_id": run, "prompt": "More"})
        ask("POST", f"{RUN}/resume", {"agent_run_id": run, "prompt": "Too soon"})
        ask("POST", f"{RUN}/resume", {"agent_run_id": 99_999, "prompt": "x"})
        while ("POST", "/v1/organizations/{org_id}/agent/run", 429) not in ask.seen:
            ask("POST", RUN, {"prompt": "x"})
    assert {path for _, path, status in ask.seen if status == 200} == set(SERVED)
    assert {status for _, _, status in ask.seen} == {200, 401, 403, 404, 413, 422, 429}


def test_the_contract_knows_every_path_that_is_served_as_its_own(contract):
    assert set(SERVED) <= contract["paths"].keys() and len(SERVED) == 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    env = {"CODEGEN_RELAXED_LIMITS": "true", "CODEGEN_API_TOKEN": "", "CODEGEN_ORG_ID": "123"}
    with serving(tmp_path_factory.mktemp("data"), env=env) as server:
        yield server


@pytest.mark.loopback
@pytest.mark.slow
def test_whatever_the_contract_allows_is_answered_as_it_says(contract, server):
    url = f"http://127.0.0.1:{8010 + server.offset}"
    generation = GenerationConfig(
        modes=[GenerationMode.POSITIVE], max_examples=EXAMPLES, allow_x00=False, database="none"
    )
    config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=generation)))
    served = {**contract, "paths": {path: contract["paths"][path] for path in SERVED}}
    schema = schemathesis.openapi.from_dict(served, config=config)
    checks = [not_a_server_error, response_schema_conformance, status_code_conformance]
    tried = 0
    with requests.Session() as session:
        session.trust_env = False
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            existing = {"org_id": 123, "user_id": 1, "agent_run_id": 1}
            named = {key: value for key, value in existing.items() if f"{{{key}}}" in operation.path}
            strategy = operation.as_strategy(generation_mode=GenerationMode.POSITIVE, path_parameters=named or None)

            @given(case=strategy)
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=bool(os.environ.get("CI")),
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def check(case: Case[Any]) -> None:
                # The contract has it as an optional header of anything.
                case.headers = CaseInsensitiveDict({"Authorization": "Bearer x"})
                case.call_and_validate(base_url=url, session=session, checks=checks)

            check()
            tried += 1
    assert tried == len(SERVED)
