"""The server of port 8005."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.servers import contextiq, webapp
from holdfast.servers.db import Database, database_url
from holdfast.servers.integration.calling import ServiceCaller
from holdfast.servers.integration.executions import ExecutionsServer
from holdfast.servers.integration.executions import router as executions_router
from holdfast.servers.integration.page import live_page
from holdfast.servers.integration.router import SERVICE, router
from holdfast.servers.integration.server import IntegrationServer
from holdfast.servers.integration.settings import Settings
from holdfast.servers.refusals import Refusal, answer_refusal
from holdfast.servers.service import Service, Storage, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fastapi import FastAPI

    from holdfast.servers.outbound.guard import Guard

__all__ = ["PORT", "create_app", "service"]

PORT = 8005
PARTS = ("idempotency", "registry", "executions")


def service(storage: Storage) -> Service:
    """The server with its settings from the environment.

    Raises:
        ServerStartError: a setting cannot be used.
    """
    app = create_app(storage, read_settings(Settings))
    executions: ExecutionsServer = app.state.executions
    return Service(
        "Service Integration",
        PORT,
        app,
        lambda: app.router.lifespan_context(app),
        stop=executions.stop,
        page=live_page(),
    )


def create_app(
    storage: Storage,
    settings: Settings,
    *,
    clock: Callable[[], datetime] = webapp.utc_now,
    guard: Guard | None = None,
) -> FastAPI:
    """The app; its lifespan opens and closes the database, and what executes workflows.

    Args:
        storage: where data is kept.
        settings: its own.
        clock: tells the time, aware.
        guard: judges what is connected to; None makes one of the settings.

    Raises:
        ServerStartError: the database's URL cannot be used.
    """
    caller = ServiceCaller(settings, guard=guard)
    integration = IntegrationServer(settings, caller)
    executions = ExecutionsServer(storage, caller, settings)
    app = webapp.create(
        "Holdfast Service Integration",
        SERVICE,
        Database(database_url(storage, SERVICE), PARTS),
        [router, executions_router],
        # Only how large a body may be: nothing here is behind tokens.
        contextiq.Settings.model_construct(max_body_bytes=settings.max_body_bytes),
        clock=clock,
        lifespan=integration.lifespan(executions.lifespan),
        purges=[executions.purge],
    )
    app.add_exception_handler(Refusal, answer_refusal)
    app.state.integration = integration
    app.state.executions = executions
    return app
