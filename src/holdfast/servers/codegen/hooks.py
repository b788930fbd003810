"""What webhooks and deliveries do: functions that work in the transaction they are handed."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.servers.codegen.hooks_schemas import Deleted, Delivery, NewWebhook, Webhook
from holdfast.servers.codegen.runs import LARGEST_ID, missing, shown
from holdfast.servers.codegen.schemas import Page, page_of
from holdfast.servers.codegen.tables import deliveries, runs, webhooks

if TYPE_CHECKING:
    from holdfast.servers.codegen.schemas import AgentRun

__all__ = [
    "announce",
    "counts",
    "create_webhook",
    "delete_webhook",
    "list_deliveries",
    "list_webhooks",
    "next_due",
    "redeliver",
]

ANNOUNCED_AT_ONCE = 50
"""Runs in one transaction."""


async def create_webhook(connection: AsyncConnection, new: NewWebhook, now: datetime) -> Webhook:
    """A new webhook; it gets what happens from now on."""
    events = None if new.events is None else list(dict.fromkeys(new.events))
    values = {"url": new.url, "events": events, "secret": new.secret, "created_at": now}
    return _webhook((await connection.execute(insert(webhooks).values(values).returning(webhooks))).one())


async def list_webhooks(connection: AsyncConnection, *, skip: int, limit: int) -> Page[Webhook]:
    """All webhooks, the newest first."""
    found = select(webhooks).order_by(webhooks.c.id.desc()).limit(limit).offset(skip)
    items = [_webhook(row) for row in await connection.execute(found)]
    return page_of(items, await _count(connection, webhooks.c.id, []), skip, limit)


async def delete_webhook(connection: AsyncConnection, webhook_id: int) -> Deleted:
    """Removes a webhook and its deliveries; what is just being sent is on its way.

    Raises:
        Refusal: 404, there is none.
    """
    known = 0 < webhook_id <= LARGEST_ID
    if not known or not (await connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))).rowcount:
        raise missing(f"Webhook not found: {webhook_id}")
    return Deleted(id=webhook_id)


async def list_deliveries(connection: AsyncConnection, *, status: str | None, skip: int, limit: int) -> Page[Delivery]:
    """Deliveries, the newest first."""
    conditions = [] if status is None else [deliveries.c.status == status]
    found = select(deliveries).where(*conditions).order_by(deliveries.c.id.desc()).limit(limit).offset(skip)
    items = [_delivery(row) for row in await connection.execute(found)]
    return page_of(items, await _count(connection, deliveries.c.id, conditions), skip, limit)


async def redeliver(connection: AsyncConnection, delivery_id: int, now: datetime) -> Delivery:
    """Puts a delivery on its way anew, now, with all its attempts, whatever became of it before.

    Its id stays, so that a receiver knows an event that it has seen; its payload's timestamp is the present, so that
    one is not refused that it has not.

    Raises:
        Refusal: 404, there is none.
    """
    found = select(deliveries).where(deliveries.c.id == delivery_id).with_for_update()
    row = (await connection.execute(found)).one_or_none() if 0 < delivery_id <= LARGEST_ID else None
    if row is None:
        raise missing(f"Delivery not found: {delivery_id}")
    values = {
        "payload": _encoded({**json.loads(row.payload), "timestamp": now.isoformat()}),
        "status": "pending",
        "attempts": 0,
        "next_attempt_at": now,
        "last_error": None,
        "last_status": None,
        "ended_at": None,
    }
    change = update(deliveries).where(deliveries.c.id == row.id).values(values).returning(deliveries)
    return _delivery((await connection.execute(change)).one())


async def announce(connection: AsyncConnection, now: datetime, run_id: int | None = None) -> int:
    """Puts the events of runs that have ended on their way to whoever wants them, in the order of their ends.

    Args:
        connection: in a writing transaction.
        now: the time.
        run_id: of the only one that is looked at; None for all.

    Returns:
        How many runs that were; there may be more.
    """
    due = select(runs).where(runs.c.announced_at.is_(None), runs.c.ends_at <= now)
    if run_id is not None:
        due = due.where(runs.c.id == run_id)
    due = due.order_by(runs.c.ends_at, runs.c.id).limit(ANNOUNCED_AT_ONCE).with_for_update(skip_locked=True)
    ended = (await connection.execute(due)).all()
    if not ended:
        return 0
    receivers = (await connection.execute(select(webhooks.c.id, webhooks.c.events).order_by(webhooks.c.id))).all()
    made = [
        _new_delivery(receiver.id, event_type, row.ends_at, data, now)
        for row in ended
        for event_type, data in _events(row, shown(row, now))
        for receiver in receivers
        if receiver.events is None or event_type in receiver.events
    ]
    if made:
        await connection.execute(insert(deliveries), made)
    told = update(runs).where(runs.c.id.in_([row.id for row in ended])).values(announced_at=now)
    await connection.execute(told)
    return len(ended)


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When there is something to do again: a run ends, or an attempt is due. None if there is nothing."""
    end = select(func.min(runs.c.ends_at)).where(runs.c.announced_at.is_(None))
    attempt = select(func.min(deliveries.c.next_attempt_at)).where(deliveries.c.status == "pending")
    times = [(await connection.execute(one)).scalar_one() for one in (end, attempt)]
    return min((time for time in times if time is not None), default=None)


async def counts(connection: AsyncConnection) -> dict[str, int]:
    """How many deliveries there are of each status."""
    found = select(deliveries.c.status, func.count()).group_by(deliveries.c.status)
    return {"pending": 0, "delivered": 0, "dead": 0} | {row[0]: row[1] for row in await connection.execute(found)}


def _events(row: Row[Any], run: AgentRun) -> list[tuple[str, dict[str, Any]]]:
    data = run.model_dump(mode="json")
    if row.outcome == "FAILED":
        error = {"agent_run_id": run.id, "organization_id": run.organization_id, "message": run.result}
        return [("agent_run.failed", data), ("error.occurred", error)]
    if row.outcome != "COMPLETE":
        return []
    opened = [one for one in run.github_pull_requests if one.created_at == row.ends_at]
    pull_requests = [
        (
            "github.pr.created",
            {"agent_run_id": run.id, "organization_id": run.organization_id, **one.model_dump(mode="json")},
        )
        for one in opened
    ]
    return [*pull_requests, ("agent_run.completed", data)]


def _new_delivery(webhook_id: int, event_type: str, at: datetime, data: object, now: datetime) -> dict[str, Any]:
    return {
        "webhook_id": webhook_id,
        "message_id": f"msg_{uuid4().hex}",
        "event_type": event_type,
        "payload": _encoded({"event_type": event_type, "timestamp": at.isoformat(), "data": data}),
        "status": "pending",
        "attempts": 0,
        "next_attempt_at": now,
        "created_at": now,
    }


def _encoded(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(
        id=row.id, url=row.url, events=row.events, own_secret=row.secret is not None, created_at=row.created_at
    )


def _delivery(row: Row[Any]) -> Delivery:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's name for public access by column
    return Delivery.model_validate({**values, "payload": json.loads(row.payload)})


async def _count(connection: AsyncConnection, column: ColumnElement[int], conditions: list[ColumnElement[bool]]) -> int:
    return (await connection.execute(select(func.count(column)).where(*conditions))).scalar_one()
