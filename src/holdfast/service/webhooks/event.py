"""`WebhookEvent`: what a webhook tells."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, StrictStr, ValidationError
from pydantic_core import from_json

from holdfast.exceptions import WebhookError
from holdfast.service.model import Model

__all__ = ["WebhookEvent"]


class WebhookEvent(Model):
    """An event that was delivered.

    Fields that are not named here are kept, and found as ``event["name"]``.

    Attributes:
        event_type: such as ``"agent_run.completed"``; in the payload ``event_type`` or, as Standard Webhooks has it,
            ``type``.
        timestamp: when it happened, None if the payload does not say.
        data: what it is about; empty if the payload has no ``data``.
    """

    event_type: Annotated[StrictStr, Field(min_length=1, max_length=255)]
    timestamp: datetime | None = None
    data: Any = Field(default_factory=dict)

    _webhook_id: str | None = PrivateAttr(default=None)
    _scheme: Literal["hub", "standard"] | None = PrivateAttr(default=None)

    @property
    def webhook_id(self) -> str | None:
        """What tells this event from others, the same in every delivery: ``webhook-id``, or the SHA-256 of the body.

        It makes a good idempotency key for what a handler sends on. None if the event was made by hand, or came
        unsigned and without ``webhook-id``.
        """
        return self._webhook_id

    @property
    def scheme(self) -> Literal["hub", "standard"] | None:
        """By which scheme its signature was checked; None if no secret is configured, or it was made by hand."""
        return self._scheme

    @property
    def verified(self) -> bool:
        """Whether its signature was checked."""
        return self._scheme is not None

    def delivered(self, webhook_id: str | None, scheme: Literal["hub", "standard"] | None) -> Self:
        """The event, with what is known of its delivery. For what receives it."""
        self._webhook_id = webhook_id
        self._scheme = scheme
        return self


def read_event(body: bytes) -> WebhookEvent:
    """The event in a body.

    Raises:
        WebhookError: there is none; the message says what is wrong where, and shows nothing of the body.
    """
    try:
        payload = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise WebhookError(f"the body is not JSON: {error}", reason="malformed") from None
    if not isinstance(payload, dict):
        raise WebhookError(f"the body is a JSON {_KINDS[type(payload)]}, not an object", reason="malformed")
    if "event_type" not in payload and "type" in payload:
        payload["event_type"] = payload["type"]
    try:
        return WebhookEvent.model_validate(payload)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        wrong = "; ".join(f"{'.'.join(str(step) for step in one['loc'])}: {one['msg']}" for one in found)
        raise WebhookError(f"the body is no event: {wrong}", reason="malformed") from None


_KINDS = {list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
