"""Work that takes longer than a transaction may, done once per idempotency key, whoever still waits for it.

An execution belongs to the server, not to the request that asked for it: when the connection breaks, it goes on, and
its answer is there for the next request with the key. Of the database it needs three short transactions: the look for
the key, the claim (see `holdfast.servers.claims`), and the answer.

A duplicate that arrives meanwhile waits for the same execution, also if another process has it. When a server dies in
the middle, or is stopped and the work does not end in time, the work is not started again: under its key it has been
interrupted, for good.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import uuid4

from fastapi import HTTPException
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from holdfast.servers import claims
from holdfast.servers.idempotency import NOT_STORED, REPLAYED_HEADER, Key, insert_key
from holdfast.servers.refusals import body_of
from holdfast.servers.slots import Slot, Slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.servers.transactions import Resources

__all__ = ["Answer", "Executions", "Work"]

logger = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""How long work may go on after the last request has been answered or cut off, when the server stops."""

CLEANUP_SECONDS = 1.0
"""How long work that is cancelled then may take to end; and how long the last answers may take to be stored."""

STORE_TRIES = 6
"""How often an answer is brought to a database that fails, at waits that double from `SHORTEST_WAIT`."""

SHORTEST_WAIT = 0.05
LONGEST_WAIT = 1.0
"""Seconds between two looks at what another process is working on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it is stored: JSON."""

    status: int
    body: bytes
    replayed: bool = False

    def response(self) -> Response:
        """The same for the wire."""
        headers = {REPLAYED_HEADER: "true"} if self.replayed else None
        return Response(self.body, self.status, headers, media_type="application/json")


class Work(Protocol):
    """What is to be done once."""

    async def run(self, slot: Slot) -> Answer:
        """Do it. An `HTTPException` is an answer too.

        Whoever goes on after this has returned, such as a thread that nobody can stop, holds the slot.
        """
        ...

    def interrupted(self, seconds: float) -> Answer:
        """What is stored where it was begun, and stopped after that time before there was an answer."""
        ...


class _Claim(NamedTuple):
    key: Key
    owner: str


@dataclass(slots=True)
class _Life:
    """What belongs to one event loop, from the start to the end of the server.

    Attributes:
        over: done once nobody waits for work any more.
        stopping: whether new work is refused.
        tasks: what requests wait for.
        flights: those of them that have a key, for all who ask with that key for the same.
        working: the work itself, where it is this process that does it.
        owners: of the claims for that.
    """

    over: asyncio.Future[None]
    stopping: bool = False
    tasks: set[asyncio.Task[Answer | Exception]] = field(default_factory=set)
    flights: dict[Key, asyncio.Task[Answer | Exception]] = field(default_factory=dict)
    working: set[asyncio.Task[Answer]] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)


