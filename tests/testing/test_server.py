"""The server that misbehaves when told to, with real clients of both colours on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from holdfast import APIConnectionError, HoldfastError, NotFoundError, ServerError
from holdfast.testing import FaultyServer, Step, VirtualClock
from tests.support.colours import Colour

pytestmark = pytest.mark.loopback


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync")
    yield user
    user.close()


# When it behaves


def test_without_a_script_it_says_what_it_was_asked(colour: Colour, faulty_server: FaultyServer):
    client = colour.client(faulty_server.url)
    assert colour(client.get("/users/7?page=2")).json() == {"method": "GET", "path": "/users/7"}
    assert colour(client.head("/users/7")).content == b""
    assert [str(request.url) for request in faulty_server.requests] == [
        f"{faulty_server.url}/users/7?page=2",
        f"{faulty_server.url}/users/7",
    ]


def test_it_answers_from_its_routes(colour: Colour, faulty_server: FaultyServer):
    faulty_server.route("GET /users/*", [Step(404), Step(json={"name": "Ada"}, headers={"X-From": "script"})])
    client = colour.client(faulty_server.url)
    colour.error(client.get("/users/7"), NotFoundError)
    response = colour(client.get("/users/7"))
    assert (response.json(), response.headers["x-from"]) == ({"name": "Ada"}, "script")
    faulty_server.assert_played()


def test_it_tells_what_it_was_sent(colour: Colour, faulty_server: FaultyServer):
    client = colour.client(faulty_server.url)
    colour(client.post("/orders", json={"item": "widget"}, idempotency_key="a"))
    faulty_server.assert_sent("POST /orders", times=1, json={"item": "widget"}, headers={"Idempotency-Key": "a"})
    with pytest.raises(AssertionError, match="no request to GET /orders"):
        faulty_server.assert_sent("GET /orders")


@pytest.mark.parametrize("step", [Step(error=httpx2.ReadError), Step(broken=httpx2.ReadError)])
def test_a_step_that_is_no_answer_is_refused(colour: Colour, faulty_server: FaultyServer, step: Step):
    faulty_server.route("/", step)
    error = colour.error(colour.client(faulty_server.url, retry={"max_attempts": 1}).get("/"), ServerError)
    assert "misbehave()" in error.response.text


def test_an_answer_may_take_its_time(colour: Colour, faulty_server: FaultyServer):
    faulty_server.route("/", Step(delay=0.05))
    assert colour(colour.client(faulty_server.url).get("/")).elapsed.total_seconds() >= 0.05


# When it does not


@pytest.mark.parametrize(
    ("rule", "kind", "attempts"),
    [
        ("status=503;count=2", "status", 3),
        ({"kind": "rate_limit", "retry_after": 0, "count": 1}, "rate_limit", 2),
        ("reset=before;count=2", "reset", 3),
        ("reset=body;count=1", "reset", 2),
        ("truncate;count=1", "truncate", 2),
        ("garbage;count=1", "garbage", 2),
        ("broken_gzip;count=1", "broken_gzip", 2),
        ("wrong_length;count=1", "wrong_length", 2),
    ],
)
def test_a_client_survives_it(colour: Colour, faulty_server: FaultyServer, rule: Any, kind: str, attempts: int):
    faulty_server.misbehave(rule)
    seen: list[Any] = []
    client = colour.client(faulty_server.url, observers=[seen.append], timeout={"read": 0.5})
    assert colour(client.get("/")).status_code == 200
    assert seen[-1].attempts == attempts
    assert faulty_server.struck() == {kind: attempts - 1}


def test_rules_may_be_given_by_keywords(colour: Colour, faulty_server: FaultyServer):
    faulty_server.misbehave("status", status=500, path="/users", method="POST", for_=60.0, seed=7)
    client = colour.client(faulty_server.url, retry={"max_attempts": 1})
    colour.error(client.post("/users"), ServerError)
    assert colour(client.get("/users")).status_code == 200
    assert faulty_server.struck() == {"status": 1}


def test_a_post_that_was_executed_is_not_repeated(colour: Colour, faulty_server: FaultyServer):
    faulty_server.misbehave("reset=after;count=1")
    client = colour.client(faulty_server.url)
    error = colour.error(client.post("/payments", json={"amount": 10}), APIConnectionError)
    assert error.may_have_executed
    faulty_server.assert_sent("POST /payments", times=1)


@pytest.mark.parametrize(
    ("rule", "fields", "says"),
    [
        ("teapot", {}, "teapot"),
        ("status", {"status": 200}, "status"),
        ("status=503;rate=2", {}, "rate"),
        ({"kind": "latency"}, {}, "seconds"),
    ],
)
def test_a_wrong_rule_is_refused(faulty_server: FaultyServer, rule: Any, fields: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=f"^no rule of misbehaviour: .*{says}"):
        faulty_server.misbehave(rule, **fields)
    assert faulty_server.struck() == {}


def test_it_can_be_told_to_behave(colour: Colour, faulty_server: FaultyServer):
    faulty_server.misbehave("status=500")
    client = colour.client(faulty_server.url, retry={"max_attempts": 1})
    colour.error(client.get("/"), HoldfastError)
    faulty_server.behave()
    assert colour(client.get("/")).status_code == 200
    assert faulty_server.struck() == {}


def test_with_the_clock_its_retries_take_no_time(faulty_server: FaultyServer, holdfast_clock: VirtualClock):
    from holdfast import ClientConfig, ResilientClient, RetryConfig

    faulty_server.misbehave("status=503;count=2")
    config = ClientConfig(base_url=faulty_server.url, retry=RetryConfig(min_wait_seconds=60.0, jitter=False))
    with ResilientClient(config) as client:
        assert client.get("/").result().status_code == 200
    assert holdfast_clock.waits == (60.0, 60.0)


# Its life


def test_every_test_finds_it_behaving(faulty_server: FaultyServer):
    faulty_server.misbehave("status=500")
    faulty_server.route("/", 404)
    with httpx2.Client(trust_env=False) as client:
        client.get(faulty_server.url)
    faulty_server.reset()
    assert (faulty_server.requests, faulty_server.struck()) == ([], {})
    with httpx2.Client(trust_env=False) as client:
        assert client.get(faulty_server.url).status_code == 200


def test_several_at_once_and_gone_afterwards():
    with FaultyServer(Step(json=1)) as one, FaultyServer({"/": Step(json=2)}) as two:
        assert one.url != two.url
        two.misbehave("status=418")
        with httpx2.Client(trust_env=False) as client:
            assert client.get(one.url).json() == 1
            assert client.get(two.url).status_code == 418
    with httpx2.Client(trust_env=False) as client, pytest.raises(httpx2.ConnectError):
        client.get(one.url)
    assert repr(one) == f"<FaultyServer {one.url}>"


def test_it_ends_while_somebody_waits_for_its_answer():
    with FaultyServer() as server:
        server.misbehave("silence")
        with httpx2.Client(trust_env=False) as client, pytest.raises(httpx2.ReadTimeout):
            client.get(server.url, timeout=0.1)
