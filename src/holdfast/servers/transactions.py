"""What an endpoint does its work in: a transaction of its service's database, once per idempotency key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar, cast
from urllib.parse import quote

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from holdfast.servers.db import Database
from holdfast.servers.idempotency import Key, KeyHeader, Work, execute_once

__all__ = ["Once", "RequestKey", "Resources", "Transactions", "Unkeyed"]

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Resources:
    """What the endpoints of one app share, as `app.state.resources`.

    Attributes:
        service: name under which idempotency keys are kept.
        database: of the service.
        clock: tells the time, aware.
    """

    service: str
    database: Database
    clock: Callable[[], datetime]


class Transactions:
    """Transactions for one request, as a dependency of its endpoint: `transactions: Unkeyed`, or `transactions: Once`.

    Attributes:
        clock: tells the time, aware. What waits for its turn asks it afterwards.
        key: of the request; None if it has none, or the endpoint takes none.
    """

    def __init__(self, resources: Resources, key: Key | None = None) -> None:
        self.clock = resources.clock
        self.key = key
        self._database = resources.database

    async def read(self, work: Callable[[AsyncConnection], Awaitable[ResultT]]) -> ResultT:
        """The result of work that changes nothing."""
        async with self._database.reading() as connection:
            return await work(connection)

    async def write(self, work: Callable[[AsyncConnection], Awaitable[ResultT]]) -> ResultT:
        """The result of work that is done however often it is asked for."""
        async with self._database.writing() as connection:
            return await work(connection)

    async def once(self, work: Work, *, status: int = 200) -> Response:
        """The answer to work that is done once per key. See `holdfast.servers.idempotency`."""
        async with self._database.writing() as connection:
            return await execute_once(connection, self.key, self.clock(), work, status)


def _resources(request: Request) -> Resources:
    return cast("Resources", request.app.state.resources)


# None of these is a plain function: FastAPI calls those in a thread.
async def _unkeyed(request: Request) -> Transactions:
    return Transactions(_resources(request))


async def _key(request: Request, idempotency_key: KeyHeader = None, x_request_id: KeyHeader = None) -> Key | None:
    header = idempotency_key or x_request_id
    if not header:
        return None
    caller = getattr(request.state, "caller", "")
    # Quoted: a path may have anything in it, also what a database cannot keep.
    operation = f"{request.method} {quote(request.scope['path'])}"
    query = cast("bytes", request.scope["query_string"])
    return Key.of(_resources(request).service, caller, operation, header, query, await request.body())


RequestKey = Annotated[Key | None, Depends(_key)]
"""The idempotency key of a request; None if it has none."""


async def _once(request: Request, key: RequestKey) -> Transactions:
    return Transactions(_resources(request), key)


Unkeyed = Annotated[Transactions, Depends(_unkeyed)]
"""For endpoints that look at no idempotency key."""

Once = Annotated[Transactions, Depends(_once)]
"""For endpoints that write."""
