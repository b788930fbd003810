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
PORTS = {"sessions": 8001, "memory": 8002}


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

    def post(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = session.post(f"{url}/api/v1{path}", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    if name == "sessions":
        made = post("/sessions", {"scope": {"user_id": "1"}})["id"]
        event = post(f"/sessions/{made}/events", {"event_type": "message", "data": {}})["id"]
        return {"session_id": made, "event_id": event}
    made = post("/memories", {"scope": {"user_id": "1"}, "fact": "f", "source_type": "t", "embedding": [1, 2]})["id"]
    session.patch(f"{url}/api/v1/memories/{made}", json={"fact": "g"})
    return {"memory_id": made, "number": 1}


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
                case.call_and_validate(base_url=url, session=session)

            try:
                check()
            except SkipTest:
                # Nothing about it can be wrong once its path is right.
                assert mode is GenerationMode.NEGATIVE
            tried += 1
    assert tried >= len(document["paths"])
