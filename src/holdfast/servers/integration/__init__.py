"""The Service Integration server (port 8005, below /api): a registry of services, and workflows that call them."""

from holdfast.servers.integration.app import create_app, service

__all__ = ["create_app", "service"]
