"""The server of port 8002."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from holdfast.servers import webapp
from holdfast.servers.contextiq import Settings
from holdfast.servers.db import Database, database_url
from holdfast.servers.memory.rankers import SqliteVecLoader, choose_ranker
from holdfast.servers.memory.router import router
from holdfast.servers.memory.store import purge_memories
from holdfast.servers.service import Service, Storage, read_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import datetime

    from fastapi import FastAPI

__all__ = ["PORT", "create_app", "service"]

PORT = 8002
PARTS = ("idempotency", "memory")


def service(storage: Storage) -> Service:
    """The server with its settings from the environment.

    Raises:
        ServerStartError: a setting cannot be used.
    """
    app = create_app(storage, read_settings(Settings))
    return Service("Memory", PORT, app, lambda: app.router.lifespan_context(app))


def create_app(storage: Storage, settings: Settings, *, clock: Callable[[], datetime] = webapp.utc_now) -> FastAPI:
    """The app; its lifespan opens and closes the database.

    Raises:
        ServerStartError: the database's URL cannot be used.
    """
    loader = SqliteVecLoader()
    database = Database(database_url(storage, "memory"), PARTS, on_connect=loader)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.ranker = await choose_ranker(database, loader)
        yield

    def health(app: FastAPI) -> Mapping[str, object]:
        return {"search": app.state.ranker.name}

    return webapp.create(
        "Holdfast Memory",
        "memory",
        database,
        [router],
        settings,
        clock=clock,
        lifespan=lifespan,
        health=health,
        purges=[purge_memories],
    )
