"""Tokens among services of one's own: whose secret they are signed with, and when that is refused."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from holdfast.auth import (
    DEVELOPMENT_KEY,
    INTERNAL_SCOPES,
    SigningKeyError,
    get_internal_token,
    internal_auth,
    internal_key,
)
from tests.support.tokens import SECRET, credentials, guarded

Environment = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Sets the two variables; None takes one away."""

    def change(key: str | None = None, where: str | None = None) -> None:
        for name, value in (("API_SECRET_KEY", key), ("ENVIRONMENT", where)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    change()
    return change


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_token_has_the_claims_that_our_services_look_for(environment: Environment) -> None:
    environment(SECRET, "production")
    found = jwt.decode(get_internal_token(), SECRET, algorithms=["HS256"])
    assert found.keys() == {"sub", "iat", "exp", "scopes"}
    assert found["scopes"] == ["sparkjar_internal", "crew_execute"] == list(INTERNAL_SCOPES)
    assert 22.9 * 3600 < found["exp"] - found["iat"] < 23.1 * 3600


@pytest.mark.parametrize("where", ["production", "Production", " production "])
@pytest.mark.parametrize(
    ("key", "said"), [(None, "not set"), ("", "not set"), ("  ", "not set"), ("s" * 31, "31 bytes")]
)
def test_production_refuses_a_missing_and_a_short_key(
    environment: Environment, where: str, key: str | None, said: str
) -> None:
    environment(key, where)
    for asked in (get_internal_token, internal_key, internal_auth):
        with pytest.raises(SigningKeyError, match=said) as caught:
            asked()
        assert "API_SECRET_KEY" in str(caught.value) and "32" in str(caught.value) and "\n" not in str(caught.value)
        assert "s" * 31 not in str(caught.value)


@pytest.mark.parametrize("where", [None, "", "development", "staging", "test"])
def test_elsewhere_a_named_development_key_takes_its_place_and_says_so_once(
    environment: Environment, where: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    environment(None, where)
    tokens = [get_internal_token() for _ in range(3)]
    assert jwt.decode(tokens[0], DEVELOPMENT_KEY, algorithms=["HS256"])["scopes"]
    (said,) = warnings_of(caplog)
    assert DEVELOPMENT_KEY in said and "API_SECRET_KEY" in said and "ENVIRONMENT=production" in said
    assert len(DEVELOPMENT_KEY.encode()) >= 32


def test_elsewhere_a_short_key_is_taken_and_said_once_without_being_shown(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    environment("short-one", "development")
    tokens = [get_internal_token() for _ in range(3)]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        assert jwt.decode(tokens[-1], "short-one", algorithms=["HS256"])["sub"]
    (said,) = warnings_of(caplog)
    assert "9 bytes" in said and "ENVIRONMENT=production" in said and "short-one" not in said


def test_a_long_key_is_taken_in_silence(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    environment(SECRET, "development")
    assert jwt.decode(get_internal_token(), SECRET, algorithms=["HS256"]) and internal_key() == SECRET
    assert not warnings_of(caplog)


def test_the_environment_is_read_each_time(environment: Environment) -> None:
    environment(SECRET)
    first = get_internal_token()
    environment(SECRET + "-rotated")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(first, internal_key(), algorithms=["HS256"])
    assert jwt.decode(get_internal_token(), SECRET + "-rotated", algorithms=["HS256"])


def test_what_is_given_wins_over_the_environment(environment: Environment) -> None:
    environment("ignored", "production")
    assert internal_key(SECRET) == SECRET
    assert internal_key("short", environment="development") == "short"
    with pytest.raises(SigningKeyError):
        internal_key("short")
    environment(SECRET, "development")
    with pytest.raises(SigningKeyError):
        internal_key("short", environment="production")


def test_of_many_threads_one_warns(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        get_internal_token()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(warnings_of(caplog)) == 1


def test_a_client_keeps_one_for_23_hours(environment: Environment, holdfast_clock: Any) -> None:
    environment(SECRET, "production")
    auth = internal_auth(subject="crew-client", issuer="contextiq", scopes=("crew_execute",))
    client, transport = guarded(200, auth)
    client.get("/x").result()
    holdfast_clock.advance(22.9 * 3600)
    client.get("/x").result()
    first, second = credentials(transport)
    assert first == second
    found = jwt.decode(str(first)[7:], SECRET, algorithms=["HS256"])
    assert (found["sub"], found["iss"], found["scopes"]) == ("crew-client", "contextiq", ["crew_execute"])
    minted: list[None] = []

    def mint() -> str:
        minted.append(None)
        return "T"

    auth.mint = mint  # type: ignore[method-assign]
    holdfast_clock.advance(0.1 * 3600)
    client.get("/x").result()
    assert len(minted) == 1
