"""Answers from the cache at once, as they come while nobody listens to what happens to a call."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from holdfast import ClientClosedError, request_context
from tests.support.colours import Colour
from tests.support.loopback import Answer, Loopback, Seen, answer

pytestmark = pytest.mark.loopback

QUIET = {"level": "ERROR", "logger_name": "tests.kept"}


class Counting:
    """Answers with the number of the request."""

    def __init__(self, *headers: tuple[str, str]) -> None:
        self._headers = headers
        self.count = 0

    def __call__(self, request: Seen) -> Answer:
        self.count += 1
        return answer(200, str(self.count).encode(), *self._headers)


def flows(client: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the calls that took a flow from now on."""
    pipeline = client._assembly.pipeline
    taken: list[str] = []
    call = pipeline.call

    def counted(job: Any) -> Any:
        taken.append(job.method)
        return call(job)

    monkeypatch.setattr(pipeline, "call", counted)
    return taken


def test_a_hit_takes_no_flow_and_is_counted(colour: Colour, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on("/x", Counting(("X-Kept", "yes")))
    client = colour.client(server.url, logging=QUIET)
    first = colour(client.get("/x", cache_ttl=60))
    taken = flows(client, monkeypatch)
    second, third = colour(client.get("/x", cache_ttl=60)), colour(client.get("/x", cache_ttl=60))
    assert not taken
    assert [first.text, second.text, third.text] == ["1", "1", "1"]
    second.headers["x-kept"] = "changed"
    assert third.headers["x-kept"] == "yes"
    total = client.metrics().total
    assert (total.calls, total.attempts, total.errors) == (3, 1, 0)
    call = client.get("/x", cache_ttl=60)
    assert colour(call) is colour(call)


def test_a_default_ttl_does_the_same(colour: Colour, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url, logging=QUIET, cache={"default_ttl": 60.0})
    colour(client.get("/x"))
    taken = flows(client, monkeypatch)
    assert colour(client.get("/x")).text == "1"
    assert not taken
    assert colour(client.get("/x", cache_ttl=0)).text == "2"
    assert colour(client.get("/x", deadline=5.0)).text == "1"
    assert taken == ["GET", "GET"]


def test_its_request_is_the_one_that_would_have_been_sent(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url, logging=QUIET, headers={"X-Team": "blue"})
    colour(client.get("/x", cache_ttl=60))
    first, second = colour(client.get("/x", cache_ttl=60)), colour(client.get("/x", cache_ttl=60))
    assert str(first.request.url) == f"{server.url}/x"
    assert first.request.headers["x-team"] == "blue"
    assert first.request is first.request
    assert first.request.headers["x-request-id"] != second.request.headers["x-request-id"]
    again = pickle.loads(pickle.dumps(second))
    assert (again.text, again.request.headers["x-team"]) == ("1", "blue")


def test_what_varies_is_told_by_a_flow(colour: Colour, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on("/x", Counting(("Vary", "X-Correlation-ID")))
    client = colour.client(server.url, logging=QUIET)
    for id_ in ("a", "b"):
        with request_context(id_):
            colour(client.get("/x", cache_ttl=60))
    taken = flows(client, monkeypatch)
    answers = []
    for id_ in ("b", "a"):
        with request_context(id_):
            answers.append(colour(client.get("/x", cache_ttl=60)).text)
    assert answers == ["2", "1"]
    assert taken == ["GET", "GET"]


def test_a_cookie_ends_it(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url, logging=QUIET)
    assert [colour(client.get("/x", cache_ttl=60)).text for _ in range(2)] == ["1", "1"]
    client.cookies.set("session", "a")
    assert colour(client.get("/x", cache_ttl=60)).text == "2"


def test_other_options_are_not_passed_over(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url, logging=QUIET, cache={"default_ttl": 60.0})
    assert [colour(client.get("/x")).text for _ in range(2)] == ["1", "1"]
    assert colour(client.get("/x", headers={"Authorization": "Bearer a"})).text == "2"
    assert colour(client.get("/x", cache_identity="a")).text == "3"
    assert colour(client.post("/x")).text == "4"
    assert colour(client.get("/x")).text == "5"


def test_a_closed_client_answers_nothing(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url, logging=QUIET)
    colour(client.get("/x", cache_ttl=60))
    colour(client.close())
    with pytest.raises(ClientClosedError):
        colour(client.get("/x", cache_ttl=60))


def test_observers_hear_of_every_hit(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    heard: list[Any] = []
    client = colour.client(server.url, logging=QUIET, observers=[heard.append])
    colour(client.get("/x", cache_ttl=60))
    colour(client.get("/x", cache_ttl=60))
    assert [event.how for event in heard if type(event).__name__ == "CacheUsed"] == ["hit"]
