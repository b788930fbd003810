"""Actions that are called for somebody who waits: once per key, and nobody's connection decides about them."""

from __future__ import annotations

import asyncio
import json

import pytest

from holdfast.servers.integration import create_app
from holdfast.servers.integration.settings import Settings
from holdfast.servers.service import Storage
from tests.support.loopback import Answer, json_answer
from tests.support.registry import TEXT_IN, TEXT_OUT, Registry
from tests.support.served import serving_app

pytestmark = pytest.mark.loopback

GOOD = json_answer(200, '{"text": "hi", "score": 0.5, "n": null, "ü": [1]}')
CALL = {"input_data": {"url": "https://example.com"}, "context": {"request_id": "req-123", "project_id": "7"}}


def registered(registry, peer, **fields) -> str:
    actions = [{"name": "extract", "input_schema": TEXT_IN, "output_schema": TEXT_OUT}]
    return f"/services/{registry.service(endpoint=f'{peer.url}/api', actions=actions, **fields)['id']}/actions/extract"


def test_the_output_is_the_answer(everywhere, peer):
    path = registered(everywhere, peer)
    peer.on("/api/extract", GOOD)
    answer = everywhere("POST", path, CALL, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()) == (200, json.loads(GOOD.pieces[0].split(b"\r\n\r\n")[1]))
    assert json.loads(peer.last.body) == CALL["input_data"]
    assert (peer.last.get("Idempotency-Key"), peer.last.get("X-Correlation-ID")) == ("k", "req-123")
    again = everywhere("POST", path, CALL, headers={"Idempotency-Key": "k"})
    assert again.content == answer.content and again.headers["Idempotent-Replayed"] == "true"
    assert len(peer.seen) == 1
    assert everywhere.refused("POST", path, {"input_data": {}}, headers={"Idempotency-Key": "k"})[0] == 422
    # Without a context, it is known by the request's own id.
    everywhere.ok("POST", path, {**CALL, "context": None}, headers={"X-Request-ID": "mine"})
    assert (peer.last.get("X-Correlation-ID"), peer.last.get("Idempotency-Key")) == ("mine", "mine")


def test_input_that_does_not_fit_is_not_sent(registry, peer):
    path = registered(registry, peer)
    for data, where in [({}, ""), ({"url": 7}, ".url"), ({"url": "not a uri"}, ".url")]:
        problems = registry.problems("POST", path, {"input_data": data})
        assert list(problems) == [f"input_data{where}"]
        assert problems[f"input_data{where}"].startswith("action 'extract': input ")
    for body, where in [({"input_data": []}, "input_data"), ({"input_data": {}, "context": 7}, "context")]:
        assert registry.problems("POST", path, body).keys() == {where}
    assert peer.connections == 0


def test_there_is_no_such_action(registry, peer):
    path = registered(registry, peer).removesuffix("extract")
    for name in ("gone", "Extract", "x" * 300):
        answer = registry("POST", path + name, CALL)
        assert answer.status_code == 404
        assert answer.json().keys() == {"detail", "resource_type", "resource_id"}
        assert (answer.json()["resource_type"], answer.json()["resource_id"]) == ("action", name)
        assert "'extract'" in answer.json()["detail"]


def test_an_inactive_service_is_not_called(registry, peer):
    path = registered(registry, peer, status="INACTIVE")
    status, detail = registry.refused("POST", path, CALL)
    assert status == 409 and "INACTIVE" in detail and peer.connections == 0


@pytest.mark.parametrize(
    ("reply", "status", "may_have_executed"),
    [
        (json_answer(500, '{"detail": "boom"}'), 500, True),
        (json_answer(503, "{}"), 503, False),
        (json_answer(404, "{}"), 404, False),
        (json_answer(200, '{"text": 7}'), 200, True),
        (Answer((), "reset"), None, True),
    ],
)
def test_a_service_that_fails_is_no_failure_of_this_server(registry, peer, reply, status, may_have_executed):
    path = registered(registry, peer)
    peer.on("/api/extract", reply)
    answer = registry("POST", path, CALL, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 424
    told = answer.json()
    assert told.pop("detail").startswith("action 'extract' of service 'text' failed: ")
    assert told == {
        "service": "text",
        "action": "extract",
        "step": None,
        "status": status,
        "may_have_executed": may_have_executed,
    }
    # It is stored: the caller's repetitions call nothing.
    sent = len(peer.seen)
    again = registry("POST", path, CALL, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (424, answer.json()) and len(peer.seen) == sent


def test_duplicates_wait_for_one_call(registry, peer):
    path = registered(registry, peer)
    peer.on("/api/extract", Answer((b"", GOOD.pieces[0]), pause=0.2))
    asked = [registry.served.ask("POST", f"/api{path}", CALL, headers={"Idempotency-Key": "k"}) for _ in range(5)]
    answers = registry.served.together(*asked)
    assert {answer.status_code for answer in answers} == {200} and len({answer.content for answer in answers}) == 1
    assert len(peer.seen) == 1


def test_a_call_goes_on_when_nobody_waits(registry, peer):
    path = registered(registry, peer)
    peer.on("/api/extract", Answer((b"", GOOD.pieces[0]), pause=0.3))

    async def given_up() -> None:
        asking = asyncio.create_task(registry.served.ask("POST", f"/api{path}", CALL, headers={"Idempotency-Key": "k"}))
        while not peer.seen:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait({asking})

    registry.served.run(given_up())
    answer = registry("POST", path, CALL, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 200 and answer.headers["Idempotent-Replayed"] == "true"
    assert len(peer.seen) == 1


def test_a_call_that_is_cut_off_by_the_stop_is_not_repeated(tmp_path, peer, monkeypatch):
    monkeypatch.setattr("holdfast.servers.executions.GRACE_SECONDS", 0.1)
    peer.on("/api/extract", Answer((b"", GOOD.pieces[0]), pause=3.0))
    storage = Storage(tmp_path)
    with serving_app(create_app, storage, Settings()) as served:
        registry = Registry(served)
        path = registered(registry, peer)

        async def begun() -> None:
            asking = asyncio.create_task(served.ask("POST", f"/api{path}", CALL, headers={"Idempotency-Key": "k"}))
            while not peer.seen:
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.wait({asking})

        served.run(begun())
    with serving_app(create_app, storage, Settings()) as served:
        answer = served("POST", f"/api{path}", CALL, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 424 and answer.json()["may_have_executed"] is True
    assert "interrupted" in answer.json()["detail"] and len(peer.seen) == 1


def test_the_health_of_a_service(everywhere, peer):
    service = everywhere.service(endpoint=f"{peer.url}/api")
    path = f"/services/{service['id']}/health"
    found = everywhere.ok("GET", path)
    assert found.pop("seconds") >= 0
    assert found == {
        "service_id": service["id"],
        "name": "text",
        "status": "healthy",
        "status_code": 200,
        "error": None,
        "circuit": "closed",
        "checked_at": "2024-02-29T12:00:00.123456Z",
    }
    peer.on("/api", json_answer(500, "{}"))
    found = everywhere.ok("GET", path)
    assert (found["status"], found["status_code"]) == ("unhealthy", 500) and "500" in found["error"]


def test_the_health_of_the_server(everywhere):
    found = everywhere.ok("GET", "/health")
    assert (found["status"], found["service"]) == ("healthy", "integration")
    assert found["executions"] == dict.fromkeys(["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"], 0)
    assert everywhere.served.ok("GET", "/health")["status"] == "healthy"
    assert everywhere.served.ok("GET", "/health/ready") == {"status": "ready"}
