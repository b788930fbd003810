"""The Codegen server: agent runs that progress by themselves, the real rate limits, and signed webhooks."""

from holdfast.servers.codegen.app import PORT, create_app, service

__all__ = ["PORT", "create_app", "service"]
