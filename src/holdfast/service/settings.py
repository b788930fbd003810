"""`ServiceSettings`: the flat settings of a service client, read from its environment variables."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any

from pydantic import AliasChoices, Field, SecretBytes, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from holdfast import checks
from holdfast.config import ClientConfig

__all__ = ["BaseServiceSettings", "ServiceSettings"]

_CONNECT = 10.0  # seconds; a server that is there takes no longer, however patiently its answers are waited for

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class BaseServiceSettings(BaseSettings):
    """Where a service is and how patiently it is called, but for the timeouts: for services that have their own.

    Arguments win over environment variables, these over a file ``.env`` in the current directory, that over defaults.

    Pickled, they come without their secrets (fields that are a `SecretStr` or `SecretBytes`), which are then taken from
    the environment that they are unpickled in.

    Attributes:
        url: where the service is: an absolute http or https URL.
        max_retries: requests that are sent at most for one call, the first included.
        retry_delay, retry_max_wait: the shortest and the longest wait between them, in seconds.
        retry_budget: bounds the retries of all calls together (see `holdfast.RetryBudgetConfig`).
        circuit_breaker: refuses calls to a service that keeps failing (see `holdfast.CircuitBreakerConfig`).
        max_concurrency: requests in flight at most.
        acquisition_timeout: the longest wait for a place among these, in seconds; None for 30.
        server_deduplicates: the server executes a repeated key once: POST and PATCH are then retried like a PUT.

    Raises:
        pydantic.ValidationError: names the setting that is wrong or unknown; it is also a ValueError.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", hide_input_in_errors=True)

    url: str
    max_retries: Count = 3
    retry_delay: Seconds = 1.0
    retry_max_wait: Seconds = 10.0
    retry_budget: bool = True
    circuit_breaker: bool = True
    max_concurrency: Count = 50
    acquisition_timeout: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    server_deduplicates: bool = False

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checks.base_url(value, "url")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # as pydantic-settings calls it
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Refuses arguments that are no settings. Variables of other names are no mistake: `.env` may serve others."""
        known = {known for name, field in cls.model_fields.items() for known in (name, *_aliases(field))}
        unknown = [name for name in getattr(init_settings, "init_kwargs", {}) if name not in known]
        if unknown:
            errors: Any = [{"type": "extra_forbidden", "loc": (name,), "input": None} for name in unknown]
            raise ValidationError.from_exception_data(cls.__name__, errors, hide_input=True)
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @abstractmethod
    def timeouts(self) -> dict[str, float]:
        """The seconds of `connect`, `read`, `write` and `pool`, see `holdfast.TimeoutConfig`."""

    def patience(self, read: float | None = None) -> float:
        """The seconds that a whole call may take: all attempts, and the longest waits between them.

        Args:
            read: how long an attempt waits for the answer, if not as long as all others.
        """
        timeouts = self.timeouts()
        attempt = timeouts["connect"] + (timeouts["read"] if read is None else read)
        return self.max_retries * attempt + (self.max_retries - 1) * max(self.retry_delay, self.retry_max_wait)

    def client_config(self) -> ClientConfig:
        """The settings of the client underneath. A subclass that knows more overrides it."""
        return ClientConfig.model_validate(self.client_settings())

    def client_settings(self) -> dict[str, Any]:
        """The same as a dictionary, for subclasses to change."""
        settings: dict[str, Any] = {
            "base_url": self.url,
            "timeout": self.timeouts(),
            "retry": {
                "max_attempts": self.max_retries,
                "min_wait_seconds": self.retry_delay,
                "max_wait_seconds": max(self.retry_delay, self.retry_max_wait),
            },
            "circuit_breaker": {"enabled": self.circuit_breaker},
            "bulkhead": {"max_concurrency": self.max_concurrency},
            "deadline": self.patience(),
            "server_deduplicates": self.server_deduplicates,
        }
        if not self.retry_budget:
            settings["retry"]["budget"] = None
        if self.acquisition_timeout is not None:
            settings["bulkhead"]["acquisition_timeout"] = self.acquisition_timeout
        return settings

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        secret = (SecretStr, SecretBytes)
        shown = {name: value for name, value in state["__dict__"].items() if not isinstance(value, secret)}
        return {**state, "__dict__": shown}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        fields, kept = type(self).model_fields, state["__dict__"]
        if fields.keys() - kept.keys():
            here = type(self)(**{(_aliases(fields[name]) or [name])[0]: value for name, value in kept.items()})
            self.__dict__.update({name: value for name, value in here.__dict__.items() if name not in kept})


def _aliases(field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    names = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [name for name in names if isinstance(name, str)]


class ServiceSettings(BaseServiceSettings):
    """Where a service is and how patiently it is called; besides, see `BaseServiceSettings`.

    A subclass names the variables by a prefix, and gives defaults::

        class PetSettings(ServiceSettings, env_prefix="PETS_"):
            url: str = "http://localhost:9000"

    Attributes:
        timeout: seconds for every read and write of one attempt, and at most ten of them for connecting. A whole call
            may take as long as all attempts and the longest waits together.
    """

    timeout: Seconds = 30.0

    def timeouts(self) -> dict[str, float]:
        """See `BaseServiceSettings.timeouts`."""
        connect = min(self.timeout, _CONNECT)
        return {"connect": connect, "read": self.timeout, "write": self.timeout, "pool": connect}
