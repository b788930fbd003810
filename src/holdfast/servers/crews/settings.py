"""Settings of the Crews server, from environment variables with the prefix `HOLDFAST_CREWS_`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Which crews there are besides, and how many run.

    The secret that tokens are checked with is `API_SECRET_KEY`, and `ENVIRONMENT=production` makes it a must: see
    `holdfast.auth.internal_key`. Where memories are stored is `MEMORY_SERVICE_URL`.

    Attributes:
        modules: modules with crews, separated by commas: see `holdfast.servers.crews.discovery`.
        max_concurrency: executions at the same time; more are answered 503.
        lease_seconds: after so long without a sign of life the executions of a server that shares the database count
            as interrupted.
    """

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_CREWS_", frozen=True)

    modules: str = ""
    max_concurrency: int = Field(default=100, ge=1, le=10_000)
    lease_seconds: float = Field(default=20.0, ge=1.0, le=3_600.0)
