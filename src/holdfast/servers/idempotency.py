"""Idempotency keys: a repeated request is answered with the first one's answer, and does nothing.

The key is the header `Idempotency-Key`, else `X-Request-ID`. It belongs to one caller and one operation (method and
path) of one service. The answer is stored in the same transaction as what it answers for, so a server that dies has
either done both or neither. A duplicate that arrives while the first is being worked on waits for it.

Answers 408, 429 and 503 say "try again", so they are not stored, and neither is what failed unexpectedly: then nothing
was done.

Work that takes longer than a transaction may has a claim on its key: see `holdfast.servers.claims`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import Header, HTTPException
from pydantic import BaseModel
from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from holdfast.servers.columns import Timestamp
from holdfast.servers.refusals import body_of
from holdfast.servers.removal import remove

if TYPE_CHECKING:
    from holdfast.servers.db import Database

__all__ = [
    "KEPT",
    "NOT_STORED",
    "REPLAYED_HEADER",
    "Key",
    "KeyHeader",
    "belongs_to",
    "execute_once",
    "idempotency_keys",
    "insert_key",
    "metadata",
    "purge",
    "refuse_reuse",
]

KEPT = timedelta(hours=24)
"""For so long an answer is kept. A client that repeats a request later has long given it up."""

NOT_STORED = frozenset({408, 429, 503})
"""Statuses of answers that are not kept: they ask for another try."""

REPLAYED_HEADER = "Idempotent-Replayed"
"""Set to `true` on an answer that is a repetition."""

KeyHeader = Annotated[
    str | None, Header(max_length=255, description="Requests with the same key are executed once and answered alike.")
]
"""A header with a key, as a parameter of an endpoint."""

metadata = MetaData()

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("service", Text, primary_key=True),
    Column("caller", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary),
    Column("created_at", Timestamp, nullable=False, index=True),
    Column("owner", Text),
    Column("lease_until", Timestamp),
)

Work = Callable[[AsyncConnection], Awaitable[BaseModel]]


@dataclass(frozen=True, slots=True)
class Key:
    """What makes two requests the same.

    Attributes:
        service: whose keys these are; services may share a database.
        caller: who asks, so that nobody is given the answer to somebody else.
        operation: method and path.
        key: from the header.
        fingerprint: of everything else that decides what is done: query and body.
    """

    service: str
    caller: str
    operation: str
    key: str
    fingerprint: bytes

    @classmethod
    def of(cls, service: str, caller: str, operation: str, key: str, query: bytes, body: bytes) -> Key:
        """The key of a request."""
        # The length keeps a query and a body apart that look the same put together.
        digest = hashlib.sha256(f"{len(query)}:".encode() + query + body).digest()
        return cls(service, caller, operation, key, digest)


async def execute_once(
    connection: AsyncConnection, key: Key | None, now: datetime, work: Work, status: int
) -> Response:
    """The answer to a request: the stored one if there is one, else that of the work, which is stored.

    Args:
        connection: in the writing transaction in which the work is done.
        key: None if the request carries none; then the work is simply done.
        now: for the age of the stored answer.
        work: what to do. Its model becomes the answer's body. An `HTTPException` it raises undoes what it wrote, and
            is the answer.
        status: of the answer to work that succeeds.

    Raises:
        HTTPException: 422, the key was used for another request before; or, where it is not to be stored, the work's.
    """
    if key is None:
        return _json(status, await _body(work, connection))
    if not await insert_key(connection, key, now):
        return await _stored(connection, key)
    headers: Mapping[str, str] | None = None
    try:
        async with connection.begin_nested():
            body = await _body(work, connection)
    except HTTPException as error:
        if error.status_code in NOT_STORED:
            raise
        status, headers = error.status_code, error.headers
        body = body_of(error)
    await connection.execute(update(idempotency_keys).where(belongs_to(key)).values(status=status, body=body))
    return _json(status, body, headers)


async def purge(database: Database, service: str, now: datetime) -> None:
    """Forget a service's answers that are older than `KEPT`. What is still being worked on has none."""
    columns = idempotency_keys.c
    over = or_(columns.lease_until.is_(None), columns.lease_until < now - KEPT)
    # No condition for the primary key, which begins with the service: an index of the times finds fewer.
    theirs = columns.service.concat("") == service
    await remove(database, idempotency_keys, and_(theirs, columns.created_at < now - KEPT, over))


async def insert_key(
    connection: AsyncConnection,
    key: Key,
    now: datetime,
    *,
    owner: str | None = None,
    lease_until: datetime | None = None,
) -> bool:
    """Whether the key is new. In PostgreSQL this waits for a transaction that has claimed it and is not finished."""
    values = {
        "service": key.service,
        "caller": key.caller,
        "operation": key.operation,
        "key": key.key,
        "fingerprint": key.fingerprint,
        "created_at": now,
        "owner": owner,
        "lease_until": lease_until,
    }
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    result = await connection.execute(make(idempotency_keys).values(values).on_conflict_do_nothing())
    return result.rowcount == 1


async def _stored(connection: AsyncConnection, key: Key) -> Response:
    columns = idempotency_keys.c
    found = select(columns.fingerprint, columns.status, columns.body).where(belongs_to(key))
    fingerprint, status, body = (await connection.execute(found)).one()
    refuse_reuse(key, fingerprint)
    return _json(status, body, {REPLAYED_HEADER: "true"})


def refuse_reuse(key: Key, fingerprint: bytes) -> None:
    """Compares a request with what its key was used for before.

    Raises:
        HTTPException: 422, that was something else.
    """
    if fingerprint != key.fingerprint:
        message = f"{key.key!r} was the key of another {key.operation} before: query or body differ"
        problem = {"loc": ["header", "idempotency-key"], "msg": message, "type": "idempotency_key_reused"}
        raise HTTPException(422, [problem])


async def _body(work: Work, connection: AsyncConnection) -> bytes:
    return (await work(connection)).model_dump_json().encode()


def _json(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


def belongs_to(key: Key) -> ColumnElement[bool]:
    """The condition for the row of a key."""
    columns = idempotency_keys.c
    return and_(
        columns.service == key.service,
        columns.caller == key.caller,
        columns.operation == key.operation,
        columns.key == key.key,
    )
