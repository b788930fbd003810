"""Executions of workflows: durable, so that they survive the server that carries them out, and one server of many."""

from holdfast.servers.integration.executions.router import router
from holdfast.servers.integration.executions.server import ExecutionsServer

__all__ = ["ExecutionsServer", "router"]
