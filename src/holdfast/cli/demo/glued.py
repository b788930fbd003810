"""What people glue together by hand around httpx2, from the libraries that are there for each layer.

It is glued with care: statuses of 4xx do not open the breaker, a 429 is tried again, and its Retry-After is heeded.
What it does not do is what none of the libraries can know: which request may be repeated, and how long a whole
call takes.

It needs `stamina`, `purgatory` and `aiolimiter`, which are no dependencies of Holdfast: whoever imports this module has
to expect that they are missing. The benchmarks and the demo measure Holdfast against it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any, Self
from uuid import uuid4

import httpx2
import stamina
from aiolimiter import AsyncLimiter
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

__all__ = ["CircuitOpen", "GluedClient"]

CircuitOpen = OpenedState
"""What a call raises while the breaker is open."""

_log = logging.getLogger("glued")


def _transient(error: Exception) -> bool | float:
    """Whether to try again; the seconds to wait before that, if the server has told them."""
    if isinstance(error, httpx2.HTTPStatusError):
        response = error.response
        if response.status_code == 429:
            told = response.headers.get("Retry-After", "")
            return float(told) if told.isdecimal() else True
        return response.status_code >= 500
    return isinstance(error, httpx2.TransportError)


def _callers_fault(error: BaseException) -> bool:
    return isinstance(error, httpx2.HTTPStatusError) and error.response.status_code < 500


class GluedClient:
    """Retries by stamina, a breaker by purgatory, a semaphore, aiolimiter, an id, a log line and a counter.

    Args:
        base_url: of the service.
        transport: of httpx2; None for its own.
        attempts: requests of a call, the first included.
        give_up_after: seconds after which no retry begins. An attempt is not interrupted by it.
        wait_initial, wait_max, wait_jitter: seconds between attempts, as `stamina.retry` has them.
        failures: calls that fail in a row and open the breaker.
        recovery: seconds until the breaker lets calls through again.
        in_flight: requests at a time.
        **options: further arguments of `httpx2.AsyncClient`.
    """

    def __init__(
        self,
        *,
        base_url: str,
        transport: httpx2.AsyncBaseTransport | None = None,
        attempts: int = 3,
        give_up_after: float = 300.0,
        wait_initial: float = 1.0,
        wait_max: float = 60.0,
        wait_jitter: float = 1.0,
        failures: int = 5,
        recovery: float = 30.0,
        in_flight: int = 50,
        **options: Any,
    ) -> None:
        self._client = httpx2.AsyncClient(base_url=base_url, transport=transport, **options)
        self._breakers = AsyncCircuitBreakerFactory(
            default_threshold=failures,
            default_ttl=recovery,
            exclude=[(httpx2.HTTPStatusError, _callers_fault)],
        )
        self._slots = asyncio.Semaphore(in_flight)
        self._limiter = AsyncLimiter(1_000_000, 1)
        self._retry = stamina.AsyncRetryingCaller(
            attempts=attempts,
            timeout=give_up_after,
            wait_initial=wait_initial,
            wait_max=wait_max,
            wait_jitter=wait_jitter,
        ).on(_transient)
        self.counted: Counter[str] = Counter()

    async def get(self, url: str) -> httpx2.Response:
        return await self.request("GET", url)

    async def request(self, method: str, url: str, json: Any = None) -> httpx2.Response:
        """Sends one request, and again if that fails.

        Raises:
            CircuitOpen: the breaker is open, nothing was sent.
            httpx2.HTTPStatusError: the last attempt was answered with a status of 400 and above.
            httpx2.TransportError: the last attempt was not answered.
        """
        headers = {"X-Request-ID": str(uuid4())}
        breaker = await self._breakers.get_breaker("service")
        async with breaker:
            response: httpx2.Response = await self._retry(self._attempt, method, url, json, headers)
        self.counted["success"] += 1
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s %s %s", method, url, response.status_code)
        return response

    async def _attempt(self, method: str, url: str, json: Any, headers: dict[str, str]) -> httpx2.Response:
        async with self._slots, self._limiter:
            response = await self._client.request(method, url, json=json, headers=headers)
        response.raise_for_status()
        return response

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()
