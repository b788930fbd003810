"""`ServiceSettings`: the flat settings of a service client, read from its environment variables."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from holdfast.config import ClientConfig

__all__ = ["ServiceSettings"]

_CONNECT = 10.0  # seconds; a server that is there takes no longer, however patiently its answers are waited for

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ServiceSettings(BaseSettings):
    """Where a service is and how patiently it is called.

    A subclass names the variables by a prefix, and gives defaults::

        class PetSettings(ServiceSettings, env_prefix="PETS_"):
            url: str = "http://localhost:9000"

    Arguments win over environment variables, these over a file ``.env`` in the current directory, that over defaults.

    Attributes:
        url: where the service is: an absolute http or https URL.
        timeout: seconds for every read and write of one attempt, and at most ten of them for connecting. A whole call
            may take as long as all attempts and the longest waits together.
        max_retries: requests that are sent at most for one call, the first included.
        retry_delay, retry_max_wait: the shortest and the longest wait between them, in seconds.
        max_concurrency: requests in flight at most.
        server_deduplicates: the server executes a repeated key once: POST and PATCH are then retried like a PUT.

    Raises:
        pydantic.ValidationError: names the setting that is wrong; it is also a ValueError.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", hide_input_in_errors=True)

    url: str
    timeout: Seconds = 30.0
    max_retries: Annotated[int, Field(ge=1)] = 3
    retry_delay: Seconds = 1.0
    retry_max_wait: Seconds = 10.0
    max_concurrency: Annotated[int, Field(ge=1)] = 50
    server_deduplicates: bool = False

    def client_config(self) -> ClientConfig:
        """The settings of the client underneath. A subclass that knows more overrides it."""
        return ClientConfig.model_validate(self.client_settings())

    def client_settings(self) -> dict[str, Any]:
        """The same as a dictionary, for subclasses to change."""
        longest = max(self.retry_delay, self.retry_max_wait)
        connect = min(self.timeout, _CONNECT)
        return {
            "base_url": self.url,
            "timeout": {"connect": connect, "read": self.timeout, "write": self.timeout, "pool": connect},
            "retry": {
                "max_attempts": self.max_retries,
                "min_wait_seconds": self.retry_delay,
                "max_wait_seconds": longest,
            },
            "bulkhead": {"max_concurrency": self.max_concurrency},
            "deadline": self.max_retries * (connect + self.timeout) + (self.max_retries - 1) * longest,
            "server_deduplicates": self.server_deduplicates,
        }
