"""Where the Service Integration service is, and how patiently it is called."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from holdfast.parts import RetryConfig
from holdfast.service.settings import Count, Seconds, ServiceSettings

__all__ = ["Operation", "ServiceIntegrationSettings"]

Operation: TypeAlias = Literal["create", "update", "delete", "read"]


class _Policy(NamedTuple):
    requests: int
    shortest: float
    longest: float


_POLICIES: dict[Operation, _Policy] = {
    "create": _Policy(4, 0.5, 4.0),
    "update": _Policy(4, 0.5, 4.0),
    "delete": _Policy(3, 1.0, 4.0),
    "read": _Policy(3, 0.5, 2.0),
}


class ServiceIntegrationSettings(ServiceSettings, env_prefix="SERVICE_INTEGRATION_"):
    """The settings of a `ServiceIntegrationClient`; besides, see `ServiceSettings`.

    The environment variable of a setting is its name in capitals after ``SERVICE_INTEGRATION_``, such as
    ``SERVICE_INTEGRATION_URL`` and ``SERVICE_INTEGRATION_TIMEOUT``. All have defaults.

    Attributes:
        max_retries, retry_delay, retry_max_wait: see `BaseServiceSettings`. One that is set holds for all operations.
            Otherwise each kind has its own: 4 requests and waits of 0.5 to 4 s for what creates, executes or updates,
            3 requests and 1 to 4 s for what deletes, 3 requests and 0.5 to 2 s for what reads.
    """

    url: str = "http://localhost:8005/api"
    timeout: Seconds = 10.0
    max_retries: Count = _POLICIES["create"].requests
    retry_delay: Seconds = _POLICIES["create"].shortest
    retry_max_wait: Seconds = _POLICIES["create"].longest
    server_deduplicates: bool = True

    def retry(self, operation: Operation) -> RetryConfig:
        """When and how often an operation of this kind is repeated."""
        requests, shortest, longest = self._policy(operation)
        return RetryConfig(max_attempts=requests, min_wait_seconds=shortest, max_wait_seconds=longest)

    def patience_for(self, operation: Operation) -> float:
        """The seconds that a whole call of this kind may take: all attempts, and the longest waits between them."""
        requests, _, longest = self._policy(operation)
        timeouts = self.timeouts()
        return requests * (timeouts["connect"] + timeouts["read"]) + (requests - 1) * longest

    def client_settings(self) -> dict[str, Any]:
        """See `BaseServiceSettings.client_settings`."""
        return {
            **super().client_settings(),
            "service_name": "Service Integration",
            "logging": {"logger_name": "holdfast.integration"},
        }

    def _policy(self, operation: Operation) -> _Policy:
        policy = _POLICIES[operation]
        given = self.model_fields_set
        requests = self.max_retries if "max_retries" in given else policy.requests
        shortest = self.retry_delay if "retry_delay" in given else policy.shortest
        longest = self.retry_max_wait if "retry_max_wait" in given else policy.longest
        # A longer delay than the longest wait is meant as it is said, and so is a wait that is shorter than the delay.
        if "retry_max_wait" in given and "retry_delay" not in given:
            shortest = min(shortest, longest)
        return _Policy(requests, shortest, max(shortest, longest))