class Executions:
    """All executions of one app.

    Args:
        resources: database and clock. The clocks of servers that share a database should differ by much less than the
            lease: one that is believed dead while it works has its duplicates answered as if it had been interrupted.
        limit: how many may run at the same time.
        lease: seconds without a sign of life after which an execution counts as interrupted.
    """

    def __init__(self, resources: Resources, *, limit: int, lease: float) -> None:
        self.slots = Slots(limit)
        self._database = resources.database
        self._clock = resources.clock
        self._lease = timedelta(seconds=lease)
        self._life: _Life | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Whoever asks for work does so inside this block.

        At its end, what is running has `GRACE_SECONDS`. Then it is cancelled and stored as interrupted.
        """
        self._life = life = _Life(asyncio.get_running_loop().create_future())
        beating = asyncio.create_task(self._beat(life))
        try:
            yield
        finally:
            await self._stop(life)
            await beating
            self._life = None

    async def once(self, key: Key | None, work: Work) -> Response:
        """The answer to a request: the stored one if there is one, else that of the work, which is stored.

        Cancelling this does not cancel the work.

        Raises:
            HTTPException: 422, the key was used for another request before; 503, too many are running, or the server
                stops.
        """
        life = self._life
        if life is None or life.stopping:
            raise _stopping()
        flight = None if key is None else life.flights.get(key)
        outcome = await asyncio.shield(self._begin(life, key, work) if flight is None else flight)
        if isinstance(outcome, Exception):
            raise outcome
        return Answer(outcome.status, outcome.body, outcome.replayed or flight is not None).response()

    def _begin(self, life: _Life, key: Key | None, work: Work) -> asyncio.Task[Answer | Exception]:
        task = asyncio.create_task(self._execute(life, key, work))
        life.tasks.add(task)
        if key is not None:
            life.flights[key] = task
            task.add_done_callback(lambda _: life.flights.pop(key))
        task.add_done_callback(life.tasks.discard)
        return task

    async def _execute(self, life: _Life, key: Key | None, work: Work) -> Answer | Exception:
        """The outcome as a value: there may be nobody left to raise an exception to, or many."""
        try:
            if key is None:
                return await self._perform(life, None, work, self._slot())
            return await self._answer(life, key, work)
        except Exception as error:  # noqa: BLE001 - raised to everybody who waits
            return error

    async def _answer(self, life: _Life, key: Key, work: Work) -> Answer:
        wait = SHORTEST_WAIT
        while True:
            async with self._database.reading() as connection:
                kept = await claims.look_up(connection, key)
            if kept is None:
                if life.stopping:
                    raise _stopping()
                slot = self._slot()
                claim = await self._claim(key, slot)
                if claim is not None:
                    return await self._perform(life, claim, work, slot)
            elif kept.status is not None and kept.body is not None:
                return Answer(kept.status, kept.body, replayed=True)
            elif kept.owner is not None and kept.lease_until is not None and kept.lease_until < self._clock():
                await self._bury(key, kept.owner, work.interrupted(self._seconds_alive(kept)))
            elif life.over.done():
                raise _stopping()
            else:
                await asyncio.wait({life.over}, timeout=wait)
                wait = min(wait * 2, LONGEST_WAIT)

    def _slot(self) -> Slot:
        slot = self.slots.take()
        if slot is None:
            message = f"{self.slots.limit} executions are running, and no more may at the same time; try again"
            raise HTTPException(503, message, {"Retry-After": "1"})
        return slot

    async def _claim(self, key: Key, slot: Slot) -> _Claim | None:
        """The claim, or None where another process was faster."""
        claim = _Claim(key, uuid4().hex)
        claimed = False
        try:
            async with self._database.writing() as connection:
                now = self._clock()
                claimed = await insert_key(connection, key, now, owner=claim.owner, lease_until=now + self._lease)
        except (SQLAlchemyError, OSError):
            # It may have been committed nevertheless.
            claimed = False
            await self._try_to_release(claim)
            raise
        finally:
            if not claimed:
                slot.release()
        return claim if claimed else None

    async def _bury(self, key: Key, owner: str, answer: Answer) -> None:
        async with self._database.writing() as connection:
            if await claims.give_up(connection, key, owner, self._clock(), answer.status, answer.body):
                logger.warning("%s, key %r: interrupted when its server stopped", key.operation, key.key)

    def _seconds_alive(self, kept: claims.Kept) -> float:
        if kept.lease_until is None:
            return 0.0
        return max(0.0, (kept.lease_until - self._lease - kept.created_at).total_seconds())

    async def _perform(self, life: _Life, claim: _Claim | None, work: Work, slot: Slot) -> Answer:
        """Do the work, and store its answer."""
        if life.stopping:
            # The server was told to stop during the claim: begun now, the work would be interrupted at once, for good.
            slot.release()
            if claim is not None:
                await self._try_to_release(claim)
            raise _stopping()
        now = asyncio.get_running_loop().time
        began = now()
        task = asyncio.create_task(work.run(slot))
        life.working.add(task)
        if claim is not None:
            life.owners.add(claim.owner)
        try:
            waited: set[asyncio.Future[Any]] = {task, life.over}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            slot.release()
            if not task.done() or task.cancelled():
                task.cancel()
                answer = work.interrupted(now() - began)
            else:
                answer = await self._answer_of(task, claim)
            if claim is not None:
                await self._store(claim, answer)
        finally:
            life.working.discard(task)
            if claim is not None:
                life.owners.discard(claim.owner)
        return answer

    async def _answer_of(self, task: asyncio.Task[Answer], claim: _Claim | None) -> Answer:
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, HTTPException):
            if error.status_code not in NOT_STORED:
                return Answer(error.status_code, body_of(error))
            if claim is not None:
                await self._try_to_release(claim)
            raise error
        # Something may have been done, so the same is not tried again under this key.
        logger.error("an execution failed unexpectedly", exc_info=error)
        return Answer(500, b'{"detail":"Internal Server Error"}')

    async def _store(self, claim: _Claim, answer: Answer) -> None:
        wait = SHORTEST_WAIT
        for tries_left in reversed(range(STORE_TRIES)):
            try:
                async with self._database.writing() as connection:
                    await claims.settle(connection, claim.key, claim.owner, answer.status, answer.body)
                return
            except (SQLAlchemyError, OSError) as error:
                if not tries_left:
                    logger.error(  # noqa: TRY400 - the traceback ends in the driver, and says no more
                        "%s, key %r: the answer could not be stored, so repetitions will be told that it was"
                        " interrupted: %s",
                        claim.key.operation,
                        claim.key.key,
                        error,
                    )
                    return
            await asyncio.sleep(wait)
            wait *= 2

    async def _try_to_release(self, claim: _Claim) -> None:
        try:
            async with self._database.writing() as connection:
                await claims.release(connection, claim.key, claim.owner)
        except (SQLAlchemyError, OSError) as error:
            logger.warning("%s, key %r: could not be given back: %s", claim.key.operation, claim.key.key, error)

    async def _beat(self, life: _Life) -> None:
        while not life.over.done():
            await asyncio.wait({life.over}, timeout=self._lease.total_seconds() / 4)
            if not life.owners or life.over.done():
                continue
            try:
                async with self._database.writing() as connection:
                    await claims.extend(connection, life.owners, self._clock() + self._lease)
            except (SQLAlchemyError, OSError) as error:
                logger.warning("running executions could not show that they are alive: %s", error)

    async def _stop(self, life: _Life) -> None:
        life.stopping = True
        if life.working:
            await asyncio.wait(life.working, timeout=GRACE_SECONDS)
        late = {task for task in life.working if not task.done()}
        if late:
            logger.warning("%d executions are interrupted: the server stops", len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=CLEANUP_SECONDS)
        life.over.set_result(None)
        if life.tasks:
            await asyncio.wait(life.tasks, timeout=CLEANUP_SECONDS)


def _stopping() -> HTTPException:
    return HTTPException(503, "The server is stopping; try again", {"Retry-After": "1"})
