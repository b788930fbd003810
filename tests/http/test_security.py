"""What never leaves the origin of base_url, what is never sent, and what is never shown."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from holdfast.exceptions import (
    APIConnectionError,
    DeadlineExceededError,
    HoldfastError,
    InvalidRequestError,
    TooManyRedirectsError,
)
from holdfast.http.context import request_context
from tests.support.colours import Colour, is_a
from tests.support.loopback import HANG_UP, Loopback, answer, json_answer, raw, redirect

pytestmark = pytest.mark.loopback

SECRET = "s3cr3t-v4lue"
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
PRIVATE = {"authorization", "proxy-authorization", "cookie", "x-api-key", "x-tenant"}
OF_ONE_REQUEST = {"x-request-id", "idempotency-key", "traceparent", "x-correlation-id", "x-deadline"}
CONFIGURED = {
    "Authorization": f"Bearer {SECRET}",
    "Proxy-Authorization": f"Basic {SECRET}",
    "Cookie": f"configured={SECRET}",
    "X-API-Key": SECRET,
    "X-Tenant": f"acme-{SECRET}",
}


def bare(server: Loopback) -> None:
    """Nothing private arrived there, under whatever name."""
    assert server.seen, "nothing arrived at all"
    assert SECRET not in server.text
    for seen in server.seen:
        assert not seen.names & PRIVATE


# Credentials and redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_configured_credentials_do_not_follow_a_redirect_to_another_origin(
    colour: Colour, server: Loopback, other: Loopback, status: int
) -> None:
    server.on("/a", redirect(status, f"{other.url}/landed"))
    client = colour.client(server.url, headers=CONFIGURED)
    assert colour(client.get("/a")).url == f"{other.url}/landed"
    assert {name.lower() for name in CONFIGURED} <= server.last.names
    bare(other)


@pytest.mark.parametrize("name", [*CONFIGURED, "X-Anything"])
def test_a_header_of_the_call_does_not_follow_a_redirect_to_another_origin(
    colour: Colour, server: Loopback, other: Loopback, name: str
) -> None:
    server.on("/a", redirect(302, f"{other.url}/"))
    client = colour.client(server.url)
    colour(client.get("/a", headers={name: SECRET}))
    assert server.last.get(name) == SECRET
    assert name.lower() not in other.last.names
    bare(other)


def auths() -> dict[str, Any]:
    def sign(request: httpx2.Request) -> httpx2.Request:
        request.headers["X-API-Key"] = SECRET
        return request

    return {"basic": ("user", SECRET), "callable": sign, "object": httpx2.BasicAuth("user", SECRET)}


@pytest.mark.parametrize("kind", ["basic", "callable", "object"])
def test_auth_does_not_follow_a_redirect_to_another_origin(
    colour: Colour, server: Loopback, other: Loopback, kind: str
) -> None:
    server.on("/a", redirect(302, f"{other.url}/"))
    client = colour.client(server.url)
    colour(client.get("/a", auth=auths()[kind]))
    assert server.last.names & {"authorization", "x-api-key"}
    bare(other)


def test_a_challenge_of_another_origin_gets_no_credentials(colour: Colour, server: Loopback, other: Loopback) -> None:
    server.on("/a", redirect(302, f"{other.url}/"))
    challenge = ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5')
    other.default = answer(401, b"", challenge)
    client = colour.client(server.url)
    colour.error(client.get("/a", auth=httpx2.DigestAuth("user", SECRET)), HoldfastError)
    bare(other)


def test_cookies_of_the_jar_go_to_the_own_origin_only(colour: Colour, server: Loopback, other: Loopback) -> None:
    server.on("/login", answer(200, b"", ("Set-Cookie", f"session={SECRET}; Path=/")))
    server.on("/a", redirect(302, f"{other.url}/"))
    client = colour.client(server.url)
    colour(client.get("/login"))
    colour(client.get("/b"))
    assert server.last.get("cookie") == f"session={SECRET}"
    colour(client.get("/a"))
    assert server.last.get("cookie") == f"session={SECRET}"
    colour(client.get(f"{other.url}/typed"))
    colour(client.get(f"{other.url}/typed", params={"a": 1}))
    bare(other)


def test_another_origin_cannot_set_cookies(colour: Colour, server: Loopback, other: Loopback) -> None:
    planted = ("Set-Cookie", "session=planted; Path=/")
    other.on("/typed", answer(200, b"", planted))
    other.on("/hop", redirect(302, f"{server.url}/back", planted))
    server.on("/a", redirect(302, f"{other.url}/hop"))
    client = colour.client(server.url)
    colour(client.get(f"{other.url}/typed"))
    colour(client.get("/a"))
    assert not client.cookies
    colour(client.get("/b"))
    assert "cookie" not in server.last.names


@pytest.mark.parametrize("value", ["\u0663".encode().decode("latin-1"), "\xe9", "a\x01b", "a\x7fb"])
def test_a_cookie_that_cannot_be_sent_back_spoils_no_request(colour: Colour, server: Loopback, value: str) -> None:
    server.on("/login", answer(200, b"", ("Set-Cookie", f"bad={value}; Path=/"), ("Set-Cookie", "good=1; Path=/")))
    client = colour.client(server.url)
    try:
        colour(client.get("/login"))
    except APIConnectionError:
        return  # a header with a control character is refused as a whole
    assert colour(client.get("/x")).status_code == 200
    assert server.last.get("cookie") == "good=1"


def test_a_cookie_set_on_a_redirect_goes_along_within_the_origin(colour: Colour, server: Loopback) -> None:
    server.on("/a", redirect(302, "/b", ("Set-Cookie", "seen=1; Path=/")))
    colour(colour.client(server.url).get("/a"))
    assert server.last.path == "/b"
    assert server.last.get("cookie") == "seen=1"


def test_a_cookie_changed_by_a_redirect_replaces_the_old_one(colour: Colour, server: Loopback) -> None:
    server.on("/a", redirect(302, "/b", ("Set-Cookie", "seen=2; Path=/")))
    client = colour.client(server.url)
    client.cookies.set("seen", "1")
    client.cookies.set("seen", "1", domain="127.0.0.1", path="/")
    colour(client.get("/a", headers={"Cookie": "seen=0"}))
    assert server.seen[0].all("cookie") == ["seen=0"]
    assert "seen=0" not in (server.last.get("cookie") or "")
    assert "seen=2" in (server.last.get("cookie") or "")
    assert len(server.last.all("cookie")) == 1


def test_a_cookie_goes_to_urls_that_were_called_before_it_came(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    colour(client.get("/x"))
    client.cookies.set("session", "s")
    colour(client.get("/x"))
    assert [seen.get("cookie") for seen in server.seen] == [None, "session=s"]


def test_credentials_stay_on_a_redirect_within_the_origin(colour: Colour, server: Loopback) -> None:
    server.on("/a", redirect(302, "/b"))
    client = colour.client(
        server.url, headers={"Authorization": f"Bearer {SECRET}", "X-Tenant": "acme", "Cookie": "a=b"}
    )
    colour(client.get("/a", headers={"X-API-Key": "k"}))
    assert server.last.path == "/b"
    assert server.last.all("cookie") == ["a=b"]
    assert server.last.get("authorization") == f"Bearer {SECRET}"
    assert server.last.get("x-tenant") == "acme"
    assert server.last.get("x-api-key") == "k"


def test_credentials_do_not_come_back_after_a_detour(colour: Colour, server: Loopback, other: Loopback) -> None:
    server.on("/a", redirect(302, f"{other.url}/hop"))
    other.on("/hop", redirect(302, f"{server.url}/transfer?to=mallory"))
    client = colour.client(server.url, headers=CONFIGURED)
    client.cookies.set("session", SECRET)
    colour(client.get("/a"))
    assert server.last.path == "/transfer"
    assert not server.last.names & PRIVATE


# Credentials and absolute URLs


def test_configured_credentials_do_not_go_through_an_absolute_url(
    colour: Colour, server: Loopback, other: Loopback
) -> None:
    client = colour.client(server.url, headers=CONFIGURED, send_deadline_header="X-Left")
    client.cookies.set("session", SECRET)
    colour(client.get(f"{other.url}/x"))
    colour(client.get(httpx2.URL(f"{other.url}/y")))
    colour(client.post(f"{other.url}/z", json={"a": 1}))
    bare(other)
    colour(client.get(f"{server.url}/x"))
    assert server.last.get("authorization") == f"Bearer {SECRET}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1.", "127.1"])
def test_another_name_of_the_same_machine_is_another_origin(colour: Colour, server: Loopback, host: str) -> None:
    client = colour.client(server.url, headers=CONFIGURED)
    with contextlib.suppress(HoldfastError):  # not every resolver knows all of them
        colour(client.get(f"http://{host}:{server.port}/x"))
    assert SECRET not in server.text


def test_what_is_given_on_the_call_goes_to_the_url_as_typed(colour: Colour, server: Loopback, other: Loopback) -> None:
    client = colour.client(server.url, headers=CONFIGURED)
    colour(client.get(f"{other.url}/x", headers={"Authorization": "Bearer mine"}, cookies={"a": "b"}))
    assert other.last.get("authorization") == "Bearer mine"
    assert other.last.get("cookie") == "a=b"
    colour(client.get(f"{other.url}/x", auth=("me", "too")))
    assert other.last.get("authorization") == "Basic bWU6dG9v"
    assert SECRET not in other.text


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Authorization": f"Bearer {SECRET}"}},
        {"headers": {"X-Tenant": SECRET}},
        {"auth": ("user", SECRET)},
        {"cookies": {"session": SECRET}},
        {"params": {"api_key": SECRET}},
    ],
    ids=["authorization", "header", "auth", "cookies", "params"],
)
def test_what_a_view_adds_stays_at_the_own_origin(
    colour: Colour, server: Loopback, other: Loopback, options: dict[str, Any]
) -> None:
    view = colour.client(server.url).with_options(**options).with_options(timeout=5.0)
    colour(view.get("/x"))
    assert server.last.names & (PRIVATE | {"authorization"}) or SECRET in server.last.target
    colour(view.get(f"{other.url}/x", headers={"X-Mine": "1"}))
    assert other.last.get("x-mine") == "1"
    bare(other)


def handed_in(colour: Colour, base: type[Any] | None = None) -> Any:
    kind = base or (httpx2.Client if colour.sync else httpx2.AsyncClient)
    return kind(
        headers={"Authorization": f"Bearer {SECRET}"},
        cookies={"session": SECRET},
        params={"api_key": SECRET},
        trust_env=False,
    )


class SyncSubclass(httpx2.Client):
    def request(self, *args: Any, **kwargs: Any) -> httpx2.Response:
        return super().request(*args, **kwargs)


class AsyncSubclass(httpx2.AsyncClient):
    async def request(self, *args: Any, **kwargs: Any) -> httpx2.Response:
        return await super().request(*args, **kwargs)


@pytest.mark.parametrize("subclass", [False, True], ids=["plain", "subclass"])
def test_what_a_client_of_the_callers_own_adds_stays_at_the_own_origin(
    colour: Colour, server: Loopback, other: Loopback, subclass: bool
) -> None:
    own = handed_in(colour, (SyncSubclass if colour.sync else AsyncSubclass) if subclass else None)
    client = colour.given(server.url, own)
    server.on("/a", redirect(302, f"{other.url}/hop"))
    colour(client.get("/a"))
    assert server.last.get("authorization") == f"Bearer {SECRET}"
    assert server.last.get("cookie") == f"session={SECRET}"
    assert SECRET in server.last.target
    colour(client.get(f"{other.url}/typed"))
    assert [seen.path for seen in other.seen] == ["/hop", "/typed"]
    bare(other)


def test_the_auth_of_a_client_of_the_callers_own_stays_at_the_own_origin(
    colour: Colour, server: Loopback, other: Loopback
) -> None:
    own = colour.httpx_client(auth=("user", SECRET), trust_env=False)
    client = colour.given(server.url, own)
    colour(client.get("/x"))
    assert "authorization" in server.last.names
    colour(client.get(f"{other.url}/x"))
    bare(other)


def test_auth_cannot_move_the_request_to_another_origin(colour: Colour, server: Loopback, other: Loopback) -> None:
    def move(request: httpx2.Request) -> httpx2.Request:
        request.url = httpx2.URL(f"{other.url}/x")
        return request

    client = colour.client(server.url, headers=CONFIGURED)
    colour.error(client.get("/x", auth=move), ValueError)
    assert not other.seen


# What belongs to one request


def test_a_redirect_to_another_origin_carries_no_ids_and_no_body(
    colour: Colour, server: Loopback, other: Loopback
) -> None:
    server.on("/a", redirect(303, f"{other.url}/"))
    client = colour.client(server.url, send_deadline_header="X-Deadline")
    with request_context("incoming-1", traceparent=TRACE):
        colour(client.post("/a", json={"a": SECRET}, idempotency_key="key-1"))
    assert server.last.names >= OF_ONE_REQUEST
    assert other.last.method == "GET"
    assert not other.last.names & OF_ONE_REQUEST
    assert not other.last.names & {"content-type", "content-length", "transfer-encoding"}
    assert other.last.body == b""


def test_a_redirect_within_the_origin_carries_the_same_ids(colour: Colour, server: Loopback) -> None:
    server.on("/a", redirect(307, "/b"))
    client = colour.client(server.url)
    with request_context("incoming-1", traceparent=TRACE):
        colour(client.post("/a", json={"a": 1}))
    first, second = server.seen
    for name in ("x-request-id", "idempotency-key", "traceparent", "x-correlation-id"):
        assert first.get(name) == second.get(name) != None  # noqa: E711


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_redirect_that_needs_the_body_at_another_origin_is_refused(
    colour: Colour, server: Loopback, other: Loopback, status: int, method: str
) -> None:
    server.on("/a", redirect(status, f"{other.url}/"))
    client = colour.client(server.url)
    error = colour.error(client.request(method, "/a", json={"a": SECRET}), TooManyRedirectsError)
    assert is_a(error, httpx2.TooManyRedirects)
    assert other.url in str(error)
    assert error.attempts == 1
    assert not error.may_have_executed
    assert not other.seen


@pytest.mark.parametrize("status", [301, 302])
def test_a_put_that_would_take_its_body_to_another_origin_is_refused(
    colour: Colour, server: Loopback, other: Loopback, status: int
) -> None:
    server.on("/a", redirect(status, f"{other.url}/"))
    colour.error(colour.client(server.url).put("/a", content=b"x"), TooManyRedirectsError)
    assert not other.seen


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_needs_the_body_at_the_same_origin_gets_it(
    colour: Colour, server: Loopback, status: int
) -> None:
    server.on("/a", redirect(status, "/b"))
    response = colour(colour.client(server.url).post("/a", json={"a": 1}))
    assert [(seen.method, seen.body) for seen in server.seen] == [("POST", b'{"a":1}')] * 2
    assert server.last.get("content-type") == "application/json"
    assert [one.status_code for one in response.history] == [status]
    assert response.url == f"{server.url}/b"


@pytest.mark.parametrize(("status", "method", "then"), [
    (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"), (303, "HEAD", "HEAD"),
    (302, "PUT", "PUT"), (301, "DELETE", "DELETE"), (307, "DELETE", "DELETE"), (302, "HEAD", "HEAD"),
])  # fmt: skip
def test_the_method_after_a_redirect(colour: Colour, server: Loopback, status: int, method: str, then: str) -> None:
    server.on("/a", redirect(status, "/b"))
    colour(colour.client(server.url).request(method, "/a"))
    assert server.last.method == then


def test_redirects_end(colour: Colour, server: Loopback) -> None:
    server.on("/a", redirect(302, "/b"))
    server.on("/b", redirect(302, "/a"))
    client = colour.client(server.url, max_redirects=4)
    error = colour.error(client.get("/a"), TooManyRedirectsError)
    assert "max_redirects=4" in str(error)
    assert len(server.seen) == 5
    assert client.circuit_breaker.state == "closed"


def test_redirects_can_be_left_alone(colour: Colour, server: Loopback) -> None:
    server.on("/a", redirect(302, "/b"))
    assert colour(colour.client(server.url).get("/a", follow_redirects=False)).status_code == 302
    assert colour(colour.client(server.url, follow_redirects=False).get("/a")).status_code == 302
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    "location",
    ["ftp://127.0.0.1/x", "http://user:pw@127.0.0.1/", "http://[::1", "file:///etc/passwd", "http://h:99999/"],
)
def test_a_redirect_to_what_is_no_plain_url_is_refused(colour: Colour, server: Loopback, location: str) -> None:
    server.on("/a", redirect(302, location))
    error = colour.error(colour.client(server.url).get("/a"), TooManyRedirectsError)
    assert len(server.seen) == 1
    assert "pw" not in str(error)


def test_a_redirect_is_followed_inside_a_stream_too(colour: Colour, server: Loopback, other: Loopback) -> None:
    server.on("/a", redirect(302, f"{other.url}/"))
    other.default = answer(200, b"streamed")
    client = colour.client(server.url, headers=CONFIGURED)
    assert colour.streamed(client.stream("GET", "/a")) == b"streamed"
    bare(other)
    assert client.bulkhead.in_flight == 0


# A write that was answered with a redirect was executed


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("result", ["503", "unreachable", "lost", "loop"])
def test_a_post_that_led_to_a_page_that_fails_is_not_repeated(
    colour: Colour, server: Loopback, status: int, result: str
) -> None:
    with Loopback() as gone:
        nowhere = gone.url
    server.on("/a", redirect(status, f"{nowhere}/" if result == "unreachable" else "/b"))
    server.on("/b", {"503": answer(503), "lost": HANG_UP, "loop": redirect(302, "/b")}.get(result, HANG_UP))
    error = colour.error(colour.client(server.url).post("/a", json={"a": 1}), HoldfastError)
    assert [seen.path for seen in server.seen].count("/a") == 1
    assert error.may_have_executed
    assert error.status_code == (503 if result == "503" else None)


def test_a_keyed_post_that_led_to_a_page_that_fails_is_repeated(colour: Colour, server: Loopback) -> None:
    server.on("/a", redirect(303, "/b"))
    server.on("/b", answer(503), answer(200, b"made"))
    response = colour(colour.client(server.url).post("/a", json={"a": 1}, idempotency_key="k"))
    assert response.content == b"made"
    assert [seen.path for seen in server.seen] == ["/a", "/b", "/a", "/b"]


# URLs

DOTS = [
    "../admin", "a/../../admin", "..", ".", "a/.", "/v1/../admin", "%2e%2e/admin", "%2E%2e/admin", ".%2e/admin",
    "%252e%252e/admin", "%25252e%25252e%2fadmin", "..%2fadmin", "..%5cadmin", "..\\admin", "a\\..\\admin", "..;/admin",
    "..;a=b/admin", "%2e%2e%3b/admin", "..%252fadmin",
]  # fmt: skip


@pytest.mark.parametrize("url", DOTS)
@pytest.mark.parametrize("absolute", [False, True])
def test_dot_segments_are_refused_before_anything_is_sent(
    colour: Colour, server: Loopback, url: str, absolute: bool
) -> None:
    client = colour.client(f"{server.url}/v1")
    typed = f"{server.url}/v1/{url}" if absolute else url
    for given in (typed, f"{typed}?q=1"):
        error = colour.error(client.get(given), InvalidRequestError)
        assert error.response is None
        assert error.attempts == 0
        assert not error.may_have_executed
        assert "url" in error.field_errors
    assert not server.connections


@pytest.mark.parametrize("url", ["a..b", "...", "a/..b", "?next=../x", "a?next=/../x", "a.b/c.", "%2fadmin", "a#../x"])
def test_dots_elsewhere_are_no_dot_segments(colour: Colour, server: Loopback, url: str) -> None:
    colour(colour.client(f"{server.url}/v1").get(url))
    assert server.last.target.startswith("/v1")


@pytest.mark.parametrize("url", ["admin", "/admin", "admin/", "", "/", "?a=1", "//", "%2f%2fhost/admin", "a:b/c"])
def test_relative_urls_stay_below_the_path_of_base_url(colour: Colour, server: Loopback, url: str) -> None:
    client = colour.client(f"{server.url}/v1")
    with contextlib.suppress(InvalidRequestError):
        colour(client.get(url))
    assert all(seen.path == "/v1" or seen.path.startswith("/v1/") for seen in server.seen)


@pytest.mark.parametrize(
    "url",
    ["//evil.example/x", "///evil.example/x", "\\\\evil.example\\x", "/\\evil.example", "http:/evil.example",
     "http:evil.example", "javascript:alert(1)", "ftp://evil.example/x", "http://", "http://evil.example\\.own/",
     "http://own\\@evil.example/", "http://h:0/", "http://h:99999/", "http://[::1/", "http://a b/", "x\ty", "x\r\ny"],
)  # fmt: skip
def test_urls_that_lead_elsewhere_or_nowhere_are_refused(colour: Colour, server: Loopback, url: str) -> None:
    error = colour.error(colour.client(f"{server.url}/v1").get(url), InvalidRequestError)
    assert not is_a(error, httpx2.HTTPStatusError)
    assert not error.may_have_executed
    assert not server.connections


@pytest.mark.parametrize("rest", ["/x", "/x y", "/../x", "\\x", ":99999/x"])
def test_credentials_in_a_url_are_refused_and_not_repeated(
    colour: Colour, server: Loopback, caplog: pytest.LogCaptureFixture, rest: str
) -> None:
    caplog.set_level(logging.DEBUG)
    client = colour.client(server.url)
    call = client.get(f"http://user:{SECRET}@127.0.0.1{rest}?api_key={SECRET}")
    assert SECRET not in repr(call)
    error = colour.error(call, InvalidRequestError)
    assert_hidden(error)
    assert SECRET not in caplog.text
    assert not server.connections


# Line breaks


@pytest.mark.parametrize(
    "headers",
    [{"X-A": "a\r\nX-B: b"}, {"X-A": "a\nb"}, {"X-A": "a\rb"}, {"X-A": "a\x00b"}, {"X-A\r\nX-B": "a"}, {"X A": "a"},
     {"": "a"}, {"X:A": "a"}, {b"X-A": b"a\r\nX-B: b"}, [("X-A", "a\r\nX-B: b")], {"X-A": " a"}, {"X-A": "ü"}],
)  # fmt: skip
@pytest.mark.parametrize("view", [False, True])
def test_headers_that_would_break_the_message_are_refused(
    colour: Colour, server: Loopback, headers: Any, view: bool
) -> None:
    client = colour.client(server.url)
    call = (
        client.with_options(headers=headers).get("/x", headers={"X-C": "c"})
        if view
        else client.get("/x", headers=headers)
    )
    error = colour.error(call, InvalidRequestError)
    assert "headers" in error.field_errors
    assert not error.may_have_executed
    assert not server.connections


@pytest.mark.parametrize("name", ["request_id", "idempotency_key"])
@pytest.mark.parametrize("value", ["a\r\nX-B: b", "a b", "", "ü", "a" * 201, "a\x00"])
def test_ids_that_would_break_the_message_are_refused(colour: Colour, server: Loopback, name: str, value: str) -> None:
    client = colour.client(server.url)
    with pytest.raises(ValueError, match=name):
        colour(client.post("/x", **{name: value}))  # type: ignore[arg-type]


def test_cookies_that_would_break_the_message_are_refused(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    error = colour.error(client.get("/x", cookies={"a": f"{SECRET}\r\nX-B: b"}), InvalidRequestError)
    assert_hidden(error)
    assert not server.connections


def test_a_content_length_that_contradicts_the_body_is_refused(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    for headers in ({"Content-Length": "2"}, {"content-length": "30"}, {"Transfer-Encoding": "chunked"}):
        colour.error(client.post("/x", content=b"abc", headers=headers), InvalidRequestError)
    assert not server.connections
    colour(client.post("/x", content=b"abc", headers={"Content-Length": "3"}))
    assert server.last.all("content-length") == ["3"]


# Secrets in what people read


def assert_hidden(error: BaseException, *, echoed: bool = False) -> None:
    """The secret is in nothing that shows or carries the error away. `echoed`: only the server's answer has it."""
    shown = [str(error), repr(error), repr(error.args), *getattr(error, "__notes__", [])]
    shown += traceback.format_exception(error)
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        shown += [str(one), repr(one), repr(one.args)]
        for holder in (one, getattr(one, "response", None)):
            with contextlib.suppress(AttributeError, RuntimeError):
                request = holder.request  # type: ignore[union-attr]
                shown += [str(request.url), repr(request.headers.raw), repr(request.extensions)]
        one = one.__cause__ or one.__context__
    for text in shown:
        assert SECRET not in text, text
    if isinstance(error, HoldfastError):
        dumped = pickle.dumps(error)
        assert dumped.count(SECRET.encode()) == (1 if echoed else 0)
        assert pickle.loads(dumped).message == error.message
        assert SECRET not in repr(vars(copy.copy(error)))


