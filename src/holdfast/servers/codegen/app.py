"""The server of port 8010."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, cast

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from holdfast.servers import webapp
from holdfast.servers.codegen.hooks_router import router as hooks_router
from holdfast.servers.codegen.limiting import RateLimits
from holdfast.servers.codegen.page import live_page
from holdfast.servers.codegen.router import router
from holdfast.servers.codegen.server import CodegenServer
from holdfast.servers.codegen.settings import Settings
from holdfast.servers.codegen.tokens import Tokens, problem
from holdfast.servers.contextiq import Settings as AppSettings
from holdfast.servers.db import Database, database_url
from holdfast.servers.refusals import Refusal, answer_refusal
from holdfast.servers.service import Service, Storage, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fastapi import FastAPI, Request

__all__ = ["PORT", "create_app", "service"]

PORT = 8010
PARTS = ("idempotency", "codegen")


def service(storage: Storage) -> Service:
    """The server with its settings from the environment.

    Raises:
        ServerStartError: a setting cannot be used.
    """
    app = create_app(storage, read_settings(Settings))
    server: CodegenServer = app.state.codegen
    return Service("Codegen", PORT, app, lambda: app.router.lifespan_context(app), stop=server.stop, page=live_page())


def create_app(
    storage: Storage,
    settings: Settings,
    *,
    clock: Callable[[], datetime] = webapp.utc_now,
    chance: Callable[[], float] = random.random,
) -> FastAPI:
    """The app; its lifespan opens and closes the database, and lets runs and deliveries go on.

    Args:
        storage: where data is kept.
        settings: of this server.
        clock: tells the time, aware. Runs, limits and deliveries go by it.
        chance: gives a number from 0 to 1, by which the waits of deliveries are spread.

    Raises:
        ServerStartError: the database's URL cannot be used.
    """
    database = Database(database_url(storage, "codegen"), PARTS)
    server = CodegenServer(settings, database, clock, chance)
    app = webapp.create(
        "Holdfast Codegen",
        "codegen",
        database,
        [router, hooks_router],
        # Only how large a body may be: tokens are checked below.
        AppSettings.model_construct(max_body_bytes=settings.max_body_bytes),
        clock=clock,
        lifespan=server.lifespan,
        health=server.health,
        purges=[server.purge],
    )
    app.state.codegen = server
    app.add_exception_handler(Refusal, answer_refusal)
    app.add_exception_handler(HTTPException, _answer)
    app.add_middleware(RateLimits, limits=server.limits, quotas=server.quotas, clock=clock)
    token = settings.api_token
    app.add_middleware(Tokens, token=None if token is None else token.get_secret_value())
    return app


async def _answer(_: Request, error: Exception) -> JSONResponse:
    failed = cast("HTTPException", error)
    detail: object = failed.detail
    # What is no text is a 422 in FastAPI's shape.
    body = problem(failed.status_code, detail) if isinstance(detail, str) else {"detail": detail}
    return JSONResponse(body, failed.status_code, failed.headers)
