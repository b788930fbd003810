"""What the Codegen server has besides the database: its limits, and what goes on when nobody asks."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from holdfast.servers.codegen import hooks
from holdfast.servers.codegen.delivering import Courier, purge_deliveries
from holdfast.servers.codegen.limits import LIMITS, Quotas, relaxed
from holdfast.servers.codegen.runs import sow
from holdfast.servers.outbound.addresses import AddressPolicy
from holdfast.servers.outbound.guard import Guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from fastapi import FastAPI

    from holdfast.servers.codegen.settings import Settings
    from holdfast.servers.db import Database

__all__ = ["CodegenServer"]

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 5.0
"""Seconds after which is looked for work in any case: another server may have written it into the same database."""

BUSY_PAUSE = 0.5
"""Seconds after which is looked again for work that somebody else has a claim on, or that failed."""


class CodegenServer:
    """The Codegen server of one app.

    Args:
        settings: its own.
        database: of the app.
        clock: tells the time, aware.
        chance: gives a number from 0 to 1, by which the waits of deliveries are spread.

    Attributes:
        limits: that are enforced.
        quotas: what has been used of them.
        guard: judges where webhooks may be.
    """

    courier: Courier

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Callable[[], datetime],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.limits = relaxed(LIMITS) if settings.relaxed_limits else LIMITS
        self.quotas = Quotas()
        self.guard = Guard(AddressPolicy(settings.private_allowed, setting="CODEGEN_ALLOW_PRIVATE_ADDRESSES"))
        self._database = database
        self._clock = clock
        self._chance = chance
        self._stopping = False
        self._work = asyncio.Event()

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """What surrounds the serving: the first runs are there, and work goes on."""
        await sow(self._database, self.settings.org_id, self._clock())
        tls = ssl.create_default_context()
        self._work = asyncio.Event()
        self._stopping = False
        self.courier = Courier(self._database, self._clock, self.settings, self.guard, tls, self._chance)
        working = asyncio.create_task(self._go_on())
        try:
            yield
        finally:
            # Not cancelled: a transaction that is cut off costs its connection.
            self.stop()
            await working
            await self.courier.stop()

    def stop(self) -> None:
        """Nothing new begins: the server is about to end."""
        self._stopping = True
        self._work.set()

    def hurry(self) -> None:
        """There is something new to do, or to wait for."""
        self._work.set()

    async def turn(self) -> datetime | None:
        """Begins everything that is due: tells of runs that have ended, and sends.

        Returns:
            When there will be something again; None if nothing is known of.
        """
        while True:
            async with self._database.reading() as connection:
                due = await hooks.next_due(connection)
            if due is None or due > self._clock():
                return due
            async with self._database.writing() as connection:
                told = await hooks.announce(connection, self._clock())
            if not told:
                await self.courier.start_due()
                return due

    async def purge(self, database: Database, now: datetime) -> None:
        """Removes deliveries that are too old to be of interest."""
        await purge_deliveries(database, now - timedelta(days=self.settings.retention_days))

    def health(self, _: FastAPI) -> Mapping[str, object]:
        """What the health answer says besides."""
        return {
            "organization_id": self.settings.org_id,
            "limits": "relaxed" if self.settings.relaxed_limits else "real",
        }

    async def _go_on(self) -> None:
        while not self._stopping:
            self._work.clear()
            try:
                due = await self.turn()
                pause = LONGEST_PAUSE if due is None else (due - self._clock()).total_seconds()
            except (SQLAlchemyError, OSError) as error:
                logger.warning("runs and deliveries stand still for now: %s", error)
                pause = 0.0
            try:
                async with asyncio.timeout(min(pause, LONGEST_PAUSE) if pause > 0 else BUSY_PAUSE):
                    await self._work.wait()
            except TimeoutError:
                pass
