"""The server of port 8001. Services whose paths do not collide share it: each brings a router and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.servers import sessions, webapp
from holdfast.servers.contextiq import Settings
from holdfast.servers.db import Database, database_url
from holdfast.servers.service import Service, Storage, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fastapi import FastAPI

__all__ = ["PORT", "create_app", "service"]

PORT = 8001
PARTS = ("idempotency", "sessions")
ROUTERS = (sessions.router,)


def service(storage: Storage) -> Service:
    """The server with its settings from the environment.

    Raises:
        ServerStartError: a setting cannot be used.
    """
    app = create_app(storage, read_settings(Settings))
    return Service("Sessions", PORT, app, lambda: app.router.lifespan_context(app))


def create_app(storage: Storage, settings: Settings, *, clock: Callable[[], datetime] = webapp.utc_now) -> FastAPI:
    """The app; its lifespan opens and closes the database.

    Raises:
        ServerStartError: the database's URL cannot be used.
    """
    database = Database(database_url(storage, "sessions"), PARTS)
    return webapp.create("Holdfast Sessions", "sessions", database, ROUTERS, settings, clock=clock)
