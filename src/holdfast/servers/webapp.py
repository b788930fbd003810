"""An app around the routers of one port: its database, health, tokens, and answers to what goes wrong everywhere."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi import FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.responses import JSONResponse, Response

from holdfast._version import __version__
from holdfast.servers.bodies import BodyLimit
from holdfast.servers.idempotency import purge
from holdfast.servers.tokens import BearerTokens, ContextTokens
from holdfast.servers.transactions import Resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from fastapi import APIRouter

    from holdfast.servers.contextiq import Settings
    from holdfast.servers.db import Database

__all__ = ["Purge", "create", "passes", "utc_now"]

logger = logging.getLogger(__name__)

PASSING_STATES = frozenset({"40001", "40P01", "53300", "55P03", "57014", "57P01", "57P02", "57P03"})
"""PostgreSQL's codes for what passes (its documentation, appendix A): conflicts, deadlocks, too many connections, locks
that last too long, statements that are cancelled, a server that stops or starts."""

PURGE_SECONDS = 3600.0
"""How often is looked for what has become old: idempotency keys, and what the services name."""

Purge: TypeAlias = "Callable[[Database, datetime], Awaitable[None]]"
"""Removes from a service's database what is too old at a time."""


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def create(
    title: str,
    service: str,
    database: Database,
    routers: Sequence[APIRouter],
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    health: Callable[[FastAPI], Mapping[str, object]] | None = None,
    purges: Sequence[Purge] = (),
) -> FastAPI:
    """The app of one port.

    Args:
        title: for people, in the OpenAPI pages.
        service: name in the health answer, and of its idempotency keys.
        database: opened when the app starts, closed when it ends.
        routers: what it serves besides health.
        settings: whether tokens are checked below /api/v1, and how large bodies may be.
        clock: tells the time, aware.
        lifespan: entered when the database is open, left before it is closed.
        health: what the health answer says besides; it may replace what is there.
        purges: called at the start, and then every hour.

    Entering the app's lifespan raises `ServerStartError` if the database cannot be used.
    """

    @asynccontextmanager
    async def whole(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(database.close)
            await database.open()
            if lifespan is not None:
                await stack.enter_async_context(lifespan(app))
            await _purge(resources, purges)
            stopping = asyncio.Event()
            purging = asyncio.create_task(_purge_until(stopping, resources, purges))
            try:
                yield
            finally:
                # Not cancelled: a transaction that is cut off costs its connection.
                stopping.set()
                await purging

    resources = Resources(service, database, clock)
    limit = settings.max_body_bytes
    app = FastAPI(title=title, version=__version__, lifespan=whole, redirect_slashes=False)
    app.state.resources = resources
    app.add_exception_handler(RequestValidationError, _refused)
    for error in (DBAPIError, PoolTimeoutError, OSError):
        app.add_exception_handler(error, _unavailable)
    app.add_middleware(BodyLimit, limit=limit)
    dependencies: list[Any] = []
    if settings.require_auth:
        check = ContextTokens(settings.secret(), settings.issuer)
        app.add_middleware(BearerTokens, paths=["/api/v1"], check=check)
        # The middleware checks; this only says so in the OpenAPI document.
        dependencies.append(Security(HTTPBearer(auto_error=False, bearerFormat="JWT")))
    everywhere: dict[int | str, dict[str, Any]] = {
        400: {"description": "It cannot be read."},
        413: {"description": f"The body has more than {limit} bytes."},
    }
    for router in routers:
        app.include_router(router, dependencies=dependencies, responses=everywhere)
    _add_health(app, service, resources, health)
    return app


def _add_health(
    app: FastAPI, service: str, resources: Resources, more: Callable[[FastAPI], Mapping[str, object]] | None
) -> None:
    @app.get("/health", tags=["health"])
    async def health() -> dict[str, Any]:
        """Whether the server is there."""
        answer = {"status": "healthy", "service": service, "version": __version__}
        return {**answer, "timestamp": resources.clock(), **(more(app) if more else {})}

    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """Whether the process works: no reason to restart it."""
        return {"status": "alive"}

    @app.get("/health/ready", tags=["health"], responses={503: {"description": "The database does not answer."}})
    async def ready() -> JSONResponse:
        """Whether requests can be answered: the database does."""
        try:
            await resources.database.check()
        except (SQLAlchemyError, OSError) as error:
            logger.warning("not ready: %s", error)
            return JSONResponse({"detail": "Not ready: the database does not answer"}, 503)
        return JSONResponse({"status": "ready"})


async def _refused(_: Request, error: Exception) -> Response:
    """FastAPI's answer without the input: that may be long, secret, or nothing that JSON can hold."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    detail = [{"loc": problem["loc"], "msg": problem["msg"], "type": problem["type"]} for problem in problems]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    if not passes(error):
        raise error
    logger.error("%s %s: the database failed: %s", request.method, request.url.path, error)
    return JSONResponse({"detail": "The database is not available; try again"}, 503, {"Retry-After": "1"})


def passes(error: Exception) -> bool:
    """Whether a database that raised this may do the same another time."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, PoolTimeoutError | OSError)
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return True
    return getattr(error.orig, "sqlstate", None) in PASSING_STATES


async def _purge_until(stopping: asyncio.Event, resources: Resources, purges: Sequence[Purge]) -> None:
    while not stopping.is_set():
        try:
            async with asyncio.timeout(PURGE_SECONDS):
                await stopping.wait()
        except TimeoutError:
            await _purge(resources, purges)


async def _purge(resources: Resources, purges: Sequence[Purge]) -> None:
    now = resources.clock()
    try:
        await purge(resources.database, resources.service, now)
        for one in purges:
            await one(resources.database, now)
    except (SQLAlchemyError, OSError) as error:
        logger.warning("what is too old could not be removed: %s", error)
