"""The typed client of the Codegen API: users, organizations, repositories, and agent runs that cost money.

    async with create_production_client(token, org_id=123) as client:
        run = await client.create_agent_run(prompt="Review the latest pull request")
        run = await client.wait_for_agent_run_completion(run_id=run.id)

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._lazy import lazily

if TYPE_CHECKING:
    from holdfast.codegen.client import AsyncCodegenClient
    from holdfast.codegen.config import ClientConfig
    from holdfast.codegen.exceptions import (
        AuthenticationError,
        BulkOperationError,
        CodegenAPIError,
        ConfigurationError,
        NetworkError,
        NotFoundError,
        QuotaExceededError,
        RateLimitError,
        ServerError,
        TimeoutError,  # noqa: A004  # the name that is documented
        ValidationError,
        WebhookError,
    )
    from holdfast.codegen.factories import (
        create_client_from_env,
        create_development_client,
        create_high_performance_client,
        create_production_client,
    )
    from holdfast.codegen.legacy import CodegenClient
    from holdfast.codegen.models import (
        AgentRunLogResponse,
        AgentRunResponse,
        AgentRunWithLogsResponse,
        GithubPullRequestResponse,
        OrganizationResponse,
        OrganizationSettings,
        RepositoryResponse,
        UserResponse,
    )
    from holdfast.codegen.presets import ConfigPresets
    from holdfast.codegen.requests import CreateAgentRunRequest, ResumeAgentRunRequest
    from holdfast.codegen.webhooks import CodegenWebhooks
    from holdfast.service.bulk import BulkFailure, BulkResult
    from holdfast.service.webhooks import WebhookEvent, WebhookResult

__all__ = [
    "AgentRunLogResponse",
    "AgentRunResponse",
    "AgentRunWithLogsResponse",
    "AsyncCodegenClient",
    "AuthenticationError",
    "BulkFailure",
    "BulkOperationError",
    "BulkResult",
    "ClientConfig",
    "CodegenAPIError",
    "CodegenClient",
    "CodegenWebhooks",
    "ConfigPresets",
    "ConfigurationError",
    "CreateAgentRunRequest",
    "GithubPullRequestResponse",
    "NetworkError",
    "NotFoundError",
    "OrganizationResponse",
    "OrganizationSettings",
    "QuotaExceededError",
    "RateLimitError",
    "RepositoryResponse",
    "ResumeAgentRunRequest",
    "ServerError",
    "TimeoutError",
    "UserResponse",
    "ValidationError",
    "WebhookError",
    "WebhookEvent",
    "WebhookResult",
    "create_client_from_env",
    "create_development_client",
    "create_high_performance_client",
    "create_production_client",
]

_PLACES = {
    "holdfast.codegen.client": "AsyncCodegenClient",
    "holdfast.codegen.config": "ClientConfig",
    "holdfast.codegen.exceptions": (
        "AuthenticationError BulkOperationError CodegenAPIError ConfigurationError NetworkError NotFoundError"
        " QuotaExceededError RateLimitError ServerError TimeoutError ValidationError WebhookError"
    ),
    "holdfast.codegen.factories": (
        "create_client_from_env create_development_client create_high_performance_client create_production_client"
    ),
    "holdfast.codegen.legacy": "CodegenClient",
    "holdfast.codegen.models": (
        "AgentRunLogResponse AgentRunResponse AgentRunWithLogsResponse GithubPullRequestResponse OrganizationResponse"
        " OrganizationSettings RepositoryResponse UserResponse"
    ),
    "holdfast.codegen.presets": "ConfigPresets",
    "holdfast.codegen.requests": "CreateAgentRunRequest ResumeAgentRunRequest",
    "holdfast.codegen.webhooks": "CodegenWebhooks",
    "holdfast.service.bulk": "BulkFailure BulkResult",
    "holdfast.service.webhooks": "WebhookEvent WebhookResult",
}

if not TYPE_CHECKING:  # to type checkers the package has the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
