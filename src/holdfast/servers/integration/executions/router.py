"""Endpoints of executions."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from starlette.responses import Response

from holdfast import get_request_id
from holdfast.servers.fields import MAX_OFFSET
from holdfast.servers.idempotency import REPLAYED_HEADER
from holdfast.servers.integration.executions import store
from holdfast.servers.integration.executions.schemas import (
    LONGEST_WAIT,
    Events,
    Execution,
    ExecutionPage,
    NewExecution,
    Status,
)
from holdfast.servers.integration.executions.server import ExecutionsServer
from holdfast.servers.integration.ids import as_uuid, correlation_id
from holdfast.servers.integration.jsonschemas import violations
from holdfast.servers.integration.listing import Page, PerPage
from holdfast.servers.integration.plans import plan, planned_workflow
from holdfast.servers.integration.problems import Problem, refuse
from holdfast.servers.transactions import Once, Transactions, Unkeyed

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["executions"])

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such execution."}}

WithStatus = Annotated[Status | None, Query(description="Only those in this status.")]
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False, description="Seconds to wait.")]


async def _executions(request: Request) -> ExecutionsServer:
    return cast("ExecutionsServer", request.app.state.executions)


async def _request_id(x_request_id: Annotated[str | None, Header()] = None) -> str:
    """The caller's, if it is one that can be passed on in a header."""
    return correlation_id(None, x_request_id) or get_request_id()


Executions = Annotated[ExecutionsServer, Depends(_executions)]
RequestId = Annotated[str, Depends(_request_id)]


@router.post(
    "/workflows/{workflow_id}/execute",
    response_model=Execution,
    status_code=202,
    responses={
        200: {"description": "It has ended within `wait`.", "model": Execution},
        202: {"description": "It has begun, and goes on whoever asks for it."},
        404: {"description": "There is no such workflow."},
        409: {"description": "The workflow is not active."},
    },
)
async def execute_workflow(
    workflow_id: str, new: NewExecution, transactions: Once, executions: Executions, request_id: RequestId
) -> Response:
    """Execute a workflow, and wait for its end for as long as `wait` says.

    A request that is repeated with its key begins nothing: it is answered with what has become of the execution.
    """
    created: list[UUID] = []

    async def create(connection: AsyncConnection) -> Execution:
        planned = await plan(connection, workflow_id, lock=True)
        if not planned.active:
            raise HTTPException(409, f"Workflow {workflow_id} is INACTIVE, and not executed")
        first = planned.steps[0]
        refuse(
            [
                Problem(("body", "input_data", *path), f"step {first.id!r}: {message}", "json_schema")
                for path, message in violations(first.input_schema, new.input_data)
            ]
        )
        execution = await store.create(connection, planned, new, request_id, transactions.clock())
        created.append(execution.id)
        return execution

    answer = await transactions.once(create, status=202)
    if answer.status_code != 202:
        return answer
    if created:
        await executions.start(created[0], 1)
        if not new.wait:
            return answer
    execution = await _ended(executions, transactions, json.loads(bytes(answer.body))["id"], new.wait)
    replayed = {REPLAYED_HEADER: "true"} if REPLAYED_HEADER in answer.headers else None
    return _answer(execution, 200 if execution.status.ended else 202, replayed)


@router.get("/executions")
async def list_executions(
    transactions: Unkeyed,
    workflow_id: Annotated[str | None, Query(description="Only those of this workflow.")] = None,
    status: WithStatus = None,
    page: Page = 1,
    per_page: PerPage = 10,
) -> ExecutionPage:
    """List executions, the newest first."""
    return await transactions.read(
        lambda tx: store.list_executions(tx, workflow_id=workflow_id, status=status, page=page, per_page=per_page)
    )


@router.get("/workflows/{workflow_id}/executions", responses={404: {"description": "There is no such workflow."}})
async def list_workflow_executions(
    workflow_id: str, transactions: Unkeyed, status: WithStatus = None, page: Page = 1, per_page: PerPage = 10
) -> ExecutionPage:
    """List the executions of a workflow, the newest first."""

    async def listed(connection: AsyncConnection) -> ExecutionPage:
        await planned_workflow(connection, workflow_id)
        return await store.list_executions(
            connection, workflow_id=workflow_id, status=status, page=page, per_page=per_page
        )

    return await transactions.read(listed)


@router.get("/executions/{execution_id}", responses=_NOT_FOUND)
async def get_execution(execution_id: str, transactions: Unkeyed, executions: Executions, wait: Wait = 0) -> Execution:
    """Get an execution: at once, or when it has ended, but after `wait` seconds at the latest."""
    return await _ended(executions, transactions, execution_id, wait)


@router.post(
    "/executions/{execution_id}/cancel",
    response_model=Execution,
    responses={**_NOT_FOUND, 409: {"description": "It has ended otherwise."}},
)
async def cancel_execution(execution_id: str, transactions: Once, executions: Executions) -> Response:
    """Cancel an execution. A request that is under way is interrupted; its service may have executed it."""
    answer = await transactions.once(lambda tx: store.cancel(tx, execution_id, transactions.clock()))
    if answer.status_code == 200:
        cancelled = Execution.model_validate_json(bytes(answer.body))
        executions.cancelled(cancelled.id, cancelled.run)
    return answer


@router.post(
    "/executions/{execution_id}/resume",
    response_model=Execution,
    status_code=202,
    responses={**_NOT_FOUND, 409: {"description": "It has neither failed nor been cancelled."}},
)
async def resume_execution(execution_id: str, transactions: Once, executions: Executions) -> Response:
    """Go on with an execution that failed or was cancelled, at its first step that is not completed."""
    resumed: list[Execution] = []

    async def resume(connection: AsyncConnection) -> Execution:
        resumed.append(await store.resume(connection, execution_id, transactions.clock()))
        return resumed[0]

    answer = await transactions.once(resume, status=202)
    for execution in resumed:
        await executions.start(execution.id, execution.run)
    return answer


@router.get("/executions/{execution_id}/events", responses=_NOT_FOUND)
async def list_events(
    execution_id: str,
    transactions: Unkeyed,
    executions: Executions,
    after: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Only events beyond this number.")] = 0,
    wait: Wait = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
) -> Events:
    """List what has happened in an execution.

    At once if there is anything, else as soon as there is, but after `wait` seconds at the latest.
    """
    until = asyncio.get_running_loop().time() + wait
    with executions.watch.on(as_uuid(execution_id), after) as watcher:
        while True:
            found = await transactions.read(lambda tx: store.list_events(tx, execution_id, after, limit))
            if found.events or found.done:
                return found
            if not await watcher.wait(until - asyncio.get_running_loop().time()):
                return found


async def _ended(executions: ExecutionsServer, transactions: Transactions, execution_id: str, wait: float) -> Execution:
    """The execution when it has ended, or as it is when the time is up."""
    until = asyncio.get_running_loop().time() + wait
    with executions.watch.on(as_uuid(execution_id)) as watcher:
        while True:
            execution = await transactions.read(lambda tx: store.get(tx, execution_id))
            if execution.status.ended or not await watcher.wait(until - asyncio.get_running_loop().time()):
                return execution


def _answer(execution: Execution, status: int, headers: dict[str, str] | None) -> Response:
    return Response(execution.model_dump_json(), status, headers, media_type="application/json")
