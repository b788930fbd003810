"""What the Service Integration server has besides the database: whom it calls services with, and what is under way."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from holdfast.servers.executions import Executions
from holdfast.servers.integration.calling import ServiceCaller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from fastapi import FastAPI

    from holdfast.servers.integration.settings import Settings

__all__ = ["IntegrationServer"]

MOST_ACTIONS = 200
"""Called at the same time for somebody who waits. More are answered 503."""

LEASE_SECONDS = 20.0
"""After so long without a sign of life such calls of a server that shares the database count as interrupted."""


class IntegrationServer:
    """The Service Integration server of one app.

    Args:
        settings: its own.
        caller: calls services.

    Attributes:
        settings, caller: the same.
        actions: calls for somebody who waits.
    """

    actions: Executions

    def __init__(self, settings: Settings, caller: ServiceCaller) -> None:
        self.settings = settings
        self.caller = caller

    def lifespan(
        self, executions: Callable[[FastAPI], AbstractAsyncContextManager[None]]
    ) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
        """What surrounds the serving.

        Args:
            executions: the same of workflow executions, which need what services are called with.
        """

        @asynccontextmanager
        async def whole(app: FastAPI) -> AsyncIterator[None]:
            self.actions = Executions(app.state.resources, limit=MOST_ACTIONS, lease=LEASE_SECONDS)
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self.caller)
                await stack.enter_async_context(self.actions.running())
                await stack.enter_async_context(executions(app))
                yield

        return whole
