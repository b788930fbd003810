"""The settings of the Service Integration client, and the client that a whole process shares."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

import holdfast.integration
from holdfast.integration import (
    ServiceIntegrationClient,
    ServiceIntegrationSettings,
    close_service_integration_client,
    get_service_integration_client,
)


def test_it_works_without_any_environment() -> None:
    client = ServiceIntegrationClient()
    config = client.resilient.config
    assert (config.base_url, config.service_name) == ("http://localhost:8005/api", "Service Integration")
    assert config.timeout.seconds() == {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": 10.0}
    assert config.server_deduplicates and config.logging.logger_name == "holdfast.integration"
    assert config.retry.max_attempts == 4 and config.lint() == []
    assert config.deadline == 4 * 20.0 + 3 * 4.0 == client.settings.patience_for("create")
    assert client.settings.patience_for("read") == 3 * 20.0 + 2 * 2.0
    client.close().result()


def test_arguments_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_INTEGRATION_URL", "http://integration.test:1/api")
    monkeypatch.setenv("SERVICE_INTEGRATION_TIMEOUT", "3")
    monkeypatch.setenv("SERVICE_INTEGRATION_SERVER_DEDUPLICATES", "false")
    client = ServiceIntegrationClient()
    assert (client.settings.url, client.settings.timeout) == ("http://integration.test:1/api", 3.0)
    assert not client.settings.server_deduplicates
    given = ServiceIntegrationClient(base_url="http://localhost:8005/api", timeout=30)
    assert (given.settings.url, given.resilient.config.timeout.read) == ("http://localhost:8005/api", 30.0)
    for one in (client, given):
        one.close().result()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"base_url": "localhost:8005"}, "url"), ({"timeout": 0}, "timeout"), ({"timeout": "soon"}, "timeout")],
)
def test_a_wrong_setting_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ServiceIntegrationClient(**arguments)


def test_settings_come_one_way() -> None:
    with pytest.raises(TypeError, match="settings and timeout"):
        ServiceIntegrationClient(timeout=3, settings=ServiceIntegrationSettings())


@pytest.mark.parametrize(
    ("given", "create", "delete", "read"),
    [
        ({}, (4, 0.5, 4.0), (3, 1.0, 4.0), (3, 0.5, 2.0)),
        ({"max_retries": 1}, (1, 0.5, 4.0), (1, 1.0, 4.0), (1, 0.5, 2.0)),
        ({"retry_delay": 3}, (4, 3.0, 4.0), (3, 3.0, 4.0), (3, 3.0, 3.0)),
        ({"retry_max_wait": 0.25}, (4, 0.25, 0.25), (3, 0.25, 0.25), (3, 0.25, 0.25)),
        ({"retry_delay": 0.1, "retry_max_wait": 60}, (4, 0.1, 60.0), (3, 0.1, 60.0), (3, 0.1, 60.0)),
    ],
)
def test_what_is_set_about_retries_holds_for_all_operations(given: Any, create: Any, delete: Any, read: Any) -> None:
    settings = ServiceIntegrationSettings(**given)
    for operation, expected in (("create", create), ("update", create), ("delete", delete), ("read", read)):
        retry = settings.retry(operation)  # type: ignore[arg-type]
        assert (retry.max_attempts, retry.min_wait_seconds, retry.max_wait_seconds) == expected
        assert (retry.multiplier, retry.jitter, retry.replay) == (2.0, True, "answered")
    assert settings.client_config().lint() == []


def test_what_the_environment_says_about_retries_counts_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_INTEGRATION_MAX_RETRIES", "2")
    assert [ServiceIntegrationSettings().retry(one).max_attempts for one in ("create", "read")] == [2, 2]


def test_there_is_one_shared_client_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = get_service_integration_client()
    assert type(first) is ServiceIntegrationClient and get_service_integration_client() is first

    async def main() -> None:
        await close_service_integration_client()

    asyncio.run(main())
    assert first.resilient.is_closed and inspect.iscoroutinefunction(close_service_integration_client)
    monkeypatch.setenv("SERVICE_INTEGRATION_URL", "http://integration.test:1/api")
    second = get_service_integration_client()
    assert second is not first and second.settings.url == "http://integration.test:1/api"


def test_all_names_are_there() -> None:
    for name in holdfast.integration.__all__:
        assert getattr(holdfast.integration, name) is not None
    assert set(holdfast.integration.__all__) <= set(dir(holdfast.integration))
