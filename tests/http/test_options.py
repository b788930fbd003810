"""The options of a call: each does what it says, per call and in a view, and a wrong one fails where it is given."""

from __future__ import annotations

import contextlib
import http.cookiejar
import io
import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from holdfast import RetryConfig, TimeoutConfig
from holdfast.exceptions import APITimeoutError, HoldfastError, InvalidRequestError, ServiceUnavailableError
from holdfast.http.context import get_request_id, request_context
from tests.support.colours import Colour, is_a
from tests.support.loopback import HANG_UP, Answer, Loopback, Seen, answer, raw

pytestmark = pytest.mark.loopback

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture(params=["call", "view"])
def ask(request: pytest.FixtureRequest, colour: Colour, server: Loopback) -> Callable[..., Any]:
    """Sends a request with options, given on the call or by a view."""
    client = colour.client(server.url)

    def send(method: str = "GET", url: str = "/x", **options: Any) -> httpx2.Response:
        if request.param == "view":
            bodies = {name: options.pop(name) for name in ("content", "json", "data", "files") if name in options}
            return colour(client.with_options(**options).request(method, url, **bodies))
        return colour(client.request(method, url, **options))

    return send


# httpx2's own


@pytest.mark.parametrize(
    ("url", "params", "target"),
    [
        ("/x", {"a": 1, "b": "ü &=", "c": True, "d": None}, "/x?a=1&b=%C3%BC%20%26%3D&c=true&d="),
        ("/x", [("a", "1"), ("a", "2")], "/x?a=1&a=2"),
        ("/x", {"a": ["1", "2"]}, "/x?a=1&a=2"),
        ("/x", "a=1&b=2", "/x?a=1&b=2"),
        ("/x", httpx2.QueryParams({"a": "1"}), "/x?a=1"),
        ("/x?a=1&b=2", {"c": "3"}, "/x?a=1&b=2&c=3"),
        ("/x?a=1&b=2", {"a": "3"}, "/x?b=2&a=3"),
        ("/x?a=1", {}, "/x?a=1"),
        ("/x?a=1", None, "/x?a=1"),
        ("/x?a=1#fragment", None, "/x?a=1"),
        ("?a=1", {"b": "2"}, "/?a=1&b=2"),
    ],
)
def test_params(ask: Any, server: Loopback, url: str, params: Any, target: str) -> None:
    response = ask(url=url, params=params)
    expected = httpx2.URL(f"{server.url}{target}")
    assert sorted(httpx2.URL(f"{server.url}{server.last.target}").params.multi_items()) == sorted(
        expected.params.multi_items()
    )
    assert server.last.path == target.partition("?")[0]
    assert response.url == f"{server.url}{server.last.target}"


@pytest.mark.parametrize(
    "headers",
    [{"X-A": "1"}, {b"X-A": b"1"}, [("X-A", "1")], [(b"X-A", b"1")], (("X-A", "1"),), httpx2.Headers({"X-A": "1"})],
)
def test_headers(ask: Any, server: Loopback, headers: Any) -> None:
    ask(headers=headers)
    assert server.last.all("x-a") == ["1"]
    assert server.last.all("user-agent") != []


def test_a_header_given_twice_is_sent_twice(ask: Any, server: Loopback) -> None:
    ask(headers=[("X-A", "1"), ("X-A", "2"), ("accept", "text/plain")])
    assert server.last.all("x-a") == ["1", "2"]
    assert server.last.all("accept") == ["text/plain"], "it stands in for the default"


def test_headers_of_call_view_and_config_in_that_order(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url, headers={"X-A": "config", "X-B": "config", "X-C": "config"})
    view = client.with_options(headers={"x-b": "view", "x-c": "view"}).with_options(headers={"X-D": "second"})
    colour(view.get("/x", headers={"X-c": "call"}))
    assert [server.last.all(name) for name in ("x-a", "x-b", "x-c", "x-d")] == [
        ["config"], ["view"], ["call"], ["second"],
    ]  # fmt: skip
    colour(client.get("/x"))
    assert [server.last.get(name) for name in ("x-a", "x-b", "x-c", "x-d")] == ["config", "config", "config", None]


