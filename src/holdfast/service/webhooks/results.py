"""What became of a webhook: for the program that handled it, and for the sender."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from holdfast.exceptions import WebhookError
from holdfast.service.record import Record
from holdfast.service.webhooks.event import WebhookEvent

__all__ = ["HandlerResult", "WebhookAnswer", "WebhookResult"]


@dataclass(frozen=True)
class HandlerResult(Record):
    """What one handler did, or a middleware that failed.

    Attributes:
        handler: its name.
        status: ``"ok"``, ``"failed"``, or ``"timed_out"`` if it was not done within the time limit.
        value: what it returned.
        error: what went wrong, in words; None if nothing. `error_type`: the name of the exception's class.
        duration_seconds: how long it took.
        exception: the exception.
    """

    _keys: ClassVar[tuple[str, ...]] = ("handler", "status", "value", "error", "error_type", "duration_seconds")

    handler: str
    status: Literal["ok", "failed", "timed_out"]
    value: Any = None
    error: str | None = None
    error_type: str | None = None
    duration_seconds: float = 0.0
    exception: BaseException | None = field(default=None, repr=False)


@dataclass(frozen=True)
class WebhookResult(Record):
    """What became of a webhook that was let through.

    Attributes:
        status: ``"handled"``; ``"failed"`` if a handler or middleware did, ``"stopped"`` if a middleware did not pass
            the event on, ``"unhandled"`` if there is no handler for it.
        event: what was handled, as the middleware has passed it on.
        handlers: what each handler did, in the order of their registration.
        duration_seconds: how long all of it took.
    """

    _keys: ClassVar[tuple[str, ...]] = ("status", "event", "handlers", "duration_seconds")

    status: Literal["handled", "failed", "stopped", "unhandled"]
    event: WebhookEvent
    handlers: tuple[HandlerResult, ...] = ()
    duration_seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return self.status != "failed"

    @property
    def event_type(self) -> str:
        """That of the event."""
        return self.event.event_type

    @property
    def failures(self) -> tuple[HandlerResult, ...]:
        """What failed, or took too long."""
        return tuple(one for one in self.handlers if one.status != "ok")


@dataclass(frozen=True)
class WebhookAnswer:
    """The HTTP response that a sender is to get.

    Attributes:
        status: 200 if the event was handled, stopped, needs no handling, or was handled before; 500 if a handler
            failed, so that the sender tries again; 400, 401, 409, 413 or 503 if it was refused.
        content: a JSON object with ``status``, and of a refusal ``reason`` and ``message``.
        headers: of the response.
    """

    status: int
    content: bytes
    headers: dict[str, str]


# A 401 has to say how to authenticate (RFC 9110, section 15.5.2); there is no registered scheme for this way.
_OF_STATUS: dict[int, dict[str, str]] = {
    401: {"WWW-Authenticate": "Webhook-Signature"},
    405: {"Allow": "POST"},
    409: {"Retry-After": "60"},
    503: {"Retry-After": "60"},
}
_REFUSED = {"signature": 401, "timestamp": 400, "replay": 409, "malformed": 400, "too_large": 413, "unavailable": 503}


def answer(status: int, /, **content: object) -> WebhookAnswer:
    """A response with this JSON object."""
    encoded = json.dumps(content).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(encoded)), **_OF_STATUS.get(status, {})}
    return WebhookAnswer(status, encoded, headers)


def answer_to(result: WebhookResult) -> WebhookAnswer:
    """The response to a webhook that was let through; nothing of what failed is shown to the sender."""
    return answer(200 if result.ok else 500, status=result.status)


def refusal(error: WebhookError) -> WebhookAnswer:
    """The response to one that was refused. One that was handled before is a success: the sender shall stop."""
    if error.reason == "replay" and not error.in_progress:
        return answer(200, status="duplicate")
    status = _REFUSED.get(error.reason or "", 400)
    return answer(status, status="refused", reason=error.reason, message=error.message)
