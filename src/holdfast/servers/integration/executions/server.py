"""Executions in one server: what carries them out, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from sqlalchemy import delete, select

from holdfast.servers.integration.executions.durable import Durable
from holdfast.servers.integration.executions.runs import Runs
from holdfast.servers.integration.executions.steps import Steps
from holdfast.servers.integration.executions.tables import executions
from holdfast.servers.integration.executions.takeover import Takeover
from holdfast.servers.integration.executions.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from fastapi import FastAPI

    from holdfast.servers.db import Database
    from holdfast.servers.integration.calling import ServiceCaller
    from holdfast.servers.integration.settings import Settings
    from holdfast.servers.service import Storage
    from holdfast.servers.transactions import Resources

__all__ = ["ExecutionsServer"]

logger = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""How long steps in flight may go on when the server stops, counted from the moment in which it is told so."""

CLEANUP_SECONDS = 1.0
"""How long what is interrupted then may take to end."""

PURGED_AT_ONCE = 100


class ExecutionsServer:
    """The executions of one app.

    Args:
        storage: where data is kept.
        caller: calls the services; usable while the lifespan lasts.
        settings: of the Service Integration server.

    Attributes:
        watch: tells of what happens in executions.
    """

    watch: Watch

    def __init__(self, storage: Storage, caller: ServiceCaller, settings: Settings) -> None:
        self._storage = storage
        self._caller = caller
        self._settings = settings
        self._life: _Life | None = None

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """What surrounds the serving.

        At its end, steps in flight have `GRACE_SECONDS`. What is not done then is left as it is, and gone on with by
        the next server, or by another one that shares the database.

        Raises:
            ServerStartError: another app of this process carries out executions already, or dbos cannot use its
                database.
        """
        life = _Life(app.state.resources, self._storage, self._caller, self._settings)
        await life.open()
        self._life, self.watch = life, life.watch
        try:
            yield
        finally:
            self._life = None
            await life.close()

    def stop(self) -> None:
        """The server is about to stop: nobody waits for anything any more, and no step begins."""
        if self._life is not None:
            self._life.stop()

    async def start(self, execution_id: UUID, run: int) -> None:
        """Has an execution carried out: at once if there is room in this process, else by whoever has some.

        To be called when what it was created or resumed by is committed. What goes wrong is logged, and mended by the
        sweep: see `holdfast.servers.integration.executions.takeover`.
        """
        if self._life is not None:
            # Not cancelled with the request: it would have to wait for the sweep.
            await asyncio.shield(self._life.begin(execution_id, run))

    def cancelled(self, execution_id: UUID, run: int) -> None:
        """An execution has been cancelled: its request is interrupted, if this process has sent it."""
        if self._life is not None:
            self._life.runs.supersede(execution_id, run)
        self.watch.tell(execution_id, ended=True)

    async def purge(self, database: Database, now: datetime) -> None:
        """Removes executions that ended longer ago than the settings say, and what dbos knows of them."""
        life = self._life
        if life is None:
            return
        oldest = now - timedelta(days=self._settings.retention_days)
        while True:
            async with database.reading() as connection:
                old = select(executions.c.id, executions.c.run).where(executions.c.ended_at < oldest)
                rows = (await connection.execute(old.limit(PURGED_AT_ONCE))).all()
            if not rows:
                return
            # First what nobody would find any more without our rows.
            await life.durable.forget([(row.id, run) for row in rows for run in range(1, row.run + 1)])
            async with database.writing() as connection:
                theirs = executions.c.id.in_([row.id for row in rows])
                await connection.execute(delete(executions).where(theirs, executions.c.ended_at < oldest))


class _Life:
    """What belongs to one event loop, from the start to the end of the server."""

    def __init__(self, resources: Resources, storage: Storage, caller: ServiceCaller, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = loop.create_future()
        self._stopped_at: float | None = None
        self._beginning: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self.watch = Watch(resources.database, self._over)
        self.runs = Runs(settings.concurrency)
        carrying = Steps(resources, caller, settings, self.runs, self.watch)
        self.durable = Durable(storage, uuid4().hex, settings.concurrency, carrying.carry_out)
        self._takeover = Takeover(resources, self.durable, settings.lease_seconds, self.begin)

    async def open(self) -> None:
        await self._takeover.join()
        try:
            await self.durable.launch()
        except BaseException:
            await self._takeover.leave()
            raise
        self._loops = [
            asyncio.create_task(self._takeover.watch(self._over), name="looks after executions"),
            asyncio.create_task(self.watch.look(self.runs.current, self.runs.supersede), name="watches executions"),
        ]

    def begin(self, execution_id: UUID, run: int) -> asyncio.Task[None]:
        task = asyncio.create_task(self._begin(execution_id, run))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        return task

    def stop(self) -> None:
        if not self._over.done():
            self._over.set_result(None)
            self._stopped_at = asyncio.get_running_loop().time()
            self.runs.stopping = True

    async def close(self) -> None:
        self.stop()
        if self._beginning:
            await asyncio.wait(self._beginning)
        since = asyncio.get_running_loop().time() - (self._stopped_at or 0.0)
        late = await self.runs.stop(max(0.0, GRACE_SECONDS - since), CLEANUP_SECONDS)
        if late:
            what = "1 execution is" if late == 1 else f"{late} executions are"
            logger.warning("%s left in the middle of a step, to be gone on with later", what)
        for task in self._loops:
            await task
        await self.durable.close()
        await self._takeover.leave()

    async def _begin(self, execution_id: UUID, run: int) -> None:
        if self._over.done():
            # The next server begins it.
            return
        queued = not self.runs.expect(execution_id, run)
        try:
            await self.durable.start(execution_id, run, queued=queued)
        except Exception:
            logger.exception("execution %s could not be begun, and will be later", execution_id)
