"""The settings of the Crews client: documented defaults, the environment, and the secret."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from holdfast.auth import SigningKeyError
from holdfast.crews import CrewClient, CrewClientConfig
from holdfast.testing import FaultTransport

SECRET = "a-secret-of-more-than-32-bytes-for-tests"


def test_the_defaults_are_those_documented() -> None:
    settings = CrewClientConfig()
    config = settings.client_config()
    assert (config.base_url, config.service_name) == ("http://localhost:8001", "Crews Service")
    assert config.timeout.seconds() == {"connect": 5.0, "read": 300.0, "write": 10.0, "pool": 2.0}
    retry = config.retry
    assert (retry.max_attempts, retry.min_wait_seconds, retry.max_wait_seconds) == (3, 1.0, 10.0)
    assert (retry.multiplier, retry.jitter, retry.backoff) == (2.0, True, "exponential")
    assert (config.bulkhead.max_concurrency, config.max_connections) == (20, None)
    assert (config.max_keepalive_connections, config.keepalive_expiry) == (10, 30.0)
    assert (config.server_deduplicates, settings.default_crew_timeout) == (False, 300.0)
    assert config.request_id_prefix == "crew-client"
    assert (config.logging.logger_name, config.logging.level) == ("holdfast.crews", "INFO")
    assert config.deadline == 3 * 305.0 + 2 * 10.0 and config.lint() == []


def test_the_arguments_of_the_guide() -> None:
    settings = CrewClientConfig(
        connect_timeout=10.0, read_timeout=600.0, max_retries=5, retry_max_wait=30.0, default_crew_timeout=600
    )
    client = CrewClient(config=settings)
    assert client.config is settings and client.config.default_crew_timeout == 600
    config = client.resilient.config
    assert (config.timeout.connect, config.timeout.read) == (10.0, 600.0)
    assert (config.retry.max_attempts, config.retry.max_wait_seconds) == (5, 30.0)
    client.close().result()


VARIABLES: list[tuple[str, str, str, Any]] = [
    ("CREWS_SERVICE_URL", "http://crews.test:1/x", "url", "http://crews.test:1/x"),
    ("CREWS_SERVER_DEDUPLICATES", "true", "server_deduplicates", True),
    ("CREWS_CONNECT_TIMEOUT", "1.5", "connect_timeout", 1.5),
    ("CREWS_READ_TIMEOUT", "1.5", "read_timeout", 1.5),
    ("CREWS_WRITE_TIMEOUT", "1.5", "write_timeout", 1.5),
    ("CREWS_POOL_TIMEOUT", "1.5", "pool_timeout", 1.5),
    ("CREWS_MAX_RETRIES", "7", "max_retries", 7),
    ("CREWS_RETRY_DELAY", "0.5", "retry_delay", 0.5),
    ("CREWS_RETRY_MAX_WAIT", "60", "retry_max_wait", 60.0),
    ("CREWS_RETRY_BUDGET", "false", "retry_budget", False),
    ("CREWS_CIRCUIT_BREAKER", "false", "circuit_breaker", False),
    ("CREWS_MAX_CONCURRENCY", "5", "max_concurrency", 5),
    ("CREWS_ACQUISITION_TIMEOUT", "60", "acquisition_timeout", 60.0),
    ("CREWS_MAX_KEEPALIVE_CONNECTIONS", "0", "max_keepalive_connections", 0),
    ("CREWS_KEEPALIVE_EXPIRY", "60", "keepalive_expiry", 60.0),
    ("CREWS_DEFAULT_CREW_TIMEOUT", "60", "default_crew_timeout", 60.0),
    ("CREWS_LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
    ("ENVIRONMENT", "staging", "environment", "staging"),
]


@pytest.mark.parametrize(("variable", "text", "field", "value"), VARIABLES)
def test_every_setting_has_a_variable_and_an_effect(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: Any
) -> None:
    before = CrewClientConfig()
    monkeypatch.setenv(variable, text)
    settings = CrewClientConfig()
    assert getattr(settings, field) == value != getattr(before, field)
    if field not in {"environment", "default_crew_timeout"}:  # those of the client itself, not of what is underneath
        assert settings.client_config() != before.client_config()
    assert getattr(CrewClientConfig(**{field: getattr(before, field)}), field) == getattr(before, field)


def test_every_setting_is_tested() -> None:
    assert {field for _, _, field, _ in VARIABLES} | {"api_secret_key"} == set(CrewClientConfig.model_fields)


def test_a_file_may_hold_the_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_SECRET_KEY")
    (tmp_path / ".env").write_text(f"CREWS_SERVICE_URL=http://crews.test\nAPI_SECRET_KEY={SECRET}\nOTHER=1\nURL=x\n")
    settings = CrewClientConfig()
    assert settings.url == "http://crews.test" and settings.api_secret_key is not None
    assert settings.api_secret_key.get_secret_value() == SECRET


def test_variables_of_other_programs_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "TIMEOUT", "READ_TIMEOUT", "LOG_LEVEL"):
        monkeypatch.setenv(name, "1")
    assert CrewClientConfig() == CrewClientConfig(url="http://localhost:8001")


WRONG: list[dict[str, Any]] = [
    {"url": "crews.test"},
    {"url": None},
    {"connect_timeout": 0},
    {"read_timeout": -1},
    {"read_timeout": float("inf")},
    {"max_retries": 0},
    {"retry_max_wait": "soon"},
    {"default_crew_timeout": 0},
    {"max_concurrency": 0},
    {"max_keepalive_connections": -1},
    {"keepalive_expiry": -1},
    {"log_level": "loud"},
    {"environment": None},
    {"api_secret_key": 7},
    {"retry_min_wait": 3},
    {"base_url": "http://crews.test"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=[str(one) for one in WRONG])
def test_a_wrong_or_unknown_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CrewClient(CrewClientConfig(**wrong))


def test_a_long_pause_between_retries_does_not_contradict_the_longest() -> None:
    config = CrewClientConfig(retry_delay=20.0).client_config()
    assert (config.retry.min_wait_seconds, config.retry.max_wait_seconds) == (20.0, 20.0)
    assert CrewClientConfig(max_concurrency=5).client_config().lint() == []


# The secret


@pytest.mark.parametrize("environment", ["production", " Production "])
@pytest.mark.parametrize(("key", "message"), [("", "not set"), ("   ", "not set"), ("short", "has 5 bytes")])
def test_production_needs_a_secret(monkeypatch: pytest.MonkeyPatch, environment: str, key: str, message: str) -> None:
    monkeypatch.setenv("API_SECRET_KEY", key)
    monkeypatch.setenv("ENVIRONMENT", environment)
    with pytest.raises(SigningKeyError, match=message) as caught:
        CrewClient()
    assert "API_SECRET_KEY" in str(caught.value) and "production" in str(caught.value)
    monkeypatch.setenv("API_SECRET_KEY", SECRET)
    CrewClient().close().result()


def test_production_may_be_said_by_an_argument_or_a_file_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError, match="has 5 bytes"):
        CrewClient(CrewClientConfig.model_validate({"environment": "production", "api_secret_key": "short"}))
    monkeypatch.delenv("API_SECRET_KEY")
    (tmp_path / ".env").write_text("ENVIRONMENT=production\n")
    with pytest.raises(SigningKeyError, match="not set"):
        CrewClient()


@pytest.mark.parametrize("key", ["", "short"])
def test_development_needs_none_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    monkeypatch.setenv("API_SECRET_KEY", key)
    CrewClient().close().result()
    (line,) = (one for one in caplog.records if one.levelno >= logging.WARNING)
    assert line.name == "holdfast.auth" and "API_SECRET_KEY" in line.getMessage()


def test_the_secret_shows_nowhere() -> None:
    settings = CrewClientConfig()
    client = CrewClient(settings, transport=FaultTransport(200))
    for text in (repr(settings), str(settings), repr(client), repr(vars(client)), settings.model_dump_json()):
        assert SECRET not in text
    assert SECRET.encode() not in pickle.dumps(settings)


def test_unpickled_settings_take_the_secret_of_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CrewClientConfig(read_timeout=7)
    other = pickle.loads(pickle.dumps(settings))
    assert other.read_timeout == 7.0 and other.api_secret_key == settings.api_secret_key
    monkeypatch.setenv("API_SECRET_KEY", SECRET * 2)
    assert pickle.loads(pickle.dumps(settings)).api_secret_key.get_secret_value() == SECRET * 2
    CrewClient(other).close().result()
    for kept in (settings, settings.model_copy(), copy.deepcopy(settings)):
        assert kept.api_secret_key is not None and kept.api_secret_key.get_secret_value() == SECRET


def test_a_secret_may_be_given() -> None:
    assert CrewClientConfig(api_secret_key=SECRET * 2).api_secret_key != CrewClientConfig().api_secret_key  # type: ignore[arg-type]  # pydantic makes a SecretStr of it


def test_a_url_in_place_of_the_settings_is_told_what_to_write():
    with pytest.raises(TypeError, match=r"CrewClientConfig\(url=\.\.\.\), not 'http://127\.0\.0\.1:8001'"):
        CrewClient("http://127.0.0.1:8001")  # type: ignore[arg-type]
