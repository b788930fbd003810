"""A client for servers that speak OpenAI's interface, and the engines of the memory workers on top of it."""

from __future__ import annotations

from holdfast.contextiq.openai_compatible.client import OpenAICompatibleClient
from holdfast.contextiq.openai_compatible.embedding import OpenAIEmbeddingService
from holdfast.contextiq.openai_compatible.extraction import ChatExtractionEngine
from holdfast.contextiq.openai_compatible.models import ChatCompletion, Embeddings
from holdfast.contextiq.openai_compatible.settings import OpenAISettings

__all__ = [
    "ChatCompletion",
    "ChatExtractionEngine",
    "Embeddings",
    "OpenAICompatibleClient",
    "OpenAIEmbeddingService",
    "OpenAISettings",
]
