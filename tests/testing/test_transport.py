"""Scripts, routes, and what is said about requests that were not as expected."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from holdfast import APIConnectionError, ClientConfig, HoldfastError, NotFoundError, ResilientClient
from holdfast.testing import FaultTransport, Route, Step, VirtualClient, VirtualTime
from tests.support.colours import Colour, config

URL = "https://api.example.com"


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync")
    yield user
    user.close()


def client_for(transport: FaultTransport, **settings: Any) -> ResilientClient:
    return ResilientClient(config(URL, **settings), transport=transport)


# Scripts


def test_what_stands_for_a_step(colour: Colour):
    transport = FaultTransport(
        [
            500,
            httpx2.ReadTimeout,
            httpx2.ConnectError("nobody there"),
            ConnectionResetError,
            httpx2.Response(201, json={"id": 1}, headers={"X-From": "a mock"}),
            Step(202, json={"id": 2}),
        ]
    )
    with client_for(transport, retry={"max_attempts": 9, "min_wait_seconds": 0.0, "max_wait_seconds": 0.0}) as client:
        first = colour(client.get("/"))
        second, third = colour(client.get("/")), colour(client.get("/"))
    assert (first.status_code, first.json(), first.headers["x-from"]) == (201, {"id": 1}, "a mock")
    assert (second.status_code, third.status_code) == (202, 202)
    assert len(transport.requests) == 7


def test_a_response_may_be_given_more_than_once(colour: Colour):
    with client_for(FaultTransport(httpx2.Response(200, text="again"))) as client:
        assert [colour(client.get("/")).text for _ in range(3)] == ["again"] * 3


def test_a_function_sees_the_request_and_may_use_the_transport(colour: Colour):
    def choose(request: httpx2.Request) -> int:
        # Under the transport's lock this would wait for ever.
        transport.route("/other", 204)
        return 200 if request.headers["x-team"] == "a" else 404

    transport = FaultTransport(choose)
    with client_for(transport) as client:
        assert colour(client.get("/", headers={"X-Team": "a"})).status_code == 200
        colour.error(client.get("/", headers={"X-Team": "b"}), NotFoundError)
        assert colour(client.get("/other")).status_code == 204


def test_two_threads_may_be_in_a_function_at_once():
    both = threading.Barrier(2, timeout=10)

    def choose(request: httpx2.Request) -> int:
        both.wait()
        return 200

    with client_for(FaultTransport(choose)) as client:
        threads = [threading.Thread(target=lambda: client.get("/").result()) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not both.broken


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ([], ValueError, "no step"),
        (["503"], TypeError, "'503' is no step"),
        ([True], TypeError, "True is no step"),
        ("503", TypeError, "'503' is no script"),
        (None, TypeError, "None is no script"),
        ([KeyboardInterrupt], TypeError, "is no step"),
        ({"users": 200}, ValueError, "its path must begin with"),
        ({"GET": 200}, ValueError, "its path must begin with"),
        ({"GET /a /b": 200}, ValueError, "is no route"),
        ({"": 200}, ValueError, "is no route"),
    ],
)
def test_what_cannot_be_in_a_script(script: Any, error: type[Exception], says: str):
    with pytest.raises(error, match=says):
        FaultTransport(script)


def test_a_function_that_gives_no_step(colour: Colour):
    with client_for(FaultTransport(lambda request: None)) as client:  # type: ignore[arg-type, return-value]
        colour.error(client.get("/"), TypeError)


# Bodies that break


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_body_that_breaks_is_as_on_the_wire(colour: Colour, method: str):
    transport = FaultTransport([Step(content=b"half", broken=httpx2.ReadError), 200])
    with client_for(transport) as client:
        if method == "GET":
            assert colour(client.get("/")).status_code == 200
        else:
            error = colour.error(client.post("/"), APIConnectionError)
            assert error.may_have_executed
    assert len(transport.requests) == (2 if method == "GET" else 1)


def test_a_stream_that_breaks_gives_what_came_before(colour: Colour):
    transport = FaultTransport(Step(content=b"half", broken=httpx2.ReadError))
    with client_for(transport) as client, pytest.raises(APIConnectionError, match="part of the body was handed out"):
        colour.streamed(client.stream("GET", "/"))


def test_a_body_that_breaks_under_virtual_time():
    world = VirtualTime()
    client = VirtualClient(world, ClientConfig(base_url=URL), [Step(json=1, broken=httpx2.ReadError), Step(json=2)])
    fiber = client.start("GET", "/")
    world.run()
    assert fiber.result.json() == 2
    lost = client.start("GET", "/", retry=None)
    client.transport.route("/", Step(json=1, broken=httpx2.ReadError))
    world.run()
    assert isinstance(client.error(lost), APIConnectionError)


# Routes


@pytest.mark.parametrize(
    ("pattern", "method", "url", "fits"),
    [
        ("/users/7", "GET", "/users/7", True),
        ("/users/7", "POST", "/users/7?page=2", True),
        ("GET /users/7", "POST", "/users/7", False),
        ("get /users/7", "GET", "/users/7", True),
        ("/users/*", "GET", "/users/7", True),
        ("/users/*", "GET", "/users/7/orders", False),
        ("/users/*/orders", "GET", "/users/7/orders", True),
        ("/users/**", "GET", "/users/7/orders", True),
        ("/users/**", "GET", "/users", True),
        ("/users/**", "GET", "/user", False),
        ("/**", "DELETE", "/", True),
        ("/users", "GET", "/users/", False),
        ("/users?page=2", "GET", "/users?sort=name&page=2", True),
        ("/users?page=2", "GET", "/users?page=3", False),
        ("/users?page=2", "GET", "/users", False),
        ("https://api.example.com/users", "GET", "/users", True),
        ("https://other.example.com/users", "GET", "/users", False),
        ("GET http://api.example.com/users", "GET", "/users", False),
    ],
)
def test_routes(pattern: str, method: str, url: str, fits: bool):
    assert Route(pattern).fits(httpx2.Request(method, URL + url)) is fits


def test_the_first_route_that_fits_answers(colour: Colour):
    transport = FaultTransport({"GET /users/7": [503, Step(json="Ada")], "/users/*": Step(json="somebody")})
    with client_for(transport) as client:
        assert [colour(client.get(f"/users/{number}")).json() for number in (7, 8)] == ["Ada", "somebody"]
        transport.route("GET /users/7", Step(json="Grace"))
        assert colour(client.get("/users/7")).json() == "Grace"


def test_routes_come_before_what_is_for_all(colour: Colour):
    transport = FaultTransport([404])
    transport.route("/health", 200)
    with client_for(transport) as client:
        assert colour(client.get("/health")).status_code == 200
        colour.error(client.get("/"), NotFoundError)


def test_a_request_without_a_route_says_so_at_once(colour: Colour):
    transport = FaultTransport({"GET /users/*": 200, "POST /orders": 201})
    with client_for(transport) as client:
        error = colour.error(client.get("/orders"), HoldfastError)
    assert "no route for GET https://api.example.com/orders; its routes: GET /users/*, POST /orders" in str(error)
    assert len(transport.requests) == 1


# Assertions


@pytest.fixture
def used() -> FaultTransport:
    transport = FaultTransport({"POST /orders": [201, 201, 201], "GET /users/*": 200})
    with httpx2.Client(base_url=URL, transport=transport) as client:
        client.post("/orders", json={"item": "widget"}, headers={"Idempotency-Key": "a"})
        client.post("/orders", json={"item": "gadget"}, headers={"Idempotency-Key": "a"})
        client.get("/users/7")
    return transport


def test_what_was_sent(used: FaultTransport):
    assert [request.url.path for request in used.sent()] == ["/orders", "/orders", "/users/7"]
    assert [request.method for request in used.sent("/users/*")] == ["GET"]
    (request,) = used.assert_sent("GET /users/7", times=1)
    assert request.url == f"{URL}/users/7"
    assert len(used.assert_sent("POST /orders", headers={"Idempotency-Key": "a"})) == 2
    used.assert_not_sent("DELETE /**")


LIST = """
  1. POST https://api.example.com/orders  {"item":"widget"}
  2. POST https://api.example.com/orders  {"item":"gadget"}
  3. GET https://api.example.com/users/7"""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pattern": "PUT /orders"}, "no request to PUT /orders was sent. Sent were:" + LIST),
        (
            {"pattern": "POST /orders", "times": 1},
            "expected 1 request to POST /orders, but there were 2. Sent were:" + LIST,
        ),
        ({"pattern": "/users/7", "times": 2}, "expected 2 requests to /users/7, but there were 1. Sent were:" + LIST),
        (
            {"pattern": "/orders", "json": {"item": "widget"}},
            'request 2 to /orders: expected the body\n  {"item": "widget"}\nbut it is\n  {"item": "gadget"}',
        ),
        ({"pattern": "/users/7", "json": 1}, "request 1 to /users/7: expected a JSON body, but it is b''"),
        (
            {"pattern": "/orders", "headers": {"Idempotency-Key": "b"}},
            "request 1 to /orders: expected the header Idempotency-Key: 'b', but it has 'a'",
        ),
        (
            {"pattern": "/users/7", "headers": {"X-Team": "b"}},
            "request 1 to /users/7: expected the header X-Team: 'b', but it has none",
        ),
    ],
)  # fmt: skip
def test_what_an_assertion_says(used: FaultTransport, given: dict[str, Any], says: str):
    with pytest.raises(AssertionError) as caught:
        used.assert_sent(**given)
    assert str(caught.value) == says


