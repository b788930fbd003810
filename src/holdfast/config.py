"""What a client may be told: `ClientConfig` and its parts.

Every duration is in seconds, every size in bytes. A value of the wrong type or unit is refused where it is given, with
the name of its field, at construction, assignment and `model_copy` alike: no string and no bool passes for a number.
Combinations that are valid but cannot work as meant are named by `ClientConfig.lint()`.
"""

# No `from __future__ import annotations`: pydantic would evaluate every string, a sixth of this module's import time.
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from holdfast import checks
from holdfast._version import __version__
from holdfast.parts import (
    MEBIBYTE,
    BulkheadConfig,
    CacheConfig,
    CircuitBreakerConfig,
    Count,
    CountOrZero,
    LoggingConfig,
    Name,
    NotNegative,
    Part,
    Positive,
    RateLimitConfig,
    RetryBudgetConfig,
    RetryConfig,
    TimeoutConfig,
)
from holdfast.redaction import REDACTED, redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.lint import HandedIn, LintWarning

__all__ = [
    "BulkheadConfig",
    "CacheConfig",
    "CircuitBreakerConfig",
    "ClientConfig",
    "LoggingConfig",
    "RateLimitConfig",
    "RetryBudgetConfig",
    "RetryConfig",
    "TimeoutConfig",
]

USER_AGENT: Final = f"holdfast/{__version__}"


