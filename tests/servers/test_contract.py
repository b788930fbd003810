"""Each reference server against its own OpenAPI document, with requests that schemathesis makes from it.

What is sent keeps to the document or breaks it. No answer may be a 5xx, be of a status, type or body that the document
does not know, accept what breaks it, or refuse what keeps to it.
"""

from __future__ import annotations

import itertools
import os
import time
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
PORTS = {"sessions": 8001, "memory": 8002, "integration": 8005, "codegen": 8010}
# Nor that an endpoint may be called, a JSON Schema can be used, names are unique, and steps are one path.
REGISTRY = ("/api/services", "/api/workflows")
ACTION = "msg"
NOBODY = "http://127.0.0.1:9/api"


@pytest.fixture(scope="module")
def token() -> str:
    """For the Crews server, and for the Codegen server, which takes any."""
    return get_internal_token()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, token: str) -> Iterator[Serving]:
    # No limits in the way, and runs end at once, so that there is a delivery.
    env = {
        "RELAXED_LIMITS": "true",
        "API_TOKEN": token,
        "ORG_ID": "123",
        "RUN_SECONDS": "0",
        "WEBHOOK_SECRET": "secret",
    }
    codegen = {f"CODEGEN_{name}": value for name, value in env.items()}
    with serving(tmp_path_factory.mktemp("data"), env=codegen) as server:
        yield server


@pytest.fixture(scope="module")
def session(token: str) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {token}"
        yield session


def existing(session: requests.Session, url: str, name: str) -> dict[str, Any]:
    """What paths can name, so that requests get further than to a 404."""
    prefix = {"integration": "/api", "codegen": "/v1"}.get(name, "/api/v1")

    def post(path: str, body: Mapping[str, Any], status: int = 201) -> dict[str, Any]:
        answer = session.post(f"{url}{prefix}{path}", json=body)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    if name == "integration":
        service = registered(session, url)
        steps = [{"id": "a", "service": service["name"], "action": ACTION}]
        workflow = post("/workflows", {"name": "w", "steps": steps})["id"]
        execution = post(f"/workflows/{workflow}/execute", {"wait": 10}, 200)["id"]
        return {"service_id": service["id"], "action": ACTION, "workflow_id": workflow, "execution_id": execution}
    if name == "codegen":
        webhook = post("/webhooks", {"url": NOBODY})["id"]
        run = post("/organizations/123/agent/run", {"prompt": "[fail]"}, 200)["id"]
        ids = {"org_id": 123, "user_id": 1, "agent_run_id": run, "webhook_id": webhook}
        return {**ids, "delivery_id": delivered(session, url)}
    if name == "sessions":
        made = post("/sessions", {"scope": {"user_id": "1"}})["id"]
        event = post(f"/sessions/{made}/events", {"event_type": "message", "data": {}})["id"]
        return {"session_id": made, "event_id": event}
    made = post("/memories", {"scope": {"user_id": "1"}, "fact": "f", "source_type": "t", "embedding": [1, 2]})["id"]
    session.patch(f"{url}/api/v1/memories/{made}", json={"fact": "g"})
    return {"memory_id": made, "number": 1}


def without_vast_texts(schema: Any) -> Any:
    """The same without the bounds beyond which a text takes seconds to make up; they have tests of their own."""
    if isinstance(schema, dict):
        vast = schema.get("type") == "string" and schema.get("maxLength", 0) > 10_000
        return {key: without_vast_texts(it) for key, it in schema.items() if not (vast and key == "maxLength")}
    return [without_vast_texts(one) for one in schema] if isinstance(schema, list) else schema


def delivered(session: requests.Session, url: str) -> int:
    """A delivery on its way to nobody."""
    deadline = time.monotonic() + 30
    while not (found := session.get(f"{url}/v1/webhooks/deliveries").json()["items"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(found[0]["id"])


def registered(session: requests.Session, url: str) -> dict[str, Any]:
    """A service that steps can use: the test server of the same process."""
    at, _, port = url.rpartition(":")
    endpoint = f"{at}:{int(port) - 5}"
    new: dict[str, Any] = {"name": f"service {uuid4()}", "endpoint": endpoint, "actions": [{"name": ACTION}]}
    answer = session.post(f"{url}/api/services", json=new)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def meaningful(body: dict[str, Any], service: str) -> None:
    """Makes of what has the form of a service or a workflow one that can be registered."""
    if "name" in body:
        body["name"] = f"{body['name'][:150]} {uuid4()}"
    if "endpoint" in body:
        body["endpoint"] = NOBODY
    for number, action in enumerate(body.get("actions", ())):
        action["name"] = f"{action['name'][:150]}-{number}"
        action.update({key: True for key in ("input_schema", "output_schema") if key in action})
    if "wait" in body:
        body["wait"] = 0
    steps = body.get("steps", ())
    for number, step in enumerate(steps):
        step.update(id=str(number), service=service, action=ACTION, next=str(number + 1))
    if steps:
        steps[-1]["next"] = None


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize("name", PORTS)
def test_the_server_keeps_to_its_document(server, session, name, mode):
    url = f"http://127.0.0.1:{PORTS[name] + server.offset}"
    # U+0000 is refused in every text, which JSON Schema has no short way to say.
    generation = GenerationConfig(modes=[mode], max_examples=EXAMPLES, allow_x00=False, database="none")
    config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=generation)))
    document = without_vast_texts(session.get(f"{url}/openapi.json").json())
    if mode is GenerationMode.NEGATIVE:
        # A header that is left out would count as what is wrong, and the session sends it all the same.
        for operation in (one for path in document["paths"].values() for one in path.values()):
            operation.pop("security", None)
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
                        meaningful(case.body, registered(session, url)["name"] if "steps" in case.body else "")
                    if case.operation.label == "POST /v1/webhooks" and isinstance(case.body, dict):
                        case.body["url"] = NOBODY
                case.call_and_validate(base_url=url, session=session)

            try:
                check()
            except SkipTest:
                # Nothing about it can be wrong once its path is right.
                assert mode is GenerationMode.NEGATIVE
            tried += 1
    assert tried >= len(document["paths"])
