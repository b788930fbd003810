"""The server of port 8001. Services whose paths do not collide share it: each brings a router and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.servers import sessions, webapp
from holdfast.servers.contextiq import Settings
from holdfast.servers.crews.router import router as crews_router
from holdfast.servers.crews.server import PATHS, CrewsServer
from holdfast.servers.crews.settings import Settings as CrewsSettings
from holdfast.servers.db import Database, database_url
from holdfast.servers.service import Service, Storage, read_settings
from holdfast.servers.sessions.store import purge_sessions
from holdfast.servers.tokens import BearerTokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fastapi import FastAPI

__all__ = ["PORT", "create_app", "service"]

PORT = 8001
PARTS = ("idempotency", "sessions")
ROUTERS = (crews_router, sessions.router)


def service(storage: Storage) -> Service:
    """The server with its settings from the environment.

    Raises:
        ServerStartError: a setting cannot be used.
    """
    app = create_app(storage, read_settings(Settings), read_settings(CrewsSettings))
    crews: CrewsServer = app.state.crews
    return Service("Crews and Sessions", PORT, app, lambda: app.router.lifespan_context(app), crews.meet)


def create_app(
    storage: Storage,
    settings: Settings,
    crews_settings: CrewsSettings | None = None,
    *,
    clock: Callable[[], datetime] = webapp.utc_now,
) -> FastAPI:
    """The app; its lifespan opens and closes the database, and ends what is running.

    Args:
        storage: where data is kept.
        settings: of the Sessions server.
        crews_settings: of the Crews server; None takes the defaults.
        clock: tells the time, aware.

    Raises:
        ServerStartError: the database's URL, a crew, or the secret of the Crews server cannot be used.
    """
    crews = CrewsServer(crews_settings or CrewsSettings.model_construct(), settings)
    app = webapp.create(
        "Holdfast Crews and Sessions",
        "sessions",
        Database(database_url(storage, "sessions"), PARTS),
        ROUTERS,
        settings,
        clock=clock,
        lifespan=crews.lifespan,
        health=crews.health,
        purges=[purge_sessions],
    )
    app.state.crews = crews
    app.add_middleware(BearerTokens, paths=PATHS, check=crews.tokens)
    return app
