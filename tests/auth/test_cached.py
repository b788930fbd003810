"""Whose cached answers they are: those of one who can be told by the credentials, and of no other."""

from __future__ import annotations

import itertools
from typing import Any

import httpx2
import pytest

from holdfast import ResilientClient
from holdfast.auth import APIKeyAuth, BearerAuth, JWTAuth, OAuth2ClientCredentials, TokenAuth
from holdfast.testing import FaultTransport, Step
from tests.support.tokens import SECRET, TOKEN_URL, guarded

OTHER = "another-secret-of-more-than-32-bytes-there"

PAIRS = {
    "bearer": (lambda: BearerAuth("alice"), lambda: BearerAuth("bob")),
    "key": (lambda: APIKeyAuth("alice"), lambda: APIKeyAuth("bob")),
    "header": (lambda: APIKeyAuth("alice", header="X-A"), lambda: APIKeyAuth("alice", header="X-B")),
    "jwt subject": (lambda: JWTAuth(SECRET, subject="alice"), lambda: JWTAuth(SECRET, subject="bob")),
    "jwt key": (lambda: JWTAuth(SECRET, subject="alice"), lambda: JWTAuth(OTHER, subject="alice")),
    "jwt scopes": (lambda: JWTAuth(SECRET, subject="a", scopes=["x"]), lambda: JWTAuth(SECRET, subject="a")),
    "oauth client": (lambda: oauth("alice"), lambda: oauth("bob")),
    "oauth scope": (lambda: oauth("alice", scope="x"), lambda: oauth("alice", scope="y")),
}


def oauth(client_id: str, **more: Any) -> OAuth2ClientCredentials:
    return OAuth2ClientCredentials(TOKEN_URL, client_id, "secret", **more)


def counting() -> tuple[ResilientClient, FaultTransport]:
    numbers = itertools.count(1)

    def answers(request: httpx2.Request) -> Any:
        if request.url.host == "login.test":
            return Step(json={"access_token": "T", "token_type": "bearer"})
        return Step(content=str(next(numbers)).encode())

    client, transport = guarded(answers, None)
    return client.with_options(cache_ttl=60), transport


@pytest.mark.parametrize("name", PAIRS)
def test_two_identities_never_share_and_each_finds_its_own(name: str) -> None:
    client, _ = counting()
    alice, bob = PAIRS[name]
    views = [client.with_options(auth=make()) for make in (alice, bob, alice, bob)]
    assert [view.get("/x").result().text for view in views] == ["1", "2", "1", "2"]
    assert client.get("/x", auth=None).result().text == "3"


def test_who_has_a_function_for_tokens_shares_with_nobody_else():
    client, _ = counting()
    mine, other = TokenAuth(lambda: "T"), TokenAuth(lambda: "T")
    texts = [client.get("/x", auth=auth).result().text for auth in (mine, other, mine, other)]
    assert texts == ["1", "2", "1", "2"]


def test_a_given_header_makes_an_identity_of_its_own():
    client, _ = counting()
    view = client.with_options(auth=BearerAuth("alice"))
    headers: list[dict[str, str]] = [{"X-Tenant": "a"}, {"X-Tenant": "b"}, {"X-Tenant": "a"}]
    assert [view.get("/x", headers=one).result().text for one in headers] == ["1", "2", "1"]


def test_what_a_foreign_auth_asked_for_is_not_kept():
    client, _ = counting()
    auth = httpx2.BasicAuth("a", "b")
    assert [client.get("/x", auth=auth).result().text for _ in range(2)] == ["1", "2"]


def test_a_renewed_token_finds_what_the_old_one_left(holdfast_clock):
    client, transport = counting()
    view = client.with_options(auth=JWTAuth(SECRET, subject="a", lifetime=20, early=5))
    assert view.get("/x", cache_ttl=1000).result().text == "1"
    assert view.get("/y").result().text == "2"
    holdfast_clock.advance(30)
    assert view.get("/x", cache_ttl=1000).result().text == "1"
    assert len(transport.requests) == 2


def test_the_key_of_an_answer_holds_no_secret():
    client, _ = counting()
    client.get("/x", auth=BearerAuth("alice-token")).result()
    entries = client._assembly.cache._entries
    assert len(entries) == 1 and "alice" not in repr(list(entries))
