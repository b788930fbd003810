"""Services, workflows and actions on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from holdfast.servers.fields import JsonObject, Number, Text

__all__ = [
    "Action",
    "ActionCall",
    "Counts",
    "Deleted",
    "IntegrationHealth",
    "NewService",
    "NewWorkflow",
    "Schema",
    "Service",
    "ServiceChanges",
    "ServiceHealth",
    "ServicePage",
    "Status",
    "Step",
    "Workflow",
    "WorkflowChanges",
    "WorkflowPage",
]

MOST_ACTIONS = 100
MOST_STEPS = 100
LONGEST_STEP = 3_600.0
"""Seconds."""


class Status(StrEnum):
    """Whether a service may be called, or a workflow executed."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


def _no_dots(name: str) -> str:
    if name in {".", ".."}:
        raise ValueError("must not be '.' or '..', which mean something else in a URL")
    return name


Name = Annotated[Text, Field(min_length=1, max_length=200)]
Description = Annotated[Text, Field(max_length=10_000)]
ActionName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9._~-]+$",
        description="Appended to the endpoint; not '.' or '..'.",
    ),
    AfterValidator(_no_dots),
]
EndpointText = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=2_000,
        description="An http or https URL without user name, query and fragment, at an address that may be called.",
        examples=["http://text-extraction:8000/api"],
    ),
]
Schema = Annotated[
    JsonObject | Annotated[bool, Strict()],
    Field(description="A JSON Schema, of draft 2020-12 unless its $schema says otherwise."),
]
Flag = Annotated[bool, Strict()]


class Action(BaseModel):
    """Something that a service does: POST {endpoint}/{name}, with the input as JSON."""

    name: ActionName
    description: Description = ""
    input_schema: Schema = {}
    output_schema: Schema = {}


class NewService(BaseModel):
    """A service to be registered."""

    name: Name = Field(description="Unique; steps of workflows refer to it.")
    description: Description = ""
    endpoint: EndpointText
    deduplicates: Flag = Field(
        default=False,
        description="It answers a repeated Idempotency-Key with its first result. Then requests are repeated also "
        "where they may have been executed.",
    )
    actions: Annotated[list[Action], Field(max_length=MOST_ACTIONS)] = []
    metadata: JsonObject = {}
    status: Status = Status.ACTIVE


class ServiceChanges(BaseModel):
    """What is to become of a service. What is not named stays as it is.

    Defaults are never looked at, only the fields that were given.
    """

    name: Name = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    endpoint: EndpointText = Field(default_factory=str)
    deduplicates: Flag = Field(default_factory=bool)
    actions: Annotated[list[Action], Field(max_length=MOST_ACTIONS)] = Field(default_factory=list)
    metadata: JsonObject = Field(default_factory=dict)
    status: Status = Field(default_factory=lambda: Status.ACTIVE)


class _FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Service(_FromRow):
    """A service as it is registered."""

    id: UUID
    name: str
    description: str
    endpoint: str
    deduplicates: bool
    actions: list[Action]
    metadata: dict[str, Any]
    status: Status
    created_at: datetime
    updated_at: datetime


class ServicePage(BaseModel):
    """Services, the newest first."""

    items: list[Service]
    total: int
    page: int
    per_page: int
    pages: int


class Step(BaseModel):
    """One step of a workflow: an action of a service, and what comes after it."""

    id: Name = Field(description="Unique in the workflow.")
    service: Name = Field(description="Name of a registered service.")
    action: Name = Field(description="Name of one of its actions.")
    next: Name | None = Field(default=None, description="Id of the step after it; null for the last.")
    timeout: Annotated[Number, Field(gt=0, le=LONGEST_STEP)] | None = Field(
        default=None, description="Seconds that it may take."
    )


Steps = Annotated[list[Step], Field(min_length=1, max_length=MOST_STEPS, description="One path, in any order.")]


class NewWorkflow(BaseModel):
    """A workflow to be created."""

    name: Name
    description: Description = ""
    steps: Steps
    metadata: JsonObject = {}
    status: Status = Status.ACTIVE


class WorkflowChanges(BaseModel):
    """What is to become of a workflow. What is not named stays as it is.

    Defaults are never looked at, only the fields that were given.
    """

    name: Name = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    steps: Steps = Field(default_factory=list)
    metadata: JsonObject = Field(default_factory=dict)
    status: Status = Field(default_factory=lambda: Status.ACTIVE)


class Workflow(BaseModel):
    """A workflow as it is."""

    id: UUID
    name: str
    description: str
    steps: list[Step]
    metadata: dict[str, Any]
    status: Status
    created_at: datetime
    updated_at: datetime


class WorkflowPage(BaseModel):
    """Workflows, the newest first."""

    items: list[Workflow]
    total: int
    page: int
    per_page: int
    pages: int


class Deleted(BaseModel):
    """The answer to a deletion."""

    success: bool = True
    message: str


class ActionCall(BaseModel):
    """What an action is called with."""

    input_data: JsonObject = Field(default_factory=dict, description="Sent to the service as it is.")
    context: JsonObject | None = Field(
        default=None, description="Its request_id, if it has one, is sent to the service as X-Correlation-ID."
    )


class ServiceHealth(BaseModel):
    """How a service answered a GET of its endpoint just now."""

    service_id: UUID
    name: str
    status: str = Field(description="healthy where that was a 200, else unhealthy.")
    status_code: int | None
    seconds: float
    error: str | None = Field(description="Why it is not healthy.")
    circuit: str = Field(description="State of the circuit breaker that calls of it go through in this server.")
    checked_at: datetime


class Counts(BaseModel):
    """How many there are."""

    total: int
    active: int


class IntegrationHealth(BaseModel):
    """How the server is, and what it has."""

    status: str
    service: str
    version: str
    services: Counts
    workflows: Counts
    executions: dict[str, int] = Field(description="How many are in each status.")
    timestamp: datetime
