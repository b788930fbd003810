"""Clients with the settings of a preset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.codegen.client import AsyncCodegenClient
from holdfast.codegen.config import ClientConfig
from holdfast.codegen.presets import ConfigPresets

__all__ = [
    "create_client_from_env",
    "create_development_client",
    "create_high_performance_client",
    "create_production_client",
]


def create_development_client(
    api_token: str | None = None, org_id: int | str | None = None, **settings: Any
) -> AsyncCodegenClient:
    """A client with the settings of `ConfigPresets.development`.

    Args:
        api_token: the bearer token; None for that of the environment.
        org_id: the organization that calls are about; None for that of the environment.
        settings: others of `ClientConfig`, in place of the preset's.

    Raises:
        ConfigurationError: there is no token.
        pydantic.ValidationError: a setting is wrong.
    """
    return _made(ConfigPresets.development, api_token, org_id, settings)


def create_production_client(
    api_token: str | None = None, org_id: int | str | None = None, **settings: Any
) -> AsyncCodegenClient:
    """The same with the settings of `ConfigPresets.production`."""
    return _made(ConfigPresets.production, api_token, org_id, settings)


def create_high_performance_client(
    api_token: str | None = None, org_id: int | str | None = None, **settings: Any
) -> AsyncCodegenClient:
    """The same with the settings of `ConfigPresets.high_performance`."""
    return _made(ConfigPresets.high_performance, api_token, org_id, settings)


def create_client_from_env(**settings: Any) -> AsyncCodegenClient:
    """The same with the settings of the environment alone."""
    return _made(ConfigPresets.base, None, None, settings)


def _made(
    preset: Callable[..., ClientConfig], api_token: str | None, org_id: int | str | None, settings: dict[str, Any]
) -> AsyncCodegenClient:
    known = {"api_token": api_token, "org_id": org_id}
    given = {name: value for name, value in known.items() if value is not None}
    return AsyncCodegenClient(preset(**settings, **given))
