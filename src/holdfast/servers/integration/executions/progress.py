"""How an execution gets from one state to the next, as short transactions.

Each changes the execution's row first, which locks it, and only if the run is still the one that the caller knows: what
comes too late, because the execution was cancelled, resumed or taken over meanwhile, has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import and_, insert, select, update

from holdfast.servers.integration.executions.schemas import Status
from holdfast.servers.integration.executions.tables import events, executions, steps
from holdfast.servers.integration.ids import correlation_id
from holdfast.servers.integration.plans import target

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from holdfast.servers.integration.calling import Target

__all__ = [
    "Failure",
    "Progress",
    "StepState",
    "SupersededError",
    "begin",
    "complete",
    "completed",
    "count_attempts",
    "fail",
    "locked",
    "record",
    "tell",
]


class SupersededError(Exception):
    """What was to be written does not count any more. The transaction is to be undone."""


@dataclass(slots=True)
class StepState:
    """A step, as the process that carries the execution out knows it.

    Attributes:
        again: it was begun before, and the service may have executed it then.
        target: its action, as it was registered when the step began; None if it was not any more.
    """

    position: int
    id: str
    service_id: UUID
    service: str
    action: str
    timeout: float | None
    status: Status
    input: dict[str, Any] | None
    key_number: int
    again: bool = False
    target: Target | None = None


@dataclass(slots=True)
class Progress:
    """An execution in one of its runs, as the process that carries it out knows it."""

    id: UUID
    run: int
    correlation_id: str
    timeout: float | None
    deadline_at: datetime | None
    steps: list[StepState] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed.

    Attributes:
        message: for people.
        status: that the service answered with.
        may_have_executed: False only if the service certainly did nothing.
        definite: the service has answered, and would only repeat it under the same key.
        attempts: requests that were sent.
    """

    message: str
    status: int | None = None
    may_have_executed: bool = False
    definite: bool = False
    attempts: int = 0

    def stored(self) -> dict[str, Any]:
        """The same for a step's row."""
        return {"message": self.message, "status": self.status, "may_have_executed": self.may_have_executed}


async def locked(connection: AsyncConnection, execution_id: UUID) -> Row[Any] | None:
    """An execution's row, which nobody else can change before this transaction ends; None if there is none.

    SQLite ignores the clause: there a writing transaction is the only one.
    """
    found = select(executions).where(executions.c.id == execution_id).with_for_update()
    return (await connection.execute(found)).one_or_none()


async def record(
    connection: AsyncConnection,
    row: Row[Any],
    happened: Sequence[tuple[str, str | None, str]],
    now: datetime,
    **changes: Any,
) -> None:
    """Changes a locked execution, and says in its events what has happened, which is something: kind, step, message."""
    count = row.event_count + len(happened)
    changed = update(executions).where(executions.c.id == row.id)
    await connection.execute(changed.values(event_count=count, updated_at=now, **changes))
    await tell(connection, row.id, row.event_count, happened, now)


async def begin(connection: AsyncConnection, execution_id: UUID, run: int, now: datetime) -> Progress | None:
    """What there is to do; the first step that is not completed has begun. None if there is nothing to do."""
    row = await locked(connection, execution_id)
    if row is None or row.run != run or Status(row.status).ended:
        return None
    found = select(steps).where(steps.c.execution_id == execution_id).order_by(steps.c.position)
    step_rows = (await connection.execute(found)).all()
    current = next(step for step in step_rows if step.status != Status.COMPLETED)
    deadline = row.deadline_at
    changes: dict[str, Any] = {}
    happened: list[tuple[str, str | None, str]] = []
    if row.status == Status.PENDING:
        if row.timeout is not None:
            deadline = now + timedelta(seconds=row.timeout)
        changes = {"status": Status.RUNNING, "started_at": row.started_at or now, "deadline_at": deadline}
        happened.append(("execution.started", None, f"run {run}, at step {current.step_id!r}"))
    abandoned = current.status == Status.RUNNING
    again = abandoned or current.ambiguous
    given = current.input
    if given is None:
        given = row.input_data
        for step in step_rows[: current.position]:
            given = {**given, **step.output}
    happened.append(
        ("step.started", current.step_id, "taken up again: the server that had begun it is gone" if abandoned else "")
    )
    await record(connection, row, happened, now, **changes)
    await _start(
        connection, execution_id, current.position, given, now, started_at=current.started_at or now, ambiguous=again
    )
    states = [
        StepState(
            step.position,
            step.step_id,
            step.service_id,
            step.service,
            step.action,
            step.timeout,
            Status(step.status),
            step.input,
            step.key_number,
        )
        for step in step_rows
    ]
    first = states[current.position]
    first.status, first.input, first.again = Status.RUNNING, given, again
    first.target = await target(connection, first.service_id, first.action)
    return Progress(
        execution_id, run, correlation_id(row.context, None) or row.request_id, row.timeout, deadline, states
    )


