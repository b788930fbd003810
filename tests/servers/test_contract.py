"""Each reference server against its own OpenAPI document, with requests that schemathesis makes from it.

What is sent keeps to the document or breaks it. No answer may be a 5xx, be of a status, type or body that the document
does not know, accept what breaks it, or refuse what keeps to it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.control import SkipTest
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case

from holdfast.auth import get_internal_token
from tests.support.serving import Serving, serving

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "12"))
# One of two parameters must be given; OpenAPI cannot say so.
NEEDS_SCOPE = "GET /api/v1/memories"
# Nobody finds the name of a crew by chance.
NEEDS_CREW = "POST /execute_crew"
KEYS = {"idempotency-key", "x-request-id"}
# Crews share the port of sessions.
PORTS = {"sessions": 8001, "memory": 8002, "integration": 8005}
# Nor that an endpoint may be called, that a JSON Schema can be used, that names are unique, and that steps are one path.
REGISTRY = ("/api/services", "/api/workflows")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        # The Crews server wants a token.
        session.headers["Authorization"] = f"Bearer {get_internal_token()}"
        yield session


def existing(session: requests.Session, url: str, name: str) -> dict[str, Any]:
    """What paths can name, so that requests get further than to a 404."""
    prefix = "/api" if name == "integration" else "/api/v1"

    def post(path: str, body: Mapping[str, Any], status: int = 201) -> dict[str, Any]:
        answer = session.post(f"{url}{prefix}{path}", json=body)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    if name == "integration":
        called = f"service {uuid4()}"
        actions = [{"name": "health"}]
        service = post("/services", {"name": called, "endpoint": f"{url}/api", "actions": actions})["id"]
        workflow = post("/workflows", {"name": "w", "steps": [{"id": "a", "service": called, "action": "health"}]})["id"]
        # Its step fails: there is only a GET at this address.
        execution = post(f"/workflows/{workflow}/execute", {"wait": 10}, 200)["id"]
        return {"service_id": service, "action": "health", "workflow_id": workflow, "execution_id": execution}
    if name == "sessions":
        made = post("/sessions", {"scope": {"user_id": "1"}})["id"]
        event = post(f"/sessions/{made}/events", {"event_type": "message", "data": {}})["id"]
        return {"session_id": made, "event_id": event}
    made = post("/memories", {"scope": {"user_id": "1"}, "fact": "f", "source_type": "t", "embedding": [1, 2]})["id"]
    session.patch(f"{url}/api/v1/memories/{made}", json={"fact": "g"})
    return {"memory_id": made, "number": 1}


def known(session: requests.Session, url: str) -> str:
    """The name of a service that steps can use."""
    return str(session.get(f"{url}/api/services", params={"per_page": 1}).json()["items"][0]["name"])


def meaningful(body: dict[str, Any], service: str) -> None:
    """Makes of what has the form of a service or a workflow one that can be registered."""
    if "name" in body:
        body["name"] = f"{body['name'][:150]} {uuid4()}"
    if "endpoint" in body:
        body["endpoint"] = "http://127.0.0.1:9/api"
    for number, action in enumerate(body.get("actions", ())):
        action["name"] = f"{action['name'][:150]}-{number}"
        action.update({key: True for key in ("input_schema", "output_schema") if key in action})
    if "wait" in body:
        body["wait"] = 0
    steps = body.get("steps", ())
    for number, step in enumerate(steps):
        step.update(id=str(number), service=service, action="health", next=str(number + 1))
    if steps:
        steps[-1]["next"] = None


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize("name", PORTS)
def test_the_server_keeps_to_its_document(server, session, name, mode):
    url = f"http://127.0.0.1:{PORTS[name] + server.offset}"
    # U+0000 is refused in every text, which JSON Schema has no short way to say.
    generation = GenerationConfig(modes=[mode], max_examples=EXAMPLES, allow_x00=False, database="none")
    config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=generation)))
    document = session.get(f"{url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document, config=config)
    tried = 0
    turn = itertools.count()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for path_parameters in ({}, existing(session, url, name)):
            named = {key: value for key, value in path_parameters.items() if f"{{{key}}}" in operation.path}
            if path_parameters and not named:
                continue
            strategy = operation.as_strategy(generation_mode=mode, path_parameters=named or None)

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
                if mode is GenerationMode.POSITIVE:
                    # Repeated keys have tests of their own; here every request is a new one.
                    case.headers.update({key: str(uuid4()) for key in case.headers if key.lower() in KEYS})
                    if case.operation.label == NEEDS_SCOPE:
                        case.query["scope_user_id"] = "1"
                    if case.operation.label == NEEDS_CREW and isinstance(case.body, dict) and next(turn) % 2:
                        case.body["crew_name"] = "memory_maker_crew"
                    if case.operation.path.startswith(REGISTRY) and isinstance(case.body, dict):
                        meaningful(case.body, path_parameters.get("workflow_id") and known(session, url))
                case.call_and_validate(base_url=url, session=session)

            try:
                check()
            except SkipTest:
                # Nothing about it can be wrong once its path is right.
                assert mode is GenerationMode.NEGATIVE
            tried += 1
    assert tried >= len(document["paths"])
