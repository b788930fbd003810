"""`OpenAIEmbeddingService`: embeddings from a server with OpenAI's interface."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.contextiq.exceptions import ModelOutputError
from holdfast.contextiq.openai_compatible.client import OpenAICompatibleClient
from holdfast.contextiq.openai_compatible.models import Embeddings

__all__ = ["OpenAIEmbeddingService"]


class OpenAIEmbeddingService:
    """Makes vectors of texts with an embedding model (see `EmbeddingService`).

    Args:
        client: asks the server.
        model: None asks for the one in the client's settings.
        dimensions: of the vectors, for models that let one choose; None takes what comes.
        batch_size: texts in one request; OpenAI's own limit is 2,048.

    Raises:
        ValueError: `batch_size` is less than 1.
    """

    def __init__(
        self,
        client: OpenAICompatibleClient,
        *,
        model: str | None = None,
        dimensions: int | None = None,
        batch_size: int = 128,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self._client = client
        self._model = model
        self._asked = dimensions
        self._dimensions = dimensions
        self._batch_size = batch_size

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See `EmbeddingService.embed`.

        Raises:
            ModelOutputError: there is not one vector for each text, or they have other dimensions than was asked for,
                or than those before.
            HoldfastError: the server did not answer, or with an error.
        """
        vectors: list[list[float]] = []
        for start in range(0, len(texts), self._batch_size):
            part = texts[start : start + self._batch_size]
            answer = await self._client.create_embeddings(part, model=self._model, dimensions=self._asked)
            vectors += self._checked(answer, len(part))
        return vectors

    def _checked(self, answer: Embeddings, count: int) -> list[list[float]]:
        """The vectors in the order of the texts."""
        data = sorted(answer.data, key=lambda one: one.index)
        if [one.index for one in data] != list(range(count)):
            raise _unusable(answer, f"{len(data)} embeddings for {count} texts, or with indexes that are not theirs")
        for one in data:
            if self._dimensions is None:
                self._dimensions = len(one.embedding)
            if len(one.embedding) != self._dimensions:
                dimensions = f"an embedding of {len(one.embedding)} dimensions, where {self._dimensions} were expected"
                raise _unusable(answer, dimensions)
        return [one.embedding for one in data]


def _unusable(answer: Embeddings, what: str) -> ModelOutputError:
    return ModelOutputError(
        f"POST /embeddings: the model {answer.model!r} gave {what}. Request id {answer.request_id}.",
        request_id=answer.request_id,
        endpoint="POST /embeddings",
        attempts=1,
        may_have_executed=True,
    )
