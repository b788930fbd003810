"""Who may execute crews."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from holdfast.auth import DEVELOPMENT_KEY, get_internal_token
from holdfast.servers.crews_and_sessions import service
from holdfast.servers.service import ServerStartError, Storage
from tests.support.crews import serving_crews

SECRET = "a secret of thirty-two bytes or so"
NOW = int(time.time())


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    monkeypatch.setenv("API_SECRET_KEY", SECRET)


def token(secret: str | None = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    all_claims = {"sub": "me", "iat": NOW, "exp": NOW + 3600, "scopes": ["crew_execute"], **claims}
    given = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode(given, secret, algorithm)  # type: ignore[arg-type]


def bearer(given: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {given}"}


@pytest.mark.parametrize(
    ("header", "status", "detail", "says"),
    [
        ("", 403, "Not authenticated", "missing"),
        ("Basic dTpw", 403, "Not authenticated", "missing"),
        ("Bearer ", 403, "Not authenticated", "missing"),
        ("Bearer x", 401, "Invalid token", "cannot be accepted"),
        (f"Bearer {token('another secret of thirty-two bytes')}", 401, "Invalid token", "ignature"),
        (f"Bearer {token(exp=NOW - 60)}", 401, "Token has expired", "expired"),
        (f"Bearer {token(iat=NOW + 3600)}", 401, "Invalid token", "not yet valid"),
        (f"Bearer {token(sub=None)}", 401, "Invalid token", "sub"),
        (f"Bearer {token(exp=None)}", 401, "Invalid token", "exp"),
        (f"Bearer {token(iat=None)}", 401, "Invalid token", "iat"),
        (f"Bearer {token(scopes=None)}", 401, "Invalid token", "scopes"),
        (f"Bearer {token(scopes='crew_execute')}", 401, "Invalid token", "scopes"),
        (f"Bearer {token(scopes=[1])}", 401, "Invalid token", "scopes"),
        (f"Bearer {token(None, 'none')}", 401, "Invalid token", "alg"),
        (f"Bearer {token(SECRET * 2, 'HS512')}", 401, "Invalid token", "alg"),
        (f"Bearer {token(scopes=[])}", 403, "Insufficient permissions", "crew_execute, sparkjar_internal"),
        (f"Bearer {token(scopes=['crew_read'])}", 403, "Insufficient permissions", "scopes"),
    ],
)
def test_a_bad_token_is_told_why(tmp_path, header, status, detail, says):
    with serving_crews(Storage(tmp_path)) as crews:
        for method, path in [("GET", "/crews"), ("POST", "/execute_crew")]:
            # It is refused before its body is looked at.
            answer = crews.served(method, path, content=b"{", headers={"Authorization": header})
            assert (answer.status_code, answer.json()["detail"]) == (status, detail)
            assert says in answer.json()["error"]
            assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
            assert SECRET not in answer.text


@pytest.mark.parametrize("path", ["/crews%0A", "/crews/", "/crews%2F", "/execute_crew%0A", "/execute_crew/x"])
def test_a_path_written_in_another_way_is_no_way_around_it(tmp_path, path):
    with serving_crews(Storage(tmp_path)) as crews:
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            assert crews.served(method, path, content=b"{", headers={"Authorization": ""}).status_code == 403


def test_either_scope_will_do(tmp_path):
    with serving_crews(Storage(tmp_path)) as crews:
        for scopes in (["crew_execute"], ["sparkjar_internal"], ["x", "crew_execute"]):
            assert crews.served("GET", "/crews", headers=bearer(token(scopes=scopes))).status_code == 200
        assert crews.served("GET", "/crews", headers=bearer(get_internal_token())).status_code == 200


def test_sessions_and_health_are_not_behind_it(tmp_path):
    with serving_crews(Storage(tmp_path)) as crews:
        for path in ("/health", "/openapi.json", "/sessions"):
            assert crews.served("GET", path, headers={"Authorization": ""}).status_code == 200


@pytest.mark.parametrize("key", [None, "", "short"])
def test_outside_of_production_both_sides_agree_on_a_development_key(tmp_path, monkeypatch, key):
    if key is None:
        monkeypatch.delenv("API_SECRET_KEY")
    else:
        monkeypatch.setenv("API_SECRET_KEY", key)
    with serving_crews(Storage(tmp_path)) as crews:
        assert crews.served("GET", "/crews", headers=bearer(get_internal_token())).status_code == 200
        if not key:
            assert crews.served("GET", "/crews", headers=bearer(token(DEVELOPMENT_KEY))).status_code == 200
        assert crews.served("GET", "/crews", headers=bearer(token())).status_code == 401


@pytest.mark.parametrize("key", [None, "too short for production"])
def test_production_needs_a_secret(tmp_path, monkeypatch, key):
    monkeypatch.setenv("ENVIRONMENT", "production")
    assert service(Storage(tmp_path)).port == 8001
    if key is None:
        monkeypatch.delenv("API_SECRET_KEY")
    else:
        monkeypatch.setenv("API_SECRET_KEY", key)
    with pytest.raises(ServerStartError, match="API_SECRET_KEY") as caught:
        service(Storage(tmp_path))
    assert "too short for" not in str(caught.value)
