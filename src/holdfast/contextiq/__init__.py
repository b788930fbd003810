"""Typed clients for the Sessions and the Memory service."""

from __future__ import annotations

from holdfast.contextiq.client import BaseHTTPClient, MemoryServiceClient, SessionsServiceClient
from holdfast.contextiq.config import MemorySettings, SessionsSettings
from holdfast.contextiq.models import Event, Memory, MemoryMatch, MemoryMatches, Revision, Session
from holdfast.exceptions import ServiceUnavailableError

__all__ = [
    "BaseHTTPClient",
    "Event",
    "Memory",
    "MemoryMatch",
    "MemoryMatches",
    "MemoryServiceClient",
    "MemorySettings",
    "Revision",
    "ServiceUnavailableError",
    "Session",
    "SessionsServiceClient",
    "SessionsSettings",
]
