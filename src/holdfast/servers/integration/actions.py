"""One call of an action, for somebody who waits for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.servers.executions import Answer
from holdfast.servers.integration.calling import ActionFailedError
from holdfast.servers.integration.ids import correlation_id
from holdfast.servers.integration.jsonschemas import violations
from holdfast.servers.integration.plans import target
from holdfast.servers.integration.problems import Problem, missing, refuse
from holdfast.servers.integration.services_store import get_service
from holdfast.servers.refusals import Refusal

if TYPE_CHECKING:
    from holdfast.servers.db import Database
    from holdfast.servers.integration.calling import ServiceCaller, Target
    from holdfast.servers.integration.schemas import ActionCall
    from holdfast.servers.slots import Slot

__all__ = ["ActionWork"]


@dataclass(frozen=True, slots=True)
class ActionWork:
    """What a request wants done. See `holdfast.servers.executions.Work`.

    Attributes:
        database: where the service is looked up.
        caller: calls it.
        service_id, action: from the path.
        call: from the body.
        key: the request's idempotency key.
        request_id: the request's id.
        timeout: seconds for the call.
    """

    database: Database
    caller: ServiceCaller
    service_id: str
    action: str
    call: ActionCall
    key: str | None
    request_id: str | None
    timeout: float

    async def run(self, slot: Slot) -> Answer:
        """Calls the action.

        Raises:
            HTTPException: 404, there is no such service or action; 409, the service is not active; 422, the input does
                not fit; 424, the call failed.
        """
        found = await self._target()
        if not found.active:
            raise Refusal(409, f"Service {found.name!r} is INACTIVE, and not called. Set its status to ACTIVE before")
        refuse(
            [
                Problem(("body", "input_data", *path), f"action {self.action!r}: input {message}", "json_schema")
                for path, message in violations(found.input_schema, self.call.input_data)
            ]
        )
        try:
            result = await self.caller.call(
                found,
                self.call.input_data,
                key=self.key,
                correlation_id=correlation_id(self.call.context, self.request_id),
                timeout=self.timeout,
            )
        except ActionFailedError as error:
            raise self._failed(found, error) from error
        return Answer(200, json.dumps(result.output, ensure_ascii=False).encode())

    def interrupted(self, seconds: float) -> Answer:
        """What is said of one whose server was stopped in the middle."""
        refusal = Refusal(
            424,
            f"action {self.action!r} was interrupted after {seconds:.3g} s: the server stopped. It may have been"
            " executed, and is not called again under this idempotency key",
            service=None,
            action=self.action,
            step=None,
            status=None,
            may_have_executed=True,
        )
        return Answer(424, refusal.body())

    def _failed(self, found: Target, error: ActionFailedError) -> Refusal:
        return Refusal(
            424,
            error.message,
            service=found.name,
            action=found.action,
            step=None,
            status=error.status,
            may_have_executed=error.may_have_executed,
        )

    async def _target(self) -> Target:
        async with self.database.reading() as connection:
            found = await target(connection, self.service_id, self.action)
            if found is not None:
                return found
            service = await get_service(connection, self.service_id)
        names = ", ".join(repr(action.name) for action in service.actions) or "none"
        text = f"Action not found: service {service.name!r} has no action {self.action!r}; it has {names}"
        raise missing("action", self.action, text)
