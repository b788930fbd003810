"""What people glue together by hand around httpx2, from the libraries that are there for each layer."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Self
from uuid import uuid4

import httpx2
import stamina
from aiolimiter import AsyncLimiter
from purgatory import AsyncCircuitBreakerFactory

_log = logging.getLogger("glued")


def _transient(error: Exception) -> bool:
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx2.TransportError)


class GluedClient:
    """Retries by stamina, a breaker by purgatory, a semaphore, aiolimiter, an id, a log line and a counter."""

    def __init__(self, *, base_url: str, transport: httpx2.AsyncBaseTransport) -> None:
        self._client = httpx2.AsyncClient(base_url=base_url, transport=transport)
        self._breakers = AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=30)
        self._slots = asyncio.Semaphore(50)
        self._limiter = AsyncLimiter(1_000_000, 1)
        self._retry = stamina.AsyncRetryingCaller(attempts=3, timeout=300.0, wait_initial=1.0, wait_max=60.0).on(
            _transient
        )
        self.counted: Counter[str] = Counter()

    async def get(self, url: str) -> httpx2.Response:
        headers = {"X-Request-ID": str(uuid4())}
        breaker = await self._breakers.get_breaker("service")
        async with breaker:
            response: httpx2.Response = await self._retry(self._attempt, url, headers)
        self.counted["success"] += 1
        if _log.isEnabledFor(logging.INFO):
            _log.info("GET %s %s", url, response.status_code)
        return response

    async def _attempt(self, url: str, headers: dict[str, str]) -> httpx2.Response:
        async with self._slots, self._limiter:
            response = await self._client.get(url, headers=headers)
        response.raise_for_status()
        return response

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()