async def complete(
    connection: AsyncConnection,
    progress: Progress,
    step: StepState,
    output: dict[str, Any],
    attempts: int,
    now: datetime,
    following: dict[str, Any] | None,
    *,
    go_on: bool,
) -> Target | None:
    """A step has its output. The action of the next one.

    `following` is the input of the next step; None after the last. Unless `go_on`, the next step does not begin in the
    same moment, but when somebody takes the execution over.

    Raises:
        SupersededError: that does not count any more.
    """
    happened: list[tuple[str, str | None, str]] = [("step.completed", step.id, _requests(attempts))]
    changes: dict[str, Any] = {}
    if following is None:
        happened.append(("execution.completed", None, ""))
        changes = {"status": Status.COMPLETED, "result": output, "ended_at": now}
    elif go_on:
        happened.append(("step.started", progress.steps[step.position + 1].id, ""))
    await _advance(connection, progress, happened, now, changes)
    await _end(connection, progress, step, attempts, now, status=Status.COMPLETED, output=output)
    if following is not None and go_on:
        after = progress.steps[step.position + 1]
        await _start(connection, progress.id, after.position, following, now)
        return await target(connection, after.service_id, after.action)
    return None


async def fail(
    connection: AsyncConnection, progress: Progress, step: StepState, failure: Failure, now: datetime
) -> None:
    """A step has failed, and the execution with it.

    Raises:
        SupersededError: that does not count any more.
    """
    await _advance(connection, progress, _failed(step, failure), now, _failure(step, failure, now))
    failed = {"status": Status.FAILED, "error": failure.stored(), "definite": failure.definite}
    await _end(connection, progress, step, failure.attempts, now, **failed)


async def completed(connection: AsyncConnection, progress: Progress, step: StepState) -> bool | None:
    """Whether a step is completed; None if the execution is not running, or not in this run."""
    found = select(steps.c.status).join(executions, executions.c.id == steps.c.execution_id)
    running = executions.c.run == progress.run, executions.c.status == Status.RUNNING
    status = (await connection.execute(found.where(_step(progress.id, step.position), *running))).scalar()
    return None if status is None else status == Status.COMPLETED


async def count_attempts(connection: AsyncConnection, progress: Progress, step: StepState, attempts: int) -> None:
    """Counts the requests that were sent for a step whose answer came too late for anything else."""
    changed = update(steps).where(_step(progress.id, step.position))
    await connection.execute(changed.values(attempts=steps.c.attempts + attempts - 1))


async def _advance(
    connection: AsyncConnection,
    progress: Progress,
    happened: Sequence[tuple[str, str | None, str]],
    now: datetime,
    changes: dict[str, Any],
) -> None:
    """`record`, if the execution is still running, and in this run."""
    columns = executions.c
    same = columns.id == progress.id, columns.run == progress.run, columns.status == Status.RUNNING
    changed = update(executions).where(*same).values(event_count=columns.event_count + len(happened), updated_at=now)
    count = (await connection.execute(changed.values(changes).returning(columns.event_count))).scalar()
    if count is None:
        raise SupersededError
    await tell(connection, progress.id, count - len(happened), happened, now)


async def _end(
    connection: AsyncConnection, progress: Progress, step: StepState, attempts: int, now: datetime, **changes: Any
) -> None:
    # One request was counted when it began, so that one is counted if the process dies.
    changes.update(ended_at=now, attempts=steps.c.attempts + attempts - 1)
    running = _step(progress.id, step.position) & (steps.c.status == Status.RUNNING)
    if (await connection.execute(update(steps).where(running).values(changes))).rowcount == 0:
        # Another process, which believed this one dead, was faster.
        raise SupersededError


async def tell(
    connection: AsyncConnection,
    execution_id: UUID,
    before: int,
    happened: Sequence[tuple[str, str | None, str]],
    now: datetime,
) -> None:
    """Writes down what has happened in an execution: kind, step, message. `before` is how many events there were."""
    made = [
        {"execution_id": execution_id, "number": number, "at": now, "kind": kind, "step": step, "message": message}
        for number, (kind, step, message) in enumerate(happened, before + 1)
    ]
    await connection.execute(insert(events), made)


def _step(execution_id: UUID, position: int) -> ColumnElement[bool]:
    return and_(steps.c.execution_id == execution_id, steps.c.position == position)


async def _start(
    connection: AsyncConnection,
    execution_id: UUID,
    position: int,
    given: dict[str, Any],
    now: datetime,
    **changes: Any,
) -> None:
    changed = update(steps).where(_step(execution_id, position))
    begun = {"status": Status.RUNNING, "input": given, "started_at": now, "attempts": steps.c.attempts + 1}
    await connection.execute(changed.values({**begun, **changes}))


def _failed(step: StepState, failure: Failure) -> list[tuple[str, str | None, str]]:
    return [
        ("step.failed", step.id, failure.message),
        ("execution.failed", step.id, f"step {step.id!r} failed: {failure.message}"),
    ]


def _failure(step: StepState, failure: Failure, now: datetime) -> dict[str, Any]:
    error = {"step": step.id, **failure.stored()}
    return {"status": Status.FAILED, "error": error, "ended_at": now}


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"
