"""Carries executions out: one step after the other, each a call of a service, each safe to repeat.

What happened is in the rows (see `progress`): a step that is completed there is not called again, and a result that
comes after the execution was cancelled, resumed or taken over by another process changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from holdfast.servers.integration.calling import ActionFailedError, ActionResult
from holdfast.servers.integration.executions import progress
from holdfast.servers.integration.executions.progress import Failure, Progress, StepState, SupersededError
from holdfast.servers.integration.executions.runs import Interruption, Run, Runs
from holdfast.servers.integration.executions.schemas import Status
from holdfast.servers.webapp import passes

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from holdfast.servers.integration.calling import ServiceCaller, Target
    from holdfast.servers.integration.executions.watch import Watch
    from holdfast.servers.integration.settings import Settings
    from holdfast.servers.transactions import Resources

__all__ = ["Checkpoint", "Steps"]

logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

Checkpoint = Callable[..., Awaitable[str]]
"""Calls a function with arguments and remembers under a name what it returned: the second time it is not called."""

SHORTEST_WAIT = 0.05
LONGEST_WAIT = 5.0
"""Seconds between two tries to reach a database that fails."""

OVERTIME = 2.0
"""So many seconds after its time a call is given up that should have ended by itself."""


class Steps:
    """What carries executions out in this process.

    Args:
        resources: database and clock. The timeout of an execution is counted by the clock, because it goes on while no
            process runs.
        caller: calls the services.
        settings: how long a call may take, and how large the input of a step may become.
        runs: what this process carries out.
        watch: told of every change.
    """

    def __init__(
        self, resources: Resources, caller: ServiceCaller, settings: Settings, runs: Runs, watch: Watch
    ) -> None:
        self._database = resources.database
        self._clock = resources.clock
        self._caller = caller
        self._settings = settings
        self._runs = runs
        self._watch = watch

    async def carry_out(self, execution_id: UUID, run: int, checkpoint: Checkpoint) -> str:
        """Goes through an execution from where it is to its end; the status it came to.

        A failed step is no exception: it is written down, and this returns.

        Raises:
            asyncio.CancelledError: the server stops; the execution is left as it is, for somebody else.
        """
        async with self._runs.entered(execution_id, run) as entry:
            going = await self._begin(entry)
            if going is None:
                return "SUPERSEDED"
            for step in going.steps:
                # Completed ones too: what a process has done once, its successor finds under the same numbers.
                status = await checkpoint(step.id, self.perform, entry, going, step)
                if status != Status.COMPLETED:
                    return status
            return Status.COMPLETED.value

    async def perform(self, entry: Run, going: Progress, step: StepState) -> str:
        """Does one step; the status it came to."""
        if self._runs.stopping:
            raise asyncio.CancelledError("the server stops")
        if entry.overtaken:
            fresh = await self._begin(entry)
            if fresh is None:
                return Status.CANCELLED.value
            going.steps[:] = fresh.steps
            step = going.steps[step.position]
        if step.status == Status.COMPLETED:
            return Status.COMPLETED.value
        try:
            outcome = await self._outcome(entry, going, step)
            return await self._settle(entry, going, step, outcome)
        except Exception as error:
            # Not a reason to leave the execution running for ever.
            logger.exception("execution %s, step %r failed unexpectedly", going.id, step.id)
            message = f"the server failed unexpectedly ({type(error).__name__}); its log says more"
            failure = Failure(message, may_have_executed=True, attempts=1)
            return await self._settle(entry, going, step, failure)

    async def _outcome(self, entry: Run, going: Progress, step: StepState) -> ActionResult | Failure | None:
        """What came of calling the service; None if that does not matter any more.

        Raises:
            asyncio.CancelledError: the server stops.
        """
        seconds = self._settings.action_timeout if step.timeout is None else step.timeout
        last = False
        if going.deadline_at is not None:
            left = (going.deadline_at - self._clock()).total_seconds()
            if left <= 0:
                message = f"the execution's timeout of {going.timeout:g} s was over before the step was done"
                return Failure(message)
            seconds, last = min(seconds, left), left < seconds
        size, limit = _size(step.input), self._settings.max_body_bytes
        if size > limit:
            return Failure(
                f"its input, with the outputs of all steps before it, has {size} bytes, and may have {limit}"
                " (INTEGRATION_MAX_BODY_BYTES)"
            )
        service = step.target
        if service is None:
            message = f"service {step.service!r} has no action {step.action!r} any more, or is not registered"
            return Failure(message)
        key = f"{going.id}:{step.id}" + (f":{step.key_number}" if step.key_number > 1 else "")
        call = asyncio.create_task(
            self._caller.call(service, step.input or {}, key=key, correlation_id=going.correlation_id, timeout=seconds)
        )
        waited: set[asyncio.Future[Any]] = {call, entry.interrupted}
        try:
            await asyncio.wait(waited, timeout=seconds + OVERTIME, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not call.done():
                call.cancel()
                await asyncio.wait({call}, timeout=OVERTIME)
        if call.done() and not call.cancelled():
            return _of(call, going if last else None)
        if not entry.interrupted.done():
            return Failure(f"the call did not end within {seconds:g} s", may_have_executed=True, attempts=1)
        if entry.interrupted.result() is Interruption.STOPPED:
            raise asyncio.CancelledError("the server stops")
        return None

    async def _settle(
        self, entry: Run, going: Progress, step: StepState, outcome: ActionResult | Failure | None
    ) -> str:
        """Writes down what a step came to, and begins the next one; the step's status."""
        if outcome is None:
            return Status.CANCELLED.value
        if isinstance(outcome, Failure) and step.again:
            outcome = replace(outcome, may_have_executed=True)
        following: dict[str, Any] | None = None
        if isinstance(outcome, ActionResult) and step.position + 1 < len(going.steps):
            following = {**(step.input or {}), **outcome.output}
        try:
            target = await self._write(entry, partial(self._record, going, step, outcome, following))
        except SupersededError:
            await self._write(entry, lambda tx: progress.count_attempts(tx, going, step, outcome.attempts))
            return await self._overtaken(entry, going, step)
        self._watch.tell(going.id, ended=following is None)
        if isinstance(outcome, Failure):
            return Status.FAILED.value
        step.status = Status.COMPLETED
        if following is not None:
            after = going.steps[step.position + 1]
            after.status, after.input, after.target = Status.RUNNING, following, target
        return Status.COMPLETED.value

    async def _overtaken(self, entry: Run, going: Progress, step: StepState) -> str:
        """What is to be said of a step whose result does not count.

        If another process was faster with it, only one of the two is told by dbos to go on, and nobody knows which: it
        may be this one.
        """
        async with self._database.reading() as connection:
            done = await progress.completed(connection, going, step)
        if done is None:
            return Status.CANCELLED.value
        entry.overtaken = True
        return Status.COMPLETED.value if done else await self.perform(entry, going, step)

    async def _begin(self, entry: Run) -> Progress | None:
        entry.overtaken = False
        begun = await self._write(
            entry, lambda connection: progress.begin(connection, entry.execution_id, entry.run, self._clock())
        )
        if begun is not None:
            self._watch.tell(entry.execution_id)
        return begun

    async def _record(
        self,
        going: Progress,
        step: StepState,
        outcome: ActionResult | Failure,
        following: dict[str, Any] | None,
        connection: AsyncConnection,
    ) -> Target | None:
        now = self._clock()
        if isinstance(outcome, Failure):
            await progress.fail(connection, going, step, outcome, now)
            return None
        go_on = not self._runs.stopping
        output, attempts = outcome.output, outcome.attempts
        return await progress.complete(connection, going, step, output, attempts, now, following, go_on=go_on)

    async def _write(self, entry: Run, work: Callable[[AsyncConnection], Awaitable[ResultT]]) -> ResultT:
        """The result of a transaction. A database that fails is tried again until it does not, or the server stops.

        Raises:
            asyncio.CancelledError: the server stops.
        """
        wait = SHORTEST_WAIT
        while True:
            try:
                async with self._database.writing() as connection:
                    return await work(connection)
            except (SQLAlchemyError, OSError) as error:
                if not passes(error):
                    raise
                if entry.interrupted.done():
                    raise asyncio.CancelledError("the server stops, and its database does not answer") from error
                logger.warning("execution %s waits for the database: %s", entry.execution_id, error)
            await asyncio.wait({entry.interrupted}, timeout=wait)
            wait = min(wait * 2, LONGEST_WAIT)


def _of(call: asyncio.Task[ActionResult], ends: Progress | None) -> ActionResult | Failure:
    """What a call came to. `ends` is the execution whose time was the limit of the call's, if it was."""
    error = call.exception()
    if error is None:
        return call.result()
    if not isinstance(error, ActionFailedError):
        raise error
    message = error.message
    if ends is not None and error.status is None:
        message = f"the execution's timeout of {ends.timeout:g} s was over: {message}"
    return Failure(message, error.status, error.may_have_executed, error.definite, error.attempts)


def _size(value: Any) -> int:
    """Bytes of a JSON value, in its shortest form: what fitted into a request does not grow by being looked at."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))
