"""Typed clients for services of your own, one plain method per endpoint; and webhooks, which services send to you.

    from holdfast.service import Call, Model, ServiceClient, ServiceSettings

`ServiceClient` shows one, `Webhooks` what receives events. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._lazy import lazily

if TYPE_CHECKING:
    from holdfast.call import Call
    from holdfast.service.bulk import BulkFailure, BulkResult, BulkStoppedError
    from holdfast.service.client import ServiceClient
    from holdfast.service.endpoint import Answered
    from holdfast.service.errors import renamed, unreachable
    from holdfast.service.health import CheckResult, HealthReport, check_health
    from holdfast.service.model import Model
    from holdfast.service.pages import Page, PagedCall
    from holdfast.service.paging import Cursor, LinkHeader, Offset, PageNumber, Paging, Step
    from holdfast.service.poll import PollDeadlineError
    from holdfast.service.progress import ProgressBar
    from holdfast.service.readable import ReadCall, ReadPagedCall
    from holdfast.service.sending import NULL, Null, RequestModel
    from holdfast.service.settings import BaseServiceSettings, ServiceSettings
    from holdfast.service.webhooks import (
        HandlerResult,
        MemoryReplayCache,
        ReplayCache,
        WebhookAnswer,
        WebhookApp,
        WebhookEvent,
        WebhookResult,
        Webhooks,
        WebhookStatistics,
        sign_webhook,
    )

__all__ = [
    "NULL",
    "Answered",
    "BaseServiceSettings",
    "BulkFailure",
    "BulkResult",
    "BulkStoppedError",
    "Call",
    "CheckResult",
    "Cursor",
    "HandlerResult",
    "HealthReport",
    "LinkHeader",
    "MemoryReplayCache",
    "Model",
    "Null",
    "Offset",
    "Page",
    "PageNumber",
    "PagedCall",
    "Paging",
    "PollDeadlineError",
    "ProgressBar",
    "ReadCall",
    "ReadPagedCall",
    "ReplayCache",
    "RequestModel",
    "ServiceClient",
    "ServiceSettings",
    "Step",
    "WebhookAnswer",
    "WebhookApp",
    "WebhookEvent",
    "WebhookResult",
    "WebhookStatistics",
    "Webhooks",
    "check_health",
    "renamed",
    "sign_webhook",
    "unreachable",
]

_PLACES = {
    "holdfast.call": "Call",
    "holdfast.service.bulk": "BulkFailure BulkResult BulkStoppedError",
    "holdfast.service.client": "ServiceClient",
    "holdfast.service.endpoint": "Answered",
    "holdfast.service.errors": "renamed unreachable",
    "holdfast.service.health": "CheckResult HealthReport check_health",
    "holdfast.service.model": "Model",
    "holdfast.service.pages": "Page PagedCall",
    "holdfast.service.paging": "Cursor LinkHeader Offset PageNumber Paging Step",
    "holdfast.service.poll": "PollDeadlineError",
    "holdfast.service.progress": "ProgressBar",
    "holdfast.service.readable": "ReadCall ReadPagedCall",
    "holdfast.service.sending": "NULL Null RequestModel",
    "holdfast.service.settings": "BaseServiceSettings ServiceSettings",
    "holdfast.service.webhooks": "HandlerResult MemoryReplayCache ReplayCache WebhookAnswer WebhookApp WebhookEvent"
    " WebhookResult WebhookStatistics Webhooks sign_webhook",
}

if not TYPE_CHECKING:  # to type checkers the package has the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
