"""Executions on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from holdfast.servers.fields import JsonObject, Number

__all__ = [
    "LONGEST_WAIT",
    "Event",
    "Events",
    "Execution",
    "ExecutionError",
    "ExecutionPage",
    "NewExecution",
    "Status",
    "Step",
    "StepError",
]

LONGEST_WAIT = 30.0
"""Seconds that a request may wait for something to happen."""

LONGEST_EXECUTION = 30 * 86_400.0
"""Seconds that an execution may be given."""


class Status(StrEnum):
    """Of an execution, and of each of its steps."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more, unless somebody resumes it."""
        return self not in {Status.PENDING, Status.RUNNING}


class NewExecution(BaseModel):
    """What an execution is begun with."""

    input_data: Annotated[JsonObject, Field(description="Input of the first step.")] = {}
    context: Annotated[
        JsonObject | None, Field(description="Kept with the execution; its request_id is passed on to the services.")
    ] = None
    wait: Annotated[Number, Field(ge=0, le=LONGEST_WAIT, description="Seconds to wait for the end.")] = 0
    timeout: Annotated[
        Annotated[Number, Field(gt=0, le=LONGEST_EXECUTION)] | None,
        Field(description="Seconds for the whole execution, counted from its first start."),
    ] = None


class StepError(BaseModel):
    """Why a step failed."""

    message: str
    status: int | None = Field(None, description="The service's, if it answered.")
    may_have_executed: bool = Field(description="False only if the service certainly did nothing.")


class ExecutionError(StepError):
    """Why an execution failed."""

    step: str | None = Field(None, description="Id of the step that failed.")


class Step(BaseModel):
    """A step of an execution."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    service: str
    action: str
    next: str | None
    timeout: float | None
    status: Status
    input: dict[str, Any] | None
    output: dict[str, Any] | None
    attempts: int = Field(description="Requests that were sent for it, over all runs.")
    started_at: datetime | None
    ended_at: datetime | None
    error: StepError | None


class Execution(BaseModel):
    """One execution of a workflow."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    workflow_id: UUID
    status: Status
    steps: list[Step]
    input_data: dict[str, Any]
    context: dict[str, Any] | None
    result: dict[str, Any] | None = Field(description="Output of the last step.")
    error: ExecutionError | None
    run: int = Field(description="1, and one more with every resume.")
    request_id: str = Field(description="Of the request that began it.")
    timeout: float | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime


class ExecutionPage(BaseModel):
    """Executions, the newest first."""

    items: list[Execution]
    total: int
    page: int
    per_page: int
    pages: int


class Event(BaseModel):
    """Something that happened in an execution."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    at: datetime
    kind: str
    step: str | None
    message: str


class Events(BaseModel):
    """Events beyond a number, the oldest first."""

    events: list[Event]
    last: int = Field(description="Number of the last of these; what to ask for next is beyond it.")
    status: Status
    done: bool = Field(description="The execution has ended, and there is nothing beyond `last`.")
