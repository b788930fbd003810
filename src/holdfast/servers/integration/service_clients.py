"""The clients that services are called with: each service has one, with its own circuit breaker and connections."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import httpx2

from holdfast import ClientConfig, ResilientClient
from holdfast.config import BulkheadConfig, LoggingConfig, RetryBudgetConfig, RetryConfig, TimeoutConfig
from holdfast.servers.outbound.guard import Endpoint, Guard
from holdfast.servers.outbound.guarded_transport import GuardedTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from holdfast.servers.integration.settings import Settings

__all__ = ["CONNECT_SECONDS", "ServiceClients"]

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
"""For a look-up and a connection."""

MOST_CLIENTS = 200
"""Kept open. What is called again later gets a new one."""

MOST_REDIRECTS = 3
"""Within the endpoint's origin."""

MOST_CONCURRENT = 100
"""Requests to one service at the same time."""

# An execution is worth more than one repetition for every five calls, which is the default: a service that fails half
# of the time is got along with. It is still a bound on what an outage adds to the load.
_BUDGET = RetryBudgetConfig(ratio=2.0, floor=50)


@dataclass(slots=True, eq=False)
class _Held:
    """A client, for those calls that go on with it.

    Attributes:
        made_for: endpoint, name and `deduplicates` of the service.
        uses: how many do.
        retired: whether no other ones begin.
    """

    client: ResilientClient
    made_for: tuple[str, str, bool]
    uses: int = 0
    retired: bool = False


class ServiceClients:
    """All clients of one server.

    Args:
        settings: how often a call is repeated, and how large an answer may be.
        guard: judges what is connected to.
        tls: what certificates are checked with.
    """

    def __init__(self, settings: Settings, guard: Guard, tls: ssl.SSLContext) -> None:
        self._settings = settings
        self._guard = guard
        self._tls = tls
        self._held: OrderedDict[UUID, _Held] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def of(
        self, service_id: UUID, *, name: str, endpoint: str, deduplicates: bool
    ) -> AsyncIterator[ResilientClient]:
        """The client of a service for one call. It stays open until that has ended, whatever becomes of the service.

        Raises:
            ForbiddenEndpointError: the endpoint can be none.
        """
        made_for = (endpoint, name, deduplicates)
        held = self._held.get(service_id)
        if held is None or held.made_for != made_for:
            made = _Held(self._made(endpoint, name, deduplicates=deduplicates), made_for)
            self.forget(service_id)
            held = self._held[service_id] = made
        self._held.move_to_end(service_id)
        held.uses += 1
        try:
            self._shrink()
            yield held.client
        finally:
            held.uses -= 1
            self._close_unused(held)

    def circuit(self, service_id: UUID) -> str:
        """State of the circuit breaker of a service; it is closed as long as nothing was called."""
        held = self._held.get(service_id)
        return "closed" if held is None else held.client.circuit_breaker.state

    def forget(self, service_id: UUID) -> None:
        """Closes the client of a service, once its calls have ended: it has changed, or is gone."""
        held = self._held.pop(service_id, None)
        if held is not None:
            held.retired = True
            self._close_unused(held)

    async def aclose(self) -> None:
        """Closes all, also those that are in use."""
        while self._held:
            _, held = self._held.popitem()
            held.retired, held.uses = True, 0
            self._close_unused(held)
        if self._closing:
            await asyncio.wait(self._closing)

    def _shrink(self) -> None:
        unused = [one for one, held in self._held.items() if not held.uses]
        for service_id in unused[: max(0, len(self._held) - MOST_CLIENTS)]:
            self.forget(service_id)

    def _close_unused(self, held: _Held) -> None:
        if held.retired and not held.uses and not held.client.is_closed:
            # A task of its own: who has used it last may just be cancelled.
            task = asyncio.ensure_future(_close(held.client))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _made(self, endpoint: str, name: str, *, deduplicates: bool) -> ResilientClient:
        settings = self._settings
        parsed = Endpoint.parse(endpoint)
        limits = httpx2.Limits(max_connections=MOST_CONCURRENT, max_keepalive_connections=20, keepalive_expiry=5.0)
        config = ClientConfig(
            base_url=endpoint,
            service_name=name,
            server_deduplicates=deduplicates,
            retry=RetryConfig(
                max_attempts=settings.action_attempts,
                min_wait_seconds=0.1,
                max_wait_seconds=5.0,
                # What may have been executed is repeated only where the service recognises it.
                replay="answered" if deduplicates else "when_safe",
                budget=_BUDGET,
            ),
            timeout=TimeoutConfig(connect=CONNECT_SECONDS),
            bulkhead=BulkheadConfig(max_concurrency=MOST_CONCURRENT),
            max_redirects=MOST_REDIRECTS,
            max_response_bytes=settings.max_body_bytes,
            trust_env=False,
            logging=LoggingConfig(logger_name="holdfast.servers.integration.calls", level="WARNING"),
        )
        transport = GuardedTransport(parsed, self._guard, self._tls, limits)
        return ResilientClient(config, transport=transport)


async def _close(client: ResilientClient) -> None:
    try:
        await client.close()
    except Exception as error:  # noqa: BLE001 - nobody waits for it, and nothing depends on it
        logger.warning("the client of %s could not be closed: %s", client.config.base_url, error)
