"""Who may call the Sessions and the Memory server once tokens are required."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from holdfast.servers import crews_and_sessions, memory
from holdfast.servers.contextiq import Settings
from holdfast.servers.idempotency import REPLAYED_HEADER
from holdfast.servers.service import ServerStartError, Storage, read_settings
from tests.support.served import Served, serving_app

SECRET = "a secret of thirty-two bytes or so"


def settings(**given: Any) -> Settings:
    return Settings(**{"require_auth": True, "jwt_secret_key": SECRET, **given})


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    now = int(time.time())
    all_claims = {"sub": "user-1", "iat": now, "exp": now + 86_400, "iss": "contextiq", **claims}
    given = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode(given, secret if algorithm != "none" else None, algorithm)  # type: ignore[arg-type]


def bearer(given: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {given}"}


@pytest.fixture(params=[crews_and_sessions.create_app, memory.create_app], ids=["sessions", "memory"])
def served(request, tmp_path) -> Iterator[Served]:
    with serving_app(request.param, Storage(tmp_path), settings()) as served:
        yield served


@pytest.fixture
def path(served) -> str:
    return "/sessions" if "Sessions" in served.app.title else "/memories?scope_user_id=1"


def test_a_good_token_is_let_in(served, path):
    for given in (token(), token(iat=int(time.time()) + 2), token(aud="anything", scopes=["x"])):
        assert served("GET", path, headers=bearer(given)).status_code == 200
    assert served("GET", path, headers={"Authorization": f"bearer  {token()} "}).status_code == 200


NOW = int(time.time())


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "missing"),
        ({"Authorization": "Basic dTpw"}, "missing"),
        ({"Authorization": "Bearer"}, "missing"),
        (bearer("x"), "cannot be accepted"),
        (bearer(token(secret="another secret of thirty-two bytes")), "ignature"),
        (bearer(token(exp=NOW - 60)), "expired"),
        (bearer(token(iat=NOW + 3600)), "not yet valid"),
        (bearer(token(iss="somebody else")), "ssuer"),
        (bearer(token(sub=None)), "sub"),
        (bearer(token(exp=None)), "exp"),
        (bearer(token(iat=None)), "iat"),
        (bearer(token(iss=None)), "iss"),
        (bearer(token(sub="a\0b")), "sub must not contain the character U+0000"),
        (bearer(token(sub="\ud800")), "sub must not contain half of a surrogate pair"),
        (bearer(token(sub="x" * 256)), "sub must not be longer than 255"),
        (bearer(token(algorithm="none")), "alg"),
        (bearer(token(secret=SECRET * 2, algorithm="HS512")), "alg"),
    ],
)
def test_a_bad_token_is_told_why(served, path, headers, says):
    answer = served("GET", path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    body = answer.json()
    assert body.keys() == {"detail", "error"}
    assert body["detail"] == "Authentication required"
    assert says in body["error"], body


def test_everything_below_the_api_is_behind_the_token(served):
    for method, path in [
        ("GET", "/sessions/x"),
        ("POST", "/memories/search"),
        ("GET", "/nowhere"),
        ("GET", ""),
        ("GET", "%0A"),
        ("HEAD", "/sessions"),
        ("OPTIONS", "/sessions/"),
    ]:
        assert served(method, path, content=b"{").status_code == 401
    for path in ("/health", "/health/live", "/health/ready", "/openapi.json"):
        assert served("GET", path).status_code == 200
    document = served.ok("GET", "/openapi.json")
    assert document["components"]["securitySchemes"]["HTTPBearer"]["bearerFormat"] == "JWT"


def test_an_idempotency_key_belongs_to_its_caller(tmp_path):
    with serving_app(crews_and_sessions.create_app, Storage(tmp_path), settings()) as served:
        made = []
        for subject in ("a", "b", "a"):
            headers = {**bearer(token(sub=subject)), "Idempotency-Key": "k"}
            made.append(served("POST", "/sessions", {"scope": {}}, headers=headers))
        assert [REPLAYED_HEADER in answer.headers for answer in made] == [False, False, True]
        assert made[0].json()["id"] == made[2].json()["id"] != made[1].json()["id"]


def test_without_the_setting_nobody_is_asked(tmp_path):
    with serving_app(crews_and_sessions.create_app, Storage(tmp_path), Settings()) as served:
        assert served("GET", "/sessions", headers=bearer("x")).status_code == 200
        paths = served.ok("GET", "/openapi.json")["paths"]
        secured = {path for path, item in paths.items() if any("security" in one for one in item.values())}
        assert secured == {"/crews", "/execute_crew"}


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        (None, "is needed because CONTEXTIQ_REQUIRE_AUTH is set"),
        ("s" * 31, "too short for HS256"),
        (f"-----BEGIN PUBLIC KEY-----\n{'s' * 64}\n-----END PUBLIC KEY-----\n", "is a public key or a certificate"),
    ],
)
def test_a_secret_that_cannot_be_used_names_its_variable(monkeypatch, secret, says):
    monkeypatch.setenv("CONTEXTIQ_REQUIRE_AUTH", "true")
    if secret:
        monkeypatch.setenv("CONTEXTIQ_JWT_SECRET_KEY", secret)
    with pytest.raises(ServerStartError, match=f"CONTEXTIQ_JWT_SECRET_KEY: .*{says}") as caught:
        read_settings(Settings)
    assert "sss" not in str(caught.value)


def test_the_secret_is_not_shown():
    assert SECRET not in repr(settings())
