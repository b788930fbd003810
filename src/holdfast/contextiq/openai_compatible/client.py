"""`OpenAICompatibleClient`: chat completions and embeddings from any server with OpenAI's interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.auth import BearerAuth
from holdfast.call import Call
from holdfast.contextiq.openai_compatible.models import (
    ChatCompletion,
    Embeddings,
    NewChatCompletion,
    NewEmbeddings,
    Said,
)
from holdfast.contextiq.openai_compatible.settings import OpenAISettings
from holdfast.exceptions import HoldfastError
from holdfast.service.client import ServiceClient
from holdfast.service.errors import unreachable

if TYPE_CHECKING:
    import httpx2

    from holdfast.core.events import Observer

__all__ = ["OpenAICompatibleClient"]


class OpenAICompatibleClient(ServiceClient[OpenAISettings]):
    """Calls a server that speaks OpenAI's interface: OpenAI itself, vLLM, Ollama, llama.cpp and others.

    Args:
        settings: None reads them from the environment.
        http_client: see `ResilientClient`.
        transport: see `ResilientClient`.
        observers: see `ResilientClient`.

    Raises:
        pydantic.ValidationError: a setting is wrong; it is also a ValueError.
    """

    def __init__(
        self,
        settings: OpenAISettings | None = None,
        *,
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
        observers: tuple[Observer, ...] | list[Observer] = (),
    ) -> None:
        made = OpenAISettings() if settings is None else settings
        auth = None if made.api_key is None else BearerAuth(made.api_key)
        super().__init__(made, auth=auth, http_client=http_client, transport=transport, observers=observers)

    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        response_format: Mapping[str, Any] | None = None,
    ) -> Call[ChatCompletion]:
        """Asks a chat model.

        It costs money, and servers know no idempotency keys. So it is only asked again after failures that say that
        nothing was generated (no connection, 429, 503), not after others of its errors and lost answers.

        Args:
            messages: each with a `role` and a `content`.
            model: None asks for the one in the settings.
            temperature: 0 to 2; None leaves it to the server.
            max_tokens: the longest answer.
            response_format: such as ``{"type": "json_object"}``.
        """
        new = NewChatCompletion(
            model=model or self.settings.chat_model,
            messages=[Said.model_validate(dict(one)) for one in messages],
            temperature=temperature,
            max_tokens=max_tokens,
            response_format=None if response_format is None else dict(response_format),
        )
        # How often and how long is up to a view, but not what for.
        retry = self.resilient._defaults.get("retry", self.resilient.config.retry)  # noqa: SLF001
        cautious = None if retry is None else retry.model_copy(update={"replay": "when_safe"})
        return self.post(ChatCompletion, "/chat/completions", json=new, retry=cautious, server_deduplicates=False)

    def create_embeddings(
        self, texts: Sequence[str], *, model: str | None = None, dimensions: int | None = None
    ) -> Call[Embeddings]:
        """The vectors of some texts.

        It changes nothing on the server and costs next to nothing, so that it is repeated like a GET.

        Args:
            texts: none of them empty.
            model: None asks for the one in the settings.
            dimensions: of the vectors, for models that let one choose.
        """
        new = NewEmbeddings(model=model or self.settings.embedding_model, input=list(texts), dimensions=dimensions)
        return self.post(Embeddings, "/embeddings", json=new, server_deduplicates=True)

    def translate(self, error: HoldfastError) -> HoldfastError:
        """A server that cannot be reached is unavailable."""
        return unreachable(error, self.settings.name)
