"""Webhooks: what other services send to you, checked and handed to your functions; and the signatures they carry.

    from holdfast.service import Webhooks, WebhookEvent

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._lazy import lazily

if TYPE_CHECKING:
    from holdfast.service.webhooks.asgi import WebhookApp
    from holdfast.service.webhooks.event import WebhookEvent
    from holdfast.service.webhooks.receiver import Webhooks
    from holdfast.service.webhooks.replay import Claim, MemoryReplayCache, ReplayCache
    from holdfast.service.webhooks.results import HandlerResult, WebhookAnswer, WebhookResult
    from holdfast.service.webhooks.signatures import sign_webhook
    from holdfast.service.webhooks.statistics import TypeStatistics, WebhookStatistics

__all__ = [
    "Claim",
    "HandlerResult",
    "MemoryReplayCache",
    "ReplayCache",
    "TypeStatistics",
    "WebhookAnswer",
    "WebhookApp",
    "WebhookEvent",
    "WebhookResult",
    "WebhookStatistics",
    "Webhooks",
    "sign_webhook",
]

_PLACES = {
    "holdfast.service.webhooks.asgi": "WebhookApp",
    "holdfast.service.webhooks.event": "WebhookEvent",
    "holdfast.service.webhooks.receiver": "Webhooks",
    "holdfast.service.webhooks.replay": "Claim MemoryReplayCache ReplayCache",
    "holdfast.service.webhooks.results": "HandlerResult WebhookAnswer WebhookResult",
    "holdfast.service.webhooks.signatures": "sign_webhook",
    "holdfast.service.webhooks.statistics": "TypeStatistics WebhookStatistics",
}

if not TYPE_CHECKING:  # to type checkers the package has the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
