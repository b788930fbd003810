"""Who waits for something to happen in an execution, and how he hears of it.

What this process does itself is told at once. Another process may carry an execution out, so there is one look at the
database every half second besides, for all who wait and for everything that runs here together.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from holdfast.servers.integration.executions import store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from uuid import UUID

    from holdfast.servers.db import Database

__all__ = ["LOOK_SECONDS", "Watch", "Watcher"]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Between two looks at the database."""


class Watcher:
    """One who waits.

    Attributes:
        seen: how many events he knows of; what he waits for is one more. None: he waits for the end.
    """

    def __init__(self, over: asyncio.Future[None], seen: int | None) -> None:
        self.seen = seen
        self._over = over
        self._told = asyncio.Event()

    def tell(self) -> None:
        """It has happened."""
        self._told.set()

    async def wait(self, seconds: float) -> bool:
        """Until it may have happened. False if there is nothing to wait for: the time is up, or the server stops."""
        if self._over.done() or seconds <= 0:
            return False
        told = asyncio.create_task(self._told.wait())
        waited: set[asyncio.Future[Any]] = {told, self._over}
        try:
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
        self._told.clear()
        return not self._over.done()


class Watch:
    """All who wait in this process.

    Args:
        database: where executions are.
        over: done when nobody should wait any more.
    """

    def __init__(self, database: Database, over: asyncio.Future[None]) -> None:
        self._database = database
        self._over = over
        self._watchers: dict[UUID | None, set[Watcher]] = {}

    @contextmanager
    def on(self, execution_id: UUID | None, seen: int | None = None) -> Iterator[Watcher]:
        """Notice of what happens to an execution from here on. Look at it inside the block, and then wait.

        Args:
            execution_id: None is the id of nothing, to which nothing happens.
            seen: see `Watcher`.
        """
        watcher = Watcher(self._over, seen)
        watchers = self._watchers.setdefault(execution_id, set())
        watchers.add(watcher)
        try:
            yield watcher
        finally:
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[execution_id]

    def tell(self, execution_id: UUID, *, ended: bool = False) -> None:
        """This process has changed the execution."""
        for watcher in self._watchers.get(execution_id, ()):
            if ended or watcher.seen is not None:
                watcher.tell()

    async def look(
        self, running: Callable[[], Collection[tuple[UUID, int]]], superseded: Callable[[UUID, int], None]
    ) -> None:
        """Looks at the database until nobody should wait any more.

        Args:
            running: executions that this process carries out, each with its run.
            superseded: called with one that has been cancelled or has ended elsewhere.
        """
        while not self._over.done():
            await asyncio.wait({self._over}, timeout=LOOK_SECONDS)
            carried = dict(running())
            if self._over.done() or not (carried or self._watchers):
                continue
            try:
                async with self._database.reading() as connection:
                    watched = {one for one in self._watchers if one is not None}
                    states = await store.states(connection, watched | carried.keys())
            except (SQLAlchemyError, OSError) as error:
                logger.warning("executions could not be looked at: %s", error)
                continue
            for execution_id, run in carried.items():
                state = states.get(execution_id)
                if state is None or state.run != run or state.status.ended:
                    superseded(execution_id, run)
            for watched_id, watchers in self._watchers.items():
                found = None if watched_id is None else states.get(watched_id)
                for watcher in watchers:
                    if (
                        found is None
                        or found.status.ended
                        or (watcher.seen is not None and watcher.seen < found.event_count)
                    ):
                        watcher.tell()
