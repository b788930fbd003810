"""One attempt at a delivery: a signed request, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from holdfast import ClientConfig, ResilientClient
from holdfast._version import __version__
from holdfast.config import CircuitBreakerConfig, LoggingConfig, RetryConfig, TimeoutConfig
from holdfast.exceptions import HoldfastError
from holdfast.servers.codegen.destinations import Destination, ForbiddenEndpointError
from holdfast.servers.outbound.guarded_transport import ForbiddenConnectionError, GuardedTransport
from holdfast.service.webhooks import sign_webhook

if TYPE_CHECKING:
    import ssl
    from datetime import datetime
    from types import TracebackType

    from holdfast.servers.outbound.guard import Guard

__all__ = ["Attempt", "Sender"]

GONE = 410
"""With this a receiver says that it wants no more of it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one request.

    Attributes:
        status: of the answer; None if there was none.
        error: why it failed; None if it did not.
        final: whether another attempt is pointless.
        retry_after: seconds that the receiver asks to wait; None if it did not.
    """

    status: int | None = None
    error: str | None = None
    final: bool = False
    retry_after: float | None = None


class Sender:
    """Sends to one webhook, inside `async with`. Connections are kept until its end.

    Only the head of an answer is waited for: what a receiver writes in the body is not read.

    Args:
        url: of the webhook.
        guard: judges the addresses that are connected to.
        tls: what certificates are checked with.
        timeout: seconds for each attempt.
    """

    def __init__(self, url: str, guard: Guard, tls: ssl.SSLContext, timeout: float) -> None:
        self._destination: Destination | None = None
        self._objection: str | None = None
        try:
            self._destination = destination = Destination.parse(url)
        except ForbiddenEndpointError as error:
            # The rules may have become stricter since it was registered.
            self._objection = str(error)
            return
        half = timeout / 2
        config = ClientConfig(
            base_url=destination.base,
            user_agent=f"holdfast-codegen/{__version__}",
            # Attempts are the business of the deliveries, which outlive this process.
            retry=RetryConfig(max_attempts=1, budget=None),
            circuit_breaker=CircuitBreakerConfig(enabled=False),
            timeout=TimeoutConfig(connect=half, read=half, write=half, pool=half),
            deadline=timeout,
            follow_redirects=False,
            trust_env=False,
            logging=LoggingConfig(logger_name="holdfast.servers.codegen.webhooks", level="CRITICAL"),
        )
        self._client = ResilientClient(config, transport=GuardedTransport(destination.endpoint, guard, tls))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._destination is not None:
            await self._client.close()

    async def send(self, payload: bytes, message_id: str, secret: str, now: datetime) -> Attempt:
        """One attempt; never raises but when it is cancelled."""
        if self._destination is None:
            return Attempt(error=f"the URL {self._objection}", final=True)
        headers = {
            "Content-Type": "application/json",
            **sign_webhook(payload, secret, webhook_id=message_id, timestamp=now),
        }
        options: dict[str, Any] = {"content": payload, "headers": headers, "idempotency_key": message_id}
        try:
            async with self._client.stream("POST", self._destination.target, **options) as response:
                return _judged(response.status_code, None)
        except HoldfastError as error:
            if error.status_code is not None:
                return _judged(error.status_code, error.retry_after)
            return Attempt(error=_reason(error), final=isinstance(error.__cause__, ForbiddenConnectionError))


def _judged(status: int, retry_after: float | None) -> Attempt:
    if 200 <= status < 300:
        return Attempt(status)
    redirected = ", and redirects are not followed" if 300 <= status < 400 else ""
    return Attempt(status, f"answered {status}{redirected}", final=status == GONE, retry_after=retry_after)


def _reason(error: HoldfastError) -> str:
    cause = error.__cause__
    return str(error) if cause is None else f"{type(cause).__name__}: {cause}".removesuffix(": ")
