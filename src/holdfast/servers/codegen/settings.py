"""Settings of the Codegen server, from environment variables with the prefix `CODEGEN_`."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from holdfast.servers.outbound.settings import OutboundSettings
from holdfast.servers.service import in_production

__all__ = ["Settings"]


class Settings(OutboundSettings):
    """Who may call, how often, how long agent runs take, and how webhooks are delivered; to which addresses, see
    `OutboundSettings`.

    The first three are variables that clients read as well: set once, both sides agree.

    Attributes:
        api_token: the only bearer token that is accepted. Without one any non-empty token is; if the variable
            `ENVIRONMENT` is `production`, there has to be one.
        org_id: of the one organization that there is.
        webhook_secret: what deliveries are signed with where a webhook was registered without a secret of its own.
        relaxed_limits: whether a hundred times as many requests are allowed as by the real service.
        run_seconds: how long an agent run takes, from its creation to its end.
        delivery_attempts: requests for one delivery, after which it is dead.
        delivery_backoff: seconds before the second of them; before each further one four times as long.
        delivery_timeout: seconds for each.
        max_body_bytes: of a request; a larger one is answered 413.
        retention_days: days after which a delivery that has come to its end is removed.
    """

    model_config = SettingsConfigDict(env_prefix="CODEGEN_", frozen=True)

    api_token: SecretStr | None = Field(default=None, validate_default=True)
    org_id: int = Field(default=123, ge=1, le=2**31 - 1)
    webhook_secret: SecretStr | None = None
    relaxed_limits: bool = False
    run_seconds: float = Field(default=3.0, ge=0.0, le=86_400.0, allow_inf_nan=False)
    delivery_attempts: int = Field(default=5, ge=1, le=20)
    delivery_backoff: float = Field(default=1.0, gt=0.0, le=3_600.0, allow_inf_nan=False)
    delivery_timeout: float = Field(default=10.0, gt=0.0, le=300.0, allow_inf_nan=False)
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1)
    retention_days: float = Field(default=30.0, gt=0.0, le=36_500.0, allow_inf_nan=False)

    @field_validator("api_token", "webhook_secret")
    @classmethod
    def _blank_is_none(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None or not value.get_secret_value().strip() else value

    @field_validator("api_token")
    @classmethod
    def _needed_in_production(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None and in_production():
            raise ValueError("is needed because ENVIRONMENT is production: otherwise any token would be accepted")
        return value

    @property
    def default_secret(self) -> str | None:
        """`webhook_secret`, in clear text."""
        return None if self.webhook_secret is None else self.webhook_secret.get_secret_value()
