"""The settings: arguments, environment, presets, and what becomes of them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from holdfast.codegen import (
    AsyncCodegenClient,
    ClientConfig,
    ConfigPresets,
    create_client_from_env,
    create_development_client,
    create_high_performance_client,
    create_production_client,
)

TOKEN = "a-token-of-codegens-0123456789"

ENVIRONMENT: list[tuple[str, str, str, Any]] = [
    ("CODEGEN_API_TOKEN", TOKEN, "api_token", SecretStr(TOKEN)),
    ("CODEGEN_ORG_ID", "123", "org_id", "123"),
    ("CODEGEN_BASE_URL", "http://localhost:8010/v1", "base_url", "http://localhost:8010/v1"),
    ("CODEGEN_TIMEOUT", "45", "timeout", 45.0),
    ("CODEGEN_MAX_RETRIES", "0", "max_retries", 0),
    ("CODEGEN_RATE_LIMIT_REQUESTS", "100", "rate_limit_requests_per_period", 100),
    ("CODEGEN_RATE_LIMIT_PERIOD", "30", "rate_limit_period_seconds", 30.0),
    ("CODEGEN_ENABLE_CACHING", "false", "enable_caching", False),
    ("CODEGEN_CACHE_TTL", "600", "cache_ttl_seconds", 600.0),
    ("CODEGEN_CACHE_MAX_SIZE", "64", "cache_max_size", 64),
    ("CODEGEN_ENABLE_WEBHOOKS", "false", "enable_webhooks", False),
    ("CODEGEN_WEBHOOK_SECRET", "s3cret", "webhook_secret", SecretStr("s3cret")),
    ("CODEGEN_ENABLE_BULK_OPERATIONS", "false", "enable_bulk_operations", False),
    ("CODEGEN_BULK_MAX_WORKERS", "9", "bulk_max_workers", 9),
    ("CODEGEN_BULK_BATCH_SIZE", "50", "bulk_batch_size", 50),
    ("CODEGEN_ENABLE_STREAMING", "false", "enable_streaming", False),
    ("CODEGEN_ENABLE_METRICS", "false", "enable_metrics", False),
    ("CODEGEN_LOG_LEVEL", "debug", "log_level", "DEBUG"),
    ("CODEGEN_LOG_REQUESTS", "false", "log_requests", False),
    ("CODEGEN_LOG_RESPONSES", "true", "log_responses", True),
    ("CODEGEN_LOG_SENSITIVE_DATA", "true", "log_sensitive_data", True),
    ("CODEGEN_DEBUG_MODE", "true", "debug_mode", True),
    ("CODEGEN_RETRY_DELAY", "2", "retry_delay", 2.0),
    ("CODEGEN_RETRY_BACKOFF_FACTOR", "3", "retry_backoff_factor", 3.0),
    ("CODEGEN_RETRY_JITTER", "false", "retry_jitter", False),
    ("CODEGEN_WEBHOOK_TIMEOUT", "5", "webhook_timeout", 5.0),
    ("CODEGEN_AGENT_RUN_TIMEOUT", "60", "agent_run_timeout", 60.0),
    ("CODEGEN_AGENT_RUN_POLL_INTERVAL", "1", "agent_run_poll_interval", 1.0),
]

PRESETS: dict[str, dict[str, Any]] = {
    "base": {},
    "development": {
        "timeout": 60,
        "max_retries": 1,
        "rate_limit_requests_per_period": 30,
        "enable_caching": False,
        "log_level": "DEBUG",
        "log_responses": True,
        "debug_mode": True,
    },
    "production": {},
    "high_performance": {
        "timeout": 15,
        "max_retries": 2,
        "rate_limit_requests_per_period": 100,
        "cache_ttl_seconds": 600,
        "bulk_max_workers": 10,
        "log_level": "WARNING",
        "log_requests": False,
    },
    "testing": {
        "timeout": 5,
        "max_retries": 0,
        "rate_limit_requests_per_period": 1000,
        "enable_caching": False,
        "log_level": "DEBUG",
        "debug_mode": True,
    },
}
DEFAULTS: dict[str, Any] = {
    "api_token": None,
    "org_id": None,
    "base_url": "https://api.codegen.com/v1",
    "timeout": 30,
    "max_retries": 3,
    "retry_delay": 1.0,
    "retry_backoff_factor": 2.0,
    "retry_jitter": True,
    "rate_limit_requests_per_period": 60,
    "rate_limit_period_seconds": 60,
    "enable_caching": True,
    "cache_ttl_seconds": 300,
    "cache_max_size": 128,
    "enable_webhooks": True,
    "webhook_timeout": 30,
    "enable_bulk_operations": True,
    "bulk_max_workers": 5,
    "bulk_batch_size": 100,
    "enable_streaming": True,
    "agent_run_timeout": 1800,
    "agent_run_poll_interval": 5,
    "enable_metrics": True,
    "log_level": "INFO",
    "log_requests": True,
    "log_responses": False,
    "log_sensitive_data": False,
    "debug_mode": False,
    "server_deduplicates": False,
}


@pytest.mark.parametrize(("variable", "value", "name", "read"), ENVIRONMENT)
def test_every_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str, read: Any) -> None:
    assert getattr(ClientConfig(), name) != read
    monkeypatch.setenv(variable, value)
    assert getattr(ClientConfig(), name) == read
    assert getattr(ConfigPresets.base(), name) == read


@pytest.mark.parametrize("variable", ["BASE_URL", "TIMEOUT", "API_TOKEN", "CACHE_TTL_SECONDS"])
def test_variables_of_others_are_not_read(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    before = ClientConfig()
    monkeypatch.setenv(variable, "7")
    assert ClientConfig() == before


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str) -> None:
    config: ClientConfig = getattr(ConfigPresets, preset)()
    expected = {**DEFAULTS, **PRESETS[preset]}
    assert {name: getattr(config, name) for name in expected} == expected
    assert getattr(ConfigPresets, preset)() is not config


def test_presets_win_over_the_environment_and_arguments_over_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEGEN_TIMEOUT", "7")
    monkeypatch.setenv("CODEGEN_ENABLE_CACHING", "false")
    monkeypatch.setenv("CODEGEN_API_TOKEN", TOKEN)
    config = ConfigPresets.production()
    assert (config.timeout, config.enable_caching, config.api_token) == (30, False, SecretStr(TOKEN))
    assert ConfigPresets.production(timeout=9).timeout == 9


def test_attributes_can_be_set_later_and_are_checked() -> None:
    config = ConfigPresets.development()
    config.api_token = TOKEN
    config.org_id = "123"
    config.base_url = "http://localhost:8010/v1"
    config.timeout = 12
    assert config.token.get_secret_value() == TOKEN and config.url == "http://localhost:8010/v1"
    assert TOKEN not in repr(config) and TOKEN not in str(config.model_dump())
    for name, value in (("timeout", 0), ("max_retries", -1), ("base_url", "ftp://x"), ("log_level", "LOUD")):
        with pytest.raises(ValidationError):
            setattr(config, name, value)
    assert config.timeout == 12 and config.base_url == "http://localhost:8010/v1"


def test_what_is_no_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="timeuot"):
        ClientConfig(timeuot=5)
    with pytest.raises(ValidationError, match="colour"):
        create_production_client(TOKEN, 123, colour="red")


def test_secrets_are_in_no_repr_and_no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClientConfig(api_token=TOKEN, webhook_secret="a-webhook-secret", org_id=123, timeout=9)
    packed = pickle.dumps(config)
    for secret in (TOKEN, "a-webhook-secret"):
        assert secret not in repr(config) and secret.encode() not in packed
    monkeypatch.setenv("CODEGEN_API_TOKEN", "another-token-here")
    unpacked = pickle.loads(packed)
    assert (unpacked.timeout, unpacked.org_id) == (9, "123")
    assert unpacked.token.get_secret_value() == "another-token-here"


def test_the_client_underneath() -> None:
    config = ClientConfig(
        api_token=TOKEN, timeout=20, max_retries=3, rate_limit_requests_per_period=60, cache_max_size=7
    ).client_config()
    assert (config.retry.max_attempts, config.retry.replay, config.retry.multiplier) == (4, "when_safe", 2.0)
    limit = config.rate_limit
    assert (limit.rate, limit.period, limit.adaptive, limit.min_rate, limit.max_rate) == (60, 60, True, 10, 200)
    assert (config.cache.max_entries, config.cache.default_ttl) == (7, None)
    assert config.deadline == 4 * (10 + 20) + 3 * 10 + 300
    assert config.server_deduplicates is False and config.base_url == "https://api.codegen.com/v1"


@pytest.mark.parametrize(("requests", "lowest", "highest"), [(4, 4, 200), (10, 10, 200), (500, 10, 500)])
def test_the_rate_adapts_between_bounds_that_include_the_one_set(requests: int, lowest: int, highest: int) -> None:
    limit = ClientConfig(rate_limit_requests_per_period=requests).client_config().rate_limit
    assert (limit.rate, limit.min_rate, limit.max_rate) == (requests, lowest, highest)


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_is_to_be_said_about_presets(preset: str) -> None:
    assert getattr(ConfigPresets, preset)().client_config().lint() == []


def test_the_log_level() -> None:
    def level(**settings: Any) -> str:
        return ClientConfig(**settings).client_config().logging.level

    assert [level(), level(debug_mode=True), level(log_requests=False)] == ["INFO", "DEBUG", "WARNING"]
    assert level(debug_mode=True, log_requests=False) == "WARNING"
    assert level(log_level="ERROR", log_requests=False) == "ERROR"


def test_factories(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "development": create_development_client(TOKEN, "your-org"),
        "production": create_production_client(TOKEN, 123),
        "high_performance": create_high_performance_client(TOKEN, 123, bulk_max_workers=20),
    }
    for preset, client in made.items():
        assert isinstance(client, AsyncCodegenClient)
        expected = {**DEFAULTS, **PRESETS[preset], "api_token": SecretStr(TOKEN), "org_id": client.config.org_id}
        if preset == "high_performance":
            expected["bulk_max_workers"] = 20
        assert {name: getattr(client.config, name) for name in expected} == expected
    assert [client.config.org_id for client in made.values()] == ["your-org", "123", "123"]
    monkeypatch.setenv("CODEGEN_API_TOKEN", TOKEN)
    monkeypatch.setenv("CODEGEN_TIMEOUT", "3")
    client = create_client_from_env(org_id=5)
    assert (client.config.timeout, client.config.org_id) == (3, "5")
    assert create_development_client().config.token.get_secret_value() == TOKEN
