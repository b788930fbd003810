"""Settings that the Sessions and the Memory server share, from environment variables with the prefix `CONTEXTIQ_`."""

from __future__ import annotations

from typing import ClassVar

import jwt
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from holdfast.servers.tokens import SHORTEST_SECRET

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Who may call, and how much may be sent.

    Attributes:
        require_auth: whether requests below /api/v1 need a bearer token.
        jwt_secret_key: with which tokens are signed (HS256), at least 32 bytes; needed if they are.
        issuer: of the tokens.
        max_body_bytes: of a request; a larger one is answered 413.
    """

    model_config = SettingsConfigDict(env_prefix="CONTEXTIQ_", frozen=True)

    issuer: ClassVar[str] = "contextiq"

    require_auth: bool = False
    jwt_secret_key: SecretStr | None = Field(default=None, validate_default=True)
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1)

    @field_validator("jwt_secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("require_auth"):
            if value is None:
                raise ValueError("is needed because CONTEXTIQ_REQUIRE_AUTH is set")
            secret = value.get_secret_value().encode()
            if len(secret) < SHORTEST_SECRET:
                raise ValueError(f"is too short for HS256: {SHORTEST_SECRET} bytes or more are needed")
            try:
                jwt.get_algorithm_by_name("HS256").prepare_key(secret)
            except jwt.InvalidKeyError:
                # Every request would fail.
                raise ValueError("is a public key or a certificate: HS256 needs a secret") from None
        return value

    def secret(self) -> str:
        """The secret; only where tokens are required."""
        if self.jwt_secret_key is None:
            raise RuntimeError("no secret is set")
        return self.jwt_secret_key.get_secret_value()
