"""One execution of a crew: how long it may take, and what is said of it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi import HTTPException

from holdfast.servers.crews.registry import Crew, CrewError, Registry
from holdfast.servers.crews.results import NoJSONError, as_json
from holdfast.servers.executions import Answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from holdfast.servers.crews.schemas import NewExecution
    from holdfast.servers.slots import Slot

__all__ = ["CrewWork"]

logger = logging.getLogger(__name__)

LONGEST_ERROR = 2_000
"""Characters of a crew's own message."""


class _FailedError(Exception):
    """The crew failed; the message is for its caller."""


class _ExitError(Exception):
    """A crew wanted the process to end. A task that ends with such an exception would do just that."""


@dataclass(frozen=True, slots=True)
class CrewWork:
    """What a request wants done. See `holdfast.servers.executions.Work`.

    Attributes:
        registry: where the crew is looked for, at the time when it is needed.
        new: what was asked for.
        clock: tells the time, aware.
    """

    registry: Registry
    new: NewExecution
    clock: Callable[[], datetime]

    async def run(self, slot: Slot) -> Answer:
        """Executes the crew. That it fails, or takes too long, is an answer like any other.

        Raises:
            HTTPException: 404, there is none of that name.
        """
        name = self.new.crew_name
        crew = self.registry.get(name)
        if crew is None:
            names = [one.name for one in self.registry]
            raise HTTPException(404, f"Crew {name!r} not found. Available crews: {names}")
        began = time.monotonic()
        try:
            text = await self._result(crew, slot)
        except _FailedError as failure:
            return self._answer("null", str(failure), time.monotonic() - began)
        seconds = time.monotonic() - began
        logger.info("crew %r succeeded in %.2f s", name, seconds)
        return self._answer(text, None, seconds)

    def interrupted(self, seconds: float) -> Answer:
        """What is said of one whose server was stopped in the middle."""
        error = (
            f"Crew {self.new.crew_name!r} was interrupted: the server stopped while it ran. It may have been executed"
            " in part, and is not executed again under this idempotency key"
        )
        return self._answer("null", error, seconds)

    async def _result(self, crew: Crew, slot: Slot) -> str:
        """The result as JSON.

        Raises:
            _FailedError: there is none.
        """
        name = crew.name
        task = asyncio.create_task(_contained(crew, self.new.inputs, slot), name=f"crew {name}")
        # For as long as it takes, also beyond its time.
        slot.hold()
        task.add_done_callback(lambda _: slot.release())
        try:
            await asyncio.wait({task}, timeout=self.new.timeout)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if not task.done():
            task.add_done_callback(_ignore)
            task.cancel()
            logger.warning("crew %r timed out after %g s", name, self.new.timeout)
            raise _FailedError(f"Crew {name!r} timed out after {self.new.timeout:g} s")
        try:
            return as_json(task.result())
        except NoJSONError as error:
            logger.error("crew %r returned what is no JSON: %s", name, error)  # noqa: TRY400 - the line says it all
            raise _FailedError(f"the result is no JSON: {error}") from error
        except CrewError as error:
            message = _readable(str(error)) or "it does not say why"
            logger.warning("crew %r failed: %s", name, message)
            raise _FailedError(message) from error
        except BaseException as error:
            number = uuid4().hex[:12]
            logger.exception("crew %r failed, error %s", name, number)
            kind = error.__cause__ if isinstance(error, _ExitError) else error
            message = f"{type(kind).__name__}; the server's log tells more of error {number}"
            raise _FailedError(message) from error

    def _answer(self, result: str, error: str | None, seconds: float) -> Answer:
        rest: dict[str, Any] = {
            "error": error,
            "execution_time": round(seconds, 6),
            "timestamp": self.clock().isoformat().replace("+00:00", "Z"),
        }
        head = json.dumps({"success": error is None, "crew_name": self.new.crew_name}, ensure_ascii=False)
        tail = json.dumps(rest, ensure_ascii=False)
        return Answer(200, f'{head[:-1]}, "result": {result}, {tail[1:]}'.encode())


async def _contained(crew: Crew, inputs: dict[str, Any], slot: Slot) -> Any:
    try:
        return await crew.execute(inputs, slot)
    except (SystemExit, KeyboardInterrupt) as error:
        raise _ExitError from error


def _readable(text: str) -> str:
    """A message that can be sent: not without end, and nothing in it that is no character."""
    return text.strip()[:LONGEST_ERROR].encode("utf-8", "replace").decode()


def _ignore(task: asyncio.Task[Any]) -> None:
    """What comes too late is looked at, or it would be told of as an error that nobody has seen."""
    if not task.cancelled():
        task.exception()
