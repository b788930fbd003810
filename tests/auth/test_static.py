"""Credentials that stay the same: where they go, where they never go, and where nobody reads them."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from holdfast import AuthenticationError, HoldfastError, InvalidRequestError
from holdfast.auth import APIKeyAuth, AuthProvider, BearerAuth
from tests.support.colours import Colour
from tests.support.loopback import HANG_UP, Loopback, answer, json_answer, redirect
from tests.support.tokens import credentials, guarded

SECRET = "s3cr3t-v4lue"
HEADERS = ["X-API-Key", "Authorization", "X-Tenant", "apikey"]


def of(header: str) -> AuthProvider:
    return APIKeyAuth(SECRET, header=header)


# Where they go


def test_a_bearer_token_is_sent(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url).with_options(auth=BearerAuth("abc.def"))
    colour(client.get("/x"))
    assert server.last.get("authorization") == "Bearer abc.def"


@pytest.mark.parametrize("header", HEADERS)
def test_an_api_key_is_sent_in_any_header(colour: Colour, server: Loopback, header: str) -> None:
    colour(colour.client(server.url).get("/x", auth=of(header)))
    assert server.last.all(header) == [SECRET]


def test_a_secret_may_be_wrapped():
    for auth, name, value in [
        (BearerAuth(SecretStr("abc")), "authorization", "Bearer abc"),
        (APIKeyAuth(SecretStr("abc")), "x-api-key", "abc"),
    ]:
        client, transport = guarded(200, auth)
        client.get("/x").result()
        assert credentials(transport, name) == [value]


def test_they_take_the_place_of_a_header_of_the_same_name():
    client, transport = guarded(200, BearerAuth("abc"), headers={"AUTHORIZATION": "Basic configured"})
    client.get("/x").result()
    client.get("/x", headers={"authorization": "Basic given"}).result()
    assert [one.headers.get_list("authorization") for one in transport.requests] == [["Bearer abc"]] * 2


def test_every_attempt_carries_them_once():
    client, transport = guarded([503, 503, 200], of("X-Tenant"))
    client.get("/x").result()
    assert [one.headers.get_list("x-tenant") for one in transport.requests] == [[SECRET]] * 3


def test_none_switches_them_off():
    client, transport = guarded(200, BearerAuth("abc"))
    client.get("/x", auth=None).result()
    assert credentials(transport) == [None]


def test_one_that_is_refused_is_not_sent_again():
    client, transport = guarded([401, 200], BearerAuth("abc"))
    with pytest.raises(AuthenticationError):
        client.get("/x").result()
    assert len(transport.requests) == 1


# Where they never go


@pytest.mark.loopback
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("status", [302, 307])
def test_no_redirect_takes_them_to_another_origin(
    colour: Colour, server: Loopback, other: Loopback, header: str, status: int
) -> None:
    server.on("/a", redirect(status, f"{other.url}/landed"))
    colour(colour.client(server.url).with_options(auth=of(header)).get("/a"))
    assert server.last.get(header) == SECRET
    assert other.seen and SECRET not in other.text


@pytest.mark.loopback
def test_a_redirect_within_the_origin_keeps_them(colour: Colour, server: Loopback) -> None:
    server.on("/a", redirect(302, "/b"))
    colour(colour.client(server.url).with_options(auth=of("X-Tenant")).get("/a"))
    assert [one.get("x-tenant") for one in server.seen] == [SECRET, SECRET]


@pytest.mark.loopback
def test_those_of_a_client_do_not_go_to_an_absolute_url_elsewhere(
    colour: Colour, server: Loopback, other: Loopback
) -> None:
    client = colour.client(server.url).with_options(auth=of("X-Tenant"))
    colour(client.get(f"{other.url}/x"))
    assert other.seen and SECRET not in other.text


@pytest.mark.loopback
def test_those_of_a_call_to_another_origin_are_refused(colour: Colour, server: Loopback, other: Loopback) -> None:
    error = colour.error(colour.client(server.url).get(f"{other.url}/x", auth=of("X-Tenant")), InvalidRequestError)
    assert "auth" in error.field_errors and other.url in error.message and SECRET not in error.message
    assert not other.seen


# Where nobody reads them


@pytest.mark.loopback
@pytest.mark.parametrize("header", HEADERS)
def test_errors_do_not_show_them(
    colour: Colour, server: Loopback, header: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.on("/quoted", json_answer(400, f'{{"detail": "what is {SECRET}?"}}'))
    server.on("/lost", HANG_UP)
    client = colour.client(server.url).with_options(auth=of(header))
    for path in ("/quoted", "/lost"):
        error = colour.error(client.get(path), HoldfastError)
        assert server.last.get(header) == SECRET
        # The server's own words, unlike what we make of them, are kept as they came.
        response, error.response = error.response, None
        shown = "".join(traceback.format_exception(error)) + repr(vars(error)) + repr(error.request.headers.raw)
        assert SECRET not in shown
        assert SECRET.encode() not in pickle.dumps(error)
        if error.__cause__ is not None:
            assert SECRET not in repr(error.__cause__.request.headers.raw)
        if response is not None:
            assert response.request.headers[header] == "[redacted]"
    assert SECRET not in caplog.text


@pytest.mark.loopback
def test_errors_do_not_show_what_a_foreign_auth_has_set(colour: Colour, server: Loopback) -> None:
    server.on("/x", answer(400))

    def sign(request: httpx2.Request) -> httpx2.Request:
        request.headers["X-Tenant"] = SECRET
        return request

    error = colour.error(colour.client(server.url).get("/x", auth=sign), HoldfastError)
    assert server.last.get("x-tenant") == SECRET
    assert error.response.request.headers["x-tenant"] == "[redacted]"
    assert error.response.request.headers["user-agent"] != "[redacted]"


@pytest.mark.parametrize("auth", [BearerAuth(SECRET), APIKeyAuth(SECRET)])
def test_the_provider_itself_does_not_show_them(auth: AuthProvider) -> None:
    assert SECRET not in repr(auth) and SECRET not in str(auth) and SECRET not in repr(vars(auth))
    assert auth.identity is not None and SECRET not in auth.identity
    for taken in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="credentials"):
            taken(auth)


# What they cannot be


@pytest.mark.parametrize("make", [BearerAuth, APIKeyAuth])
@pytest.mark.parametrize("value", ["", "  ", "\n", SecretStr(""), None, 5, b"abc"])
def test_a_missing_secret_is_refused(make: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"token|key"):
        make(value)


@pytest.mark.parametrize(
    "value", [f"{SECRET}\n", f"{SECRET}\r\nX: y", f" {SECRET}", f"{SECRET}\x00", f"{SECRET}é", f"{SECRET}€"]
)
@pytest.mark.parametrize("make", [BearerAuth, APIKeyAuth])
def test_a_secret_that_cannot_stand_in_a_header_is_refused_without_being_shown(make: Any, value: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(value)
    assert SECRET not in str(caught.value) and "\n" not in str(caught.value)


def test_a_bearer_token_is_given_without_its_scheme():
    with pytest.raises(ValueError, match="without 'Bearer'"):
        BearerAuth(f"Bearer {SECRET}")


@pytest.mark.parametrize("header", ["", "X Key", "X-Key:", "Host", "content-length", "Ключ"])
def test_a_header_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="header"):
        APIKeyAuth("abc", header=header)


@pytest.mark.parametrize("wrong", ["token", 5, object(), ("a", "b", "c")])
def test_what_is_no_auth_is_refused_by_name(wrong: Any) -> None:
    client, _ = guarded(200, None)
    with pytest.raises(TypeError, match="provider of holdfast"):
        _ = client.get("/x", auth=wrong)
