"""What goes over the wire to and from the part of the official API that is served here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from holdfast.servers.fields import AS_IN_JSON, JsonObject, storable_text

__all__ = [
    "LONGEST_PROMPT",
    "AgentRun",
    "AgentRunLog",
    "AgentRunWithLogs",
    "Limit",
    "NewAgentRun",
    "Organization",
    "OrganizationSettings",
    "Page",
    "Problem",
    "PullRequest",
    "Repo",
    "Resumption",
    "SourceType",
    "User",
    "page_of",
]

ItemT = TypeVar("ItemT")

LONGEST_PROMPT = 100_000
"""Characters. The official contract names no limit."""

MOST_IMAGES = 20

SourceType = Literal[
    "LOCAL",
    "SLACK",
    "GITHUB",
    "GITHUB_CHECK_SUITE",
    "GITHUB_PR_REVIEW",
    "LINEAR",
    "API",
    "CHAT",
    "JIRA",
    "CLICKUP",
    "MONDAY",
    "SETUP_COMMANDS",
]

Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be white space alone")
    return value


_Prompt = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST_PROMPT,
        description="What the agent is to do.",
        json_schema_extra={"pattern": r"\S"},
    ),
    AfterValidator(_not_blank),
    AfterValidator(storable_text),
]
_Image = Annotated[str, Field(pattern=r"^data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/]+=*$")]
_Images = Annotated[
    list[_Image] | None,
    Field(max_length=MOST_IMAGES, description="Data URIs with images in base64. They are checked, and not kept."),
]
_Id = Annotated[int, AS_IN_JSON]


class NewAgentRun(BaseModel):
    """An agent run to be created."""

    prompt: _Prompt
    images: _Images = None
    metadata: JsonObject | None = Field(default=None, description="Is kept with the run.")
    repo_id: _Id | None = None
    model: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(storable_text)] | None = None
    agent_type: Literal["codegen", "claude_code"] | None = None


class Resumption(BaseModel):
    """An agent run that is to go on."""

    agent_run_id: _Id
    prompt: _Prompt
    images: _Images = None


class _FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class User(_FromRow):
    """Somebody in an organization."""

    id: int
    email: str | None
    github_user_id: str
    github_username: str
    avatar_url: str | None
    full_name: str | None
    role: str | None
    is_admin: bool | None


class OrganizationSettings(BaseModel):
    """What an organization lets agents do."""

    enable_pr_creation: bool = True
    enable_rules_detection: bool = True


class Organization(BaseModel):
    """An organization."""

    id: int
    name: str
    settings: OrganizationSettings


class Repo(BaseModel):
    """A repository of an organization."""

    id: int
    name: str
    full_name: str
    description: str | None
    github_id: str
    organization_id: int
    visibility: str | None
    archived: bool | None
    setup_status: str
    language: str | None


class PullRequest(BaseModel):
    """A pull request that an agent run opened."""

    id: int
    title: str | None
    url: str | None
    created_at: datetime
    head_branch_name: str | None


class AgentRun(BaseModel):
    """An agent run as it is.

    Attributes:
        status: PENDING, ACTIVE, and in the end COMPLETE, FAILED, PAUSED or CANCELLED.
        result: what the agent answers, or why it failed; None before the end.
    """

    id: int
    organization_id: int
    status: str
    created_at: datetime
    web_url: str
    result: str | None
    summary: str | None
    source_type: SourceType
    github_pull_requests: list[PullRequest]
    metadata: dict[str, Any] | None


class AgentRunLog(_FromRow):
    """One thing that an agent did."""

    agent_run_id: int
    created_at: datetime
    tool_name: str | None
    message_type: str
    thought: str | None
    observation: dict[str, Any] | str | None
    tool_input: dict[str, Any] | None
    tool_output: dict[str, Any] | None


class AgentRunWithLogs(BaseModel):
    """An agent run, and a page of what it did."""

    id: int
    organization_id: int
    status: str
    created_at: datetime
    web_url: str
    result: str | None
    metadata: dict[str, Any] | None
    logs: list[AgentRunLog]
    total_logs: int
    page: int
    size: int
    pages: int


class Page(BaseModel, Generic[ItemT]):
    """A part of a list.

    Attributes:
        total: items in the whole list.
        page: number of this page, from 1, where all have `size` items.
        pages: how many such pages there are.
    """

    items: list[ItemT]
    total: int
    page: int
    size: int
    pages: int


class Problem(BaseModel):
    """An error."""

    message: str
    status_code: int
    detail: str


def page_of(items: list[ItemT], total: int, skip: int, limit: int) -> Page[ItemT]:
    """The page that begins after `skip` items."""
    return Page(items=items, total=total, page=skip // limit + 1, size=limit, pages=-(-total // limit))
