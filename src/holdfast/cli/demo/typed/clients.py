"""The typed clients as the demo sets them, and what their calls cost: requests and injected failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic import SecretStr

from holdfast.cli.demo.contestants import NO_TLS
from holdfast.contextiq import MemoryServiceClient, MemorySettings, SessionsServiceClient, SessionsSettings
from holdfast.core.events import CallFinished
from holdfast.crews import CrewClient, CrewClientConfig

if TYPE_CHECKING:
    from holdfast.cli.demo.typed.reference import Reference
    from holdfast.core.events import Event

__all__ = ["GIVEN", "Traffic", "crew_client", "memory_client", "misbehave", "sessions_client"]

PATIENT: Mapping[str, Any] = {
    "max_retries": 12,
    "retry_delay": 0.02,
    "retry_max_wait": 0.2,
    "retry_budget": False,
    "circuit_breaker": False,
    "acquisition_timeout": 30.0,
}

GIVEN = (
    f"The clients send a call up to {PATIENT['max_retries']} times, {PATIENT['retry_delay'] * 1000:.0f} to "
    f"{PATIENT['retry_max_wait'] * 1000:.0f} ms apart. Retry budget and breaker are off: with so many failures they "
    "would, rightly, give up"
)
"""The settings, for people."""

_HERE: Mapping[str, Any] = {"trust_env": False, "verify_ssl": NO_TLS, "logging": {"level": "CRITICAL"}}


class _Sessions(SessionsSettings):
    def client_settings(self) -> dict[str, Any]:
        return {**super().client_settings(), **_HERE}


class _Memory(MemorySettings):
    def client_settings(self) -> dict[str, Any]:
        return {**super().client_settings(), **_HERE}


class _Crews(CrewClientConfig):
    def client_settings(self) -> dict[str, Any]:
        return {**super().client_settings(), **_HERE}


@dataclass(slots=True)
class Traffic:
    """What some calls took.

    Attributes:
        calls: that have ended, by the clients' counting.
        requests: that came, by the servers' counting.
    """

    calls: int = 0
    requests: int = 0

    def observe(self, event: Event) -> None:
        """Counts a call; for a client's `observers`."""
        if isinstance(event, CallFinished):
            self.calls += 1

    async def read(self, urls: Sequence[str]) -> None:
        """Asks the servers what they have counted since they were told to misbehave."""
        async with _admin() as admin:
            for url in urls:
                stats = (await admin.get(f"{url}/_faults/stats")).raise_for_status().json()
                self.requests += stats["requests"]


async def misbehave(urls: Sequence[str], rules: Sequence[Mapping[str, Any]]) -> None:
    """Tells servers how to fail, in place of what they were told before, and to count from zero."""
    async with _admin() as admin:
        for url in urls:
            (await admin.delete(f"{url}/_faults")).raise_for_status()
            (await admin.post(f"{url}/_faults", json=list(rules))).raise_for_status()


# Made without validation, these settings take nothing from the environment or from a file `.env`.


def sessions_client(reference: Reference, traffic: Traffic) -> SessionsServiceClient:
    """A client of the Sessions server, which recognises repetitions."""
    settings = _Sessions.model_construct(url=reference.crews, timeout=5.0, server_deduplicates=True, **PATIENT)
    return SessionsServiceClient(settings=settings, observers=[traffic.observe])


def memory_client(reference: Reference, traffic: Traffic) -> MemoryServiceClient:
    """A client of the Memory server, which does so too."""
    settings = _Memory.model_construct(url=reference.memory, timeout=5.0, server_deduplicates=True, **PATIENT)
    return MemoryServiceClient(settings=settings, observers=[traffic.observe])


def crew_client(reference: Reference, traffic: Traffic, *, in_flight: int, server_deduplicates: bool) -> CrewClient:
    """A client of the Crews server.

    Args:
        reference: where it is.
        traffic: counts the calls.
        in_flight: requests at a time.
        server_deduplicates: whether the client is told what is true: that the server executes a repeated key once.
    """
    config = _Crews.model_construct(
        url=reference.crews,
        api_secret_key=SecretStr(reference.secret),
        environment="development",
        log_level="CRITICAL",
        max_concurrency=in_flight,
        server_deduplicates=server_deduplicates,
        **PATIENT,
    )
    return CrewClient(config, observers=[traffic.observe])


def _admin() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=30.0, verify=NO_TLS, trust_env=False)
