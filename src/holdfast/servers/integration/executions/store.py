"""What people ask of executions: functions that work in a transaction, and raise the answer if they cannot."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4

from fastapi import HTTPException
from sqlalchemy import Row, and_, func, insert, select, update

from holdfast.servers.integration.executions.progress import locked, record, tell
from holdfast.servers.integration.executions.schemas import (
    Event,
    Events,
    Execution,
    ExecutionPage,
    NewExecution,
    Status,
    Step,
)
from holdfast.servers.integration.executions.tables import events, executions, steps
from holdfast.servers.integration.ids import as_uuid
from holdfast.servers.integration.problems import missing

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from holdfast.servers.integration.plans import Plan

__all__ = [
    "State",
    "cancel",
    "counts",
    "create",
    "get",
    "list_events",
    "list_executions",
    "resume",
    "running",
    "states",
]

UNFINISHED = (Status.PENDING, Status.RUNNING)


class State(NamedTuple):
    """What changes of an execution, in short."""

    run: int
    status: Status
    event_count: int


async def create(
    connection: AsyncConnection, plan: Plan, new: NewExecution, request_id: str, now: datetime
) -> Execution:
    """A new execution of a workflow, which nobody carries out yet."""
    execution_id = uuid4()
    values = {
        "id": execution_id,
        "workflow_id": plan.workflow_id,
        "status": Status.PENDING,
        "input_data": new.input_data,
        "context": new.context,
        "run": 1,
        "request_id": request_id,
        "timeout": new.timeout,
        "event_count": 1,
        "created_at": now,
        "updated_at": now,
    }
    row = (await connection.execute(insert(executions).values(values).returning(executions))).one()
    made = [
        {
            "execution_id": execution_id,
            "position": position,
            "step_id": step.id,
            "service_id": step.service_id,
            "service": step.service,
            "action": step.action,
            "next": step.next,
            "timeout": step.timeout,
            "status": Status.PENDING,
            "attempts": 0,
            "key_number": 1,
            "definite": False,
            "ambiguous": False,
        }
        for position, step in enumerate(plan.steps)
    ]
    await connection.execute(insert(steps), made)
    await tell(connection, execution_id, 0, [("execution.created", None, "")], now)
    return (await _with_steps(connection, [row]))[0]


async def get(connection: AsyncConnection, execution_id: str) -> Execution:
    """An execution.

    Raises:
        HTTPException: 404, there is none.
    """
    row = (await connection.execute(select(executions).where(executions.c.id == _uuid(execution_id)))).one_or_none()
    if row is None:
        raise missing("execution", execution_id)
    return (await _with_steps(connection, [row]))[0]


async def list_executions(
    connection: AsyncConnection, *, workflow_id: str | None, status: Status | None, page: int, per_page: int
) -> ExecutionPage:
    """Executions, the newest first."""
    conditions: list[ColumnElement[bool]] = []
    if workflow_id is not None:
        number = as_uuid(workflow_id)
        if number is None:
            return ExecutionPage(items=[], total=0, page=page, per_page=per_page, pages=0)
        conditions.append(executions.c.workflow_id == number)
    if status is not None:
        conditions.append(executions.c.status == status)
    total = (await connection.execute(select(func.count()).select_from(executions).where(*conditions))).scalar_one()
    found = select(executions).where(*conditions).order_by(executions.c.created_at.desc(), executions.c.id.desc())
    rows = (await connection.execute(found.limit(per_page).offset((page - 1) * per_page))).all()
    items = await _with_steps(connection, rows)
    return ExecutionPage(items=items, total=total, page=page, per_page=per_page, pages=-(-total // per_page))


async def list_events(connection: AsyncConnection, execution_id: str, after: int, limit: int) -> Events:
    """What has happened in an execution beyond an event.

    Raises:
        HTTPException: 404, there is no such execution.
    """
    state = (await states(connection, [_uuid(execution_id)])).get(_uuid(execution_id))
    if state is None:
        raise missing("execution", execution_id)
    found = select(events).where(events.c.execution_id == _uuid(execution_id), events.c.number > after)
    rows = (await connection.execute(found.order_by(events.c.number).limit(limit))).all()
    last = rows[-1].number if rows else min(after, state.event_count)
    done = state.status.ended and last >= state.event_count
    return Events(events=[Event.model_validate(row) for row in rows], last=last, status=state.status, done=done)


async def cancel(connection: AsyncConnection, execution_id: str, now: datetime) -> Execution:
    """Ends an execution. What its running step comes to changes nothing any more.

    Raises:
        HTTPException: 404, there is none; 409, it has ended otherwise.
    """
    row = await locked(connection, _uuid(execution_id))
    if row is None:
        raise missing("execution", execution_id)
    if row.status in {Status.COMPLETED, Status.FAILED}:
        raise HTTPException(409, f"Execution {execution_id} is {row.status}: only a running one can be cancelled")
    if row.status != Status.CANCELLED:
        interrupted = and_(steps.c.execution_id == row.id, steps.c.status == Status.RUNNING)
        changed = update(steps).where(interrupted).values(status=Status.CANCELLED, ended_at=now)
        stopped = (await connection.execute(changed.returning(steps.c.step_id))).scalars()
        happened: list[tuple[str, str | None, str]] = [
            ("step.cancelled", step, "its request may have been executed") for step in stopped
        ]
        happened.append(("execution.cancelled", None, ""))
        await record(connection, row, happened, now, status=Status.CANCELLED, ended_at=now)
    return await get(connection, execution_id)


async def resume(connection: AsyncConnection, execution_id: str, now: datetime) -> Execution:
    """Begins another run of an execution, at its first step that is not completed.

    A step that the service has definitely refused is sent with a new idempotency key: under the old one the service
    would only repeat itself. One of which nobody knows what became of it keeps its key.

    Raises:
        HTTPException: 404, there is none; 409, it has not failed and was not cancelled.
    """
    row = await locked(connection, _uuid(execution_id))
    if row is None:
        raise missing("execution", execution_id)
    if row.status not in {Status.FAILED, Status.CANCELLED}:
        message = f"Execution {execution_id} is {row.status}: only a failed or cancelled one can be resumed"
        raise HTTPException(409, message)
    found = select(steps).where(steps.c.execution_id == row.id, steps.c.status.in_([Status.FAILED, Status.CANCELLED]))
    for step in (await connection.execute(found)).all():
        same = and_(steps.c.execution_id == row.id, steps.c.position == step.position)
        changes = {"status": Status.PENDING, "error": None, "started_at": None, "ended_at": None, "definite": False}
        number = step.key_number + step.definite
        ambiguous = step.ambiguous or step.error is None or step.error["may_have_executed"]
        await connection.execute(update(steps).where(same).values(key_number=number, ambiguous=ambiguous, **changes))
    begun = {"status": Status.PENDING, "error": None, "ended_at": None, "deadline_at": None, "run": row.run + 1}
    await record(connection, row, [("execution.resumed", None, f"run {row.run + 1}")], now, **begun)
    return await get(connection, execution_id)


async def running(connection: AsyncConnection, workflow_id: UUID) -> int:
    """How many executions of a workflow have not ended."""
    theirs = and_(executions.c.workflow_id == workflow_id, executions.c.status.in_(UNFINISHED))
    return (await connection.execute(select(func.count()).select_from(executions).where(theirs))).scalar_one()


async def counts(connection: AsyncConnection) -> dict[str, int]:
    """How many executions there are in each status."""
    counted = select(executions.c.status, func.count().label("count_")).group_by(executions.c.status)
    found = {row.status: row.count_ for row in (await connection.execute(counted)).all()}
    return {status.value: found.get(status.value, 0) for status in Status}


async def states(connection: AsyncConnection, execution_ids: Collection[UUID]) -> dict[UUID, State]:
    """The states of those executions that there are."""
    columns = executions.c
    every = list(execution_ids)
    found = {}
    # SQLite takes so many parameters and no more.
    for start in range(0, len(every), 500):
        part = select(columns.id, columns.run, columns.status, columns.event_count)
        rows = (await connection.execute(part.where(columns.id.in_(every[start : start + 500])))).all()
        found.update({row.id: State(row.run, Status(row.status), row.event_count) for row in rows})
    return found


async def _with_steps(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Execution]:
    theirs = steps.c.execution_id.in_([row.id for row in rows])
    found = select(steps).where(theirs).order_by(steps.c.execution_id, steps.c.position)
    by_execution: dict[UUID, list[Step]] = {row.id: [] for row in rows}
    for step in (await connection.execute(found)).all():
        fields = {**step._mapping, "id": step.step_id}  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
        by_execution[step.execution_id].append(Step.model_validate(fields))
    return [Execution.model_validate({**row._mapping, "steps": by_execution[row.id]}) for row in rows]  # noqa: SLF001 - the same


def _uuid(execution_id: str) -> UUID:
    number = as_uuid(execution_id)
    if number is None:
        raise missing("execution", execution_id)
    return number