def test_configured_headers_stay_the_same_from_call_to_call(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url, headers={"X-Correlation-ID": "fixed", "traceparent": TRACE})
    for _ in range(3):
        colour(client.get("/x"))
    assert [seen.all("x-correlation-id") for seen in server.seen] == [["fixed"]] * 3
    assert [seen.all("traceparent") for seen in server.seen] == [[TRACE]] * 3


class _File(io.BytesIO):
    def __init__(self) -> None:
        super().__init__(b"file")


@pytest.mark.parametrize(
    ("options", "body", "content_type"),
    [
        ({"json": {"a": "ü"}}, '{"a":"ü"}'.encode(), "application/json"),
        ({"data": {"a": "1 2"}}, b"a=1+2", "application/x-www-form-urlencoded"),
        ({"content": b"bytes"}, b"bytes", None),
        ({"content": "text"}, b"text", None),
        ({"content": _File}, b"file", None),
        ({}, b"", None),
    ],
    ids=["json", "data", "bytes", "text", "file", "nothing"],
)
def test_bodies(ask: Any, server: Loopback, options: Any, body: bytes, content_type: str | None) -> None:
    ask("POST", **{name: value() if value is _File else value for name, value in options.items()})
    assert server.last.body == body
    assert server.last.get("content-type") == content_type
    assert server.last.all("content-length") == [str(len(body))]


def test_a_content_type_of_the_callers_own_wins(ask: Any, server: Loopback) -> None:
    ask("POST", json={"a": 1}, headers={"content-type": "application/vnd.pets+json"})
    assert server.last.all("content-type") == ["application/vnd.pets+json"]


def test_files(ask: Any, server: Loopback) -> None:
    ask("POST", files={"a": ("a.txt", b"content", "text/x-a")}, data={"b": "2"})
    assert (server.last.get("content-type") or "").startswith("multipart/form-data; boundary=")
    for part in (b'name="a"; filename="a.txt"', b"text/x-a", b"content", b'name="b"', b"2"):
        assert part in server.last.body


@pytest.mark.parametrize("form", ["dict", "list", "cookies", "jar"])
def test_cookies(ask: Any, server: Loopback, form: str) -> None:
    made = httpx2.Cookies({"a": "1"})
    made.set("b", "2")
    forms: dict[str, Any] = {
        "dict": {"a": "1", "b": "2"}, "list": [("a", "1"), ("b", "2")], "cookies": made, "jar": made.jar,
    }  # fmt: skip
    assert isinstance(made.jar, http.cookiejar.CookieJar)
    ask(cookies=forms[form])
    assert sorted((server.last.get("cookie") or "").split("; ")) == ["a=1", "b=2"]
    ask()
    assert "cookie" not in server.last.names, "those of one call are for one call"


def test_cookies_of_the_call_join_those_of_the_jar(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    client.cookies.set("jar", "1")
    client.cookies.set("both", "jar")
    colour(client.get("/x", cookies={"both": "call"}))
    assert sorted((server.last.get("cookie") or "").split("; ")) == ["both=call", "jar=1"]


def test_cookies_of_a_client_of_the_callers_own_are_used_and_kept(colour: Colour, server: Loopback) -> None:
    server.on("/login", answer(200, b"", ("Set-Cookie", "session=s; Path=/")))
    client = colour.given(server.url, colour.httpx_client(cookies={"mine": "1"}, trust_env=False))
    colour(client.get("/login"))
    colour(client.get("/x"))
    assert sorted((server.last.get("cookie") or "").split("; ")) == ["mine=1", "session=s"]


def signed(request: httpx2.Request) -> httpx2.Request:
    request.headers["X-Signed"] = "yes"
    request.url = request.url.copy_merge_params({"signature": "s"})
    return request


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (("user", "password"), "authorization", "Basic dXNlcjpwYXNzd29yZA=="),
        (httpx2.BasicAuth("user", "password"), "authorization", "Basic dXNlcjpwYXNzd29yZA=="),
        (signed, "x-signed", "yes"),
        (None, "authorization", None),
    ],
    ids=["tuple", "object", "callable", "None"],
)
def test_auth(ask: Any, server: Loopback, auth: Any, header: str, value: str | None) -> None:
    ask(auth=auth)
    assert server.last.get(header) == value
    assert ("signature=s" in server.last.target) == (header == "x-signed")


