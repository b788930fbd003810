"""What goes over the wire about webhooks. This part of the API is ours."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from holdfast.servers.fields import storable_text

__all__ = ["Deleted", "Delivery", "DeliveryStatus", "EventType", "NewWebhook", "Webhook"]

EventType = Literal["agent_run.completed", "agent_run.failed", "github.pr.created", "error.occurred"]

DeliveryStatus = Literal["pending", "delivered", "dead"]


class NewWebhook(BaseModel):
    """Where events are to be sent."""

    url: Annotated[str, Field(max_length=2_000, pattern="^https?://"), AfterValidator(storable_text)]
    events: Annotated[list[EventType], Field(min_length=1)] | None = Field(
        default=None, description="Which; all if not given."
    )
    secret: Annotated[str, Field(min_length=1, max_length=500, pattern="^[!-~]([ -~]*[!-~])?$")] | None = Field(
        default=None,
        description="What deliveries are signed with; without one it is the server's, in CODEGEN_WEBHOOK_SECRET.",
    )


class Webhook(BaseModel):
    """Where events are sent. Its secret is not shown.

    Attributes:
        events: which; None for all.
        own_secret: whether it was given one.
    """

    id: int
    url: str
    events: list[EventType] | None
    own_secret: bool
    created_at: datetime


class Deleted(BaseModel):
    """The answer to a deletion."""

    id: int
    deleted: bool = True


class Delivery(BaseModel):
    """One event on its way to one webhook.

    Attributes:
        message_id: header `webhook-id` of every attempt.
        payload: what is sent.
        attempts: requests sent, since it was last put on its way.
        next_attempt_at: when the next one is due; None if there will be none.
        last_status: of the last answer; None if there was none.
        last_error: why the last attempt failed; None if it did not.
        ended_at: when it was delivered, or given up.
    """

    id: int
    webhook_id: int
    message_id: str
    event_type: EventType
    payload: dict[str, Any]
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    ended_at: datetime | None
