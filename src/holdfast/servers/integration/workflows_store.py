"""Workflows in the database: functions that work in a transaction, and raise the answer if they cannot."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from fastapi import HTTPException
from sqlalchemy import Row, delete, insert, select, update

from holdfast.servers.integration.executions.store import running
from holdfast.servers.integration.graphs import check_path, in_order
from holdfast.servers.integration.listing import found, page_of
from holdfast.servers.integration.problems import Problem, refuse
from holdfast.servers.integration.schemas import (
    Deleted,
    NewWorkflow,
    Status,
    Step,
    Workflow,
    WorkflowChanges,
    WorkflowPage,
)
from holdfast.servers.integration.tables import services, workflow_steps, workflows

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["change_workflow", "create_workflow", "delete_workflow", "get_workflow", "list_workflows"]

MOST_NAMED = 10
"""Actions that are named where there is no such one."""


async def create_workflow(connection: AsyncConnection, new: NewWorkflow, now: datetime) -> Workflow:
    """A new workflow.

    Raises:
        HTTPException: 422, its steps cannot be executed.
    """
    used = await _checked(connection, new.steps)
    values = new.model_dump(mode="json", exclude={"steps"})
    made = {**values, "id": uuid4(), "created_at": now, "updated_at": now}
    row = (await connection.execute(insert(workflows).values(made).returning(workflows))).one()
    await _insert_steps(connection, row.id, new.steps, used)
    return await _with_steps(connection, row)


async def get_workflow(connection: AsyncConnection, workflow_id: str) -> Workflow:
    """A workflow.

    Raises:
        HTTPException: 404, there is none.
    """
    return await _with_steps(connection, await found(connection, workflows, "workflow", workflow_id))


async def list_workflows(
    connection: AsyncConnection, *, status: Status | None, page: int, per_page: int
) -> WorkflowPage:
    """Workflows, the newest first."""
    rows, total, pages = await page_of(connection, workflows, status, page=page, per_page=per_page)
    steps = await _steps_of(connection, [row.id for row in rows])
    items = [_workflow(row, steps[row.id]) for row in rows]
    return WorkflowPage(items=items, total=total, page=page, per_page=per_page, pages=pages)


async def change_workflow(
    connection: AsyncConnection, workflow_id: str, changes: WorkflowChanges, now: datetime
) -> Workflow:
    """A workflow, with what was given for it. Executions that have begun keep the steps that they began with.

    Raises:
        HTTPException: 404, there is none; 422, its steps cannot be executed.
    """
    row = await found(connection, workflows, "workflow", workflow_id, lock=True)
    values = changes.model_dump(mode="json", exclude_unset=True)
    if not values:
        return await _with_steps(connection, row)
    if values.pop("steps", None) is not None:
        used = await _checked(connection, changes.steps)
        await connection.execute(delete(workflow_steps).where(workflow_steps.c.workflow_id == row.id))
        await _insert_steps(connection, row.id, changes.steps, used)
    changed = update(workflows).where(workflows.c.id == row.id).values(**values, updated_at=now).returning(workflows)
    return await _with_steps(connection, (await connection.execute(changed)).one())


async def delete_workflow(connection: AsyncConnection, workflow_id: str) -> Deleted:
    """Removes a workflow. Its executions are kept.

    Raises:
        HTTPException: 404, there is none; 409, it is being executed.
    """
    row = await found(connection, workflows, "workflow", workflow_id, lock=True)
    count = await running(connection, row.id)
    if count:
        number = "1 execution" if count == 1 else f"{count} executions"
        raise HTTPException(
            409, f"Workflow {row.name!r} has {number} that have not ended. Cancel them, or wait for their end"
        )
    await connection.execute(delete(workflows).where(workflows.c.id == row.id))
    return Deleted(message=f"Workflow deleted: {workflow_id}")


async def _checked(connection: AsyncConnection, steps: Sequence[Step]) -> dict[str, UUID]:
    """The services that steps use, by name; no other transaction can remove one before this one ends.

    Raises:
        HTTPException: 422, with everything that is wrong with the steps.
    """
    names = sorted({step.service for step in steps})
    # In the same order for everybody, so that nobody waits for each other.
    found = select(services.c.id, services.c.name, services.c.actions).where(services.c.name.in_(names))
    rows = await connection.execute(found.order_by(services.c.name).with_for_update(read=True))
    known = {row.name: row for row in rows}
    problems = check_path(steps)
    for index, step in enumerate(steps):
        service = known.get(step.service)
        if service is None:
            message = f"step {step.id!r}: no service is called {step.service!r}; register it first"
            problems.append(Problem(("body", "steps", index, "service"), message, "unknown_service"))
            continue
        actions = [action["name"] for action in service.actions]
        if step.action not in actions:
            message = (
                f"step {step.id!r}: service {step.service!r} has no action {step.action!r}; it has {_few(actions)}"
            )
            problems.append(Problem(("body", "steps", index, "action"), message, "unknown_action"))
    refuse(sorted(problems, key=lambda problem: (problem.loc[2], problem.loc[3])))
    return {name: row.id for name, row in known.items()}


def _few(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(repr(name) for name in names[:MOST_NAMED]) + more


async def _insert_steps(
    connection: AsyncConnection, workflow_id: UUID, steps: Sequence[Step], used: dict[str, UUID]
) -> None:
    turns = {position: turn for turn, position in enumerate(in_order(steps))}
    rows = [
        {
            "workflow_id": workflow_id,
            "position": position,
            "turn": turns[position],
            "step_id": step.id,
            "service_id": used[step.service],
            "action": step.action,
            "next_step": step.next,
            "timeout": step.timeout,
        }
        for position, step in enumerate(steps)
    ]
    await connection.execute(insert(workflow_steps), rows)


async def _with_steps(connection: AsyncConnection, row: Row[Any]) -> Workflow:
    return _workflow(row, (await _steps_of(connection, [row.id]))[row.id])


async def _steps_of(connection: AsyncConnection, ids: Collection[UUID]) -> dict[UUID, list[Step]]:
    """The steps of workflows as they were sent, but with the names that services have now."""
    found = (
        select(workflow_steps, services.c.name.label("service"))
        .join(services, services.c.id == workflow_steps.c.service_id)
        .where(workflow_steps.c.workflow_id.in_(ids))
        .order_by(workflow_steps.c.workflow_id, workflow_steps.c.position)
    )
    steps: dict[UUID, list[Step]] = defaultdict(list)
    for row in await connection.execute(found):
        step = Step(id=row.step_id, service=row.service, action=row.action, next=row.next_step, timeout=row.timeout)
        steps[row.workflow_id].append(step)
    return steps


def _workflow(row: Row[Any], steps: list[Step]) -> Workflow:
    return Workflow(
        id=row.id,
        name=row.name,
        description=row.description,
        steps=steps,
        metadata=row.metadata,
        status=row.status,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
