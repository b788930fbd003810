"""What the Service Integration service answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from holdfast.service.model import Model

__all__ = [
    "Action",
    "Deleted",
    "EventBatch",
    "Execution",
    "ExecutionEvent",
    "ExecutionFailure",
    "IntegrationHealth",
    "Service",
    "ServiceHealth",
    "StepRun",
    "Workflow",
    "WorkflowResult",
    "WorkflowStep",
]

_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


class Action(Model):
    """What a service can do: it is called by POST to its name, below the endpoint of its service.

    `input_schema` and `output_schema` are JSON Schemas (2020-12, unless they say otherwise).
    """

    name: str
    description: str | None = None
    input_schema: Any = Field(default_factory=dict)
    output_schema: Any = Field(default_factory=dict)


class Service(Model):
    """A registered service. `deduplicates`: it executes a repeated idempotency key once. `status`: ACTIVE, INACTIVE."""

    id: str
    name: str
    description: str | None = None
    endpoint: str
    deduplicates: bool = False
    actions: list[Action] = Field(default_factory=list)
    metadata: dict[str, Any] | None = None
    status: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class WorkflowStep(Model):
    """An action of a service, by their names, in a workflow. `next`: the id of the step after it, None after the last.

    `timeout`: seconds that it may take, None for as long as the service allows.
    """

    id: str
    service: str
    action: str
    next: str | None = None
    timeout: float | None = None


class Workflow(Model):
    """Steps that are executed one after the other. `status`: ACTIVE, INACTIVE."""

    id: str
    name: str
    description: str | None = None
    steps: list[WorkflowStep] = Field(default_factory=list)
    metadata: dict[str, Any] | None = None
    status: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ExecutionFailure(Model):
    """Why an execution, or a step of it, failed. `status`: that its service answered, None if it did not.

    `may_have_executed`: whether the service may have acted all the same.
    """

    step: str | None = None
    message: str | None = None
    status: int | None = None
    may_have_executed: bool | None = None


class StepRun(WorkflowStep):
    """A step of an execution. `status`: the same words as that of the execution.

    `attempts`: the requests that were sent to its service for it.
    """

    status: str | None = None
    input: Any = None
    output: Any = None
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: ExecutionFailure | None = None


class Execution(Model):
    """One time that a workflow is executed. `status`: PENDING, RUNNING, COMPLETED, FAILED, CANCELLED.

    `result`: what the last step gave, None before. `run`: 1, and one more with every time that it was resumed.
    `timeout`: seconds for the whole of it. `started_by`: the id of the request that started it (``"request_id"`` in
    its JSON).
    """

    id: str
    workflow_id: str
    status: str
    steps: list[StepRun] = Field(default_factory=list)
    input_data: Any = None
    context: dict[str, Any] | None = None
    result: Any = None
    error: ExecutionFailure | None = None
    run: int = 1
    timeout: float | None = None
    started_by: str | None = Field(default=None, alias="request_id")
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen, unless it is resumed."""
        return self.status in _ENDED


class ExecutionEvent(Model):
    """Something that happened to an execution.

    `number`: 1, 2 and so on, without gaps. `kind`: ``execution.created``, ``.started``, ``.completed``, ``.failed``,
    ``.cancelled``, ``.resumed``; ``step.started``, ``.completed``, ``.failed``, ``.cancelled``. `step`: the id of the
    step that it is about.
    """

    number: int
    kind: str
    at: datetime | None = None
    step: str | None = None
    message: str | None = None


class EventBatch(Model):
    """The events after a number. `last`: the number of the newest; `done`: there will be no more."""

    events: list[ExecutionEvent]
    done: bool = False
    last: int | None = None
    status: str | None = None


class ServiceHealth(Model):
    """How a registered service is. `status`: ``"healthy"`` or ``"unhealthy"``. `seconds`: that its answer took.

    `status_code`: of its answer; `error`: why there is none, or why it is not good; `circuit`: the state of the circuit
    breaker in front of it.
    """

    status: str
    service_id: str | None = None
    name: str | None = None
    status_code: int | None = None
    seconds: float | None = None
    error: str | None = None
    circuit: Any = None
    checked_at: datetime | None = None


class IntegrationHealth(Model):
    """How the Service Integration service is, and what it has: numbers of services, workflows and executions."""

    status: str
    service: str | None = None
    services: Any = None
    workflows: Any = None
    executions: Any = None


class Deleted(Model):
    """What the service says to a deletion."""


class WorkflowResult(dict[str, Any]):
    """The output of a workflow's last step: a plain dict, which can be sent on as JSON.

    ``"execution_id"`` and ``"status"`` are in it too, unless the output has something else by these names.

    Attributes:
        execution: all there is to know about how it came about: input and output of each step, attempts, times.
    """

    execution: Execution

    def __init__(self, execution: Execution) -> None:
        output = execution.result
        told = {"execution_id": execution.id, "status": execution.status}
        super().__init__({**told, **output} if isinstance(output, dict) else told)
        self.execution = execution

    @property
    def execution_id(self) -> str:
        """The execution's id, whatever the output has by that name."""
        return self.execution.id

    @property
    def output(self) -> Any:
        """What the last step gave, and nothing else."""
        return self.execution.result
