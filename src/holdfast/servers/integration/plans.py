"""What an execution needs to know of a workflow, and of the service that a step calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select

from holdfast.servers.integration.calling import Target
from holdfast.servers.integration.ids import as_uuid
from holdfast.servers.integration.problems import missing
from holdfast.servers.integration.tables import services, workflow_steps, workflows

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Plan", "PlannedStep", "plan", "target"]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a workflow, with what its action expects and promises now.

    Attributes:
        id: of the step, unique in its workflow.
        action: name of the service's action.
        next: id of the step after it; None for the last.
        timeout: seconds for it; None for the server's default.
        service_id: of the service, for `target`.
        service: name of the service.
        input_schema, output_schema: of the action.
    """

    id: str
    action: str
    next: str | None
    timeout: float | None
    service_id: UUID
    service: str
    input_schema: Any
    output_schema: Any


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow, with its steps in the order in which they are executed.

    Attributes:
        active: whether it may be executed.
    """

    workflow_id: UUID
    name: str
    active: bool
    steps: tuple[PlannedStep, ...]


async def plan(connection: AsyncConnection, workflow_id: UUID | str) -> Plan:
    """What is to be executed.

    Raises:
        HTTPException: 404, there is no such workflow.
    """
    number = as_uuid(workflow_id)
    if number is None:
        raise missing("workflow", str(workflow_id))
    found = select(workflows.c.name, workflows.c.status).where(workflows.c.id == number)
    workflow = (await connection.execute(found)).one_or_none()
    if workflow is None:
        raise missing("workflow", str(workflow_id))
    steps = (
        select(workflow_steps, services.c.name.label("service"), services.c.actions)
        .join(services, services.c.id == workflow_steps.c.service_id)
        .where(workflow_steps.c.workflow_id == number)
        .order_by(workflow_steps.c.turn)
    )
    rows = (await connection.execute(steps)).all()
    return Plan(number, workflow.name, workflow.status == "ACTIVE", tuple(_planned(row) for row in rows))


async def target(connection: AsyncConnection, service_id: UUID | str, action: str) -> Target | None:
    """The action as it is registered now; None if there is no such service, or it has no such action any more."""
    number = as_uuid(service_id)
    if number is None:
        return None
    row = (await connection.execute(select(services).where(services.c.id == number))).one_or_none()
    described = None if row is None else _action(row.actions, action)
    if row is None or described is None:
        return None
    return Target(
        service_id=row.id,
        name=row.name,
        endpoint=row.endpoint,
        deduplicates=row.deduplicates,
        action=action,
        input_schema=described["input_schema"],
        output_schema=described["output_schema"],
        active=row.status == "ACTIVE",
    )


def _planned(row: Any) -> PlannedStep:
    # The registry lets no action go that a workflow uses.
    described = _action(row.actions, row.action) or {"input_schema": {}, "output_schema": {}}
    return PlannedStep(
        id=row.step_id,
        action=row.action,
        next=row.next_step,
        timeout=row.timeout,
        service_id=row.service_id,
        service=row.service,
        input_schema=described["input_schema"],
        output_schema=described["output_schema"],
    )


def _action(actions: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((action for action in actions if action["name"] == name), None)
