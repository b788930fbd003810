"""The Crews client and the reference server, which share no code, in processes of their own."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.crews import (
    CrewClient,
    CrewClientConfig,
    CrewClientError,
    CrewExecutionError,
    CrewNotFoundError,
    CrewResult,
    CrewServiceUnavailableError,
)
from tests.support.colours import Colour
from tests.support.serving import request, serving

pytestmark = pytest.mark.loopback

SECRET = "a-secret-of-more-than-32-bytes-for-tests"
CREWS = """
import asyncio, os
from pathlib import Path
from holdfast.servers.crews import crew

RAN = Path(__file__).with_name("ran.txt")

@crew
async def counter(inputs):
    with RAN.open("a") as file:
        file.write(f"{inputs['number']}\\n")
    await asyncio.sleep(inputs.get("seconds", 0))
    return {"number": inputs["number"]}

@crew
def refuser(inputs):
    raise ValueError("this is the crew's own business")
"""


FAULTS: list[dict[str, Any]] = [
    {"kind": "reset"},
    {"kind": "reset", "at": "after"},
    {"kind": "reset", "at": "body"},
    {"kind": "status", "status": 503},
]


class Service:
    """The server, and how often which execution has begun."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._ran = folder / "ran.txt"

    def client(self, **settings: Any) -> CrewClient:
        values = {"url": self.url, "api_secret_key": SECRET, "retry_delay": 0.01, "retry_max_wait": 0.05, **settings}
        return CrewClient(CrewClientConfig.model_validate(values))

    def misbehave(self, rule: dict[str, Any]) -> None:
        status, said = request(
            f"{self.url}/_faults", "POST", json.dumps(rule).encode(), {"Content-Type": "application/json"}
        )
        assert status < 300, said

    def ran(self) -> Counter[int]:
        return Counter(map(int, self._ran.read_text().split())) if self._ran.exists() else Counter()

    def reset(self) -> None:
        assert request(f"{self.url}/_faults", "DELETE")[0] == 200
        self._ran.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("crews")
    (folder / "test_crews_of_mine.py").write_text(CREWS)
    env = {"API_SECRET_KEY": SECRET, "PYTHONPATH": str(folder), "HOLDFAST_CREWS_MODULES": "test_crews_of_mine"}
    with serving(tmp_path_factory.mktemp("data"), "--faults", env=env) as server:
        yield Service(f"http://127.0.0.1:{8001 + server.offset}", folder)


@pytest.fixture
def service(running: Service) -> Service:
    running.reset()
    return running


def test_everything_there_is(service: Service, colour: Colour) -> None:
    client = service.client()
    names = colour(client.list_crews())
    assert {"memory_maker_crew", "counter", "refuser"} <= set(names)
    assert colour(client.health_check())["status"] == "healthy"
    result = colour(client.execute_crew("counter", {"number": 7}, request_id=f"trace-{colour.sync}"))
    assert (result["success"], result["result"], result["error"]) == (True, {"number": 7}, None)
    assert result["execution_time"] is not None and 0 <= result["execution_time"] <= result["total_time"]
    assert (result["crew_name"], result["request_id"]) == ("counter", f"trace-{colour.sync}") and result["timestamp"]
    colour(client.close())


def test_what_goes_wrong(service: Service, colour: Colour) -> None:
    client = service.client()
    missing = colour.error(client.execute_crew("nobody", {}), CrewNotFoundError)
    assert {"memory_maker_crew", "counter", "refuser"} <= set(missing.available_crews)
    failed = colour.error(client.execute_crew("refuser", {}), CrewExecutionError)
    assert failed.result["success"] is False and failed.result["error"] and failed.crew_name == "refuser"
    late = colour.error(client.execute_crew("counter", {"number": 1, "seconds": 60}, timeout=1), CrewExecutionError)
    assert "timed out after 1 s" in str(late)
    stranger = service.client(api_secret_key="another-secret-that-nobody-knows-of-at-all")
    refused = colour.error(stranger.list_crews(), CrewClientError)
    assert refused.status_code == 401
    assert not isinstance(refused, (CrewNotFoundError, CrewExecutionError, CrewServiceUnavailableError))
    colour(client.close())
    colour(stranger.close())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_crew_runs_once_however_often_it_is_asked_for(
    service: Service, colour: Colour, fault: dict[str, Any]
) -> None:
    service.misbehave({**fault, "path": "/execute_crew", "count": 2})
    client = service.client(server_deduplicates=True)
    assert colour(client.execute_crew("counter", {"number": 7}))["result"] == {"number": 7}
    assert service.ran() == {7: 1}
    colour(client.close())


@pytest.mark.parametrize("deduplicates", [True, False])
def test_a_storm(service: Service, deduplicates: bool) -> None:
    for fault in FAULTS:
        service.misbehave({**fault, "path": "/execute_crew", "rate": 0.1})
    settings = {"max_retries": 20, "retry_budget": False, "circuit_breaker": False, "acquisition_timeout": 60}

    async def main() -> list[CrewResult | BaseException]:
        async with service.client(server_deduplicates=deduplicates, **settings) as client:
            calls = [client.execute_crew("counter", {"number": number}) for number in range(60)]
            return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(main())
    ran = service.ran()
    assert set(ran.values()) == {1}
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, CrewServiceUnavailableError) and not deduplicates
            assert outcome.may_have_executed or ran[number] == 0
        else:
            assert outcome["result"] == {"number": number} and ran[number] == 1
    assert any(isinstance(one, BaseException) for one in outcomes) is not deduplicates
