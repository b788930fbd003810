"""Who is alive of the processes that share a database, and who goes on with what the others leave.

Each process says again and again that it is alive. One that has not for longer than the lease is dead, and so is one
that has been stopped, which says so: the others go on with its executions, and if there are none, the next that starts.

How long a process has said nothing is counted by whoever listens, on a clock that does not jump, and only while it can
listen: a database that is away keeps everybody from being heard. One that has just started believes what was written
down before, if the clocks agree. One that is believed dead while it works loses its executions to another, and a step
may be sent twice at the same time, with the same key.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.exc import SQLAlchemyError

from holdfast.servers.integration.executions.progress import locked, record
from holdfast.servers.integration.executions.schemas import Status
from holdfast.servers.integration.executions.store import UNFINISHED
from holdfast.servers.integration.executions.tables import executions, executors, steps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from holdfast.servers.integration.executions.durable import Durable
    from holdfast.servers.transactions import Resources

__all__ = ["Takeover"]

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 30.0
"""How often everything unfinished is compared with what dbos knows, besides after a death."""

AT_ONCE = 500
"""Executions that are compared together."""


class Takeover:
    """The part of one process in this.

    Args:
        resources: database and clock.
        durable: what makes executions go on.
        lease: seconds after which a process that says nothing is dead.
        start: begins an execution in one of its runs, as after it was created.
    """

    def __init__(
        self,
        resources: Resources,
        durable: Durable,
        lease: float,
        start: Callable[[UUID, int], Awaitable[None]],
    ) -> None:
        self._database = resources.database
        self._clock = resources.clock
        self._durable = durable
        self._lease = timedelta(seconds=lease)
        self._start = start
        self._id = durable.executor_id
        # What every other one said last, and when it was first heard here.
        self._heard: dict[str, tuple[datetime, float]] = {}
        self._listened_at: float | None = None

    async def join(self) -> None:
        """This process is alive. Said before dbos knows it, so that what it has can always be found."""
        async with self._database.writing() as connection:
            await connection.execute(insert(executors).values(id=self._id, seen_at=self._clock()))

    async def leave(self) -> None:
        """This process is dead in a moment. Said when dbos has stopped, so that it cannot have anything later."""
        try:
            async with self._database.writing() as connection:
                gone = update(executors).where(executors.c.id == self._id)
                await connection.execute(gone.values(seen_at=None))
        except (SQLAlchemyError, OSError) as error:
            logger.warning("others will only see after %s that this server has stopped: %s", self._lease, error)

    async def watch(self, over: asyncio.Future[None]) -> None:
        """Says that this process is alive, and goes on with what dead ones leave, until the server stops."""
        now = asyncio.get_running_loop().time
        sweep_at = now()
        while not over.done():
            try:
                await self._beat()
                died = await self._dead()
                if died:
                    await self._take_over(died)
                if died or now() >= sweep_at:
                    await self._sweep(over)
                    sweep_at = now() + SWEEP_SECONDS
            except (SQLAlchemyError, OSError) as error:
                self._heard.clear()
                logger.warning("this server cannot show that it is alive, nor look after others: %s", error)
            except Exception:
                # Without this loop nothing would ever be taken over from here.
                logger.exception("looking after the executions of others failed unexpectedly")
            await asyncio.wait({over}, timeout=self._lease.total_seconds() / 3)

    async def _beat(self) -> None:
        async with self._database.writing() as connection:
            seen = update(executors).where(executors.c.id == self._id).values(seen_at=self._clock())
            if (await connection.execute(seen)).rowcount == 0:
                logger.warning(
                    "this server was believed dead for it did not show for %s that it is alive;"
                    " others have taken over its executions",
                    self._lease,
                )
                await connection.execute(insert(executors).values(id=self._id, seen_at=self._clock()))

    async def _dead(self) -> list[Row[Any]]:
        async with self._database.reading() as connection:
            others = (await connection.execute(select(executors).where(executors.c.id != self._id))).all()
        now, lease, before = asyncio.get_running_loop().time(), self._lease.total_seconds(), self._listened_at
        # One that was itself stopped for a while has heard nobody.
        listened = before is not None and now - before < lease
        heard = {
            row.id: known
            if listened and (known := self._heard.get(row.id)) is not None and known[0] == row.seen_at
            else (row.seen_at, now)
            for row in others
            if row.seen_at is not None
        }
        self._heard, self._listened_at = heard, now
        oldest = self._clock() - self._lease
        return [
            row
            for row in others
            if row.seen_at is None or now - heard[row.id][1] >= lease or (before is None and row.seen_at < oldest)
        ]

    async def _take_over(self, died: Sequence[Row[Any]]) -> None:
        await self._durable.recover([row.id for row in died])
        # Only now: if this process dies in between, the next one does the same again.
        async with self._database.writing() as connection:
            for row in died:
                same = executors.c.seen_at.is_(None) if row.seen_at is None else executors.c.seen_at == row.seen_at
                await connection.execute(delete(executors).where(executors.c.id == row.id, same))

    async def _sweep(self, over: asyncio.Future[None]) -> None:
        """Compares everything unfinished with what dbos knows of it."""
        after: tuple[Any, UUID] | None = None
        while not over.done():
            columns = executions.c
            found = select(columns.id, columns.run, columns.created_at).where(columns.status.in_(UNFINISHED))
            if after is not None:
                found = found.where(tuple_(columns.created_at, columns.id) > after)
            async with self._database.reading() as connection:
                page = found.order_by(columns.created_at, columns.id).limit(AT_ONCE)
                rows = (await connection.execute(page)).all()
            if not rows:
                return
            await self._compare([(row.id, row.run) for row in rows])
            after = (rows[-1].created_at, rows[-1].id)

    async def _compare(self, runs: list[tuple[UUID, int]]) -> None:
        known = await self._durable.known(runs)
        # Read after it: whoever has an execution had said before that he is alive.
        async with self._database.reading() as connection:
            alive = set((await connection.execute(select(executors.c.id))).scalars())
        strays = {
            status.executor_id
            for status in known.values()
            if status.status == "PENDING" and status.executor_id and status.executor_id not in alive
        }
        if strays:
            await self._durable.recover(sorted(strays))
        for execution_id, run in runs:
            status = known.get((execution_id, run))
            if status is None:
                # Its process died between the commit and the start.
                await self._start(execution_id, run)
            elif status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
                message = f"given up: the server that carried it out died or stopped {status.recovery_attempts} times"
                await self._give_up(execution_id, run, message)
            elif status.status in {"SUCCESS", "ERROR", "CANCELLED"}:
                await self._give_up(execution_id, run, "the server that carried it out failed unexpectedly")

    async def _give_up(self, execution_id: UUID, run: int, message: str) -> None:
        """Ends an execution that nobody goes on with, unless it has ended already."""
        now = self._clock()
        async with self._database.writing() as connection:
            row = await locked(connection, execution_id)
            if row is None or row.run != run or Status(row.status).ended:
                return
            error = {"message": message, "status": None, "may_have_executed": True}
            theirs = steps.c.execution_id == execution_id, steps.c.status == Status.RUNNING
            changed = update(steps).where(*theirs).values(status=Status.FAILED, error=error, ended_at=now)
            step = (await connection.execute(changed.returning(steps.c.step_id))).scalar()
            happened: list[tuple[str, str | None, str]] = [] if step is None else [("step.failed", step, message)]
            happened.append(("execution.failed", step, message))
            failed = {"status": Status.FAILED, "error": {"step": step, **error}, "ended_at": now}
            await record(connection, row, happened, now, **failed)
        logger.error("execution %s: %s", execution_id, message)
