"""Endpoints for webhooks, their deliveries, and what goes on. They are ours; the official API has none like them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from starlette.responses import Response

from holdfast.servers.codegen import activity, hooks
from holdfast.servers.codegen.destinations import Destination, ForbiddenEndpointError
from holdfast.servers.codegen.hooks_schemas import Deleted, Delivery, DeliveryStatus, NewWebhook, Webhook
from holdfast.servers.codegen.router import BEARER, NOT_FOUND, REFUSED, Server
from holdfast.servers.codegen.schemas import Limit, Page
from holdfast.servers.codegen.tokens import PREFIX
from holdfast.servers.fields import Offset
from holdfast.servers.transactions import Once, Unkeyed
from holdfast.service.webhooks import sign_webhook

__all__ = ["router"]

router = APIRouter(prefix=PREFIX, tags=["webhooks"], responses=REFUSED, dependencies=[BEARER])


@router.post("/webhooks", status_code=201, response_model=Webhook)
async def create_webhook(new: NewWebhook, server: Server, transactions: Once) -> Response:
    """Have events sent to a URL from now on."""
    try:
        await Destination.parse(new.url).check(server.guard)
    except ForbiddenEndpointError as error:
        raise _refusal("url", f"the URL {error}", "url_forbidden") from error
    if new.secret is None and server.settings.default_secret is None:
        message = "is needed: give one, or start the server with CODEGEN_WEBHOOK_SECRET"
        raise _refusal("secret", message, "secret_missing")
    if new.secret is not None:
        try:
            sign_webhook(b"{}", new.secret)
        except ValueError as error:
            raise _refusal("secret", str(error), "secret_unusable") from error
    return await transactions.once(lambda tx: hooks.create_webhook(tx, new, transactions.clock()), status=201)


@router.get("/webhooks")
async def list_webhooks(transactions: Unkeyed, skip: Offset = 0, limit: Limit = 100) -> Page[Webhook]:
    """All webhooks, the newest first."""
    return await transactions.read(lambda tx: hooks.list_webhooks(tx, skip=skip, limit=limit))


@router.delete("/webhooks/{webhook_id}", response_model=Deleted, responses=NOT_FOUND)
async def delete_webhook(webhook_id: int, transactions: Once) -> Response:
    """Remove a webhook with its deliveries."""
    return await transactions.once(lambda tx: hooks.delete_webhook(tx, webhook_id))


@router.get("/webhooks/deliveries")
async def list_deliveries(
    transactions: Unkeyed,
    status: Annotated[DeliveryStatus | None, Query(description="Only these; `dead` is the dead-letter list.")] = None,
    skip: Offset = 0,
    limit: Limit = 100,
) -> Page[Delivery]:
    """Deliveries, the newest first."""
    return await transactions.read(lambda tx: hooks.list_deliveries(tx, status=status, skip=skip, limit=limit))


@router.post(
    "/webhooks/deliveries/{delivery_id}/redeliver", status_code=202, response_model=Delivery, responses=NOT_FOUND
)
async def redeliver(delivery_id: int, server: Server, transactions: Once) -> Response:
    """Put a delivery on its way anew, with all its attempts, whatever became of it before."""
    answer = await transactions.once(lambda tx: hooks.redeliver(tx, delivery_id, transactions.clock()), status=202)
    server.hurry()
    return answer


@router.get("/activity")
async def get_activity(server: Server, transactions: Unkeyed) -> activity.Activity:
    """What goes on: the latest runs and deliveries, and how every token stands with the rate limits."""
    return await transactions.read(lambda tx: activity.look(tx, server, transactions.clock()))


def _refusal(field: str, message: str, kind: str) -> HTTPException:
    return HTTPException(422, [{"loc": ["body", field], "msg": message, "type": kind}])
