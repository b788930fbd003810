"""Claims on idempotency keys, for work that takes longer than a transaction may.

A claim is the key's row without an answer. It names its owner, one execution of the work, and the time until which that
is believed to be alive; a living owner puts the time off, over and over. An owner whose time is up was stopped in the
middle: its work may have been done in part, so nobody starts it again. What is stored then says so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.servers.idempotency import Key, belongs_to, idempotency_keys, refuse_reuse

__all__ = ["Kept", "extend", "give_up", "look_up", "release", "settle"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known under a key.

    Attributes:
        status, body: of the answer; None as long as there is none.
        owner: which execution the key belongs to.
        created_at: when it was claimed.
        lease_until: until when the owner is believed to be alive; None once there is an answer.
    """

    status: int | None
    body: bytes | None
    owner: str | None
    created_at: datetime
    lease_until: datetime | None


async def look_up(connection: AsyncConnection, key: Key) -> Kept | None:
    """What is known under a key; None if it is new.

    Raises:
        HTTPException: 422, the key was used for another request before.
    """
    columns = idempotency_keys.c
    found = select(
        columns.fingerprint, columns.status, columns.body, columns.owner, columns.created_at, columns.lease_until
    )
    row = (await connection.execute(found.where(belongs_to(key)))).one_or_none()
    if row is None:
        return None
    refuse_reuse(key, row.fingerprint)
    return Kept(row.status, row.body, row.owner, row.created_at, row.lease_until)


async def extend(connection: AsyncConnection, owners: Collection[str], until: datetime) -> None:
    """Says of owners that they are alive."""
    columns = idempotency_keys.c
    theirs = and_(columns.owner.in_(owners), columns.status.is_(None))
    await connection.execute(update(idempotency_keys).where(theirs).values(lease_until=until))


async def settle(connection: AsyncConnection, key: Key, owner: str, status: int, body: bytes) -> bool:
    """Stores the owner's own answer, also in place of another one's guess; whether the claim was still there."""
    return await _answer(connection, key, owner, status, body)


async def give_up(connection: AsyncConnection, key: Key, owner: str, now: datetime, status: int, body: bytes) -> bool:
    """Stores an answer for an owner whose time is up; False if it has come back to life, or has answered."""
    columns = idempotency_keys.c
    return await _answer(connection, key, owner, status, body, columns.status.is_(None), columns.lease_until < now)


async def release(connection: AsyncConnection, key: Key, owner: str) -> None:
    """Forgets a claim: nothing was done."""
    await connection.execute(delete(idempotency_keys).where(belongs_to(key), idempotency_keys.c.owner == owner))


async def _answer(
    connection: AsyncConnection, key: Key, owner: str, status: int, body: bytes, *conditions: ColumnElement[bool]
) -> bool:
    change = update(idempotency_keys).where(belongs_to(key), idempotency_keys.c.owner == owner, *conditions)
    result = await connection.execute(change.values(status=status, body=body, lease_until=None))
    return result.rowcount == 1
