"""Holdfast: call other people's services, and survive them.

    from holdfast import ClientConfig, ResilientClient

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._lazy import lazily
from holdfast._version import __version__

if TYPE_CHECKING:
    from holdfast.call import Call
    from holdfast.circuit_breaker import CircuitBreaker
    from holdfast.client import ResilientClient, create_resilient_client
    from holdfast.config import (
        BulkheadConfig,
        CacheConfig,
        CircuitBreakerConfig,
        ClientConfig,
        LoggingConfig,
        RateLimitConfig,
        RetryBudgetConfig,
        RetryConfig,
        TimeoutConfig,
    )
    from holdfast.core.outcome import Outcome
    from holdfast.exceptions import (
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        CircuitOpenError,
        ClientClosedError,
        ConflictError,
        DeadlineExceededError,
        HoldfastError,
        InvalidRequestError,
        MaxRetriesExceededError,
        MyAPIError,
        NotFoundError,
        PoolTimeoutError,
        RateLimitError,
        ResponseError,
        ServerError,
        ServerTimeoutError,
        ServiceUnavailableError,
        TooManyRedirectsError,
        WebhookError,
    )
    from holdfast.http.context import get_request_id, request_context
    from holdfast.http.middleware import RequestIdMiddleware

_EXCEPTIONS = (
    "APIConnectionError APIStatusError APITimeoutError AuthenticationError CircuitOpenError ClientClosedError "
    "ConflictError DeadlineExceededError HoldfastError InvalidRequestError MaxRetriesExceededError MyAPIError "
    "NotFoundError PoolTimeoutError RateLimitError ResponseError ServerError ServerTimeoutError "
    "ServiceUnavailableError TooManyRedirectsError WebhookError"
)
_PLACES = {
    "holdfast.call": "Call",
    "holdfast.circuit_breaker": "CircuitBreaker",
    "holdfast.client": "ResilientClient create_resilient_client",
    "holdfast.config": (
        "BulkheadConfig CacheConfig CircuitBreakerConfig ClientConfig LoggingConfig RateLimitConfig "
        "RetryBudgetConfig RetryConfig TimeoutConfig"
    ),
    "holdfast.core.outcome": "Outcome",
    "holdfast.exceptions": _EXCEPTIONS,
    "holdfast.http.context": "get_request_id request_context",
    "holdfast.http.middleware": "RequestIdMiddleware",
}

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BulkheadConfig",
    "CacheConfig",
    "Call",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitOpenError",
    "ClientClosedError",
    "ClientConfig",
    "ConflictError",
    "DeadlineExceededError",
    "HoldfastError",
    "InvalidRequestError",
    "LoggingConfig",
    "MaxRetriesExceededError",
    "MyAPIError",
    "NotFoundError",
    "Outcome",
    "PoolTimeoutError",
    "RateLimitConfig",
    "RateLimitError",
    "RequestIdMiddleware",
    "ResilientClient",
    "ResponseError",
    "RetryBudgetConfig",
    "RetryConfig",
    "ServerError",
    "ServerTimeoutError",
    "ServiceUnavailableError",
    "TimeoutConfig",
    "TooManyRedirectsError",
    "WebhookError",
    "__version__",
    "create_resilient_client",
    "get_request_id",
    "request_context",
]

if not TYPE_CHECKING:  # to type checkers the package has the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
