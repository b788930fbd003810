"""The typed client of the Service Integration service: services, workflows of their actions, and executions.

    async with ServiceIntegrationClient() as client:
        result = await client.execute_workflow(workflow_id, {"document_url": "https://example.com/document.pdf"})

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._lazy import lazily

if TYPE_CHECKING:
    from holdfast import CircuitBreaker, RequestIdMiddleware, get_request_id
    from holdfast.integration.client import (
        ServiceIntegrationClient,
        close_service_integration_client,
        get_service_integration_client,
    )
    from holdfast.integration.config import ServiceIntegrationSettings
    from holdfast.integration.exceptions import (
        CircuitBreakerOpenError,
        ConflictError,
        MaxRetriesExceededError,
        ResourceNotFoundError,
        ServiceActionError,
        ServiceIntegrationError,
        ServiceUnavailableError,
        ValidationError,
        WorkflowDeadlineError,
        WorkflowExecutionError,
    )
    from holdfast.integration.following import ExecutionEvents
    from holdfast.integration.models import (
        Action,
        Deleted,
        EventBatch,
        Execution,
        ExecutionEvent,
        ExecutionFailure,
        IntegrationHealth,
        Service,
        ServiceHealth,
        StepRun,
        Workflow,
        WorkflowResult,
        WorkflowStep,
    )

__all__ = [
    "Action",
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "ConflictError",
    "Deleted",
    "EventBatch",
    "Execution",
    "ExecutionEvent",
    "ExecutionEvents",
    "ExecutionFailure",
    "IntegrationHealth",
    "MaxRetriesExceededError",
    "RequestIdMiddleware",
    "ResourceNotFoundError",
    "Service",
    "ServiceActionError",
    "ServiceHealth",
    "ServiceIntegrationClient",
    "ServiceIntegrationError",
    "ServiceIntegrationSettings",
    "ServiceUnavailableError",
    "StepRun",
    "ValidationError",
    "Workflow",
    "WorkflowDeadlineError",
    "WorkflowExecutionError",
    "WorkflowResult",
    "WorkflowStep",
    "close_service_integration_client",
    "get_request_id",
    "get_service_integration_client",
]

_PLACES = {
    "holdfast": "CircuitBreaker RequestIdMiddleware get_request_id",
    "holdfast.integration.client": (
        "ServiceIntegrationClient close_service_integration_client get_service_integration_client"
    ),
    "holdfast.integration.config": "ServiceIntegrationSettings",
    "holdfast.integration.exceptions": (
        "CircuitBreakerOpenError ConflictError MaxRetriesExceededError ResourceNotFoundError ServiceActionError "
        "ServiceIntegrationError ServiceUnavailableError ValidationError WorkflowDeadlineError WorkflowExecutionError"
    ),
    "holdfast.integration.following": "ExecutionEvents",
    "holdfast.integration.models": (
        "Action Deleted EventBatch Execution ExecutionEvent ExecutionFailure IntegrationHealth Service ServiceHealth "
        "StepRun Workflow WorkflowResult WorkflowStep"
    ),
}

if not TYPE_CHECKING:  # to type checkers the package has the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