class ClientConfig(Part):
    """All settings of a client.

    Its `repr` and the messages of its errors show neither header values nor passwords.

    Attributes:
        base_url: absolute http or https URL that paths are joined to. Required: None or an empty string, as from an
            unset environment variable, is refused.
        deadline: seconds for a whole call, all attempts, waits and the body included; None for no limit.
        send_deadline_header: name of the header in which the seconds left are sent on; None to send none.
        follow_redirects, max_redirects: redirects followed within one attempt.
        verify_ssl: True for the system's certificates, the path of a CA file or directory, or an SSL context. False
            verifies nothing.
        cert: client certificate: path, or (certificate, key) or (certificate, key, password).
        http2: offers HTTP/2 beside HTTP/1.1.
        proxy: URL of a proxy, with credentials if need be.
        trust_env: whether the usual environment variables of proxies and certificates count.
        user_agent: the User-Agent header; None gives the default.
        headers: go along with every request to the origin of `base_url`, and to no other.
        request_id_prefix: begins every generated request id.
        server_deduplicates: the server answers a repeated idempotency key with the first result: POST and PATCH are
            then retried like a PUT.
        max_response_bytes: the largest body that is read, decoded or as received; None for any.
        max_connections: size of the connection pool; None for as many as `bulkhead.max_concurrency`.
        max_keepalive_connections: idle connections that are kept for later, the rest are closed; None keeps all.
        keepalive_expiry: seconds that an idle connection is kept; None for ever.
        service_name: what errors and logs call the server.
        engine: what sends: `"native"`, connections of our own, which cost a fraction of httpx2's, or `"httpx2"`. Native
            ones speak HTTP/1.1 without a proxy: where HTTP/2 or a proxy is asked for, and where a client or transport
            is handed in, httpx2 sends all the same. `"auto"` is native wherever it can be.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str | None = Field(default=None, validate_default=True)
    timeout: TimeoutConfig = Field(default_factory=TimeoutConfig)
    retry: RetryConfig = Field(default_factory=RetryConfig)
    circuit_breaker: CircuitBreakerConfig = Field(default_factory=CircuitBreakerConfig)
    bulkhead: BulkheadConfig = Field(default_factory=BulkheadConfig)
    rate_limit: RateLimitConfig = Field(default_factory=RateLimitConfig)
    cache: CacheConfig = Field(default_factory=CacheConfig)
    logging: LoggingConfig = Field(default_factory=LoggingConfig)
    deadline: Positive | None = 300.0
    send_deadline_header: str | None = None
    follow_redirects: bool = True
    max_redirects: CountOrZero = 20
    verify_ssl: bool | str | ssl.SSLContext = True
    cert: str | tuple[str, str] | tuple[str, str, str] | None = None
    http2: bool = False
    proxy: str | None = None
    trust_env: bool = True
    user_agent: str | None = USER_AGENT
    headers: dict[str, str] = Field(default_factory=dict)
    request_id_prefix: str | None = None
    server_deduplicates: bool = False
    max_response_bytes: Count | None = 64 * MEBIBYTE
    max_connections: Count | None = None
    max_keepalive_connections: CountOrZero | None = None
    keepalive_expiry: NotNegative | None = 5.0
    service_name: Name | None = None
    engine: Literal["auto", "native", "httpx2"] = "auto"

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: str | None) -> str:
        return checks.base_url(value)

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str | None) -> str | None:
        return None if value is None else checks.proxy(value)

    @field_validator("send_deadline_header")
    @classmethod
    def _header_name(cls, value: str | None) -> str | None:
        return None if value is None else checks.header_name(value)

    @field_validator("user_agent")
    @classmethod
    def _user_agent(cls, value: str | None) -> str:
        if value == "":
            raise ValueError("user_agent is empty; None gives the default")
        return USER_AGENT if value is None else checks.header_value("user_agent", value)

    @field_validator("request_id_prefix")
    @classmethod
    def _request_id_prefix(cls, value: str | None) -> str | None:
        return None if value is None else checks.request_id_prefix(value)

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        return checks.default_headers(value)

    @field_validator("verify_ssl", "cert", mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        if isinstance(value, tuple):
            return tuple(os.fspath(item) if isinstance(item, os.PathLike) else item for item in value)
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @field_validator("verify_ssl", "cert")
    @classmethod
    def _tls(cls, value: Any, info: ValidationInfo) -> Any:
        field = info.field_name or ""
        paths = value[:2] if isinstance(value, tuple) else (value,)
        for path in paths:
            if isinstance(path, str):
                checks.existing(field, path)
        settings = {**info.data, field: value}
        if settings.get("cert") is not None and isinstance(settings.get("verify_ssl"), ssl.SSLContext):
            raise ValueError("cert cannot be combined with an SSL context in verify_ssl; load it into that context")
        return value

    def __repr_args__(self) -> "Iterator[tuple[str | None, Any]]":
        for name, value in super().__repr_args__():
            if name == "headers":
                yield name, dict.fromkeys(value, REDACTED)
            elif name == "proxy" and value is not None:
                yield name, redact_url(value)
            elif name == "cert" and isinstance(value, tuple):
                yield name, (*value[:2], REDACTED)[: len(value)]
            else:
                yield name, value

    @classmethod
    def development(cls, base_url: str | None, **overrides: Any) -> Self:
        """Returns settings for work on one's own machine: detailed logs, and failures that show quickly.

        In all presets `overrides` win; a mapping for a part changes only what it names.
        """
        return cls._preset("development", base_url, overrides)

    @classmethod
    def production(cls, base_url: str | None, **overrides: Any) -> Self:
        """Returns settings for a service that others depend on: patient timeouts, moderate load on the server."""
        return cls._preset("production", base_url, overrides)

    @classmethod
    def high_throughput(cls, base_url: str | None, **overrides: Any) -> Self:
        """Returns settings for many short calls: short timeouts and waits, one retry, 100 in flight, quiet logs."""
        return cls._preset("high_throughput", base_url, overrides)

    @classmethod
    def _preset(cls, name: str, base_url: str | None, overrides: "Mapping[str, Any]") -> Self:
        from holdfast.presets import PRESETS

        return cls(base_url=base_url, **PRESETS[name]).model_copy(update=overrides)

    @classmethod
    def from_env(cls, prefix: str = "HOLDFAST_", environ: "Mapping[str, str] | None" = None, **overrides: Any) -> Self:
        """Returns the settings that environment variables give, with `overrides` in front of them.

        The name of a variable is the prefix and the path of the field: `HOLDFAST_BASE_URL`, `HOLDFAST_TIMEOUT_READ`,
        `HOLDFAST_RETRY_BUDGET_RATIO`. An empty variable counts as unset, `none` stands for None.

        Args:
            prefix: what the names begin with.
            environ: read instead of `os.environ`.
            **overrides: settings by field name; a mapping for a part changes only what it names.

        Raises:
            ValueError: names every variable that cannot be used: unknown, of the wrong type, or refused.
        """
        from holdfast.environment import read

        return read(cls, prefix, os.environ if environ is None else environ, overrides)

    def lint(self, handed_in: "HandedIn | None" = None) -> "list[LintWarning]":
        """Returns what cannot work as meant, or surprises, in this combination of settings; empty if all is well.

        Args:
            handed_in: what a client for *sync* use is given of the caller's own: "http_client" or "transport".
        """
        from holdfast.lint import lint

        return lint(self, handed_in)

    def tls(self) -> bool | ssl.SSLContext:
        """Returns what httpx2 takes as `verify`: `verify_ssl`, with `cert` loaded.

        Raises:
            ssl.SSLError: a certificate or key cannot be used.
        """
        if isinstance(self.verify_ssl, ssl.SSLContext) or (self.cert is None and isinstance(self.verify_ssl, bool)):
            return self.verify_ssl
        if isinstance(self.verify_ssl, str):
            path = self.verify_ssl
            folder = Path(path).is_dir()
            context = ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
        else:
            import httpx2

            context = httpx2.create_ssl_context(verify=self.verify_ssl, trust_env=self.trust_env)
        if isinstance(self.cert, str):
            context.load_cert_chain(self.cert)
        elif self.cert is not None:
            context.load_cert_chain(*self.cert)
        return context