@contextlib.contextmanager
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Everything of ours on DEBUG, and all others as programs do: on INFO."""
    with caplog.at_level(logging.INFO), caplog.at_level(logging.DEBUG, "resilient_client"):
        yield
    text = caplog.text + repr([vars(record) for record in caplog.records])
    assert caplog.records
    assert SECRET not in text


FAILURES: dict[str, Any] = {
    "401": json_answer(401, f'{{"detail": "the token {SECRET} is not valid"}}'),
    "404": answer(404),
    "422": json_answer(422, '{"detail": [{"loc": ["body", "x"], "msg": "bad"}]}'),
    "429": answer(429, b"", ("Retry-After", "3600")),
    "503": answer(503),
    "lost": HANG_UP,
    "redirect": redirect(302, f"ftp://user:{SECRET}@h/?token={SECRET}"),
    "truncated": answer(200, b"short", ("Content-Length", "100"), end="close"),
    "gzip": answer(200, b"this is not gzip", ("Content-Encoding", "gzip")),
    "large": answer(200, b"x" * 5000),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_call_shows_no_secret(
    colour: Colour, server: Loopback, caplog: pytest.LogCaptureFixture, failure: str
) -> None:
    server.default = FAILURES[failure]
    events: list[object] = []
    client = colour.client(
        server.url,
        headers=CONFIGURED,
        max_response_bytes=4000,
        observers=[events.append],
        logging={"level": "DEBUG"},
    )
    client.cookies.set("session", SECRET)
    with everything_logged(caplog):
        call = client.get("/x", params={"api_key": SECRET}, headers={"X-Auth-Token": SECRET}, auth=("user", SECRET))
        shown = [repr(call), repr(client), repr(client.config)]
        error = colour.error(call, HoldfastError)
    assert SECRET in server.text, "it was not even sent"
    assert_hidden(error, echoed=failure == "401")
    shown += [repr(events), repr(client.metrics()), repr(call)]
    for text in shown:
        assert SECRET not in text


def test_an_unreachable_server_shows_no_secret(colour: Colour, caplog: pytest.LogCaptureFixture) -> None:
    with Loopback() as gone:
        url = gone.url
    client = colour.client(url, headers=CONFIGURED)
    with everything_logged(caplog):
        error = colour.error(client.get("/x", params={"token": SECRET}), HoldfastError)
    assert_hidden(error)


def test_the_deadlines_error_shows_no_secret_of_the_last_one(colour: Colour, server: Loopback) -> None:
    server.on("/x", json_answer(503, f'{{"detail": "busy, {SECRET}"}}'), raw(b"", pause=0.6))
    client = colour.client(server.url, headers=CONFIGURED)
    error = colour.error(client.get("/x", deadline=0.3), DeadlineExceededError)
    assert error.last_error.status_code == 503
    assert_hidden(error, echoed=True)


def test_a_successful_call_logs_no_secret(colour: Colour, server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    client = colour.client(server.url, headers=CONFIGURED)
    with everything_logged(caplog):
        colour(client.get("/x", params={"api_key": SECRET}))
        colour(client.get("/x", params={"api_key": SECRET}, cache_ttl=10))
        colour(client.get("/x", params={"api_key": SECRET}, cache_ttl=10))
    assert len(server.seen) == 2


def broken_auth(request: httpx2.Request) -> httpx2.Request:
    request.headers["Authorization"] = f"{SECRET}\r\nX-B: b"
    return request


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Authorization": f"{SECRET}☃"}},
        {"headers": {"Authorization": f"{SECRET}\n"}},
        {"cookies": {"session": f"{SECRET}☃"}},
        {"auth": broken_auth},
    ],
    ids=["character", "line break", "cookie", "auth"],
)
def test_a_value_that_cannot_stand_in_a_header_is_not_shown(
    colour: Colour, server: Loopback, options: dict[str, Any]
) -> None:
    error = colour.error(colour.client(server.url).get("/x", **options), InvalidRequestError)
    assert_hidden(error)
    assert not error.may_have_executed
    assert not server.seen
