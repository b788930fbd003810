"""Where the model server is, with which key it is called, and which models are asked for."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from holdfast.service.settings import Seconds, ServiceSettings

__all__ = ["OpenAISettings"]


class OpenAISettings(ServiceSettings, env_prefix="OPENAI_"):
    """The settings of an `OpenAICompatibleClient`; besides, see `ServiceSettings`.

    The environment variable of a setting is its name in capitals after ``OPENAI_``, such as ``OPENAI_API_KEY`` and
    ``OPENAI_CHAT_MODEL``; that of `url` is ``OPENAI_BASE_URL``, as in OpenAI's own client.

    Attributes:
        url: with the version, as in ``http://localhost:11434/v1``.
        api_key: sent as a bearer token; None, or empty, for a server that wants none. It is in no log, message or repr.
        chat_model, embedding_model: which models are asked for if a call names none.
        name: what errors call the server.
    """

    model_config = SettingsConfigDict(populate_by_name=True)

    url: str = Field(default="https://api.openai.com/v1", validation_alias="OPENAI_BASE_URL")
    api_key: SecretStr | None = None
    chat_model: str = "gpt-4o-mini"
    embedding_model: str = "text-embedding-3-small"
    timeout: Seconds = 120.0
    name: str = "the model server"

    @field_validator("api_key")
    @classmethod
    def _none_if_empty(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value().strip() else None

    def client_settings(self) -> dict[str, Any]:
        """See `ServiceSettings.client_settings`."""
        return {
            **super().client_settings(),
            "service_name": self.name,
            "logging": {"logger_name": "holdfast.contextiq"},
        }
