"""The Memory server (port 8002, below /api/v1): facts, their revisions, and search by the similarity of embeddings."""

from holdfast.servers.memory.app import create_app, service

__all__ = ["create_app", "service"]
