"""What the Codegen API is sent, checked before it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from holdfast.service.sending import JsonObject, RequestModel

__all__ = ["AgentType", "CreateAgentRunRequest", "ResumeAgentRunRequest", "SourceType"]

AgentType: TypeAlias = Literal["codegen", "claude_code"]
SourceType: TypeAlias = Literal[
    "LOCAL",
    "SLACK",
    "GITHUB",
    "GITHUB_CHECK_SUITE",
    "GITHUB_PR_REVIEW",
    "LINEAR",
    "API",
    "CHAT",
    "JIRA",
    "CLICKUP",
    "MONDAY",
    "SETUP_COMMANDS",
]

_LONGEST_PROMPT = 100_000  # characters
_IMAGE = re.compile(r"data:image/[A-Za-z0-9.+-]+;base64,[A-Za-z0-9+/]+={0,2}")


def _prompt(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("empty", "it is empty: say what the agent is to do")
    return value


def _image(value: str) -> str:
    if not _IMAGE.fullmatch(value):
        raise PydanticCustomError("image", "an image is sent as a data URI, such as 'data:image/png;base64,...'")
    return value


def _id(value: Any) -> Any:
    """An id as the part of a path: a whole number, or its text."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise PydanticCustomError("id", "it must be an id: a whole number, or a text")
    text = str(value).strip()
    if not text:
        raise PydanticCustomError("empty", "it is empty")
    return text


Prompt = Annotated[str, Field(max_length=_LONGEST_PROMPT), AfterValidator(_prompt)]
Image = Annotated[str, AfterValidator(_image)]
Id = Annotated[str, BeforeValidator(_id), Field(max_length=100)]
Number = Annotated[int, Field(ge=1, strict=True)]


class CreateAgentRunRequest(RequestModel):
    """An agent run to be created. `prompt`: up to 100,000 characters. `images`: data URIs. `metadata`: kept with it."""

    prompt: Prompt
    images: list[Image] | None = None
    metadata: JsonObject | None = None
    repo_id: Number | None = None
    model: Annotated[str, Field(min_length=1)] | None = None
    agent_type: AgentType | None = None

    def body(self) -> dict[str, Any]:
        """See `RequestModel.body`; the metadata as they are, nulls included."""
        found = super().body()
        return found if self.metadata is None else {**found, "metadata": self.metadata}


class ResumeAgentRunRequest(RequestModel):
    """An agent run that is to go on, with what is to be done now."""

    agent_run_id: Number
    prompt: Prompt
    images: list[Image] | None = None


class Ids(RequestModel):
    """Ids that stand in a path."""

    org_id: Id = "0"
    user_id: Id = "0"
    run_id: Id = "0"


class Part(RequestModel):
    """A part of a list: how many items are before it, and how many it has."""

    skip: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=100)] = 100


class PartOfRuns(Part):
    """A part of a list of runs: those of a user, or of a source."""

    user_id: Annotated[int, Field(ge=1)] | None = None
    source_type: SourceType | None = None


class PartOfLogs(Part):
    """A part of a log. `reverse`: newest first."""

    reverse: bool = False


class Waiting(RequestModel):
    """How the end of a run is waited for, in seconds."""

    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    poll_interval: Annotated[float, Field(gt=0, allow_inf_nan=False)]


def path_id(name: Literal["org_id", "user_id", "run_id"], value: object) -> str:
    """An id as it stands in a path.

    Raises:
        pydantic.ValidationError: it cannot be one.
    """
    found: str = getattr(Ids.model_validate({name: value}), name)
    return found


def whole(value: Any) -> Any:
    """An id of a run that came as text, as the number that it is."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def run_request(config: Mapping[str, Any] | CreateAgentRunRequest) -> CreateAgentRunRequest:
    """An item of a bulk as the request that it stands for.

    Raises:
        pydantic.ValidationError: it stands for none.
    """
    if isinstance(config, CreateAgentRunRequest):
        return config
    given: object = config
    return CreateAgentRunRequest.model_validate(dict(given) if isinstance(given, Mapping) else given)