def test_auth_none_switches_that_of_a_view_off(colour: Colour, server: Loopback) -> None:
    view = colour.client(server.url).with_options(auth=("user", "password"))
    colour(view.get("/x", auth=None))
    assert "authorization" not in server.last.names


def test_auth_signs_every_attempt_anew(colour: Colour, server: Loopback) -> None:
    count = iter("123")

    def sign(request: httpx2.Request) -> httpx2.Request:
        assert "x-attempt" not in request.headers
        request.headers["X-Attempt"] = next(count)
        return request

    server.on("/x", answer(503), answer(503), answer(200))
    colour(colour.client(server.url).get("/x", auth=sign))
    assert [seen.all("x-attempt") for seen in server.seen] == [["1"], ["2"], ["3"]]


class Refreshing(httpx2.Auth):
    """Fetches a new token, from another server, when the old one is refused."""

    requires_response_body = True

    def __init__(self, url: str) -> None:
        self.token = "old"
        self.url = url

    def auth_flow(self, request: httpx2.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self.token}"
        response = yield request
        if response.status_code == 401:
            answered = yield httpx2.Request("POST", f"{self.url}/token", headers={"X-Client": "me"}, content=b"refresh")
            self.token = answered.text
            request.headers["Authorization"] = f"Bearer {self.token}"
            yield request


def guard(seen: Seen) -> Answer:
    return answer(200 if seen.get("authorization") == "Bearer new" else 401, b"")


def test_an_auth_may_send_requests_of_its_own(colour: Colour, server: Loopback, other: Loopback) -> None:
    server.on("/x", guard)
    other.on("/token", answer(200, b"new"))
    auth = Refreshing(other.url)
    client = colour.client(server.url, headers={"X-Tenant": "acme"})
    response = colour(client.post("/x", content=b"body", auth=auth))
    assert response.status_code == 200
    assert response.url == f"{server.url}/x"
    assert [(seen.method, seen.path, seen.body) for seen in server.seen] == [("POST", "/x", b"body")] * 2
    assert [(seen.method, seen.path, seen.body) for seen in other.seen] == [("POST", "/token", b"refresh")]
    assert other.last.get("x-client") == "me"
    assert not other.last.names & {"authorization", "x-tenant"}
    colour(client.post("/x", content=b"body", auth=auth))
    assert len(other.seen) == 1


def test_an_auth_that_cannot_reach_its_own_server_is_a_connection_error(colour: Colour, server: Loopback) -> None:
    server.on("/x", guard)
    with Loopback() as gone:
        url = gone.url
    client = colour.client(server.url)
    error = colour.error(client.get("/x", auth=Refreshing(url)), HoldfastError)
    assert is_a(error, httpx2.ConnectError)
    assert url in str(error)
    assert client.bulkhead.in_flight == 0


def test_what_an_auth_raises_goes_to_the_caller(colour: Colour, server: Loopback) -> None:
    def broken(request: httpx2.Request) -> httpx2.Request:
        raise LookupError("no key")

    client = colour.client(server.url)
    colour.error(client.get("/x", auth=broken), LookupError)
    assert client.bulkhead.in_flight == 0
    assert not server.connections


SLOW = raw(b"", pause=1.0)


@pytest.mark.parametrize(
    "timeout",
    [0.1, (5.0, 0.1), (5.0, 0.1, 5.0), (5.0, 0.1, 5.0, 5.0), httpx2.Timeout(5.0, read=0.1), TimeoutConfig(read=0.1)],
    ids=["number", "pair", "triple", "quadruple", "httpx2", "ours"],
)
def test_timeouts(ask: Any, server: Loopback, timeout: Any) -> None:
    server.on("/x", SLOW)
    with pytest.raises(APITimeoutError) as caught:
        ask(timeout=timeout, retry=None)
    assert is_a(caught.value, TimeoutError)
    assert is_a(caught.value, httpx2.ReadTimeout)


