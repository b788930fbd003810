"""What goes on, for the page: the latest runs, how everybody stands with the limits, and the latest deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel

from holdfast.servers.codegen import hooks, runs
from holdfast.servers.codegen.hooks_schemas import Delivery, Webhook
from holdfast.servers.codegen.schemas import AgentRun

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from holdfast.servers.codegen.server import CodegenServer

__all__ = ["Activity", "look"]

LATEST = 20
"""Runs, deliveries and webhooks that are shown."""


class Policy(BaseModel):
    """A rate limit."""

    name: str
    method: str
    path: str
    quota: int
    window: int


class Usage(BaseModel):
    """How a token stands with a limit.

    Attributes:
        caller: where the digest of the token begins.
        name: of the limit.
        seconds: until one more request is allowed than now.
    """

    caller: str
    name: str
    used: int
    remaining: int
    seconds: int


class Activity(BaseModel):
    """What goes on.

    Attributes:
        deliveries_by_status: how many there are in all.
    """

    now: datetime
    organization_id: int
    relaxed: bool
    runs: list[AgentRun]
    runs_in_all: int
    limits: list[Policy]
    usage: list[Usage]
    webhooks: list[Webhook]
    deliveries: list[Delivery]
    deliveries_by_status: dict[str, int]


async def look(connection: AsyncConnection, server: CodegenServer, now: datetime) -> Activity:
    """What goes on at this moment."""
    org_id = server.settings.org_id
    latest = await runs.list_runs(connection, org_id, now, user_id=None, source_type=None, skip=0, limit=LATEST)
    return Activity(
        now=now,
        organization_id=org_id,
        relaxed=server.settings.relaxed_limits,
        runs=latest.items,
        runs_in_all=latest.total,
        limits=[
            Policy(name=one.name, method=one.method, path=one.path, quota=one.quota, window=one.window)
            for one in server.limits
        ],
        usage=[
            Usage(
                caller=caller[:8],
                name=standing.limit.name,
                used=standing.used,
                remaining=standing.remaining,
                seconds=standing.wait,
            )
            for caller, standing in server.quotas.standings(now.timestamp())
        ],
        webhooks=(await hooks.list_webhooks(connection, skip=0, limit=LATEST)).items,
        deliveries=(await hooks.list_deliveries(connection, status=None, skip=0, limit=LATEST)).items,
        deliveries_by_status=await hooks.counts(connection),
    )
