"""Endpoints of services and workflows."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Header, Request
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from holdfast._version import __version__
from holdfast.servers.integration import services_store, workflows_store
from holdfast.servers.integration.actions import ActionWork
from holdfast.servers.integration.calling import Target
from holdfast.servers.integration.checks import service_problems
from holdfast.servers.integration.executions.store import counts
from holdfast.servers.integration.ids import as_uuid
from holdfast.servers.integration.listing import Page, PerPage, WithStatus
from holdfast.servers.integration.schemas import (
    ActionCall,
    Counts,
    Deleted,
    IntegrationHealth,
    NewService,
    NewWorkflow,
    Service,
    ServiceChanges,
    ServiceHealth,
    ServicePage,
    Workflow,
    WorkflowChanges,
    WorkflowPage,
)
from holdfast.servers.integration.server import IntegrationServer
from holdfast.servers.integration.tables import services, workflows
from holdfast.servers.transactions import Once, RequestKey, Resources, Unkeyed

__all__ = ["SERVICE", "router"]

SERVICE = "integration"
"""Name in the health answer, and of its idempotency keys."""

router = APIRouter(prefix="/api")

_Responses = dict[int | str, dict[str, Any]]
_NO_SERVICE: _Responses = {404: {"description": "There is no such service."}}
_NO_WORKFLOW: _Responses = {404: {"description": "There is no such workflow."}}
_CONFLICT: _Responses = {409: {"description": "Something else stands against it; `detail` names it."}}


async def _integration(request: Request) -> IntegrationServer:
    # Not a plain function: FastAPI calls those in a thread.
    return cast("IntegrationServer", request.app.state.integration)


async def _resources(request: Request) -> Resources:
    return cast("Resources", request.app.state.resources)


Integration = Annotated[IntegrationServer, Depends(_integration)]
Shared = Annotated[Resources, Depends(_resources)]


@router.post("/services", status_code=201, response_model=Service, responses=_CONFLICT, tags=["services"])
async def register_service(new: NewService, transactions: Once, integration: Integration) -> Response:
    """Register a service."""
    problems = await service_problems(integration.caller.guard, new)
    return await transactions.once(
        lambda tx: services_store.register_service(tx, new, problems, transactions.clock()), status=201
    )


@router.get("/services", tags=["services"])
async def list_services(
    transactions: Unkeyed, status: WithStatus = None, page: Page = 1, per_page: PerPage = 10
) -> ServicePage:
    """List services, the newest first."""
    return await transactions.read(
        lambda tx: services_store.list_services(tx, status=status, page=page, per_page=per_page)
    )


@router.get("/services/{service_id}", responses=_NO_SERVICE, tags=["services"])
async def get_service(service_id: str, transactions: Unkeyed) -> Service:
    """Get a service."""
    return await transactions.read(lambda tx: services_store.get_service(tx, service_id))


@router.put("/services/{service_id}", response_model=Service, responses={**_NO_SERVICE, **_CONFLICT}, tags=["services"])
async def change_service(
    service_id: str, changes: ServiceChanges, transactions: Once, integration: Integration
) -> Response:
    """Change a service. What is not given stays as it is; workflows follow it to a new name."""
    problems = await service_problems(integration.caller.guard, changes)
    return await transactions.once(
        lambda tx: services_store.change_service(tx, service_id, changes, problems, transactions.clock())
    )


@router.delete(
    "/services/{service_id}", response_model=Deleted, responses={**_NO_SERVICE, **_CONFLICT}, tags=["services"]
)
async def deregister_service(service_id: str, transactions: Once, integration: Integration) -> Response:
    """Remove a service that no workflow uses."""
    answer = await transactions.once(lambda tx: services_store.delete_service(tx, service_id))
    if answer.status_code == 200 and (number := as_uuid(service_id)) is not None:
        integration.caller.forget(number)
    return answer


@router.get("/services/{service_id}/health", responses=_NO_SERVICE, tags=["services"])
async def get_service_health(service_id: str, transactions: Unkeyed, integration: Integration) -> ServiceHealth:
    """Ask a service how it is: GET its endpoint. That it is not healthy is no error here."""
    service = await transactions.read(lambda tx: services_store.get_service(tx, service_id))
    target = Target(service.id, service.name, service.endpoint, service.deduplicates, "", {}, {})
    health = await integration.caller.health(target)
    return ServiceHealth(
        service_id=service.id,
        name=service.name,
        status="healthy" if health.healthy else "unhealthy",
        status_code=health.status_code,
        seconds=round(health.seconds, 6),
        error=health.error,
        circuit=health.circuit,
        checked_at=transactions.clock(),
    )


@router.post(
    "/services/{service_id}/actions/{action}",
    response_model=dict[str, Any],
    responses={
        404: {"description": "There is no such service, or it has no such action."},
        409: {"description": "The service is not active."},
        424: {"description": "The service failed, or answered what it must not. The call is not repeated by itself."},
        503: {"description": "Too many actions are being called, or the server stops."},
    },
    tags=["services"],
)
async def execute_action(
    service_id: str,
    action: str,
    call: ActionCall,
    key: RequestKey,
    integration: Integration,
    resources: Shared,
    x_request_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Call an action of a service; the answer is its output.

    The call goes on when the connection breaks. Another request with the same key gets its answer, and calls nothing.
    """
    work = ActionWork(
        resources.database,
        integration.caller,
        service_id,
        action,
        call,
        None if key is None else key.key,
        x_request_id,
        integration.settings.action_timeout,
    )
    return await integration.actions.once(key, work)


