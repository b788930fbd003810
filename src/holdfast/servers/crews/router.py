"""Endpoints of the Crews server."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.responses import Response

from holdfast.servers.crews.execution import CrewWork
from holdfast.servers.crews.schemas import CrewDescription, CrewList, Execution, NewExecution
from holdfast.servers.crews.server import CrewsServer
from holdfast.servers.transactions import RequestKey, Unkeyed

__all__ = ["router"]

_REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"description": "The token is no good, or has expired."},
    403: {"description": "There is no token, or it has none of the scopes that are needed."},
}

router = APIRouter(
    tags=["crews"],
    responses=_REFUSED,
    # A middleware checks; this only says so in the OpenAPI document.
    dependencies=[Security(HTTPBearer(auto_error=False, bearerFormat="JWT"))],
)


def _crews(request: Request) -> CrewsServer:
    return cast("CrewsServer", request.app.state.crews)


Crews = Annotated[CrewsServer, Depends(_crews)]


@router.get("/crews")
async def list_crews(crews: Crews, transactions: Unkeyed) -> CrewList:
    """List the crews that can be executed."""
    found = {
        crew.name: CrewDescription(class_name=crew.class_name, module=crew.module, description=crew.description)
        for crew in crews.registry
    }
    return CrewList(available_crews=found, total_count=len(found), timestamp=transactions.clock())


@router.post(
    "/execute_crew",
    response_model=Execution,
    responses={404: {"description": "There is no such crew."}, 503: {"description": "Too many crews are running."}},
)
async def execute_crew(new: NewExecution, crews: Crews, key: RequestKey, transactions: Unkeyed) -> Response:
    """Execute a crew, and wait for its result.

    The answer is 200 also where the crew fails or takes longer than its timeout: `success` tells. A crew that is not
    async cannot be stopped: when its time is up it is answered for, but runs on, and what it comes to is thrown away.

    The execution goes on when the connection breaks. Another request with the same key gets its answer, and does not
    execute anything. Where the server was stopped in the middle, that answer is `success: false`, and says so.
    """
    return await crews.executions.once(key, CrewWork(crews.registry, new, transactions.clock))
