"""What the Service Integration service is sent, checked before it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from holdfast.service.model import Model
from holdfast.service.sending import JsonObject, RequestModel, json_object

Status: TypeAlias = Literal["ACTIVE", "INACTIVE"]
ExecutionStatus: TypeAlias = Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]

_ACTION = re.compile(r"[A-Za-z0-9._~-]{1,200}")
_WEB = re.compile(r"https?://\S+", re.IGNORECASE)


def _action(value: str) -> str:
    if not _ACTION.fullmatch(value) or value in {".", ".."}:
        raise ValueError("it stands in a path: 1 to 200 letters, digits, dots, dashes, underscores and tildes")
    return value


def _endpoint(value: str) -> str:
    if not _WEB.fullmatch(value):
        raise ValueError("it must be an http or https URL, such as 'http://text-extraction:8000/api'")
    return value


def _schema(value: Any) -> Any:
    if value is not None and not isinstance(value, (dict, bool)):
        raise ValueError("it must be a JSON Schema: an object, or true or false")
    return json_object(value) if isinstance(value, dict) else value


def _as_dict(value: Any) -> Any:
    """What was read is sent back as it was; what is no object, the model refuses."""
    return dict(value) if isinstance(value, (Model, Mapping)) else value


Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=10_000)]
ActionName = Annotated[str, AfterValidator(_action)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Schema = Annotated[Any, AfterValidator(_schema)]
Duration = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]


class NewAction(RequestModel):
    """An action of a service, as it is registered."""

    name: ActionName
    description: Text | None = None
    input_schema: Schema = None
    output_schema: Schema = None


class NewStep(RequestModel):
    """A step of a workflow, as it is created. `timeout`: seconds."""

    id: Name
    service: Name
    action: ActionName
    next: str | None = None
    timeout: Annotated[float, Field(gt=0, le=3600)] | None = None


Actions = list[Annotated[NewAction, BeforeValidator(_as_dict)]]
Steps = Annotated[list[Annotated[NewStep, BeforeValidator(_as_dict)]], Field(min_length=1, max_length=100)]


class NewService(RequestModel):
    """A service to be registered."""

    name: Name
    description: Text
    endpoint: Endpoint
    actions: Actions
    metadata: JsonObject | None = None
    deduplicates: bool | None = None


class ChangedService(RequestModel):
    """What is to change about a service."""

    name: Name | None = None
    description: Text | None = None
    endpoint: Endpoint | None = None
    actions: Actions | None = None
    metadata: JsonObject | None = None
    deduplicates: bool | None = None
    status: Status | None = None


class WithSteps(RequestModel):
    """What has the steps of a workflow."""

    steps: Steps | None = None

    def body(self) -> dict[str, Any]:
        """See `RequestModel.body`; the last step says that it is, by a null."""
        found = super().body()
        if "steps" in found:
            found["steps"] = [{"next": None, **step} for step in found["steps"]]
        return found


class NewWorkflow(WithSteps):
    """A workflow to be created."""

    name: Name
    description: Text
    steps: Steps
    metadata: JsonObject | None = None


class ChangedWorkflow(WithSteps):
    """What is to change about a workflow."""

    name: Name | None = None
    description: Text | None = None
    metadata: JsonObject | None = None
    status: Status | None = None


class CheckedSteps(RequestModel):
    """Steps that are to be looked at, and sent nowhere."""

    steps: Steps


class ActionInput(RequestModel):
    """What an action is to be executed with."""

    input_data: JsonObject
    context: JsonObject | None = None


class NewExecution(ActionInput):
    """A workflow to be executed. `timeout`: seconds that it may take."""

    timeout: Duration | None = None


class Deadline(RequestModel):
    """Seconds for the whole of a call."""

    deadline: Duration | None = None


class Pages(RequestModel):
    """Where in a list, by the number of the page."""

    page: Annotated[int, Field(ge=1)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 10


class Part(Pages):
    """A part of a list of services or workflows."""

    status: Status | None = None


class PartOfExecutions(Pages):
    """A part of a list of executions."""

    workflow_id: Name | None = None
    status: ExecutionStatus | None = None


class Wait(RequestModel):
    """Seconds that the service may wait for what is asked for."""

    wait: Annotated[float, Field(ge=0, le=30)] = 0.0


class Events(Wait):
    """Events that come after another."""

    after: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
