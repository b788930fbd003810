"""The Crews client against scripted services on the loopback interface: what it sends, and makes of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import jwt
import pytest

from holdfast import Call, InvalidRequestError, RetryConfig, request_context
from holdfast.auth import BearerAuth, JWTAuth
from holdfast.crews import (
    CrewClient,
    CrewClientConfig,
    CrewClientError,
    CrewExecutionError,
    CrewNotFoundError,
    CrewServiceUnavailableError,
)
from holdfast.testing import FaultTransport, Step, VirtualClock
from tests.support.colours import Colour, is_a
from tests.support.loopback import HANG_UP, RESET, Answer, Loopback, Seen, answer, json_answer

pytestmark = pytest.mark.loopback

SECRET = "a-secret-of-more-than-32-bytes-for-tests"
REPLY = {
    "success": True,
    "crew_name": "writers",
    "result": {"text": "Hello"},
    "error": None,
    "execution_time": 0.25,
    "timestamp": "2026-01-01T00:00:00Z",
}
FAILED = {**REPLY, "success": False, "result": None, "error": "no input"}
EXECUTE = "/execute_crew"


def ok(body: Any, *headers: tuple[str, str]) -> Answer:
    return json_answer(200, json.dumps(body), *headers)


def refusal(status: int, detail: Any) -> Answer:
    return json_answer(status, json.dumps({"detail": detail}))


def client_for(server: Loopback, **settings: Any) -> CrewClient:
    return CrewClient(CrewClientConfig.model_validate({"url": server.url, "retry_delay": 0.001, **FAST, **settings}))


FAST = {"retry_max_wait": 0.001}


def scripted(script: Any, **settings: Any) -> tuple[CrewClient, FaultTransport]:
    transport = FaultTransport(script)
    return CrewClient(CrewClientConfig.model_validate(settings), transport=transport), transport


def body_of(seen: Seen) -> Any:
    return json.loads(seen.body)


# Executions


def test_an_execution_is_sent_and_its_result_is_a_dict(server: Loopback, colour: Colour) -> None:
    server.on(EXECUTE, ok(REPLY, ("X-Request-ID", "the-servers-own")))
    client = client_for(server)
    inputs = {"text": "Hello", "none": None, "nested": {"none": None}, "pair": (1, 2)}
    result = colour(client.execute_crew("writers", inputs))
    assert type(result) is dict and json.dumps(result)
    assert set(result) == {*REPLY, "total_time", "request_id"}
    assert (result["success"], result["result"], result["error"]) == (True, {"text": "Hello"}, None)
    assert (result["execution_time"], result["crew_name"]) == (0.25, "writers")
    assert result["timestamp"] == "2026-01-01T00:00:00Z" and 0 < result["total_time"] < 60
    sent = server.last
    assert (sent.method, sent.target) == ("POST", EXECUTE)
    sent_inputs = {"text": "Hello", "none": None, "nested": {"none": None}, "pair": [1, 2]}
    assert body_of(sent) == {"crew_name": "writers", "inputs": sent_inputs, "timeout": 300}
    assert result["request_id"] == sent.get("X-Request-ID") == sent.get("Idempotency-Key")
    assert result["request_id"].startswith("crew-client-")
    colour(client.close())


def test_the_guides_way_to_use_it(server: Loopback) -> None:
    server.on(EXECUTE, ok(REPLY)).on(
        "/crews", ok({"available_crews": {"writers": {}, "readers": {}}, "total_count": 2})
    )
    server.on("/health", ok({"status": "healthy", "service": "sparkjar-crews"}))
    colour = Colour(sync=False)

    async def main() -> None:
        async with client_for(server) as client:
            assert (await client.execute_crew(crew_name="writers", inputs={}))["success"]
            assert await client.list_crews() == ["writers", "readers"]
            assert (await client.health_check())["status"] == "healthy"

    colour.run(main())
    colour.close()
    with client_for(server) as client:
        assert client.list_crews(request_id="trace-1").result() == ["writers", "readers"]
        assert client.health_check(request_id="trace-2").result() == {"status": "healthy", "service": "sparkjar-crews"}
    assert [one.get("X-Request-ID") for one in server.seen[-2:]] == ["trace-1", "trace-2"]
    with pytest.raises(CrewClientError, match="closed"):
        client.list_crews().result()


@pytest.mark.parametrize(("given", "sent"), [(None, 60), (5, 5), (7.0, 7), (0.5, 0.5)])
def test_the_timeout_of_the_crew_is_sent(server: Loopback, given: Any, sent: Any) -> None:
    server.on(EXECUTE, ok(REPLY))
    with client_for(server, default_crew_timeout=60) as client:
        client.execute_crew("writers", {}, timeout=given).result()
    found = body_of(server.last)["timeout"]
    assert found == sent and type(found) is type(sent)


@pytest.mark.parametrize(("given", "read"), [(5, 30.0), (20, 30.0), (21, 31.0), (600, 610.0)])
def test_the_answer_is_waited_for_longer_than_the_crew_may_run(given: float, read: float) -> None:
    client, transport = scripted(Step(json=REPLY), read_timeout=30)
    client.execute_crew("writers", {}, timeout=given).result()
    assert transport.requests[0].extensions["timeout"] == {"connect": 5.0, "read": read, "write": 10.0, "pool": 2.0}


def test_a_silent_service_is_given_up_at_last(holdfast_clock: VirtualClock) -> None:
    client, transport = scripted(Step(delay=10_000.0), server_deduplicates=True)
    with pytest.raises(CrewServiceUnavailableError):
        client.execute_crew("writers", {}, timeout=20).result()
    assert len(transport.requests) == 3
    assert 3 * 300.0 + 2 <= holdfast_clock.elapsed + 0.1 <= 3 * 300.0 + 2 + 5  # the waits are 1 to 2 and 1 to 4 s


def test_a_crew_may_run_longer_than_other_calls(holdfast_clock: VirtualClock) -> None:
    client, transport = scripted([Step(delay=900.0, json=REPLY)], read_timeout=30, max_retries=1)
    result = client.execute_crew("writers", {}, timeout=900).result()
    assert result["total_time"] == pytest.approx(900.0, abs=0.1) and len(transport.requests) == 1


def test_a_limit_for_all_calls_of_a_view_holds_for_executions_too(holdfast_clock: VirtualClock) -> None:
    client, transport = scripted(Step(delay=50.0, json=REPLY))
    with pytest.raises(TimeoutError):
        client.with_options(deadline=20.0).execute_crew("writers", {}).result()
    with pytest.raises(CrewServiceUnavailableError):
        client.execute_crew("writers", {}).with_options(timeout=30.0).result()
    assert len(transport.requests) == 2 and holdfast_clock.elapsed == pytest.approx(50.0, abs=0.1)


@pytest.mark.parametrize("extra", [{}, {"total": 7, "request_id": "theirs", "total_time": "theirs"}])
def test_what_the_service_tells_besides_is_kept_and_replaces_nothing(server: Loopback, extra: dict[str, Any]) -> None:
    server.on(EXECUTE, ok({**REPLY, **extra}))
    with client_for(server) as client:
        result: Any = client.execute_crew("writers", {}, request_id="mine").result()
    assert result["request_id"] == "mine" and isinstance(result["total_time"], float)
    assert result.get("total") == extra.get("total")


@pytest.mark.parametrize("told", [None, "quick", -1, True, [1], float("nan"), float("inf")])
def test_no_result_is_lost_over_a_duration_that_is_none(server: Loopback, told: Any) -> None:
    server.on(EXECUTE, ok({"success": True, "result": "done", "execution_time": told}))
    with client_for(server) as client:
        result = client.execute_crew("writers", {}).result()
    assert (result["result"], result["execution_time"], result["timestamp"]) == ("done", None, None)
    assert result["crew_name"] == "writers"


def test_a_crew_that_failed_is_an_error_and_not_executed_again(server: Loopback, colour: Colour) -> None:
    server.on(EXECUTE, ok(FAILED))
    client = client_for(server, server_deduplicates=True)
    error = colour.error(client.execute_crew("writers", {}, request_id="mine"), CrewExecutionError)
    assert str(error) == "Crew 'writers' failed after 0.25 s: no input. POST /execute_crew, request id mine."
    assert error.crew_name == "writers" and error.may_have_executed and error.attempts == 1
    assert error.result["error"] == "no input" and error.result["success"] is False
    assert error.result["execution_time"] == 0.25 and error.request_id == error.result["request_id"] == "mine"
    assert error.status_code == 200 and error.response.json() == FAILED
    assert not isinstance(error, (CrewServiceUnavailableError, httpx2.HTTPError)) and len(server.seen) == 1
    colour(client.close())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, "it does not say why"),
        ("", "it does not say why"),
        ({"code": 7}, '{"code": 7}'),
        ("one\nline\r\nfor all.", "one line for all. POST"),
        ("x" * 5000, "x" * 199 + "…"),
    ],
)
def test_what_the_service_says_about_a_failure_is_told_in_one_line(server: Loopback, said: Any, told: str) -> None:
    server.on(EXECUTE, ok({"success": False, "error": said}))
    with client_for(server) as client, pytest.raises(CrewExecutionError) as caught:
        client.execute_crew("writers", {}).result()
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.result is not None and caught.value.result["error"] == said


def test_the_response_itself_is_to_be_had(server: Loopback, colour: Colour) -> None:
    server.on(EXECUTE, ok(FAILED))
    client = client_for(server)
    assert colour(client.execute_crew("writers", {}).raw()).json() == FAILED
    colour(client.close())


# Errors

SPECIFIC = {CrewNotFoundError, CrewExecutionError, CrewServiceUnavailableError}
STATUSES = [
    (400, 1, CrewClientError),
    (401, 2, CrewClientError),  # with a new token
    (403, 1, CrewClientError),
    (404, 1, CrewNotFoundError),
    (409, 1, CrewClientError),
    (422, 1, CrewClientError),
    (429, 3, CrewServiceUnavailableError),
    (500, 3, CrewServiceUnavailableError),
    (502, 3, CrewServiceUnavailableError),
    (503, 3, CrewServiceUnavailableError),
    (504, 3, CrewServiceUnavailableError),
    (599, 3, CrewServiceUnavailableError),
]


CALLS: list[Callable[[CrewClient], Call[Any]]] = [
    lambda client: client.execute_crew("writers", {}),
    lambda client: client.list_crews(),
    lambda client: client.health_check(),
]


@pytest.mark.parametrize("call", CALLS, ids=["execute", "list", "health"])
@pytest.mark.parametrize("body", ["json", "text", "none"])
@pytest.mark.parametrize(("status", "requests", "kind"), STATUSES)
def test_statuses(server: Loopback, status: int, requests: int, kind: type[Exception], body: str, call: Any) -> None:
    text = answer(status, b"Internal Server Error", ("Content-Type", "text/plain"))
    server.default = {"json": refusal(status, "refused"), "text": text, "none": answer(status)}[body]
    with client_for(server) as client, pytest.raises(CrewClientError) as caught:
        call(client).result()
    public = {cls for cls in type(caught.value).__mro__ if cls in SPECIFIC}
    assert public == {kind} & SPECIFIC
    assert is_a(caught.value, httpx2.HTTPStatusError) and caught.value.status_code == status
    assert len(server.seen) == requests and len({one.get("X-Request-ID") for one in server.seen}) == 1


def test_an_unknown_crew_names_those_that_there_are(server: Loopback) -> None:
    server.on(EXECUTE, refusal(404, "Crew 'x' not found. Available crews: ['writers', \"reader's\"]"))
    with client_for(server) as client, pytest.raises(CrewNotFoundError, match="Crew 'x' not found") as caught:
        client.execute_crew("x", {}).result()
    assert caught.value.available_crews == ("writers", "reader's")
    assert (caught.value.crew_name, caught.value.resource_type, caught.value.resource_id) == ("x", "crew", "x")
    assert not caught.value.may_have_executed


@pytest.mark.parametrize(
    "reply",
    [
        refusal(404, "Crew 'x' not found. Available crews: []"),
        refusal(404, "no such crew"),
        refusal(404, ["x"]),
        json_answer(404, "[]"),
        json_answer(404, '"x"'),
        json_answer(404, "[" * 100_000),
        answer(404, b"\xff\xfe"),
        answer(404),
    ],
)
def test_an_unknown_crew_whose_service_names_none(server: Loopback, reply: Answer) -> None:
    server.on(EXECUTE, reply)
    with client_for(server) as client, pytest.raises(CrewNotFoundError) as caught:
        client.execute_crew("x", {}).result()
    assert (caught.value.available_crews, caught.value.crew_name) == ((), "x")


def test_a_service_without_the_endpoint_says_so(server: Loopback) -> None:
    server.default = refusal(404, "Not Found")
    with client_for(server) as client:
        for call in (client.execute_crew("writers", {}), client.list_crews()):
            with pytest.raises(CrewNotFoundError, match=r"no such endpoint: check the setting url") as caught:
                call.result()
            assert caught.value.resource_type == "endpoint"


def test_a_service_that_is_not_there(colour: Colour) -> None:
    with Loopback() as gone:
        url = gone.url
    client = CrewClient(CrewClientConfig(url=url, retry_delay=0.001, retry_max_wait=0.001))
    error = colour.error(client.execute_crew("writers", {}), CrewServiceUnavailableError)
    assert is_a(error, httpx2.ConnectError) and (error.attempts, error.may_have_executed) == (3, False)
    assert error.crew_name == "writers" and error.service_name == "Crews Service"
    colour(client.close())


def test_a_lost_answer_is_not_asked_for_again_unless_the_service_deduplicates(server: Loopback, colour: Colour) -> None:
    server.routes[EXECUTE] = [RESET, HANG_UP, ok(REPLY)]
    client = client_for(server)
    for _ in range(2):
        error = colour.error(client.execute_crew("writers", {}, request_id="mine"), CrewServiceUnavailableError)
        assert error.may_have_executed and error.attempts == 1 and "may have executed" in str(error)
    assert len(server.seen) == 2
    server.routes[EXECUTE] = [RESET, HANG_UP, ok(REPLY)]
    trusting = client_for(server, server_deduplicates=True)
    assert colour(trusting.execute_crew("writers", {}, request_id="mine"))["success"]
    assert [one.get("Idempotency-Key") for one in server.seen[2:]] == ["mine"] * 3
    colour(client.close())
    colour(trusting.close())


def test_one_call_or_one_view_may_know_that_the_service_deduplicates(server: Loopback) -> None:
    server.routes[EXECUTE] = [RESET, RESET, ok(REPLY)]
    with client_for(server) as client:
        assert client.execute_crew("a", {}, request_id="x").with_options(server_deduplicates=True).result()["success"]
        server.routes[EXECUTE] = [RESET, ok(REPLY)]
        assert client.with_options(server_deduplicates=True).execute_crew("a", {}, request_id="x").result()["success"]
        with pytest.raises(CrewServiceUnavailableError):
            server.routes[EXECUTE] = [RESET, ok(REPLY)]
            client.execute_crew("a", {}).with_options(request_id="x").result()


def test_reading_is_repeated_after_a_lost_answer(server: Loopback) -> None:
    server.routes["/crews"] = [RESET, HANG_UP, ok({"available_crews": ["a"]})]
    with client_for(server) as client:
        assert client.list_crews().result() == ["a"]


def test_retries_wait_as_documented(holdfast_clock: VirtualClock) -> None:
    client, _ = scripted([503, 429, 500, httpx2.ConnectError, 503, Step(json=REPLY)], max_retries=6)
    client.execute_crew("writers", {}).result()
    assert all(1 <= wait <= most for wait, most in zip(holdfast_clock.waits, (2, 4, 8, 10, 10), strict=True))
    assert max(holdfast_clock.waits) > 2


def test_budget_and_breaker_can_be_turned_off(server: Loopback) -> None:
    server.on(EXECUTE, answer(503))
    settings = {"max_retries": 30, "retry_budget": False, "circuit_breaker": False}
    with client_for(server, **settings) as client:
        for _ in range(7):
            with pytest.raises(CrewServiceUnavailableError):
                client.execute_crew("writers", {}).result()
    assert len(server.seen) == 7 * 30


def test_a_service_that_keeps_failing_is_left_alone(server: Loopback) -> None:
    server.on(EXECUTE, answer(503))
    with client_for(server, max_retries=1) as client:
        for _ in range(5):
            with pytest.raises(CrewServiceUnavailableError):
                client.execute_crew("writers", {}).result()
        with pytest.raises(CrewServiceUnavailableError, match="Circuit breaker is OPEN") as caught:
            client.execute_crew("writers", {}).result()
    assert len(server.seen) == 5 and not caught.value.may_have_executed


# Answers that are none

UNUSABLE = [
    answer(200, b"<html>"),
    answer(200),
    ok([]),
    ok("yes"),
    ok({}),
    ok({"success": None}),
    ok({"success": "perhaps"}),
    ok({"result": "done"}),
]


@pytest.mark.parametrize("reply", UNUSABLE)
def test_an_answer_that_is_none_is_an_error_of_the_client(server: Loopback, reply: Answer) -> None:
    server.on(EXECUTE, reply)
    with client_for(server, server_deduplicates=True) as client, pytest.raises(CrewClientError) as caught:
        client.execute_crew("writers", {}).result()
    assert type(caught.value).__mro__.count(CrewExecutionError) == 0 and caught.value.may_have_executed
    assert "so it has executed it" in str(caught.value) and caught.value.crew_name == "writers"
    assert len(server.seen) == 1


@pytest.mark.parametrize("told", [{}, {"available_crews": None}, {"available_crews": [1]}, []])
def test_a_list_that_is_none_names_the_field(server: Loopback, told: Any) -> None:
    server.on("/crews", ok(told))
    with client_for(server) as client, pytest.raises(CrewClientError, match=r"available_crews|the whole"):
        client.list_crews().result()


def test_a_health_that_is_no_object(server: Loopback) -> None:
    server.on("/health", ok(["healthy"]))
    with client_for(server) as client, pytest.raises(CrewClientError, match="dict"):
        client.health_check().result()


# Arguments

BAD: list[tuple[dict[str, Any], str]] = [
    ({"crew_name": ""}, "crew_name"),
    ({"crew_name": None}, "crew_name"),
    ({"inputs": None}, "inputs"),
    ({"inputs": ["x"]}, "inputs"),
    ({"inputs": {"at": object()}}, "inputs"),
    ({"inputs": {"at": {1, 2}}}, "inputs"),
    ({"inputs": {"at": float("nan")}}, "inputs"),
    ({"inputs": {"at": "\ud800"}}, "inputs"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": -1}, "timeout"),
    ({"timeout": float("inf")}, "timeout"),
    ({"timeout": "5"}, "timeout"),
    ({"timeout": True}, "timeout"),
    ({"request_id": ""}, "request_id"),
    ({"request_id": "two words"}, "request_id"),
    ({"request_id": "x" * 201}, "request_id"),
    ({"request_id": 7}, "request_id"),
]


@pytest.mark.parametrize(("bad", "field"), BAD)
def test_what_cannot_be_sent_is_found_before_sending(
    server: Loopback, colour: Colour, bad: dict[str, Any], field: str
) -> None:
    client = client_for(server)
    call = client.execute_crew(**{"crew_name": "writers", "inputs": {}, **bad})
    error = colour.error(call, CrewClientError)
    assert isinstance(error, InvalidRequestError) and list(error.field_errors) == [field]
    assert "execute_crew was not sent" in str(error) and not error.may_have_executed and server.seen == []
    colour(client.close())


def test_inputs_without_end_are_found_before_sending(server: Loopback) -> None:
    circle: dict[str, Any] = {}
    circle["itself"] = circle
    with client_for(server) as client, pytest.raises(CrewClientError, match="inputs") as caught:
        client.execute_crew("writers", circle).result()
    assert isinstance(caught.value, InvalidRequestError) and server.seen == []


# Credentials


def claims(seen: Seen) -> dict[str, Any]:
    token = (seen.get("Authorization") or "").removeprefix("Bearer ")
    decoded: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"])
    return decoded


def test_a_token_goes_along_and_is_kept(server: Loopback) -> None:
    server.on(EXECUTE, ok(REPLY))
    with client_for(server) as client:
        for _ in range(3):
            client.execute_crew("writers", {}).result()
    assert len({one.get("Authorization") for one in server.seen}) == 1
    found = claims(server.last)
    assert set(found) == {"sub", "iat", "exp", "scopes"} and found["scopes"] == ["sparkjar_internal", "crew_execute"]
    assert 23 * 3600 <= found["exp"] - found["iat"] < 23 * 3600 + 60


def test_a_token_is_renewed_five_minutes_before_its_end(
    holdfast_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, transport = scripted(Step(json=REPLY))
    minted = iter(["first", "second", "third"])
    monkeypatch.setattr(JWTAuth, "mint", lambda _: next(minted))
    for wait in (0.0, 23 * 3600 - 301, 2.0):
        holdfast_clock.advance(wait)
        client.execute_crew("writers", {}).result()
    assert [one.headers["Authorization"] for one in transport.requests] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]


def test_a_token_that_is_refused_is_renewed_once(server: Loopback) -> None:
    server.routes[EXECUTE] = [refusal(401, "expired"), ok(REPLY)]
    with client_for(server) as client:
        assert client.execute_crew("writers", {}).result()["success"]
    assert len(server.seen) == 2


def test_other_credentials_take_its_place(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_SECRET_KEY", "")
    server.on(EXECUTE, ok(REPLY))
    settings = CrewClientConfig(url=server.url, environment="production")
    with CrewClient(settings, auth=BearerAuth("mine")) as client:
        client.execute_crew("writers", {}).result()
    assert server.last.get("Authorization") == "Bearer mine"


# Connections


def test_calls_share_the_connections_of_the_client(server: Loopback) -> None:
    server.on(EXECUTE, ok(REPLY))
    with client_for(server) as client:
        for _ in range(10):
            client.execute_crew("writers", {}).result()
        client.with_options(retry=RetryConfig(max_attempts=1)).execute_crew("writers", {}).result()
    assert server.connections == 1


def test_the_request_that_is_being_served_is_told_of(server: Loopback) -> None:
    server.on(EXECUTE, ok(REPLY))
    with client_for(server) as client, request_context("incoming-1"):
        result = client.execute_crew("writers", {}).result()
    assert server.last.get("X-Correlation-ID") == "incoming-1" and result["request_id"] != "incoming-1"
