"""The three that are compared. Each is a way to send one request, behind the same small signature."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from holdfast import (
    BulkheadConfig,
    CircuitBreakerConfig,
    ClientConfig,
    HoldfastError,
    LoggingConfig,
    ResilientClient,
    RetryConfig,
    TimeoutConfig,
)
from holdfast.cli.demo.settings import BARE, GLUED, HOLDFAST, Settings

__all__ = ["NO_TLS", "Contestant", "Send", "contestants", "holdfast_config"]

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing is encrypted here, and each client would load the certificates of the system anew."""


Send = Callable[[str, str, Any], Awaitable[httpx2.Response]]
"""Method, path, JSON body or None; raises one of the contestant's errors."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of those that are compared.

    Attributes:
        name: for people.
        connect: opens a client for a base URL, and closes it.
        errors: what its calls raise when they fail.
    """

    name: str
    connect: Callable[[str, Settings], AbstractAsyncContextManager[Send]]
    errors: tuple[type[Exception], ...]


def contestants() -> tuple[Sequence[Contestant], str]:
    """All that can be compared here, and why one cannot; empty if all can."""
    bare = Contestant(BARE, _bare, (httpx2.HTTPError,))
    holdfast = Contestant(HOLDFAST, _holdfast, (HoldfastError,))
    try:
        glued = _glued_contestant()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in {"stamina", "purgatory", "aiolimiter"}:
            raise
        return (bare, holdfast), (
            f'The glued stack is left out: its package "{package}" is missing. '
            "Install it with: pip install stamina purgatory aiolimiter"
        )
    return (bare, glued, holdfast), ""


def _glued_contestant() -> Contestant:
    import stamina.instrumentation

    from holdfast.cli.demo.glued import CircuitOpen

    # It would log each retry as a warning, through structlog if that is there. All contestants are silent here.
    stamina.instrumentation.set_on_retry_hooks(())
    return Contestant(GLUED, _glued, (httpx2.HTTPError, CircuitOpen))


def holdfast_config(url: str, settings: Settings) -> ClientConfig:
    """Holdfast's defaults, but for what all contestants are given."""
    return ClientConfig(
        base_url=url,
        deadline=settings.deadline,
        timeout=TimeoutConfig(connect=settings.connect, read=settings.read, write=settings.write, pool=settings.pool),
        retry=RetryConfig(
            max_attempts=settings.attempts,
            min_wait_seconds=settings.wait,
            max_wait_seconds=settings.longest_wait,
        ),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=settings.failures, recovery_timeout=settings.recovery),
        bulkhead=BulkheadConfig(max_concurrency=settings.in_flight),
        logging=LoggingConfig(level="CRITICAL"),
        verify_ssl=NO_TLS,
        trust_env=False,
    )


def _httpx2_options(settings: Settings) -> dict[str, Any]:
    return {
        "limits": httpx2.Limits(max_connections=settings.in_flight, max_keepalive_connections=settings.in_flight),
        "timeout": httpx2.Timeout(
            connect=settings.connect, read=settings.read, write=settings.write, pool=settings.pool
        ),
        "verify": NO_TLS,
        "trust_env": False,
    }


@asynccontextmanager
async def _bare(url: str, settings: Settings) -> AsyncIterator[Send]:
    async with httpx2.AsyncClient(base_url=url, **_httpx2_options(settings)) as client:

        async def send(method: str, path: str, body: Any) -> httpx2.Response:
            response = await client.request(method, path, json=body)
            return response.raise_for_status()

        yield send


@asynccontextmanager
async def _glued(url: str, settings: Settings) -> AsyncIterator[Send]:
    from holdfast.cli.demo.glued import GluedClient

    async with GluedClient(
        base_url=url,
        attempts=settings.attempts,
        give_up_after=settings.deadline,
        wait_initial=settings.wait,
        wait_max=settings.longest_wait,
        wait_jitter=settings.wait,
        failures=settings.failures,
        recovery=settings.recovery,
        in_flight=settings.in_flight,
        **_httpx2_options(settings),
    ) as client:
        yield client.request


@asynccontextmanager
async def _holdfast(url: str, settings: Settings) -> AsyncIterator[Send]:
    async with ResilientClient(holdfast_config(url, settings)) as client:

        async def send(method: str, path: str, body: Any) -> httpx2.Response:
            return await client.request(method, path, json=body)

        yield send
