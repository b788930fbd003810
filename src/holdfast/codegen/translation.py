"""Gives errors the classes of `holdfast.codegen.exceptions`."""

from __future__ import annotations

from holdfast import exceptions as core
from holdfast.codegen.exceptions import (
    AuthenticationError,
    CodegenAPIError,
    NetworkError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TimeoutError,  # noqa: A004  # the name that is documented
    ValidationError,
)
from holdfast.service.errors import renamed, unreachable

_PAYMENT_REQUIRED = 402  # RFC 9110, section 15.5.3

_BY_CLASS: tuple[tuple[type[core.HoldfastError], type[CodegenAPIError]], ...] = (
    (core.InvalidRequestError, ValidationError),
    (core.AuthenticationError, AuthenticationError),
    (core.NotFoundError, NotFoundError),
    (core.RateLimitError, RateLimitError),
    (core.APITimeoutError, TimeoutError),
)


def translated(error: core.HoldfastError, service_name: str | None) -> core.HoldfastError:
    """The error that users see in place of `error`.

    Args:
        error: of the client underneath, or one that was translated before.
        service_name: what the service is called.
    """
    if isinstance(error, (CodegenAPIError, core.MaxRetriesExceededError)):
        return error
    for known, public in _BY_CLASS:
        if isinstance(error, known):
            # The caller's patience may have ended and the service be well: a timeout does not make it unavailable.
            return renamed(error, public)
    status = error.status_code
    if status == _PAYMENT_REQUIRED:
        return renamed(error, QuotaExceededError)
    if status is not None and status >= 500:
        return renamed(error, ServerError)
    if isinstance(error, core.APIConnectionError) and status is None and not isinstance(error, core.CircuitOpenError):
        return renamed(unreachable(error, service_name), NetworkError)
    return renamed(error, CodegenAPIError)
