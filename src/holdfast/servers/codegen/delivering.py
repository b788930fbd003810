"""Deliveries on their way: which webhook is served by whom, and when what failed is tried again.

What is promised to a receiver:

- An event is sent at least once, and more than once only if an attempt failed, or this server died with an attempt
  under way. The header `webhook-id` is the same every time.
- Deliveries to one webhook are sent one at a time, the oldest first. One that failed does not hold up those behind it:
  it comes again when it is due, so after a failure the order is not kept.
- Delivered is what is answered with a 2xx in time. Everything else has failed: other statuses, redirects, which are
  not followed, no connection, no answer in time.
- What failed is tried again after `backoff` x 4^(n-1) seconds, give or take a fifth, and not before a `Retry-After` of
  up to an hour. After the last attempt it is dead. It is dead at once after a 410, and where the guard forbids the
  address.
- A dead delivery stays in the list, and can be delivered anew.

All this is in the database. Servers that share one share the work: whoever serves a webhook has a claim on it, which
lasts a little longer than an attempt may take.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import Row, and_, exists, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from holdfast.servers.codegen.sending import Attempt, Sender
from holdfast.servers.codegen.tables import deliveries, webhooks
from holdfast.servers.removal import remove

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from sqlalchemy import ColumnElement

    from holdfast.servers.codegen.settings import Settings
    from holdfast.servers.db import Database
    from holdfast.servers.outbound.guard import Guard

__all__ = ["Courier", "purge_deliveries"]

logger = logging.getLogger(__name__)

MULTIPLIER = 4.0
SPREAD = 0.2
"""By such a share waits differ, so that receivers that failed together are not called together."""

LONGEST_WAIT = 3_600.0
"""Seconds. Neither backoff nor `Retry-After` goes beyond."""

MARGIN_SECONDS = 5.0
"""So much longer than an attempt a claim lasts."""

GRACE_SECONDS = 2.0
"""So long attempts under way may go on when the server stops."""

AT_ONCE = 16
"""Webhooks served at the same time."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """When what failed is tried again.

    Attributes:
        attempts: how many there are in all.
        base: seconds before the second.
        chance: gives a number from 0 to 1.
    """

    attempts: int
    base: float
    chance: Callable[[], float] = random.random

    def wait(self, attempts: int, retry_after: float | None) -> float | None:
        """Seconds to the next attempt after so many; None if there is none."""
        if attempts >= self.attempts:
            return None
        spread = 1.0 - SPREAD + 2.0 * SPREAD * self.chance()
        wait = min(self.base * MULTIPLIER ** (attempts - 1) * spread, LONGEST_WAIT)
        return max(wait, min(retry_after or 0.0, LONGEST_WAIT))


class Courier:
    """Delivers what is due.

    Args:
        database: where deliveries are.
        clock: tells the time, aware.
        settings: how often, how fast, and with which secret.
        guard: judges the addresses that are connected to.
        tls: what certificates are checked with.
        chance: gives a number from 0 to 1, by which waits are spread.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        settings: Settings,
        guard: Guard,
        tls: ssl.SSLContext,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._guard = guard
        self._tls = tls
        self._backoff = Backoff(settings.delivery_attempts, settings.delivery_backoff, chance)
        self._lease = timedelta(seconds=settings.delivery_timeout + MARGIN_SECONDS)
        self._owner = uuid4().hex
        self._serving: dict[int, asyncio.Task[None]] = {}
        self._stopping = False

    async def start_due(self) -> None:
        """Begins to serve every webhook with a delivery that is due, if nobody does."""
        now = self._clock()
        due = exists().where(deliveries.c.webhook_id == webhooks.c.id, _due(now))
        found = select(webhooks.c.id).where(due, _free(now)).order_by(webhooks.c.id)
        async with self._database.reading() as connection:
            waiting = list((await connection.execute(found)).scalars())
        for webhook_id in waiting:
            if webhook_id not in self._serving and len(self._serving) < AT_ONCE and not self._stopping:
                self._serving[webhook_id] = asyncio.create_task(self._serve(webhook_id))

    async def settle(self) -> None:
        """Returns when nobody is served any more."""
        while self._serving:
            await asyncio.wait(self._serving.values())

    async def stop(self) -> None:
        """Ends the attempts that are under way, the last ones: what is cut off is tried again by whoever comes next."""
        self._stopping = True
        if self._serving:
            await asyncio.wait(self._serving.values(), timeout=GRACE_SECONDS)
            for task in self._serving.values():
                task.cancel()
            await self.settle()

    async def _serve(self, webhook_id: int) -> None:
        try:
            webhook = await self._claim(webhook_id)
            if webhook is None:
                return
            try:
                async with Sender(webhook.url, self._guard, self._tls, self._settings.delivery_timeout) as sender:
                    while not self._stopping and (delivery := await self._next(webhook_id)) is not None:
                        attempt = await self._attempt(sender, webhook, delivery)
                        await self._record(delivery, attempt)
            finally:
                await self._release(webhook_id)
        except (SQLAlchemyError, OSError) as error:
            logger.warning("webhook %d cannot be served for now: %s", webhook_id, error)
        finally:
            del self._serving[webhook_id]

    async def _attempt(self, sender: Sender, webhook: Row[Any], delivery: Row[Any]) -> Attempt:
        secret = webhook.secret or self._settings.default_secret
        if secret is None:
            return Attempt(error="there is no secret to sign with: set CODEGEN_WEBHOOK_SECRET")
        return await sender.send(delivery.payload, delivery.message_id, secret, self._clock())

    async def _claim(self, webhook_id: int) -> Row[Any] | None:
        now = self._clock()
        claim = (
            update(webhooks)
            .where(webhooks.c.id == webhook_id, _free(now))
            .values(owner=self._owner, busy_until=now + self._lease)
            .returning(webhooks)
        )
        async with self._database.writing() as connection:
            row: Row[Any] | None = (await connection.execute(claim)).one_or_none()
        return row

    async def _release(self, webhook_id: int) -> None:
        mine = and_(webhooks.c.id == webhook_id, webhooks.c.owner == self._owner)
        async with self._database.writing() as connection:
            await connection.execute(update(webhooks).where(mine).values(owner=None, busy_until=None))

    async def _next(self, webhook_id: int) -> Row[Any] | None:
        """The next delivery, and the claim for as long as it may take; None if there is none, or the claim is lost."""
        now = self._clock()
        mine = and_(webhooks.c.id == webhook_id, webhooks.c.owner == self._owner)
        found = select(deliveries).where(deliveries.c.webhook_id == webhook_id, _due(now)).order_by(deliveries.c.id)
        async with self._database.writing() as connection:
            held = await connection.execute(update(webhooks).where(mine).values(busy_until=now + self._lease))
            return (await connection.execute(found.limit(1))).one_or_none() if held.rowcount else None

    async def _record(self, delivery: Row[Any], attempt: Attempt) -> None:
        now = self._clock()
        attempts = delivery.attempts + 1
        values: dict[str, Any] = {"attempts": attempts, "last_status": attempt.status, "last_error": attempt.error}
        wait = None if attempt.final else self._backoff.wait(attempts, attempt.retry_after)
        if attempt.error is None:
            values |= {"status": "delivered", "next_attempt_at": None, "ended_at": now}
        elif wait is not None:
            values |= {"next_attempt_at": now + timedelta(seconds=wait)}
        else:
            values |= {"status": "dead", "next_attempt_at": None, "ended_at": now}
            logger.warning(
                "delivery %d to webhook %d is dead after %d attempts: %s",
                delivery.id,
                delivery.webhook_id,
                attempts,
                attempt.error,
            )
        # One that was put on its way anew meanwhile has another payload, and another time at which it is due.
        same = and_(
            deliveries.c.id == delivery.id,
            deliveries.c.status == "pending",
            deliveries.c.next_attempt_at == delivery.next_attempt_at,
        )
        async with self._database.writing() as connection:
            await connection.execute(update(deliveries).where(same).values(values))


async def purge_deliveries(database: Database, before: datetime) -> None:
    """Removes deliveries that came to their end before a time."""
    await remove(database, deliveries, deliveries.c.ended_at < before)


def _due(now: datetime) -> ColumnElement[bool]:
    return and_(deliveries.c.status == "pending", deliveries.c.next_attempt_at <= now)


def _free(now: datetime) -> ColumnElement[bool]:
    return or_(webhooks.c.busy_until.is_(None), webhooks.c.busy_until <= now)
