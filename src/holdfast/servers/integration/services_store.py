"""Services in the database: functions that work in a transaction, and raise the answer if they cannot."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from fastapi import HTTPException
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from holdfast.servers.integration.listing import found, page_of
from holdfast.servers.integration.problems import Problem, refuse
from holdfast.servers.integration.schemas import (
    Action,
    Deleted,
    NewService,
    Service,
    ServiceChanges,
    ServicePage,
    Status,
)
from holdfast.servers.integration.tables import services, workflow_steps, workflows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["change_service", "delete_service", "get_service", "list_services", "register_service"]

MOST_NAMED = 5
"""Workflows that are named in a 409."""


async def register_service(
    connection: AsyncConnection, new: NewService, problems: Sequence[Problem], now: datetime
) -> Service:
    """A new service.

    Args:
        connection: in a writing transaction.
        new: what it is.
        problems: found beforehand, outside of the transaction.
        now: the time.

    Raises:
        HTTPException: 422, there are problems; 409, the name is taken.
    """
    refuse(problems)
    values = {
        **new.model_dump(mode="json"),
        "id": uuid4(),
        "created_at": now,
        "updated_at": now,
    }
    await _refuse_taken(connection, new.name)
    try:
        async with connection.begin_nested():
            row = (await connection.execute(insert(services).values(values).returning(services))).one()
    except IntegrityError as error:
        # Another server was faster.
        raise _taken(new.name) from error
    return Service.model_validate(row)


async def get_service(connection: AsyncConnection, service_id: str) -> Service:
    """A service.

    Raises:
        HTTPException: 404, there is none.
    """
    return Service.model_validate(await found(connection, services, "service", service_id))


async def list_services(connection: AsyncConnection, *, status: Status | None, page: int, per_page: int) -> ServicePage:
    """Services, the newest first."""
    rows, total, pages = await page_of(connection, services, status, page=page, per_page=per_page)
    items = [Service.model_validate(row) for row in rows]
    return ServicePage(items=items, total=total, page=page, per_page=per_page, pages=pages)


async def change_service(
    connection: AsyncConnection, service_id: str, changes: ServiceChanges, problems: Sequence[Problem], now: datetime
) -> Service:
    """A service, with what was given for it. Workflows follow it to a new name.

    Raises:
        HTTPException: 404, there is none; 422, there are problems; 409, the name is taken, or workflows use an action
            that it would lose.
    """
    row = await found(connection, services, "service", service_id, lock=True)
    refuse(problems)
    values = changes.model_dump(mode="json", exclude_unset=True)
    if "name" in values and values["name"] != row.name:
        await _refuse_taken(connection, values["name"])
    if "actions" in values:
        await _refuse_lost(connection, row, changes.actions)
    if not values:
        return Service.model_validate(row)
    changed = update(services).where(services.c.id == row.id).values(**values, updated_at=now).returning(services)
    try:
        async with connection.begin_nested():
            return Service.model_validate((await connection.execute(changed)).one())
    except IntegrityError as error:
        raise _taken(values["name"]) from error


async def delete_service(connection: AsyncConnection, service_id: str) -> Deleted:
    """Removes a service.

    Raises:
        HTTPException: 404, there is none; 409, workflows use it.
    """
    row = await found(connection, services, "service", service_id, lock=True)
    users = await _users(connection, row.id)
    if users:
        raise HTTPException(
            409, f"Service {row.name!r} is used by {_named(users)}. Delete these, or change their steps, before it"
        )
    await connection.execute(delete(services).where(services.c.id == row.id))
    return Deleted(message=f"Service deregistered: {service_id}")


async def _refuse_taken(connection: AsyncConnection, name: str) -> None:
    taken = await connection.execute(select(services.c.id).where(services.c.name == name))
    if taken.one_or_none() is not None:
        raise _taken(name)


def _taken(name: str) -> HTTPException:
    return HTTPException(409, f"A service is called {name!r} already. Change that one, or choose another name")


async def _refuse_lost(connection: AsyncConnection, row: Row[Any], actions: Sequence[Action]) -> None:
    kept = {action.name for action in actions}
    lost = [action["name"] for action in row.actions if action["name"] not in kept]
    told = []
    for name in lost:
        users = await _users(connection, row.id, name)
        if users:
            told.append(f"action {name!r} is used by {_named(users)}")
    if told:
        raise HTTPException(
            409, f"Service {row.name!r} would lose what is needed: {'; '.join(told)}. Keep it, or change these first"
        )


async def _users(
    connection: AsyncConnection, service_id: UUID, action: str | None = None
) -> tuple[list[tuple[str, UUID]], int] | None:
    """The first workflows that use a service, or one of its actions, and how many do; None where none does."""
    uses = [workflow_steps.c.service_id == service_id]
    if action is not None:
        uses.append(workflow_steps.c.action == action)
    theirs = workflows.c.id.in_(select(workflow_steps.c.workflow_id).where(*uses))
    total = (await connection.execute(select(func.count()).select_from(workflows).where(theirs))).scalar_one()
    if not total:
        return None
    named = select(workflows.c.name, workflows.c.id).where(theirs).order_by(workflows.c.seq).limit(MOST_NAMED)
    return [(row.name, row.id) for row in await connection.execute(named)], total


def _named(users: tuple[list[tuple[str, UUID]], int]) -> str:
    named, total = users
    listed = ", ".join(f"{name!r} ({number})" for name, number in named)
    more = f" and {total - len(named)} more" if total > len(named) else ""
    return f"workflow{'s' if total > 1 else ''} {listed}{more}"
