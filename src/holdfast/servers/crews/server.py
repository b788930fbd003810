"""What the Crews server has besides the database: its crews, their executions, and a client of the Memory service."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from holdfast.auth import JWTAuth, SigningKeyError, internal_auth, internal_key
from holdfast.contextiq import MemoryServiceClient, MemorySettings
from holdfast.servers.crews.discovery import discover
from holdfast.servers.crews.memory_maker import NAME, MemoryMaker
from holdfast.servers.crews.registry import Registry
from holdfast.servers.executions import Executions
from holdfast.servers.service import SettingsError, read_settings
from holdfast.servers.tokens import InternalTokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fastapi import FastAPI

    from holdfast.servers import contextiq
    from holdfast.servers.crews.settings import Settings

__all__ = ["PATHS", "SERVICE", "CrewsServer"]

SERVICE = "sparkjar-crews"
"""Name in the health answer."""

PATHS = ("/crews", "/execute_crew")
"""What is behind tokens."""

SCOPES = ("sparkjar_internal", "crew_execute")
"""One of them is needed."""

MEMORY = "Memory"
"""Name of the Memory server among its neighbours."""


class _MemorySettings(MemorySettings):
    """Those of the environment, but for what is logged."""

    def client_settings(self) -> dict[str, Any]:
        logging = {"logger_name": "holdfast.servers.crews.memory", "level": "WARNING"}
        return {**super().client_settings(), "logging": logging}


class CrewsServer:
    """The Crews server of one app.

    Args:
        settings: its own.
        context: those of the Memory server, which tell whether it wants tokens.

    Attributes:
        registry: what can be executed.
        environment: from the variable `ENVIRONMENT`.

    Raises:
        SettingsError: the secret is missing or short in production, a crew or a setting cannot be used.
    """

    executions: Executions

    def __init__(self, settings: Settings, context: contextiq.Settings) -> None:
        self.environment = os.environ.get("ENVIRONMENT", "").strip() or "development"
        self.registry = Registry()
        self._settings = settings
        self._context = context
        self._memory_url: str | None = None
        self._memory_settings = read_settings(_MemorySettings)
        try:
            key = internal_key()
            # A secret that no token can be signed with, such as a public key, can check none.
            internal_auth(key)
        except SigningKeyError as error:
            raise SettingsError(str(error)) from error
        self.tokens = InternalTokens(key, SCOPES)
        self._memory_maker = MemoryMaker()
        self.registry.add(NAME, self._memory_maker)
        discover(self.registry, settings.modules)

    def meet(self, neighbours: Mapping[str, str]) -> None:
        """Takes notice of where the other services are, by name. `MEMORY_SERVICE_URL` counts more."""
        self._memory_url = neighbours.get(MEMORY)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """What surrounds the serving.

        Raises:
            SettingsError: the Memory service's settings cannot be used.
        """
        settings = self._settings
        self.executions = Executions(app.state.resources, limit=settings.max_concurrency, lease=settings.lease_seconds)
        async with self._memory_client() as memories, self.executions.running():
            self._memory_maker.memories = memories
            yield

    def _memory_client(self) -> MemoryServiceClient:
        settings = self._memory_settings
        if self._memory_url is not None and "url" not in settings.model_fields_set:
            # The neighbour does, whatever others may do.
            neighbour = {"url": self._memory_url, "server_deduplicates": True}
            settings = settings.model_copy(update=neighbour)
        context = self._context
        auth = None
        if context.require_auth:
            auth = JWTAuth(context.secret(), subject=SERVICE, issuer=context.issuer)
        try:
            return MemoryServiceClient(settings=settings, auth=auth)
        except ValueError as error:
            raise SettingsError(f"the client of the Memory service cannot be made: {error}") from error

    def health(self, _: FastAPI) -> Mapping[str, object]:
        """What the health answer says of crews."""
        return {
            "service": SERVICE,
            "environment": self.environment,
            "available_crews": [crew.name for crew in self.registry],
        }
