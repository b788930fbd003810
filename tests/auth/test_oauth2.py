"""The client credentials grant: what is asked, what comes of every answer, and where the secret is not."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
import pickle
import traceback
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from holdfast import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    CircuitOpenError,
    DeadlineExceededError,
    HoldfastError,
    InvalidRequestError,
    RateLimitError,
    ResponseError,
    RetryConfig,
    ServiceUnavailableError,
)
from holdfast.auth import BearerAuth, OAuth2ClientCredentials, TokenError
from holdfast.testing import FaultTransport, Step
from tests.support.colours import Colour
from tests.support.loopback import Loopback, json_answer, redirect
from tests.support.tokens import TOKEN_URL, Endpoint, credentials, guarded

SECRET = "cl1ent/s3cret with spaces&more"


def oauth(**more: Any) -> OAuth2ClientCredentials:
    return OAuth2ClientCredentials(TOKEN_URL, "the:client", SECRET, **more)


def asked(**more: Any) -> httpx2.Request:
    """The token request of a provider."""
    endpoint = Endpoint()
    client, transport = guarded(endpoint, oauth(**more))
    client.get("/x").result()
    assert credentials(transport, path="/x") == ["Bearer T1"]
    (form,) = endpoint.forms
    return form


def failing(answer: Any, **more: Any) -> Any:
    """The error of a call whose token request is answered so."""
    endpoint = Endpoint()
    endpoint.instead = lambda _: answer
    client, transport = guarded(endpoint, oauth(**more), circuit_breaker={"enabled": False})
    with pytest.raises(TokenError) as caught:
        client.get("/x").result()
    assert not credentials(transport, path="/x")
    assert caught.value.endpoint == "GET /x" and caught.value.attempts == 0 and not caught.value.may_have_executed
    return caught.value


# What is asked


def test_it_asks_by_basic_authentication():
    form = asked()
    assert (form.method, str(form.url)) == ("POST", TOKEN_URL)
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert form.headers["accept"] == "application/json"
    assert parse_qs(form.content.decode()) == {"grant_type": ["client_credentials"]}
    name, _, value = form.headers["authorization"].partition(" ")
    # Each part is encoded as in a form before they are joined (RFC 6749, section 2.3.1).
    assert name == "Basic"
    assert base64.b64decode(value) == b"the%3Aclient:cl1ent%2Fs3cret+with+spaces%26more"


def test_it_asks_by_the_form():
    form = asked(client_authentication="post")
    assert "authorization" not in form.headers
    assert parse_qs(form.content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["the:client"],
        "client_secret": [SECRET],
    }


@pytest.mark.parametrize("scope", ["a b", ["a", "b"], ("a", "b")])
def test_it_asks_for_scope_audience_and_more(scope: Any) -> None:
    form = asked(scope=scope, audience="https://api.test", parameters={"resource": "x&y"})
    found = parse_qs(form.content.decode())
    assert (found["scope"], found["audience"], found["resource"]) == (["a b"], ["https://api.test"], ["x&y"])


def test_no_scope_is_not_asked_for():
    assert "scope" not in parse_qs(asked(scope=[]).content.decode())


def test_nothing_of_the_call_goes_to_the_token_endpoint():
    endpoint = Endpoint()
    client, _ = guarded(endpoint, oauth(), headers={"X-Tenant": "acme", "Authorization": "Basic own"})
    client.post("/x", json={"a": 1}, headers={"X-Call": "1"}, idempotency_key="k", request_id="r").result()
    (form,) = endpoint.forms
    sent = {name.lower() for name in form.headers}
    assert not sent & {"x-tenant", "x-call", "idempotency-key"}
    assert form.headers["x-request-id"] != "r" and b"a" not in parse_qs(form.content)


def test_a_token_endpoint_on_the_own_origin_works_too():
    def script(request: httpx2.Request) -> Any:
        if request.url.path == "/token":
            assert request.headers["authorization"].startswith("Basic ")
            return Step(json={"access_token": "T", "token_type": "Bearer"})
        return 200 if request.headers["authorization"] == "Bearer T" else 401

    auth = OAuth2ClientCredentials("https://api.test/token", "id", SECRET)
    client, transport = guarded(script, auth)
    assert client.get("/x").result().status_code == 200
    assert len(transport.requests) == 2


@pytest.mark.loopback
@pytest.mark.parametrize("way", ["basic", "post"])
def test_over_real_sockets(colour: Colour, server: Loopback, other: Loopback, way: Any) -> None:
    other.on("/token", json_answer(200, '{"access_token": "T1", "token_type": "bearer", "expires_in": "3600"}'))
    auth = OAuth2ClientCredentials(f"{other.url}/token", "id", SECRET, client_authentication=way)
    client = colour.client(server.url).with_options(auth=auth)
    for _ in range(3):
        assert colour(client.get("/x")).status_code == 200
    assert [one.get("authorization") for one in server.seen] == ["Bearer T1"] * 3
    assert [one.method for one in other.seen] == ["POST"] and "T1" not in other.text


@pytest.mark.loopback
def test_a_redirect_of_the_token_endpoint_is_not_followed(colour: Colour, server: Loopback, other: Loopback) -> None:
    other.on("/token", redirect(307, f"{server.url}/stolen"))
    auth = OAuth2ClientCredentials(f"{other.url}/token", "id", SECRET, client_authentication="post")
    error = colour.error(colour.client(server.url).with_options(auth=auth).get("/x"), TokenError)
    assert "307" in error.message and isinstance(error, ResponseError)
    assert not server.seen and len(other.seen) == 1


# What is answered


@pytest.mark.parametrize("told", [100, 100.0, "100", "1e2"])
def test_expires_in_is_honoured_with_early_renewal(holdfast_clock, told):
    endpoint = Endpoint(expires_in=told)
    client, transport = guarded(endpoint, oauth(early=20.0))
    for seconds in (0, 79, 2):
        holdfast_clock.advance(seconds)
        client.get("/x").result()
    assert credentials(transport, path="/x") == ["Bearer T1", "Bearer T1", "Bearer T2"]


def test_the_time_counts_from_the_asking(holdfast_clock):
    endpoint = Endpoint(expires_in=100, delay=10.0)
    client, _ = guarded(endpoint, oauth(early=0.0))
    client.get("/x").result()
    holdfast_clock.advance(89)
    client.get("/x").result()
    assert endpoint.issued == 1
    holdfast_clock.advance(2)
    client.get("/x").result()
    assert endpoint.issued == 2


def test_without_expires_in_it_is_kept_until_it_is_refused(holdfast_clock):
    endpoint = Endpoint(expires_in=None)
    client, _ = guarded(endpoint, oauth())
    for _ in range(3):
        client.get("/x").result()
        holdfast_clock.advance(1e6)
    assert endpoint.issued == 1
    endpoint.good = {"T2"}
    client.get("/x").result()
    assert endpoint.issued == 2


def test_one_that_expires_at_once_serves_those_who_waited(holdfast_clock):
    endpoint = Endpoint(expires_in=0, delay=1.0)
    client, _ = guarded(endpoint, oauth())

    async def main() -> None:
        await asyncio.gather(*(client.get("/x") for _ in range(10)))

    asyncio.run(main())
    assert endpoint.issued == 1
    client.get("/x").result()
    assert endpoint.issued == 2


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER", None])
def test_bearer_is_written_in_any_case_or_left_out(kind: str | None) -> None:
    client, transport = guarded(Endpoint(token_type=kind), oauth())
    client.get("/x").result()
    assert credentials(transport, path="/x") == ["Bearer T1"]


def test_a_failure_that_passes_is_retried():
    endpoint = Endpoint()
    answers: list[Any] = [503, httpx2.ReadTimeout, Step(429, headers={"Retry-After": "0"})]
    endpoint.instead = lambda _: answers.pop(0) if answers else None
    settings = RetryConfig(max_attempts=4, min_wait_seconds=0.0, max_wait_seconds=0.0)
    client, _ = guarded(endpoint, oauth(), retry=settings)
    assert client.get("/x").result().status_code == 200
    assert len(endpoint.forms) == 4
    assert len({form.headers["x-request-id"] for form in endpoint.forms}) == 1


REFUSED = [
    (400, {"error": "invalid_client", "error_description": "unknown"}, AuthenticationError),
    (401, {"error": "invalid_client"}, AuthenticationError),
    (400, {"error": "invalid_scope"}, AuthenticationError),
    (403, {"error": "unauthorized_client"}, AuthenticationError),
    (404, {"detail": "no such realm"}, APIStatusError),
    (400, ["what"], AuthenticationError),
    (400, None, AuthenticationError),
    (400, {"error": 5, "error_description": {}}, AuthenticationError),
]


@pytest.mark.parametrize(("status", "body", "kind"), REFUSED)
def test_a_refusal_is_typed_and_tells_what_was_said(status: int, body: Any, kind: type[HoldfastError]) -> None:
    error = failing(Step(status, json=body))
    assert kind in type(error).__mro__
    assert error.status_code == status and str(status) in error.message and TOKEN_URL in error.message
    code = body.get("error") if isinstance(body, dict) else None
    if isinstance(code, str):
        assert error.error == code and code in error.message
        assert error.error_description == body.get("error_description")
    else:
        assert error.error is None is error.error_description


UNUSABLE: list[Any] = [
    Step(content=b""),
    Step(content=b"<html>"),
    Step(json=["T"]),
    Step(json={}),
    Step(json={"access_token": ""}),
    Step(json={"access_token": 5}),
    Step(json={"access_token": "two words"}),
    Step(json={"access_token": "T\r\nX: y"}),
    Step(json={"access_token": "T", "token_type": "mac"}),
    Step(json={"access_token": "T", "token_type": 5}),
    Step(json={"access_token": "T", "expires_in": "soon"}),
    Step(json={"access_token": "T", "expires_in": -1}),
    Step(json={"access_token": "T", "expires_in": True}),
    Step(json={"access_token": "T", "expires_in": [1]}),
    Step(content=b'{"access_token": "T", "expires_in": NaN}'),
    Step(content=b"[" * 100_000),
    Step(204),
    Step(302, headers={"Location": "https://elsewhere.test/"}),
]


@pytest.mark.parametrize("answer", UNUSABLE, ids=range(len(UNUSABLE)))
def test_an_answer_that_cannot_be_used_is_typed(answer: Step) -> None:
    error = failing(answer)
    assert isinstance(error, ResponseError) and TOKEN_URL in error.message and "\n" not in error.message


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda one: (
            st.lists(one)
            | st.dictionaries(
                st.sampled_from(["access_token", "token_type", "expires_in", "error", "error_description"]), one
            )
        ),
    ),
    st.sampled_from([200, 201, 400, 401]),
)
def test_whatever_is_answered_the_call_ends_with_a_typed_error_or_a_token(body: Any, status: int) -> None:
    endpoint = Endpoint()
    endpoint.instead = lambda _: Step(status, content=json.dumps(body).encode())
    client, transport = guarded(endpoint, oauth())
    try:
        assert client.get("/x").result().status_code == 200
    except TokenError:
        assert not credentials(transport, path="/x")
    else:
        assert credentials(transport, path="/x") == [f"Bearer {body['access_token']}"]


LOST: list[tuple[Any, type[Exception], type[Exception] | None]] = [
    (503, ServiceUnavailableError, None),
    (Step(429, headers={"Retry-After": "7200"}), RateLimitError, None),
    (httpx2.ConnectError, APIConnectionError, httpx2.ConnectError),
    (httpx2.ReadTimeout, APITimeoutError, httpx2.ReadTimeout),
    (Step(broken=httpx2.ReadError), APIConnectionError, httpx2.ReadError),
    (httpx2.ReadTimeout, TimeoutError, httpx2.TimeoutException),
]


@pytest.mark.parametrize(("answer", "kind", "foreign"), LOST)
def test_what_keeps_the_answer_from_coming_is_typed(answer: Any, kind: Any, foreign: Any) -> None:
    error = failing(answer)
    assert isinstance(error, kind)
    assert foreign is None or isinstance(error, foreign)
    assert error.retry_after == (7200 if kind is RateLimitError else None)
    assert TOKEN_URL in error.message


def test_a_broken_token_endpoint_has_a_circuit_of_its_own():
    endpoint = Endpoint()
    endpoint.instead = lambda _: 503
    client, _ = guarded(endpoint, oauth(), circuit_breaker={"failure_threshold": 1}, retry={"max_attempts": 1})
    with pytest.raises(ServiceUnavailableError):
        client.get("/x").result()
    with pytest.raises(CircuitOpenError) as caught:
        client.get("/x").result()
    assert isinstance(caught.value, TokenError) and len(endpoint.forms) == 1
    assert client.circuit_breaker.state == "closed"


def test_the_deadline_of_the_call_holds_for_the_token_too(holdfast_clock):
    client, _ = guarded(Endpoint(delay=10.0), oauth())
    with pytest.raises(DeadlineExceededError) as caught:
        client.get("/x", deadline=2.0).result()
    assert isinstance(caught.value, TokenError) and holdfast_clock.elapsed == pytest.approx(2.0, abs=0.1)


def test_what_the_user_says_about_calls_is_not_about_token_requests():
    outcomes: list[Any] = []

    def judge(outcome: Any) -> bool | None:
        outcomes.append(outcome.reply)
        return None

    def key(method: str, path: str) -> str:
        keyed.append(path)
        return path

    keyed: list[str] = []
    endpoint = Endpoint()
    client, transport = guarded(
        endpoint,
        oauth(),
        retry={"retry_if": judge},
        circuit_breaker={"key": key},
        send_deadline_header="X-Deadline",
    )
    client.get("/x").result()
    assert [str(reply.request.url) for reply in outcomes] == ["https://api.test/x"]
    assert list(client._assembly.pipeline.states["https://login.test"].circuits) == []
    assert [one.headers.get("x-deadline") is None for one in transport.requests] == [True, False]


# By another client


def test_token_requests_may_go_by_another_client():
    endpoint = Endpoint()
    asking, by_other = guarded(endpoint, None)
    client, transport = guarded(endpoint, oauth(client=asking))

    async def main() -> None:
        await asyncio.gather(*(client.get("/x") for _ in range(20)))

    asyncio.run(main())
    assert len(by_other.requests) == 1 and len(transport.requests) == 20
    assert "idempotency-key" not in by_other.requests[0].headers
    endpoint.good = {"T2"}
    assert client.get("/x").result().status_code == 200
    assert endpoint.issued == 2 and len(by_other.requests) == 2


def test_what_the_other_client_is_authenticated_by_is_not_used():
    endpoint = Endpoint()
    asking, by_other = guarded(endpoint, BearerAuth("of-its-own"), base_url="https://login.test")
    client, _ = guarded(endpoint, oauth(client=asking))
    assert client.get("/x").result().status_code == 200
    assert [str(one.headers["authorization"])[:6] for one in by_other.requests] == ["Basic "]


BY_ANOTHER: list[tuple[Any, type[Exception]]] = [
    (Step(401, json={"error": "invalid_client"}), AuthenticationError),
    (503, ServiceUnavailableError),
    (302, ResponseError),
    (httpx2.ConnectError, APIConnectionError),
]


@pytest.mark.parametrize(("answer", "kind"), BY_ANOTHER)
@pytest.mark.parametrize("sync", [False, True])
def test_its_failures_are_typed_too(answer: Any, kind: type[Exception], sync: bool) -> None:
    asking, _ = guarded(answer, None)
    client, transport = guarded(200, oauth(client=asking))

    async def main() -> None:
        await client.get("/x")

    with pytest.raises(kind) as caught:
        _ = client.get("/x").result() if sync else asyncio.run(main())
    assert isinstance(caught.value, TokenError) and not transport.requests
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("sync", [False, True])
def test_the_deadline_holds_with_it_too(holdfast_clock, sync):
    asking, _ = guarded(Endpoint(delay=10.0), None)
    client, _ = guarded(200, oauth(client=asking))

    async def main() -> None:
        await client.get("/x", deadline=2.0)

    with pytest.raises(DeadlineExceededError) as caught:
        _ = client.get("/x", deadline=2.0).result() if sync else asyncio.run(main())
    assert isinstance(caught.value, TokenError)


# Where the secret is not


@pytest.mark.parametrize("way", ["basic", "post"])
@pytest.mark.parametrize(
    "answer",
    [
        Step(401, json={"error": f"no {SECRET}", "error_description": f"bad secret {SECRET}"}),
        Step(500, json={"detail": f"cannot handle {SECRET}"}),
        httpx2.ConnectError(f"cannot send {SECRET}"),
        httpx2.ReadTimeout,
        Step(content=SECRET.encode()),
    ],
)
@pytest.mark.parametrize("by_another", [False, True])
def test_errors_and_logs_do_not_show_it(
    way: Any, answer: Any, by_another: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asking = guarded(answer, None, retry={"max_attempts": 1})[0] if by_another else None
    auth = oauth(client_authentication=way, client=asking)
    client, _ = guarded({"POST /token": answer, "GET /x": 200}, auth, retry={"max_attempts": 1})
    with pytest.raises(TokenError) as caught:
        client.get("/x").result()
    error = caught.value
    parts = [error.message, repr(vars(error)), "".join(traceback.format_exception(error))]
    chain: BaseException | None = error
    while chain is not None:
        parts.append(repr(vars(chain)))
        request = getattr(chain, "request", None)
        if request is not None:
            parts += [repr(request.headers.raw), repr(request.content) if hasattr(request, "_content") else ""]
        chain = chain.__cause__ or chain.__context__
    encoded = base64.b64encode(b"the%3Aclient:cl1ent%2Fs3cret+with+spaces%26more").decode()
    for secret in (SECRET, "cl1ent%2Fs3cret", encoded):
        assert secret not in "".join(parts) and secret.encode() not in pickle.dumps(error)
        assert secret not in caplog.text


def test_the_provider_itself_does_not_show_it():
    auth = OAuth2ClientCredentials("https://login.test/token?key=abc123", "id", SECRET, client_authentication="post")
    assert repr(auth) == "<OAuth2ClientCredentials https://login.test/token?key=*** client_id='id'>"
    assert auth.identity is not None and SECRET not in auth.identity
    for taken in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="credentials"):
            taken(auth)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"token_url": "/token"}, "token_url"),
        ({"token_url": "ftp://login.test/token"}, "token_url"),
        ({"token_url": "https:///token"}, "token_url"),
        ({"token_url": "https://login.test/token#x"}, "token_url"),
        ({"token_url": f"https://user:{SECRET}@login.test/"}, "token_url"),
        ({"token_url": "https://login.test:99999/token"}, "token_url"),
        ({"token_url": "https://[::1/token"}, "token_url"),
        ({"token_url": None}, "token_url"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": None}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"client_secret": SecretStr(" ")}, "client_secret"),
        ({"client_secret": 5}, "client_secret"),
        ({"client_authentication": "body"}, "client_authentication"),
        ({"scope": [1]}, "scope"),
        ({"scope": 5}, "scope"),
        ({"audience": 5}, "audience"),
        ({"parameters": {"x": 5}}, "x must be"),
        ({"parameters": {"grant_type": "password"}}, "grant_type"),
        ({"parameters": {"client_secret": "x"}}, "client_secret"),
        ({"early": -1}, "early"),
        ({"client": object()}, "client"),
    ],
)
def test_a_wrong_argument_is_named_and_no_secret_shown(wrong: dict[str, Any], named: str) -> None:
    right = {"token_url": TOKEN_URL, "client_id": "id", "client_secret": SECRET}
    with pytest.raises((TypeError, ValueError), match=named) as caught:
        OAuth2ClientCredentials(**{**right, **wrong})
    assert SECRET not in str(caught.value)


def test_a_url_that_cannot_be_requested_fails_the_call():
    client, _ = guarded(Endpoint(), OAuth2ClientCredentials("https://login.test/a/../token", "id", SECRET))
    with pytest.raises(InvalidRequestError) as caught:
        client.get("/x").result()
    assert isinstance(caught.value, TokenError)


def test_a_wrapped_secret_is_taken():
    endpoint = Endpoint()
    client, _ = guarded(
        endpoint, OAuth2ClientCredentials(TOKEN_URL, "id", SecretStr(SECRET), client_authentication="post")
    )
    client.get("/x").result()
    assert parse_qs(endpoint.forms[0].content.decode())["client_secret"] == [SECRET]


def test_a_transport_of_ones_own_sees_no_other_request():
    transport = FaultTransport({"POST /token": Step(json={"access_token": "T"}), "GET /x": 200})
    from holdfast import ClientConfig, ResilientClient

    with ResilientClient(ClientConfig(base_url="https://api.test"), transport=transport) as client:
        client.get("/x", auth=oauth()).result()
    assert [one.url.path for one in transport.requests] == ["/token", "/x"]
