"""Where the two services are and how patiently they are called."""

from __future__ import annotations

from holdfast.service.settings import ServiceSettings

__all__ = ["ContextSettings", "MemorySettings", "SessionsSettings"]


class ContextSettings(ServiceSettings):
    """What both have: see `ServiceSettings`. `name` is what errors call the service."""

    name: str = "the service"

    def client_settings(self) -> dict[str, object]:
        """See `ServiceSettings.client_settings`."""
        return {
            **super().client_settings(),
            "service_name": self.name,
            "logging": {"logger_name": "holdfast.contextiq"},
        }


class SessionsSettings(ContextSettings, env_prefix="SESSIONS_SERVICE_"):
    """The Sessions service: SESSIONS_SERVICE_URL, _TIMEOUT, _MAX_RETRIES, _RETRY_DELAY and the other fields."""

    url: str = "http://localhost:8001"
    name: str = "Sessions Service"


class MemorySettings(ContextSettings, env_prefix="MEMORY_SERVICE_"):
    """The Memory service: MEMORY_SERVICE_URL, _TIMEOUT, _MAX_RETRIES, _RETRY_DELAY and the other fields."""

    url: str = "http://localhost:8002"
    name: str = "Memory Service"
