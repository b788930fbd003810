"""Pages of services and workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query
from sqlalchemy import Row, Table, func, select

from holdfast.servers.fields import MAX_OFFSET
from holdfast.servers.integration.schemas import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Page", "PerPage", "WithStatus", "page_of"]

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
