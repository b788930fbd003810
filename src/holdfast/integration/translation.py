"""Gives errors the classes of `holdfast.integration.exceptions`, and what the service says about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast import exceptions as core
from holdfast.integration.exceptions import (
    ConflictError,
    MaxRetriesExceededError,
    ResourceNotFoundError,
    ServiceActionError,
    ServiceIntegrationError,
    ServiceUnavailableError,
    ValidationError,
)
from holdfast.service.errors import renamed, unreachable
from holdfast.service.poll import PollDeadlineError

_FAILED_DEPENDENCY = 424  # RFC 4918, section 11.4
_NO_FIELD = "request"


def translated(error: core.HoldfastError, service_name: str | None) -> core.HoldfastError:
    """The error that users see in place of `error`.

    Args:
        error: of the client underneath, or one that was translated before.
        service_name: what the service is called.
    """
    if isinstance(error, ServiceIntegrationError):
        return error
    if isinstance(error, PollDeadlineError):  # the caller's patience has ended, and the service may be well
        return renamed(error, ServiceIntegrationError)
    error = unreachable(error, service_name)
    if isinstance(error, core.ServiceUnavailableError):
        unavailable = renamed(error, ServiceUnavailableError)
        return _spent(unavailable) if unavailable.retries_spent else unavailable
    if isinstance(error, core.NotFoundError):
        return _not_found(error)
    if isinstance(error, core.InvalidRequestError):
        return renamed(error, ValidationError, validation_errors=_by_field(error))
    if isinstance(error, core.ConflictError):
        return renamed(error, ConflictError)
    said = _body(error)
    if error.status_code == _FAILED_DEPENDENCY and "service" in said:
        return renamed(
            error,
            ServiceActionError,
            service=said["service"],
            action=said.get("action"),
            step=said.get("step"),
            status=said.get("status"),
            may_have_executed=said.get("may_have_executed", True) is not False,
        )
    return renamed(error, ServiceIntegrationError)


def _spent(error: ServiceUnavailableError) -> MaxRetriesExceededError:
    spent = MaxRetriesExceededError(
        error.message,
        request_id=error.request_id,
        attempts=error.attempts,
        may_have_executed=error.may_have_executed,
        endpoint=error.endpoint,
        status_code=error.status_code,
        response=error.response,
        retry_after=error.retry_after,
        retries_spent=True,
        last_error=error,
    )
    spent.__cause__ = error
    return spent


def _not_found(error: core.NotFoundError) -> ResourceNotFoundError:
    said = _body(error)
    if "resource_type" in said:
        return renamed(
            error,
            ResourceNotFoundError,
            resource_type=said["resource_type"],
            resource_id=said.get("resource_id"),
        )
    missing = (
        f"{error.message} This server has no such endpoint: check base_url (SERVICE_INTEGRATION_URL),"
        " which usually ends in /api."
    )
    return renamed(error, ResourceNotFoundError, missing, resource_type="endpoint", resource_id=error.endpoint)


def _by_field(error: core.InvalidRequestError) -> dict[str, str]:
    found = {field: "; ".join(messages) for field, messages in error.field_errors.items()}
    if found:
        return found
    detail = _body(error).get("detail")
    return {_NO_FIELD: detail if isinstance(detail, str) else error.message}


def _body(error: core.HoldfastError) -> Mapping[str, Any]:
    """The JSON object that an error came with, empty if there is none."""
    try:
        body = error.response.json() if error.response is not None else None
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
