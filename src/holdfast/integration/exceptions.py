"""What a `ServiceIntegrationClient` raises.

.. code-block:: text

    ServiceIntegrationError          everything
      ResourceNotFoundError          404
      ValidationError                400, 422, and arguments that were found wrong before anything was sent
      ConflictError                  409
      ServiceActionError             424: the service behind the service failed
      ServiceUnavailableError        502, 503, 504, and a service that cannot be reached, in time or at all
      MaxRetriesExceededError        the same, when all retries are used up: in place of it, and not also it
      WorkflowExecutionError         a workflow was executed, and failed or was cancelled
      WorkflowDeadlineError          a workflow had not ended when the caller's deadline passed

Each is at the same time the error of `holdfast.exceptions` for what happened, and the httpx2 one of its cause, but for
`MaxRetriesExceededError`: its `last_error` is all that.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from holdfast import exceptions as core

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.integration.models import Execution

__all__ = [
    "CircuitBreakerOpenError",
    "ConflictError",
    "MaxRetriesExceededError",
    "ResourceNotFoundError",
    "ServiceActionError",
    "ServiceIntegrationError",
    "ServiceUnavailableError",
    "ValidationError",
    "WorkflowDeadlineError",
    "WorkflowExecutionError",
]


CircuitBreakerOpenError = core.CircuitOpenError
"""What a `CircuitBreaker` raises while it is open. Raised by the client, it is a `ServiceUnavailableError` too."""


class ServiceIntegrationError(core.HoldfastError):
    """A call of the Service Integration service failed.

    Attributes:
        execution_id: the execution that had been started, or was waited for, by then. It goes on without the caller:
            `ServiceIntegrationClient.wait_for_execution` waits for it again. None where there is none.
    """

    execution_id: str | None = None


class ResourceNotFoundError(ServiceIntegrationError, core.NotFoundError):
    """There is no such thing, or no such endpoint.

    Attributes:
        resource_type: "service", "workflow", "execution", "action"; "endpoint" if the server does not know the path.
        resource_id: its id.
    """


class ValidationError(ServiceIntegrationError, core.InvalidRequestError):
    """What was to be sent is wrong, or the service says so.

    Attributes:
        validation_errors: a message for each field, such as ``{"steps.0.service": "step 'a': no service ..."}``. What
            concerns no field is under ``"request"``. `field_errors` has them one by one.
    """

    validation_errors: Mapping[str, str] = MappingProxyType({})  # type: ignore[assignment]  # as the guide has it


class ConflictError(ServiceIntegrationError, core.ConflictError):
    """It does not fit the state of things: a name is taken, a service is in use, a workflow is inactive."""


class ServiceUnavailableError(ServiceIntegrationError, core.ServiceUnavailableError):
    """The service cannot be reached, or does not serve, and retries would not help, or are not left to be tried."""


class MaxRetriesExceededError(ServiceIntegrationError, core.MaxRetriesExceededError):
    """The service was unavailable, and still was after the last retry.

    Attributes:
        attempts: the requests that were sent.
        last_error: the `ServiceUnavailableError` of the last one.
    """


class ServiceActionError(ServiceIntegrationError, core.APIStatusError):
    """424: a registered service failed, or answered what it must not. The action is not repeated by itself.

    Attributes:
        service: the name of the service. `action`: of its action.
        step: the id of the workflow's step that it was called for, None if for none.
        status: the HTTP status that it answered, None if it did not.
        may_have_executed: whether it may have acted.
    """

    service: str | None = None
    action: str | None = None
    step: str | None = None
    status: int | None = None


class WorkflowExecutionError(ServiceIntegrationError):
    """A workflow was executed, and failed or was cancelled. It is not executed again by itself.

    Attributes:
        execution_id: see `ServiceIntegrationError`. `ServiceIntegrationClient.resume_execution` goes on with it.
        step: the id of the step that failed, None if none did.
        error: what went wrong, in the service's words; None if it does not say.
        status: ``"FAILED"`` or ``"CANCELLED"``.
        execution: all there is to know about it.
    """

    step: str | None = None
    error: str | None = None
    status: str | None = None
    execution: Execution | None = None


class WorkflowDeadlineError(ServiceIntegrationError, core.DeadlineExceededError):
    """A workflow had not ended when the caller's deadline passed. The execution goes on.

    Attributes:
        execution_id: see `ServiceIntegrationError`.
        execution: as it was seen last, None if it was not.
    """

    execution: Execution | None = None
