"""What the composition and the services share: what a service is, and how its settings are read."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from starlette.types import ASGIApp

    from holdfast.servers.pages import Asset

__all__ = ["ServerStartError", "Service", "SettingsError", "Storage", "in_production", "read_settings"]

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class ServerStartError(Exception):
    """The servers cannot be started; the message is for people, a line for each problem."""


class SettingsError(ServerStartError):
    """Because of what they were told: an argument, an environment variable, or what one of these points at."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Where services keep their data.

    Attributes:
        data_dir: for files; exists.
        database_url: of a PostgreSQL database that all services share; without one each has a SQLite file in
            `data_dir`.
    """

    data_dir: Path
    database_url: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One ASGI app, the port it is meant for (before any offset), and its name for people.

    Attributes:
        lifespan: what surrounds the serving, such as an open database; entered before the first request, left after the
            last. Entering it may raise `ServerStartError`.
        meet: told the URLs of all services that are served together, by name, before the lifespan is entered.
        stop: called once when the server is told to stop, while requests are still being answered: what waits for
            something to happen should not, and nothing long should begin.
        page: files of a page of its own, by path; the one at `/` is shown in place of the page about the port.
    """

    name: str
    port: int
    app: ASGIApp
    lifespan: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
    meet: Callable[[Mapping[str, str]], None] = lambda _: None
    stop: Callable[[], None] = lambda: None
    page: Mapping[str, Asset] = field(default_factory=dict)


def read_settings(kind: type[SettingsT]) -> SettingsT:
    """Settings from the environment.

    Raises:
        SettingsError: some cannot be used; names each environment variable.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        lines = [f"{prefix}{entry['loc'][0]}".upper() + f": {entry['msg']}" for entry in error.errors()]
        raise SettingsError("\n".join(lines)) from error


def in_production() -> bool:
    """Whether the variable `ENVIRONMENT` says so."""
    return os.environ.get("ENVIRONMENT", "").strip().lower() == "production"
