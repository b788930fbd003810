"""Where the Crews service is, how patiently it is called, and with which secret."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from holdfast.service.settings import BaseServiceSettings, Seconds

__all__ = ["CrewClientConfig"]


class CrewClientConfig(BaseServiceSettings, env_prefix="CREWS_"):
    """The settings of a `CrewClient`; besides, see `BaseServiceSettings`.

    The environment variable of a setting is its name in capitals after ``CREWS_``, such as ``CREWS_READ_TIMEOUT`` and
    ``CREWS_SERVER_DEDUPLICATES``. Three have names that other programs share: ``CREWS_SERVICE_URL``,
    ``API_SECRET_KEY`` and ``ENVIRONMENT``.

    Attributes:
        api_secret_key: the secret that tokens are signed with (see `holdfast.auth.internal_key`); None takes that of
            the environment. Outside of production there is a development key in its place, and a warning.
        environment: "production" refuses a missing or short secret, and logs no more than warnings and errors unless
            `log_level` says otherwise. Anything else is development.
        connect_timeout, read_timeout, write_timeout, pool_timeout: seconds for the steps of one attempt (see
            `holdfast.TimeoutConfig`). For an execution, `read_timeout` is at least the crew's own timeout and 10 s.
        max_keepalive_connections: idle connections that are kept at most. `keepalive_expiry`: for how many seconds.
        default_crew_timeout: seconds that a crew may run if a call does not say how many.
        log_level: the lowest level that is logged, to the logger ``holdfast.crews``; None: as `environment` has it.
    """

    model_config = SettingsConfigDict(populate_by_name=True)

    url: str = Field(default="http://localhost:8001", validation_alias="CREWS_SERVICE_URL")
    api_secret_key: SecretStr | None = Field(default=None, validation_alias="API_SECRET_KEY")
    environment: str = Field(default="development", validation_alias="ENVIRONMENT")
    connect_timeout: Seconds = 5.0
    read_timeout: Seconds = 300.0
    write_timeout: Seconds = 10.0
    pool_timeout: Seconds = 2.0
    max_concurrency: Annotated[int, Field(ge=1)] = 20
    max_keepalive_connections: Annotated[int, Field(ge=0)] = 10
    keepalive_expiry: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0
    default_crew_timeout: Seconds = 300
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = None

    def timeouts(self) -> dict[str, float]:
        """See `BaseServiceSettings.timeouts`."""
        steps = ("connect", "read", "write", "pool")
        return {step: getattr(self, f"{step}_timeout") for step in steps}

    def client_settings(self) -> dict[str, Any]:
        """See `BaseServiceSettings.client_settings`."""
        production = self.environment.strip().lower() == "production"
        return {
            **super().client_settings(),
            "service_name": "Crews Service",
            "request_id_prefix": "crew-client",
            "max_keepalive_connections": min(self.max_keepalive_connections, self.max_concurrency),
            "keepalive_expiry": self.keepalive_expiry,
            "logging": {
                "logger_name": "holdfast.crews",
                "level": self.log_level or ("WARNING" if production else "INFO"),
            },
        }
