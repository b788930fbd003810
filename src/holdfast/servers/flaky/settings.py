"""Settings of the failure test server, from environment variables with the prefix `SERVER_`.

`SERVER_HOST` is none of them: all servers listen on one address, so `holdfast serve` reads it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["LogLevel", "Settings"]

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class Settings(BaseSettings):
    """How the test server behaves when it is not told to fail.

    Attributes:
        port: port before the command line's offset.
        max_concurrency: requests worked on at once; the others wait for a slot, without a limit of time.
        request_timeout: seconds from getting a slot to the 408.
        cache_max_size: answers kept for repeated request ids.
        cache_ttl_seconds: how long one is kept.
        log_level: of the servers' logs.
    """

    model_config = SettingsConfigDict(env_prefix="SERVER_", frozen=True)

    port: int = Field(default=8000, ge=1, le=65535)
    max_concurrency: int = Field(default=50, ge=1)
    request_timeout: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    cache_max_size: int = Field(default=1000, ge=1)
    cache_ttl_seconds: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    log_level: LogLevel = "INFO"
