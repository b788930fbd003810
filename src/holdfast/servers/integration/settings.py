"""Settings of the Service Integration server, from environment variables with the prefix `INTEGRATION_`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from holdfast.servers.outbound.settings import OutboundSettings

__all__ = ["Settings"]


class Settings(OutboundSettings):
    """How services are called and workflows are executed; which services, see `OutboundSettings`.

    Attributes:
        action_timeout: seconds for one call of an action, repetitions included, where a step has no timeout of its own.
        action_attempts: HTTP requests of one call at most.
        max_body_bytes: of a request to this server (a larger one is answered 413), and of an answer of a service.
        lease_seconds: after so long without a sign of life the executions of a server that shares the database count
            as abandoned, and others go on with them.
        concurrency: workflow executions that one server works on at the same time.
        retention_days: days after which an execution that has ended is removed.
    """

    model_config = SettingsConfigDict(env_prefix="INTEGRATION_", frozen=True)

    action_timeout: float = Field(default=30.0, gt=0, le=3_600.0, allow_inf_nan=False)
    action_attempts: int = Field(default=5, ge=1, le=100)
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1)
    lease_seconds: float = Field(default=5.0, ge=1.0, le=3_600.0, allow_inf_nan=False)
    concurrency: int = Field(default=20, ge=1, le=1_000)
    retention_days: float = Field(default=30.0, gt=0, le=36_500.0, allow_inf_nan=False)
