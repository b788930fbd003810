"""Rows of services and workflows: one by its id, or those of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query
from sqlalchemy import Row, Table, func, select

from holdfast.servers.fields import MAX_OFFSET
from holdfast.servers.integration.ids import as_uuid
from holdfast.servers.integration.problems import missing
from holdfast.servers.integration.schemas import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Page", "PerPage", "WithStatus", "found", "page_of"]

MOST_PER_PAGE = 100

Page = Annotated[int, Query(ge=1, le=MAX_OFFSET // MOST_PER_PAGE, description="Which page, from 1.")]
PerPage = Annotated[int, Query(ge=1, le=MOST_PER_PAGE, description="How many on a page.")]
WithStatus = Annotated[Status | None, Query(description="Only those in this status.")]


async def page_of(
    connection: AsyncConnection, table: Table, status: Status | None, *, page: int, per_page: int
) -> tuple[Sequence[Row[Any]], int, int]:
    """The rows of a page, the newest first; how many rows there are in all, and how many pages."""
    conditions = [] if status is None else [table.c.status == status]
    total = (await connection.execute(select(func.count()).select_from(table).where(*conditions))).scalar_one()
    found = select(table).where(*conditions).order_by(table.c.seq.desc()).limit(per_page).offset((page - 1) * per_page)
    return (await connection.execute(found)).all(), total, -(-total // per_page)


async def found(
    connection: AsyncConnection, table: Table, kind: Literal["service", "workflow"], row_id: str, *, lock: bool = False
) -> Row[Any]:
    """The row with an id. With `lock`, nobody else can change it before the transaction ends.

    Raises:
        HTTPException: 404, there is none; it says of which kind.
    """
    number = as_uuid(row_id)
    row = None
    if number is not None:
        wanted = select(table).where(table.c.id == number)
        row = (await connection.execute(wanted.with_for_update() if lock else wanted)).one_or_none()
    if row is None:
        raise missing(kind, row_id)
    return row
