"""What the Codegen API answers."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from holdfast.service.model import Model

__all__ = [
    "AgentRunLogResponse",
    "AgentRunResponse",
    "AgentRunWithLogsResponse",
    "GithubPullRequestResponse",
    "OrganizationResponse",
    "OrganizationSettings",
    "RepositoryResponse",
    "UserResponse",
]

_SUCCEEDED: Final = frozenset({"COMPLETE", "COMPLETED", "SUCCESS", "SUCCEEDED"})
_FAILED: Final = frozenset(
    {
        "CANCELED",
        "CANCELLED",
        "ERROR",
        "EVICTED",
        "FAILED",
        "FAILURE",
        "MAX_ITERATIONS_REACHED",
        "OUT_OF_TOKENS",
        "TIMED_OUT",
        "TIMEOUT",
    }
)


class UserResponse(Model):
    """A user. `role`: ADMIN, MANAGER, MEMBER."""

    id: int
    email: str | None = None
    github_user_id: str | None = None
    github_username: str | None = None
    avatar_url: str | None = None
    full_name: str | None = None
    role: str | None = None
    is_admin: bool | None = None


class OrganizationSettings(Model):
    """What is switched on in an organization."""

    enable_pr_creation: bool | None = None
    enable_rules_detection: bool | None = None


class OrganizationResponse(Model):
    """An organization."""

    id: int
    name: str | None = None
    settings: OrganizationSettings | None = None


class RepositoryResponse(Model):
    """A repository that an organization has connected."""

    id: int
    name: str | None = None
    full_name: str | None = None
    description: str | None = None
    github_id: str | None = None
    organization_id: int | None = None
    visibility: str | None = None
    archived: bool | None = None
    setup_status: str | None = None
    language: str | None = None


class GithubPullRequestResponse(Model):
    """A pull request that a run has made."""

    id: int
    title: str | None = None
    url: str | None = None
    created_at: str | None = None
    head_branch_name: str | None = None


class _Run(Model):
    id: int
    organization_id: int
    status: str | None = None
    created_at: str | None = None
    web_url: str | None = None
    result: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not. Case does not matter. A status that is not known here is no end."""
        return self.succeeded or self.failed

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return _known(self.status) in _SUCCEEDED

    @property
    def failed(self) -> bool:
        """Whether it has ended otherwise: failed, cancelled, out of time or of tokens."""
        return _known(self.status) in _FAILED


class AgentRunResponse(_Run):
    """An agent run. `status` is what the service says: PENDING, ACTIVE, PAUSED, COMPLETE, FAILED, or a word of later.

    `result` is what it gave, as text. `created_at` is in the service's words.
    """

    summary: str | None = None
    source_type: str | None = None
    github_pull_requests: list[GithubPullRequestResponse] | None = None


class AgentRunLogResponse(Model):
    """One step of a run, as its log tells."""

    agent_run_id: int
    created_at: str | None = None
    tool_name: str | None = None
    message_type: str | None = None
    thought: str | None = None
    observation: dict[str, Any] | str | None = None
    tool_input: dict[str, Any] | None = None
    tool_output: dict[str, Any] | None = None


class AgentRunWithLogsResponse(_Run):
    """An agent run and a page of its log. `total_logs`: the entries on all pages."""

    logs: list[AgentRunLogResponse] = Field(default_factory=list)
    total_logs: int | None = None
    page: int | None = None
    size: int | None = None
    pages: int | None = None


def _known(status: str | None) -> str:
    return (status or "").strip().upper()
