"""The webhooks of the Codegen API: those of `holdfast.service`, with the errors of this client."""

from __future__ import annotations

from holdfast import exceptions as core
from holdfast.codegen.config import ClientConfig
from holdfast.codegen.exceptions import WebhookError
from holdfast.service.errors import renamed
from holdfast.service.webhooks import Webhooks

__all__ = ["CodegenWebhooks"]


class CodegenWebhooks(Webhooks):
    """Verifies webhooks and calls what is registered for them, see `holdfast.service.Webhooks`.

    Args:
        settings: whose `webhook_secret` verifies them (without one nothing is verified), and whose `webhook_timeout`
            bounds each handler.
    """

    def __init__(self, settings: ClientConfig) -> None:
        super().__init__(settings.webhook_secret, handler_timeout=settings.webhook_timeout)

    def translate(self, error: core.WebhookError) -> Exception:
        """Gives errors the class of this client."""
        return renamed(error, WebhookError)
