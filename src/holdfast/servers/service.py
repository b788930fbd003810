"""What the composition and the services share: what a service is, and how its settings are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["ServerStartError", "Service", "read_settings"]

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class ServerStartError(Exception):
    """The servers cannot be started; the message is for people, a line for each problem."""


@dataclass(frozen=True, slots=True)
class Service:
    """One ASGI app, the port it is meant for (before any offset), and its name for people."""

    name: str
    port: int
    app: ASGIApp


def read_settings(kind: type[SettingsT]) -> SettingsT:
    """Settings from the environment.

    Raises:
        ServerStartError: some cannot be used; names each environment variable.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        lines = [f"{prefix}{entry['loc'][0]}".upper() + f": {entry['msg']}" for entry in error.errors()]
        raise ServerStartError("\n".join(lines)) from error