def test_no_timeout(ask: Any, server: Loopback) -> None:
    server.on("/x", Answer((b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "keep", 0.05))
    assert ask(timeout=None).status_code == 200
    assert ask(timeout=httpx2.Timeout(None)).status_code == 200


def test_follow_redirects(ask: Any, server: Loopback) -> None:
    server.on("/x", answer(302, b"", ("Location", "/y")))
    assert ask(follow_redirects=False).status_code == 302
    assert ask(follow_redirects=True).status_code == 200


def test_extensions(colour: Colour, server: Loopback) -> None:
    events: list[str] = []

    def trace(name: str, info: Any) -> None:
        events.append(name)

    async def trace_async(name: str, info: Any) -> None:
        events.append(name)

    client = colour.client(server.url)
    given = {"trace": trace if colour.sync else trace_async}
    server.on("/x", answer(503), answer(200))
    colour(client.get("/x", extensions=given))
    assert events.count("http11.send_request_headers.started") == 2, "one for each attempt"
    assert list(given) == ["trace"], "what was given is left as it was"
    events.clear()
    colour(client.with_options(extensions=given).get("/x", extensions={"other": 1}))
    assert events


def test_the_sni_of_extensions_and_the_timeout_are_both_kept(colour: Colour, server: Loopback) -> None:
    server.on("/x", SLOW)
    call = colour.client(server.url).get("/x", timeout=0.1, retry=None, extensions={"sni_hostname": "h"})
    assert isinstance(colour.error(call), APITimeoutError)


# Ids

FRESH = re.compile(r"[0-9a-f]{24}-[0-9a-f]+")


def test_every_call_has_an_id_that_stays_over_its_attempts(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    server.on("/x", answer(503), HANG_UP, answer(200))
    colour(client.get("/x"))
    colour(client.get("/x"))
    ids = [seen.get("x-request-id") or "" for seen in server.seen]
    assert FRESH.fullmatch(ids[0])
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert all("idempotency-key" not in seen.names for seen in server.seen)


def test_the_prefix_of_ids(colour: Colour, server: Loopback) -> None:
    colour(colour.client(server.url, request_id_prefix="pets").get("/x"))
    assert (server.last.get("x-request-id") or "").startswith("pets-")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_writes_have_a_key_that_equals_the_id(colour: Colour, server: Loopback, method: str) -> None:
    client = colour.client(server.url)
    server.on("/x", answer(503), answer(200))
    colour(client.request(method, "/x", json={}))
    assert len({seen.get("idempotency-key") for seen in server.seen}) == 1
    assert server.last.get("idempotency-key") == server.last.get("x-request-id")
    assert server.last.all("idempotency-key") == [server.last.get("x-request-id")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_what_is_idempotent_by_itself_has_no_key(colour: Colour, server: Loopback, method: str) -> None:
    server.default = answer(200)
    colour(colour.client(server.url).request(method, "/x"))
    assert "idempotency-key" not in server.last.names
    assert "x-request-id" in server.last.names


def test_a_key_of_the_callers_own(ask: Any, server: Loopback) -> None:
    ask("POST", idempotency_key="mine")
    assert server.last.all("idempotency-key") == ["mine"]
    assert server.last.get("x-request-id") != "mine"


def test_a_request_id_of_the_callers_own(ask: Any, server: Loopback) -> None:
    ask("POST", request_id="mine")
    assert server.last.all("x-request-id") == ["mine"]
    assert server.last.all("idempotency-key") == ["mine"]
    ask("POST", request_id="mine", idempotency_key="other")
    assert server.last.get("idempotency-key") == "other"


def test_no_key(ask: Any, server: Loopback) -> None:
    ask("POST", idempotency_key=False)
    assert "idempotency-key" not in server.last.names


def test_ids_given_as_headers_are_not_sent_twice(ask: Any, server: Loopback) -> None:
    ask("POST", headers={"x-request-id": "r", "idempotency-key": "k"})
    assert server.last.all("x-request-id") == ["r"]
    assert server.last.all("idempotency-key") == ["k"]
    ask("POST", headers={"x-request-id": "r", "idempotency-key": "k"}, request_id="R", idempotency_key="K")
    assert server.last.all("x-request-id") == ["R"]
    assert server.last.all("idempotency-key") == ["K"]


@pytest.mark.parametrize(
    ("options", "repeated"),
    [
        ({}, False),
        ({"request_id": "r"}, True),
        ({"idempotency_key": "k"}, True),
        ({"headers": {"Idempotency-Key": "k"}}, True),
        ({"headers": {"X-Request-ID": "r"}}, False),
        ({"idempotency_key": False}, False),
        ({"server_deduplicates": True}, True),
        ({"request_id": "r", "server_deduplicates": False}, False),
        ({"idempotency_key": "k", "server_deduplicates": False}, False),
    ],
)
def test_what_makes_a_post_repeatable(ask: Any, server: Loopback, options: dict[str, Any], repeated: bool) -> None:
    server.on("/x", HANG_UP, answer(200))
    with contextlib.nullcontext() if repeated else pytest.raises(HoldfastError):
        ask("POST", **options)
    assert len(server.seen) == (2 if repeated else 1)


def test_the_config_can_say_that_the_server_deduplicates(colour: Colour, server: Loopback) -> None:
    server.on("/x", HANG_UP, answer(200))
    colour(colour.client(server.url, server_deduplicates=True).post("/x"))
    assert len(server.seen) == 2


def test_the_request_being_served_travels_on(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    with request_context("incoming", traceparent=TRACE) as current:
        assert current == get_request_id() == "incoming"
        colour(client.post("/x"))
        colour(client.post("/x"))
        colour(client.get("/x", headers={"x-correlation-id": "mine"}))
    first, second, third = server.seen
    assert first.get("x-correlation-id") == second.get("x-correlation-id") == "incoming"
    assert first.get("traceparent") == TRACE
    assert first.get("x-request-id") != second.get("x-request-id")
    assert "incoming" not in (first.get("x-request-id"), first.get("idempotency-key"))
    assert third.all("x-correlation-id") == ["mine"]
    colour(client.post("/x"))
    assert not server.last.names & {"x-correlation-id", "traceparent"}


def test_no_traceparent_without_one(colour: Colour, server: Loopback) -> None:
    with request_context() as current:
        colour(colour.client(server.url).get("/x"))
    assert server.last.get("x-correlation-id") == current
    assert "traceparent" not in server.last.names


# Policies


def test_retry(ask: Any, server: Loopback) -> None:
    server.default = answer(503)
    with pytest.raises(ServiceUnavailableError) as caught:
        ask(retry=None)
    assert caught.value.attempts == 1
    with pytest.raises(ServiceUnavailableError) as caught:
        ask(retry=RetryConfig(max_attempts=2, min_wait_seconds=0, max_wait_seconds=0))
    assert caught.value.attempts == 2
    with pytest.raises(ServiceUnavailableError) as caught:
        ask()
    assert caught.value.attempts == 3


def test_a_view_shares_everything(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    view = client.with_options(cache_ttl=60)
    colour(view.get("/x"))
    colour(client.get("/x", cache_ttl=60))
    assert server.connections == 1
    assert len(server.seen) == 1
    client.circuit_breaker.isolate()
    assert view.circuit_breaker.state == "isolated"
    assert view.metrics().total.calls == 2


def test_options_of_a_view_give_way_to_those_of_the_call(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    view = client.with_options(request_id="view", params={"a": "view"}, timeout=5.0, deadline=5.0)
    colour(view.get("/x", request_id="call", params={"a": "call"}))
    assert server.last.get("x-request-id") == "call"
    assert server.last.target == "/x?a=call"


# Wrong options

WRONG: list[tuple[str, Any, type[Exception]]] = [
    ("params", 5, TypeError),
    ("headers", 5, TypeError),
    ("headers", "X-A: b", TypeError),
    ("cookies", "a=b", TypeError),
    ("auth", "token", TypeError),
    ("auth", ("a", "b", "c"), TypeError),
    ("auth", ("a", 5), TypeError),
    ("timeout", "5s", TypeError),
    ("timeout", True, TypeError),
    ("timeout", -1, ValueError),
    ("timeout", float("nan"), ValueError),
    ("timeout", float("inf"), ValueError),
    ("timeout", (1,), ValueError),
    ("timeout", (1, 2, 3, 4, 5), ValueError),
    ("timeout", (1, "2"), TypeError),
    ("follow_redirects", "no", TypeError),
    ("follow_redirects", 1, TypeError),
    ("extensions", [1], TypeError),
    ("request_id", 5, TypeError),
    ("request_id", False, TypeError),
    ("idempotency_key", True, TypeError),
    ("idempotency_key", 5, TypeError),
    ("server_deduplicates", 1, TypeError),
    ("server_deduplicates", None, TypeError),
    ("deadline", "5", TypeError),
    ("deadline", 0, ValueError),
    ("deadline", -1.0, ValueError),
    ("deadline", float("nan"), ValueError),
    ("retry", 3, TypeError),
    ("retry", {"max_attempts": 3}, TypeError),
    ("cache_ttl", "60", TypeError),
    ("cache_ttl", -1, ValueError),
    ("cache_identity", 5, TypeError),
    ("tags", "tag", TypeError),
    ("tags", [5], TypeError),
    ("retries", 3, TypeError),
    ("time_out", 3, TypeError),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
@pytest.mark.parametrize("way", ["call", "view", "stream"])
def test_a_wrong_option_fails_where_it_is_given(name: str, value: Any, expected: type[Exception], way: str) -> None:
    client = Colour(sync=True).client("http://127.0.0.1:9")
    with pytest.raises(expected, match=name):
        if way == "call":
            _ = client.get("/x", **{name: value})
        elif way == "view":
            client.with_options(**{name: value})
        else:
            client.stream("GET", "/x", **{name: value})


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"data": "a=1"}, "data"),
        ({"data": b"a=1"}, "data"),
        ({"content": 5}, "content"),
        ({"content": {"a": 1}}, "content"),
        ({"files": "name"}, "files"),
        ({"json": {}, "content": b""}, "content and json"),
        ({"json": {}, "data": {}}, "json and data"),
        ({"content": b"", "files": {}}, "content and data or files"),
    ],
)
def test_a_wrong_body_option_fails_where_it_is_given(options: dict[str, Any], name: str) -> None:
    client = Colour(sync=True).client("http://127.0.0.1:9")
    with pytest.raises(TypeError, match=name):
        _ = client.post("/x", **options)


def test_an_unknown_option_is_told_what_there_is() -> None:
    with pytest.raises(TypeError, match=r"'tiemout'.*timeout"):
        _ = Colour(sync=True).client("http://127.0.0.1:9").get("/x", tiemout=5)  # type: ignore[call-arg]


@pytest.mark.parametrize("method", ["", "GE T", "GET\r\nX-A: b", "GÉT", 5, None])
def test_an_unusable_method_is_refused(colour: Colour, server: Loopback, method: Any) -> None:
    error = colour.error(colour.client(server.url).request(method, "/x"), InvalidRequestError)
    assert "method" in error.field_errors
    assert not error.may_have_executed
    assert not server.connections


def test_methods_of_any_name_and_case(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    for method in ("get", "Post", "PROPFIND", "x-method"):
        colour(client.request(method, "/x"))
        assert server.last.method == method.upper()


@pytest.mark.parametrize("url", [5, None, b"/x", ["/x"]])
def test_a_url_of_a_wrong_type_is_refused(colour: Colour, server: Loopback, url: Any) -> None:
    error = colour.error(colour.client(server.url).get(url), InvalidRequestError)
    assert "url" in error.field_errors
    assert not error.may_have_executed
    assert not server.connections


@pytest.mark.parametrize("params", [[5], [()]])
def test_params_that_cannot_be_encoded_are_refused(colour: Colour, server: Loopback, params: Any) -> None:
    error = colour.error(colour.client(server.url).get("/x", params=params), InvalidRequestError)
    assert not error.may_have_executed
    assert not server.connections
