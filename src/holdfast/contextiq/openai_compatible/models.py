"""What a server of OpenAI's interface answers, and what it is sent: the parts of it that are used here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from holdfast.service.model import Model
from holdfast.service.sending import RequestModel

__all__ = ["ChatCompletion", "Embeddings"]

# Answers


class ChatMessage(Model):
    """What the model says. `refusal`: why it does not."""

    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None


class Choice(Model):
    """One of the answers. `finish_reason`: ``"stop"``, or ``"length"`` if it was cut off."""

    index: int = 0
    message: ChatMessage
    finish_reason: str | None = None


class ChatCompletion(Model):
    """The answer of a chat model."""

    id: str = ""
    model: str = ""
    choices: Annotated[list[Choice], Field(min_length=1)]
    usage: dict[str, Any] | None = None


class Embedding(Model):
    """The vector of the input text with that index."""

    index: Annotated[int, Field(ge=0)]
    embedding: Annotated[list[FiniteFloat], Field(min_length=1)]


class Embeddings(Model):
    """The vectors of some texts, in any order."""

    data: list[Embedding]
    model: str = ""
    usage: dict[str, Any] | None = None


# Requests


class Said(RequestModel):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class NewChatCompletion(RequestModel):
    """What a chat model is asked."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[Said], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    response_format: dict[str, Any] | None = None


class NewEmbeddings(RequestModel):
    """Texts that vectors are wanted of. An empty one is refused by most servers, and so here."""

    model: Annotated[str, Field(min_length=1)]
    input: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    dimensions: Annotated[int, Field(ge=1)] | None = None