@router.post("/workflows", status_code=201, response_model=Workflow, tags=["workflows"])
async def create_workflow(new: NewWorkflow, transactions: Once) -> Response:
    """Create a workflow. Its steps have to be one path, and what they call has to be registered."""
    return await transactions.once(
        lambda tx: workflows_store.create_workflow(tx, new, transactions.clock()), status=201
    )


@router.get("/workflows", tags=["workflows"])
async def list_workflows(
    transactions: Unkeyed, status: WithStatus = None, page: Page = 1, per_page: PerPage = 10
) -> WorkflowPage:
    """List workflows, the newest first."""
    return await transactions.read(
        lambda tx: workflows_store.list_workflows(tx, status=status, page=page, per_page=per_page)
    )


@router.get("/workflows/{workflow_id}", responses=_NO_WORKFLOW, tags=["workflows"])
async def get_workflow(workflow_id: str, transactions: Unkeyed) -> Workflow:
    """Get a workflow."""
    return await transactions.read(lambda tx: workflows_store.get_workflow(tx, workflow_id))


@router.put("/workflows/{workflow_id}", response_model=Workflow, responses=_NO_WORKFLOW, tags=["workflows"])
async def change_workflow(workflow_id: str, changes: WorkflowChanges, transactions: Once) -> Response:
    """Change a workflow. What is not given stays as it is, and so do executions that have begun."""
    return await transactions.once(
        lambda tx: workflows_store.change_workflow(tx, workflow_id, changes, transactions.clock())
    )


@router.delete(
    "/workflows/{workflow_id}", response_model=Deleted, responses={**_NO_WORKFLOW, **_CONFLICT}, tags=["workflows"]
)
async def delete_workflow(workflow_id: str, transactions: Once) -> Response:
    """Remove a workflow that is not being executed. Its executions are kept."""
    return await transactions.once(lambda tx: workflows_store.delete_workflow(tx, workflow_id))


@router.get("/health", tags=["health"])
async def get_integration_health(transactions: Unkeyed) -> IntegrationHealth:
    """Whether the server is there, and how much it has."""

    async def told(connection: AsyncConnection) -> IntegrationHealth:
        return IntegrationHealth(
            status="healthy",
            service=SERVICE,
            version=__version__,
            services=await _counted(connection, services),
            workflows=await _counted(connection, workflows),
            executions=await counts(connection),
            timestamp=transactions.clock(),
        )

    return await transactions.read(told)


async def _counted(connection: AsyncConnection, table: Any) -> Counts:
    found = select(table.c.status, func.count()).group_by(table.c.status)
    numbers = {row[0]: row[1] for row in await connection.execute(found)}
    return Counts(total=sum(numbers.values()), active=numbers.get("ACTIVE", 0))
