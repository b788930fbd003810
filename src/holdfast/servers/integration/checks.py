"""What the registry finds wrong with a service, before it is stored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.servers.integration.jsonschemas import check_schema
from holdfast.servers.integration.problems import Problem
from holdfast.servers.outbound.guard import ForbiddenEndpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.servers.integration.schemas import Action, NewService, ServiceChanges
    from holdfast.servers.outbound.guard import Guard

__all__ = ["service_problems"]


async def service_problems(guard: Guard, given: NewService | ServiceChanges) -> list[Problem]:
    """Everything that is wrong with what is given of a service: its endpoint, its actions and their schemas.

    Names are resolved, so this belongs into no transaction.
    """
    problems: list[Problem] = []
    if "endpoint" in given.model_fields_set:
        try:
            await guard.check(given.endpoint)
        except ForbiddenEndpointError as error:
            problems.append(Problem(("body", "endpoint"), f"endpoint {error}", "forbidden_endpoint"))
    if "actions" in given.model_fields_set:
        problems += await _action_problems(given.actions)
    return problems


async def _action_problems(actions: Sequence[Action]) -> list[Problem]:
    problems: list[Problem] = []
    first: dict[str, int] = {}
    for index, action in enumerate(actions):
        before = first.setdefault(action.name, index)
        if before != index:
            message = f"action {action.name!r}: action {before} has the same name; give each one of its own"
            problems.append(Problem(("body", "actions", index, "name"), message))
        # A schema may take half a second, and there may be many: others have their turn in between.
        await asyncio.sleep(0)
        for field, schema in (("input_schema", action.input_schema), ("output_schema", action.output_schema)):
            for path, message in check_schema(schema):
                loc = ("body", "actions", index, field, *path)
                problems.append(Problem(loc, f"action {action.name!r}: {message}", "json_schema"))
    return problems
