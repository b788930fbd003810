"""The failure test server (port 8000): a trivial endpoint that fails on request, to see a client's resilience work."""

from holdfast.servers.flaky.app import create_app, service
from holdfast.servers.flaky.settings import Settings

__all__ = ["Settings", "create_app", "service"]
