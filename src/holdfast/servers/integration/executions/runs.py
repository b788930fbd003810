"""What this process carries out: so many executions at a time, interrupted if cancelled, or if the server stops."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

__all__ = ["Interruption", "Run", "Runs"]


EXPECTED_SECONDS = 10.0
"""For so long there is room for one that was said to begin, and has not."""


class Interruption(Enum):
    """Why a process does not go on with an execution."""

    SUPERSEDED = "superseded"
    """It was cancelled, or has ended, or another process has it."""

    STOPPED = "stopped"
    """The server stops. Somebody goes on with it later."""


class Run:
    """One execution that this process carries out.

    Attributes:
        interrupted: done when it is not to go on.
        overtaken: another process was faster with a step, so what is known of the others may not be true any more.
    """

    def __init__(self, execution_id: UUID, run: int) -> None:
        self.execution_id = execution_id
        self.run = run
        self.interrupted: asyncio.Future[Interruption] = asyncio.get_running_loop().create_future()
        self.task = asyncio.current_task()
        self.has_slot = False
        self.overtaken = False

    def interrupt(self, why: Interruption) -> None:
        """Not to go on. What it waits for is given up."""
        if not self.interrupted.done():
            self.interrupted.set_result(why)
        if not self.has_slot and self.task is not None:
            # It holds nothing, and has changed nothing.
            self.task.cancel()


class Runs:
    """All of them.

    Args:
        limit: how many may be in the middle of it at the same time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.stopping = False
        self._slots = asyncio.Semaphore(limit)
        self._runs: set[Run] = set()
        self._expected: dict[tuple[UUID, int], float] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    def expect(self, execution_id: UUID, run: int) -> bool:
        """Keeps room for one that is about to begin here. False if there is none."""
        now = asyncio.get_running_loop().time()
        # Some never come: they have begun elsewhere.
        self._expected = {one: until for one, until in self._expected.items() if until > now}
        if len(self._runs) + len(self._expected) >= self.limit:
            return False
        self._expected[execution_id, run] = now + EXPECTED_SECONDS
        return True

    @asynccontextmanager
    async def entered(self, execution_id: UUID, run: int) -> AsyncIterator[Run]:
        """One more, in the current task; the block begins when there is a slot for it.

        Raises:
            asyncio.CancelledError: the server stops.
        """
        if self.stopping:
            raise asyncio.CancelledError("the server stops")
        one = Run(execution_id, run)
        if one.task is not None:
            # Until the task is done: what dbos writes after the block counts as well.
            self._tasks.add(one.task)
            one.task.add_done_callback(self._tasks.discard)
        self._runs.add(one)
        self._expected.pop((execution_id, run), None)
        try:
            async with self._slots:
                one.has_slot = True
                yield one
        finally:
            self._runs.discard(one)

    def current(self) -> set[tuple[UUID, int]]:
        """What is being carried out, each with its run."""
        return {(one.execution_id, one.run) for one in self._runs if one.has_slot}

    def supersede(self, execution_id: UUID, run: int) -> None:
        """Interrupts one that is not to go on here."""
        for one in [one for one in self._runs if (one.execution_id, one.run) == (execution_id, run)]:
            one.interrupt(Interruption.SUPERSEDED)

    async def stop(self, grace: float, cleanup: float) -> int:
        """Lets nothing begin any more, and ends what is in the middle of it: after a grace, by interruption.

        Args:
            grace: seconds that steps in flight may take to end by themselves.
            cleanup: seconds that an interrupted one may take.

        Returns:
            How many were interrupted.
        """
        self.stopping = True
        for one in [one for one in self._runs if not one.has_slot]:
            one.interrupt(Interruption.STOPPED)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace)
        late = [one for one in self._runs if one.has_slot]
        for one in late:
            one.interrupt(Interruption.STOPPED)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=cleanup)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=cleanup)
        return len(late)
