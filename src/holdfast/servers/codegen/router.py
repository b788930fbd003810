"""Endpoints of the official API that are served here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import APIRouter, Depends, Query, Request, Security
from fastapi.security import HTTPBearer
from starlette.responses import Response

from holdfast.servers.codegen import hooks, runs, seed
from holdfast.servers.codegen.schemas import (
    AgentRun,
    AgentRunWithLogs,
    Limit,
    NewAgentRun,
    Organization,
    Page,
    Problem,
    Repo,
    Resumption,
    SourceType,
    User,
    page_of,
)
from holdfast.servers.codegen.server import CodegenServer
from holdfast.servers.codegen.tokens import PREFIX, problem
from holdfast.servers.fields import Offset
from holdfast.servers.refusals import Refusal
from holdfast.servers.transactions import Once, Unkeyed

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["BEARER", "LIMITED", "NOT_FOUND", "REFUSED", "Server", "router"]

Responses = dict[int | str, dict[str, Any]]

REFUSED: Responses = {401: {"model": Problem, "description": "There is no token, or it is not the one."}}
_FOREIGN: Responses = {403: {"model": Problem, "description": "The organization is another one."}}
NOT_FOUND: Responses = {404: {"model": Problem, "description": "There is no such thing."}}
LIMITED: Responses = {429: {"model": Problem, "description": "The rate limit is exceeded."}}

# A middleware checks; this only says so in the OpenAPI document.
BEARER: Any = Security(HTTPBearer(auto_error=False))

router = APIRouter(prefix=PREFIX, tags=["codegen"], responses=REFUSED, dependencies=[BEARER])


def _server(request: Request) -> CodegenServer:
    return cast("CodegenServer", request.app.state.codegen)


Server = Annotated[CodegenServer, Depends(_server)]


async def _member(org_id: int, server: Server) -> int:
    """The organization of the path, if it is the one that tokens have access to."""
    if org_id != server.settings.org_id:
        message = f"You do not have access to organization {str(org_id)[:40]}."
        raise Refusal(403, message, **{key: it for key, it in problem(403, message).items() if key != "detail"})
    return org_id


OrgId = Annotated[int, Depends(_member)]


@router.get("/users/me", responses=LIMITED)
async def get_current_user() -> User:
    """The user to whom the token belongs."""
    return seed.USERS[seed.ME]


@router.get("/organizations", responses=LIMITED)
async def list_organizations(server: Server, skip: Offset = 0, limit: Limit = 100) -> Page[Organization]:
    """The organizations of the user. There is one."""
    return _cut([seed.organization(server.settings.org_id)], skip, limit)


@router.get("/organizations/{org_id}/users", responses=_FOREIGN | LIMITED)
async def list_users(_: OrgId, skip: Offset = 0, limit: Limit = 100) -> Page[User]:
    """The users of an organization, by their ids."""
    return _cut(list(seed.USERS.values()), skip, limit)


@router.get("/organizations/{org_id}/users/{user_id}", responses=_FOREIGN | NOT_FOUND | LIMITED)
async def get_user(org_id: OrgId, user_id: int) -> User:
    """A user of an organization."""
    user = seed.USERS.get(user_id)
    if user is None:
        raise runs.missing(f"User not found in organization {org_id}: {str(user_id)[:40]}")
    return user


@router.get("/organizations/{org_id}/repos", responses=_FOREIGN | LIMITED)
async def list_repos(org_id: OrgId, skip: Offset = 0, limit: Limit = 100) -> Page[Repo]:
    """The repositories of an organization, by their ids."""
    return _cut(list(seed.repos(org_id).values()), skip, limit)


@router.post("/organizations/{org_id}/agent/run", response_model=AgentRun, responses=_FOREIGN | NOT_FOUND | LIMITED)
async def create_agent_run(org_id: OrgId, new: NewAgentRun, server: Server, transactions: Once) -> Response:
    """Create an agent run. It goes on by itself; what becomes of it is decided by markers in the prompt."""
    seconds = server.settings.run_seconds
    answer = await transactions.once(lambda tx: runs.create_run(tx, org_id, new, transactions.clock(), seconds))
    server.hurry()
    return answer


@router.get("/organizations/{org_id}/agent/run/{agent_run_id}", responses=_FOREIGN | NOT_FOUND | LIMITED)
async def get_agent_run(org_id: OrgId, agent_run_id: int, transactions: Unkeyed) -> AgentRun:
    """An agent run as it is now."""
    return await transactions.read(lambda tx: runs.get_run(tx, org_id, agent_run_id, transactions.clock()))


@router.get("/organizations/{org_id}/agent/runs", responses=_FOREIGN | LIMITED)
async def list_agent_runs(
    org_id: OrgId,
    transactions: Unkeyed,
    user_id: Annotated[int | None, Query(description="Only runs that this user began.")] = None,
    source_type: Annotated[SourceType | None, Query(description="Only runs that came this way.")] = None,
    skip: Offset = 0,
    limit: Limit = 100,
) -> Page[AgentRun]:
    """Agent runs, the newest first."""
    return await transactions.read(
        lambda tx: runs.list_runs(
            tx, org_id, transactions.clock(), user_id=user_id, source_type=source_type, skip=skip, limit=limit
        )
    )


@router.post("/organizations/{org_id}/agent/run/resume", response_model=AgentRun, responses=_FOREIGN | NOT_FOUND)
async def resume_agent_run(org_id: OrgId, more: Resumption, server: Server, transactions: Once) -> Response:
    """Let an agent run go on with another prompt: one that is paused, or has come to any other end."""

    async def work(tx: AsyncConnection) -> AgentRun:
        now = transactions.clock()
        row = await runs.row_of(tx, org_id, more.agent_run_id, lock=True)
        # The end that it came to is told before there is another one.
        await hooks.announce(tx, now, row.id)
        return await runs.resume_run(tx, org_id, more, now, server.settings.run_seconds)

    answer = await transactions.once(work)
    server.hurry()
    return answer


@router.get("/alpha/organizations/{org_id}/agent/run/{agent_run_id}/logs", responses=_FOREIGN | NOT_FOUND | LIMITED)
async def get_agent_run_logs(
    org_id: OrgId,
    agent_run_id: int,
    transactions: Unkeyed,
    skip: Offset = 0,
    limit: Limit = 100,
    reverse: Annotated[bool, Query(description="The newest first.")] = False,  # noqa: FBT002 - a query parameter
) -> AgentRunWithLogs:
    """An agent run and what was done in it until now, the oldest first."""
    return await transactions.read(
        lambda tx: runs.get_logs(
            tx, org_id, agent_run_id, transactions.clock(), skip=skip, limit=limit, reverse=reverse
        )
    )


def _cut(items: list[Any], skip: int, limit: int) -> Page[Any]:
    return page_of(items[skip : skip + limit], len(items), skip, limit)