def test_what_was_not_to_be_sent(used: FaultTransport):
    with pytest.raises(AssertionError) as caught:
        used.assert_not_sent("/users/**")
    assert str(caught.value) == (
        "expected no request to /users/**, but there were 1:\n  1. GET https://api.example.com/users/7"
    )
    with pytest.raises(AssertionError, match="none"):
        FaultTransport(200).assert_sent("/")
    FaultTransport(200).assert_not_sent()


def test_long_bodies_are_cut_in_messages():
    transport = FaultTransport(200)
    with httpx2.Client(base_url=URL, transport=transport) as client:
        client.post("/", content=b"x" * 5000)
    with pytest.raises(AssertionError, match=r"x{200}\.\.\. \(5,000 characters\)"):
        transport.assert_not_sent()


def test_what_was_scripted_and_did_not_happen(used: FaultTransport):
    with pytest.raises(AssertionError) as caught:
        used.assert_played()
    assert str(caught.value).startswith(
        "not all that was scripted has happened:\n  POST /orders: 2 of 3 steps; next is Step(status=201"
    )
    with httpx2.Client(base_url=URL, transport=used) as client:
        client.post("/orders")
    used.assert_played()


def test_a_script_for_all_requests_that_did_not_happen():
    with pytest.raises(AssertionError, match="the script: 0 of 1 steps"):
        FaultTransport(200).assert_played()
    FaultTransport(lambda request: 200).assert_played()


def test_it_serves_httpx2_as_well():
    transport = FaultTransport([Step(json=1), Step(json=2)])

    async def main() -> Any:
        async with httpx2.AsyncClient(transport=transport) as client:
            return (await client.get(URL)).json()

    with httpx2.Client(transport=transport) as client:
        assert [client.get(URL).json(), asyncio.run(main())] == [1, 2]
