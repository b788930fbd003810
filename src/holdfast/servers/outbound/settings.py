"""`OutboundSettings`: which addresses a server may be told to call."""

from __future__ import annotations

from pydantic_settings import BaseSettings

from holdfast.servers.service import in_production

__all__ = ["OutboundSettings"]


class OutboundSettings(BaseSettings):
    """The base of the settings of servers that send requests to URLs that others give them.

    Attributes:
        allow_private_addresses: whether these may be at loopback, private, carrier-grade NAT and unique local
            addresses. Without a value: unless the variable `ENVIRONMENT` is `production`. Link-local and metadata
            addresses are never allowed.
    """

    allow_private_addresses: bool | None = None

    @property
    def private_allowed(self) -> bool:
        """`allow_private_addresses`, decided."""
        return not in_production() if self.allow_private_addresses is None else self.allow_private_addresses
