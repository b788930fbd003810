"""Typed clients for the Sessions and the Memory service, and the workers that turn sessions into memories.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._lazy import lazily

if TYPE_CHECKING:
    from holdfast.contextiq.client import BaseHTTPClient, MemoryServiceClient, SessionsServiceClient
    from holdfast.contextiq.config import MemorySettings, SessionsSettings
    from holdfast.contextiq.consolidation import (
        ConsolidationFailure,
        ConsolidationProcessor,
        ConsolidationResult,
        Merged,
    )
    from holdfast.contextiq.conversation import Utterance, utterances
    from holdfast.contextiq.embedding import EmbeddingService, HashingEmbeddingService
    from holdfast.contextiq.exceptions import ModelOutputError, WorkStoppedError
    from holdfast.contextiq.extraction import ExtractionEngine, Fact, RuleBasedExtractionEngine
    from holdfast.contextiq.generation import (
        GenerationFailure,
        GenerationRequest,
        GenerationResult,
        MemoryGenerationProcessor,
        VectorStore,
    )
    from holdfast.contextiq.models import Event, Memory, MemoryMatch, MemoryMatches, Revision, Session
    from holdfast.contextiq.openai_compatible import (
        ChatExtractionEngine,
        OpenAICompatibleClient,
        OpenAIEmbeddingService,
        OpenAISettings,
    )
    from holdfast.exceptions import ServiceUnavailableError

_PLACES = {
    "holdfast.contextiq.client": "BaseHTTPClient MemoryServiceClient SessionsServiceClient",
    "holdfast.contextiq.config": "MemorySettings SessionsSettings",
    "holdfast.contextiq.consolidation": ("ConsolidationFailure ConsolidationProcessor ConsolidationResult Merged"),
    "holdfast.contextiq.conversation": "Utterance utterances",
    "holdfast.contextiq.embedding": "EmbeddingService HashingEmbeddingService",
    "holdfast.contextiq.exceptions": "ModelOutputError WorkStoppedError",
    "holdfast.contextiq.extraction": "ExtractionEngine Fact RuleBasedExtractionEngine",
    "holdfast.contextiq.generation": (
        "GenerationFailure GenerationRequest GenerationResult MemoryGenerationProcessor VectorStore"
    ),
    "holdfast.contextiq.models": "Event Memory MemoryMatch MemoryMatches Revision Session",
    "holdfast.contextiq.openai_compatible": (
        "ChatExtractionEngine OpenAICompatibleClient OpenAIEmbeddingService OpenAISettings"
    ),
    "holdfast.exceptions": "ServiceUnavailableError",
}

__all__ = [
    "BaseHTTPClient",
    "ChatExtractionEngine",
    "ConsolidationFailure",
    "ConsolidationProcessor",
    "ConsolidationResult",
    "EmbeddingService",
    "Event",
    "ExtractionEngine",
    "Fact",
    "GenerationFailure",
    "GenerationRequest",
    "GenerationResult",
    "HashingEmbeddingService",
    "Memory",
    "MemoryGenerationProcessor",
    "MemoryMatch",
    "MemoryMatches",
    "MemoryServiceClient",
    "MemorySettings",
    "Merged",
    "ModelOutputError",
    "OpenAICompatibleClient",
    "OpenAIEmbeddingService",
    "OpenAISettings",
    "Revision",
    "RuleBasedExtractionEngine",
    "ServiceUnavailableError",
    "Session",
    "SessionsServiceClient",
    "SessionsSettings",
    "Utterance",
    "VectorStore",
    "WorkStoppedError",
    "utterances",
]

if not TYPE_CHECKING:  # to type checkers the package has the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
