"""The Sessions server (port 8001, below /api/v1): conversations, their state and their events."""

from holdfast.servers.sessions.router import router

__all__ = ["router"]
