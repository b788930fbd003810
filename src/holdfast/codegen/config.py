"""Where the Codegen API is, how patiently and how often it is called, and which features are on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from holdfast.codegen.exceptions import ConfigurationError
from holdfast.service.settings import Count, Seconds, ServiceSettings

__all__ = ["ClientConfig"]

_SLOWEST, _FASTEST = 10, 200  # requests per period between which the limiter adapts, if the setting is between them
_WARNING = ("WARNING", "ERROR", "CRITICAL")


def _secret(value: SecretStr | str | None) -> SecretStr | None:
    hidden = value if isinstance(value, SecretStr) or value is None else SecretStr(value)
    return hidden if hidden is not None and hidden.get_secret_value().strip() else None


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


Secret = Annotated[SecretStr | str | None, AfterValidator(_secret)]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
CountOrZero = Annotated[int, Field(ge=0)]


class ClientConfig(ServiceSettings, env_prefix="CODEGEN_"):
    """The settings of an `AsyncCodegenClient`; besides, see `BaseServiceSettings`.

    They can be given as arguments, and assigned later, until a client is made with them::

        config = ClientConfig(timeout=45)
        config.api_token = "..."

    The environment variable of a setting is its name in capitals after ``CODEGEN_``, such as ``CODEGEN_API_TOKEN``.
    Four have shorter ones: ``CODEGEN_BASE_URL``, ``CODEGEN_CACHE_TTL``, ``CODEGEN_RATE_LIMIT_REQUESTS`` and
    ``CODEGEN_RATE_LIMIT_PERIOD``. What is secret is masked in the `repr`, and left out of pickles.

    Attributes:
        api_token: the bearer token. Required by a client. Kept as a `pydantic.SecretStr`.
        org_id: the organization that calls are about which name none.
        base_url: where the API is, with its version (also `url`).
        timeout: seconds for every read and write of one attempt.
        max_retries: requests that are sent at most for one call after the first one: 0 for none. (In the settings of
            other services the first request counts too.)
        retry_delay: the shortest wait before a retry, in seconds; `retry_max_wait`: the longest.
        retry_backoff_factor: by which each wait is longer than the one before. `retry_jitter`: randomises them.
        rate_limit_requests_per_period: requests per `rate_limit_period_seconds` to begin with. While all goes well they
            rise, up to 200 (or to this setting, if it is higher), by a tenth after ten good answers; a 429 halves them,
            down to 10 (or to this setting, if it is lower). Creating and resuming runs, and reading logs, are counted
            by themselves each, as the service does.
        rate_limit_max_wait_seconds: how long a call waits for its turn at most.
        enable_caching: keeps answers: users for 600 s, organizations for 1,800 s, agent runs for 60 s, everything else
            for `cache_ttl_seconds`.
        cache_max_size: answers that are kept at most.
        enable_webhooks, enable_bulk_operations, enable_streaming: whether these can be used at all. Switched off, they
            raise a `ConfigurationError`.
        webhook_secret: what webhooks are signed with. Without one, nothing is verified. `webhook_timeout`: seconds that
            a handler may take.
        bulk_max_workers: calls of a bulk at a time. `bulk_batch_size`: items after which it waits for all to be done
            before it goes on.
        agent_run_timeout: seconds that the end of a run is waited for. `agent_run_poll_interval`: seconds between two
            looks at it.
        enable_metrics: whether `AsyncCodegenClient.get_metrics_summary` has a part ``monitoring``.
        log_level: the lowest level that is logged, to the logger ``holdfast.codegen``. `debug_mode`: logs everything,
            whatever `log_level` says.
        log_requests: whether finished requests are logged (at INFO), and not only what goes wrong.
        log_responses: whether what the service answers is logged (at INFO), without private values.
        log_sensitive_data: leaves names, addresses, prompts and results in these answers. Credentials never are.
    """

    model_config = SettingsConfigDict(populate_by_name=True, validate_assignment=True)

    api_token: Secret = None
    org_id: Annotated[str | None, Field(coerce_numbers_to_str=True)] = None
    url: str = Field(default="https://api.codegen.com/v1", validation_alias="CODEGEN_BASE_URL")
    timeout: Seconds = 30.0
    max_retries: CountOrZero = 3
    retry_delay: Seconds = 1.0
    retry_backoff_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    retry_jitter: bool = True
    rate_limit_requests_per_period: Count = Field(default=60, validation_alias="CODEGEN_RATE_LIMIT_REQUESTS")
    rate_limit_period_seconds: Seconds = Field(default=60.0, validation_alias="CODEGEN_RATE_LIMIT_PERIOD")
    rate_limit_max_wait_seconds: Seconds = 300.0
    enable_caching: bool = True
    cache_ttl_seconds: Seconds = Field(default=300.0, validation_alias="CODEGEN_CACHE_TTL")
    cache_max_size: Count = 128
    enable_webhooks: bool = True
    webhook_secret: Secret = None
    webhook_timeout: Seconds = 30.0
    enable_bulk_operations: bool = True
    bulk_max_workers: Count = 5
    bulk_batch_size: Count = 100
    enable_streaming: bool = True
    agent_run_timeout: Seconds = 1800.0
    agent_run_poll_interval: Seconds = 5.0
    enable_metrics: bool = True
    log_level: Level = "INFO"
    log_requests: bool = True
    log_responses: bool = False
    log_sensitive_data: bool = False
    debug_mode: bool = False

    def __init__(self, **values: Any) -> None:
        if "base_url" in values and "url" not in values:
            values["url"] = values.pop("base_url")
        super().__init__(**values)

    @property
    def base_url(self) -> str:
        """Where the API is; the same as `url`."""
        return self.url

    @base_url.setter
    def base_url(self, value: str) -> None:
        self.url = value

    @property
    def token(self) -> SecretStr:
        """The bearer token.

        Raises:
            ConfigurationError: there is none.
        """
        if not isinstance(self.api_token, SecretStr):
            raise ConfigurationError("there is no API token: set api_token, or the variable CODEGEN_API_TOKEN")
        return self.api_token

    def organization(self, given: int | str | None) -> int | str:
        """The organization that a call is about: the one that was given, else `org_id`.

        Raises:
            ConfigurationError: there is none.
        """
        found = self.org_id if given is None else given
        if found is None:
            raise ConfigurationError("no organization: give org_id, or set it in the settings (CODEGEN_ORG_ID)")
        return found

    def needs(self, feature: Literal["webhooks", "bulk_operations", "streaming"]) -> None:
        """Makes sure that a feature is on.

        Raises:
            ConfigurationError: it is switched off.
        """
        if not getattr(self, f"enable_{feature}"):
            variable = f"CODEGEN_ENABLE_{feature.upper()}"
            raise ConfigurationError(
                f"{feature.replace('_', ' ')} are switched off: set enable_{feature}=True, or {variable}=true"
            )

    @property
    def slowest_rate(self) -> int:
        """Requests per period below which 429s do not bring the limiter."""
        return min(_SLOWEST, self.rate_limit_requests_per_period)

    def patience(self, read: float | None = None) -> float:
        """See `BaseServiceSettings.patience`; the longest wait for the rate limiter besides."""
        timeouts = self.timeouts()
        attempt = timeouts["connect"] + (timeouts["read"] if read is None else read)
        waits = self.max_retries * max(self.retry_delay, self.retry_max_wait)
        return (self.max_retries + 1) * attempt + waits + self.rate_limit_max_wait_seconds

    def client_settings(self) -> dict[str, Any]:
        """See `BaseServiceSettings.client_settings`."""
        from holdfast.codegen.limits import lane

        settings = super().client_settings()
        settings["retry"] |= {
            "max_attempts": self.max_retries + 1,
            "multiplier": self.retry_backoff_factor,
            "jitter": self.retry_jitter,
            "replay": "when_safe",
        }
        rate = self.rate_limit_requests_per_period
        level = "DEBUG" if self.debug_mode else self.log_level
        return {
            **settings,
            "service_name": "Codegen",
            "request_id_prefix": "codegen",
            "rate_limit": {
                "rate": float(rate),
                "period": self.rate_limit_period_seconds,
                "max_wait": self.rate_limit_max_wait_seconds,
                "adaptive": True,
                "min_rate": float(self.slowest_rate),
                "max_rate": float(max(_FASTEST, rate)),
                "key": lane,
            },
            "cache": {"max_entries": self.cache_max_size},
            "logging": {
                "logger_name": "holdfast.codegen",
                "level": level if self.log_requests or level in _WARNING else "WARNING",
            },
        }
