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
    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Plan", "PlannedStep", "plan", "planned_workflow", "target"]


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


async def plan(connection: AsyncConnection, workflow_id: UUID | str, *, lock: bool = False) -> Plan:
    """What is to be executed.

    Args:
        connection: in a transaction.
        workflow_id: its id.
        lock: whether no other transaction can delete it before this one ends, which has to be one that writes.

    Raises:
        HTTPException: 404, there is no such workflow.
    """
    workflow = await planned_workflow(connection, workflow_id, lock=lock)
    of_it = workflow_steps.c.workflow_id == workflow.id
    rows = (await connection.execute(select(workflow_steps).where(of_it).order_by(workflow_steps.c.turn))).all()
    # Once for each service, not for each step: a service may have megabytes of schemas.
    used = select(services.c.id, services.c.name, services.c.actions)
    theirs = services.c.id.in_(select(workflow_steps.c.service_id).where(of_it))
    by_id = {row.id: row for row in await connection.execute(used.where(theirs))}
    steps = tuple(_planned(row, by_id[row.service_id]) for row in rows)
    return Plan(workflow.id, workflow.name, workflow.status == "ACTIVE", steps)


async def planned_workflow(
    connection: AsyncConnection, workflow_id: UUID | str, *, lock: bool = False
) -> Row[Any, Any, Any]:
    """Id, name and status of a workflow. The arguments are those of `plan`.

    Raises:
        HTTPException: 404, there is no such workflow.
    """
    number = as_uuid(workflow_id)
    if number is None:
        raise missing("workflow", str(workflow_id))
    found = select(workflows.c.id, workflows.c.name, workflows.c.status).where(workflows.c.id == number)
    if lock:
        found = found.with_for_update(read=True, key_share=True)
    workflow = (await connection.execute(found)).one_or_none()
    if workflow is None:
        raise missing("workflow", str(workflow_id))
    return workflow


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


def _planned(row: Row[Any], service: Row[Any, Any, Any]) -> PlannedStep:
    # The registry lets no action go that a workflow uses.
    described = _action(service.actions, row.action) or {"input_schema": {}, "output_schema": {}}
    return PlannedStep(
        id=row.step_id,
        action=row.action,
        next=row.next_step,
        timeout=row.timeout,
        service_id=row.service_id,
        service=service.name,
        input_schema=described["input_schema"],
        output_schema=described["output_schema"],
    )


def _action(actions: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((action for action in actions if action["name"] == name), None)
