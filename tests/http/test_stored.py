"""Whose answer the cache gives to whom, and for how long."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import httpx2
import pytest

from holdfast.exceptions import HoldfastError
from holdfast.http.stored import StoredResponse
from tests.support.colours import Colour
from tests.support.loopback import Answer, Header, Loopback, Seen, answer, redirect

pytestmark = pytest.mark.loopback


class Counting:
    """Answers with the number of the request, so that an answer from the cache shows."""

    def __init__(self, *headers: Header, status: int = 200) -> None:
        self._headers = headers
        self._status = status
        self.count = 0

    def __call__(self, request: Seen) -> Answer:
        self.count += 1
        body = b"" if request.method == "HEAD" else str(self.count).encode()
        return answer(self._status, body, *self._headers)


def bodies(colour: Colour, *calls: Any) -> list[str]:
    return [colour(call).text for call in calls]


def test_an_answer_is_kept_for_its_time(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting(("X-Kept", "yes")))
    client = colour.client(server.url)
    first = colour(client.get("/x", cache_ttl=60))
    second = colour(client.get("/x", cache_ttl=60))
    assert (first.text, second.text) == ("1", "1")
    assert second is not first
    assert second.status_code == 200
    assert second.headers["x-kept"] == "yes"
    assert second.url == f"{server.url}/x"
    second.headers["x-kept"] = "changed"
    assert colour(client.get("/x", cache_ttl=60)).headers["x-kept"] == "yes"


@pytest.mark.parametrize("looked_at", [False, True])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_an_answer_is_as_good(colour: Colour, server: Loopback, copied: Any, looked_at: bool) -> None:
    server.on("/x", Counting(("X-Kept", "yes")))
    client = colour.client(server.url)
    colour(client.get("/x", cache_ttl=60))
    answered = colour(client.get("/x", cache_ttl=60))
    if looked_at:
        assert answered.headers["x-kept"] == "yes"
    again = copied(copied(answered))
    assert (again.text, again.headers["x-kept"]) == ("1", "yes")
    assert (again.request.method, again.url) == ("GET", f"{server.url}/x")
    again.headers["x-kept"] = "changed"
    assert colour(client.get("/x", cache_ttl=60)).headers["x-kept"] == "yes"


def test_an_answer_that_was_made_in_no_usual_way_has_headers() -> None:
    made = StoredResponse.__new__(StoredResponse)
    made.__setstate__({"status_code": 200, "_headers": httpx2.Headers({"x-kept": "yes"})})
    assert made.headers["x-kept"] == "yes"


def test_nothing_is_kept_without_a_ttl_or_with_0(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url)
    assert bodies(colour, client.get("/x"), client.get("/x")) == ["1", "2"]
    view = client.with_options(cache_ttl=60)
    assert bodies(colour, view.get("/x"), view.get("/x"), view.get("/x", cache_ttl=0)) == ["3", "3", "4"]
    assert bodies(colour, *[view.head("/x"), view.post("/x")]) == ["", "6"]


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-API-Key", "X-Tenant", "X-Whatever"])
def test_two_identities_never_share(colour: Colour, server: Loopback, name: str) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url)

    def get(value: str | None) -> str:
        return str(colour(client.get("/x", headers={name: value} if value else {}, cache_ttl=60)).text)

    assert [get("alice"), get("bob"), get(None)] == ["1", "2", "3"]
    assert [get("alice"), get("bob"), get(None)] == ["1", "2", "3"]


def test_two_views_with_credentials_never_share(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url)
    alice = client.with_options(headers={"Authorization": "Bearer alice"}, cache_ttl=60)
    bob = client.with_options(headers={"Authorization": "Bearer bob"}, cache_ttl=60)
    assert bodies(colour, alice.get("/x"), bob.get("/x"), alice.get("/x"), bob.get("/x")) == ["1", "2", "1", "2"]


def test_the_credentials_themselves_are_not_kept_as_a_key(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    colour(client.get("/x", headers={"Authorization": "Bearer alice"}, cache_ttl=60))
    keys = list(client._assembly.cache._entries) if hasattr(client._assembly.cache, "_entries") else []
    assert "alice" not in repr(keys)


def test_headers_that_say_nothing_about_the_caller_share(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url)
    calls = [client.get("/x", cache_ttl=60, request_id=str(n), headers={"User-Agent": str(n)}) for n in range(3)]
    assert bodies(colour, *calls) == ["1", "1", "1"]


@pytest.mark.parametrize("kind", ["tuple", "object", "callable", "view"])
def test_what_auth_asked_for_is_not_kept(colour: Colour, server: Loopback, kind: str) -> None:
    server.on("/x", Counting())
    auth: Any = {"object": httpx2.BasicAuth("a", "b"), "callable": lambda request: request}.get(kind, ("a", "b"))
    client = colour.client(server.url)
    view = client.with_options(auth=auth) if kind == "view" else client
    more = {} if kind == "view" else {"auth": auth}
    calls = [view.get("/x", cache_ttl=60, **more) for _ in range(2)]
    calls += [view.get("/x", cache_ttl=60, cache_identity=who, **more) for who in ("a", "b", "a", "b")]
    assert bodies(colour, *calls) == ["1", "2", "3", "4", "3", "4"]


@pytest.mark.parametrize("kind", ["jar", "call"])
def test_what_cookies_asked_for_is_not_kept(colour: Colour, server: Loopback, kind: str) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url)
    more: dict[str, Any] = {"cookies": {"session": "a"}} if kind == "call" else {}
    if kind == "jar":
        client.cookies.set("session", "a")
    calls = [client.get("/x", cache_ttl=60, **more) for _ in range(2)]
    calls += [client.get("/x", cache_ttl=60, cache_identity=who, **more) for who in ("a", "b", "a")]
    assert bodies(colour, *calls) == ["1", "2", "3", "4", "3"]


def test_a_cookie_that_comes_later_ends_sharing(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    server.on("/login", answer(200, b"", ("Set-Cookie", "session=a; Path=/")))
    client = colour.client(server.url)
    assert bodies(colour, client.get("/x", cache_ttl=60)) == ["1"]
    colour(client.get("/login"))
    assert bodies(colour, client.get("/x", cache_ttl=60)) == ["2"]


def test_a_cache_identity_is_not_mistaken_for_none(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url)
    calls = [client.get("/x", cache_ttl=60, cache_identity=who) for who in (None, "", "a")]
    assert bodies(colour, *calls) == ["1", "2", "3"]


def test_the_query_and_the_origin_are_part_of_the_key(colour: Colour, server: Loopback, other: Loopback) -> None:
    server.on("/x", Counting())
    other.on("/x", Counting())
    client = colour.client(server.url)
    calls = [
        client.get("/x?a=1", cache_ttl=60),
        client.get("/x?a=2", cache_ttl=60),
        client.get("/x", params={"a": 1}, cache_ttl=60),
        client.get(f"{other.url}/x?a=1", cache_ttl=60),
        client.get(f"{server.url}/x?a=1", cache_ttl=60),
    ]
    assert bodies(colour, *calls) == ["1", "2", "1", "1", "1"]
    assert len(other.seen) == 1


@pytest.mark.parametrize("name", ["Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Range"])
def test_conditional_and_partial_requests_go_past_the_cache(colour: Colour, server: Loopback, name: str) -> None:
    server.on("/x", Counting())
    client = colour.client(server.url)
    calls = [client.get("/x", cache_ttl=60, headers=headers) for headers in ({}, {name: "x"}, {name: "x"}, {})]
    assert bodies(colour, *calls) == ["1", "2", "3", "1"]


def test_vary_keeps_variants_apart(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting(("Vary", "Accept-Language")))
    client = colour.client(server.url)

    def get(language: str) -> str:
        return str(colour(client.get("/x", headers={"Accept-Language": language}, cache_ttl=60)).text)

    assert [get("de"), get("en"), get("de"), get("en")] == ["1", "2", "1", "2"]


def test_vary_on_everything_is_not_kept(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting(("Vary", "*")))
    client = colour.client(server.url)
    assert bodies(colour, *[client.get("/x", cache_ttl=60) for _ in range(2)]) == ["1", "2"]


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ([("Cache-Control", "max-age=60")], True),
        ([("Cache-Control", "max-age=60, no-store")], False),
        ([("Cache-Control", "private, max-age=60")], False),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")], False),
        ([("Cache-Control", "max-age=60"), ("Set-Cookie", "other=1; Domain=elsewhere.example")], False),
        ([("Cache-Control", "no-cache, max-age=60")], False),
        ([("Cache-Control", "max-age=0")], False),
        ([("Cache-Control", "max-age=60"), ("Age", "60")], False),
        ([("Expires", "Fri, 01 Jan 2100 00:00:00 GMT")], True),
        ([("Expires", "0")], False),
        ([], False),
    ],
)
def test_the_response_tells_how_long(colour: Colour, server: Loopback, headers: list[Header], kept: bool) -> None:
    server.on("/x", Counting(*headers))
    client = colour.client(server.url, cache={"from_response": True})
    assert bodies(colour, client.get("/x"), client.get("/x")) == (["1", "1"] if kept else ["1", "2"])


def test_a_ttl_of_the_callers_own_outweighs_the_response(colour: Colour, server: Loopback) -> None:
    server.on("/x", Counting(("Cache-Control", "private, no-store")))
    client = colour.client(server.url, cache={"default_ttl": 60.0})
    assert bodies(colour, client.get("/x"), client.get("/x")) == ["1", "1"]


@pytest.mark.parametrize("status", [206, 302, 404, 500])
def test_only_successes_are_kept(colour: Colour, server: Loopback, status: int) -> None:
    counting = Counting(status=status)
    server.on("/x", counting)
    client = colour.client(server.url, retry={"max_attempts": 1})
    for _ in range(2):
        call = client.get("/x", cache_ttl=60)
        if status < 400:
            assert colour(call).status_code == status
        else:
            assert colour.error(call, HoldfastError).status_code == status
    assert counting.count == 2


def test_what_a_redirect_led_to_is_kept_for_who_asked(colour: Colour, server: Loopback, other: Loopback) -> None:
    server.on("/x", redirect(302, f"{other.url}/y"))
    other.on("/y", Counting())
    client = colour.client(server.url)
    assert bodies(colour, client.get("/x", cache_ttl=60), client.get("/x", cache_ttl=60)) == ["1", "1"]
    assert bodies(colour, client.get(f"{other.url}/y", cache_ttl=60)) == ["2"]


# Invalidation


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_drops_what_it_may_have_changed(colour: Colour, server: Loopback, method: str) -> None:
    for path in ("/a", "/a/b", "/ab", "/c"):
        server.on(path, Counting())
    client = colour.client(server.url)
    paths = ("/a", "/a?q=1", "/a/b", "/ab", "/c")
    before = bodies(colour, *[client.get(path, cache_ttl=60) for path in paths])
    assert before == ["1", "2", "1", "1", "1"]
    assert bodies(colour, *[client.get(path, cache_ttl=60) for path in paths]) == before
    colour(client.request(method, "/a"))
    assert bodies(colour, client.get("/ab", cache_ttl=60), client.get("/c", cache_ttl=60)) == ["1", "1"]
    assert colour(client.get("/a", cache_ttl=60)).text > "2"
    assert colour(client.get("/a?q=1", cache_ttl=60)).text > "3"
    assert bodies(colour, client.get("/a/b", cache_ttl=60)) == ["2"]


@pytest.mark.parametrize("status", [500, 404])
def test_a_write_that_may_have_been_executed_drops_too(colour: Colour, server: Loopback, status: int) -> None:
    counting = Counting()
    server.on("/a", lambda seen: counting(seen) if seen.method == "GET" else answer(status))
    client = colour.client(server.url, retry={"max_attempts": 1})
    colour(client.get("/a", cache_ttl=60))
    colour.error(client.post("/a"), HoldfastError)
    assert bodies(colour, client.get("/a", cache_ttl=60)) == ["2" if status == 500 else "1"]


def test_invalidation_by_url_tag_and_prefix(colour: Colour, server: Loopback) -> None:
    for path in ("/v1/users/1", "/v1/users/2", "/v1/teams/1"):
        server.on(path, Counting())
    client = colour.client(f"{server.url}/v1")

    def fill() -> list[str]:
        return bodies(
            colour,
            client.get("/users/1", cache_ttl=60, tags=["one", "user"]),
            client.get("/users/2", cache_ttl=60, tags=["user"]),
            client.get("/teams/1", cache_ttl=60, tags=["one"]),
        )

    assert fill() == ["1", "1", "1"]
    assert len(client.cache) == 3
    assert client.cache.invalidate("/users/1") == 1
    assert fill() == ["2", "1", "1"]
    assert client.cache.invalidate_tag("one") == 2
    assert fill() == ["3", "1", "2"]
    assert client.cache.invalidate_prefix("/users/") == 2
    assert fill() == ["4", "2", "2"]
    assert client.cache.invalidate_tag("nothing") == 0
    assert client.cache.clear() == 3
    assert fill() == ["5", "3", "3"]


# Bounds


def test_the_least_recently_used_goes_first(colour: Colour, server: Loopback) -> None:
    for path in ("/a", "/b", "/c"):
        server.on(path, Counting())
    client = colour.client(server.url, cache={"max_entries": 2})

    def get(path: str) -> str:
        return str(colour(client.get(path, cache_ttl=60)).text)

    assert [get("/a"), get("/b"), get("/a"), get("/c")] == ["1", "1", "1", "1"]
    assert len(client.cache) == 2
    assert [get("/a"), get("/b")] == ["1", "2"]


def test_the_bytes_are_bounded(colour: Colour, server: Loopback) -> None:
    server.default = answer(200, b"x" * 3000)
    client = colour.client(server.url, cache={"max_bytes": 10_000})
    for number in range(10):
        colour(client.get(f"/{number}", cache_ttl=60))
    assert 0 < client.cache.bytes <= 10_000
    assert 1 <= len(client.cache) <= 3
    server.default = answer(200, b"x" * 20_000)
    colour(client.get("/big", cache_ttl=60))
    colour(client.get("/big", cache_ttl=60))
    assert [seen.path for seen in server.seen].count("/big") == 2
    assert client.cache.bytes <= 10_000
