"""What goes over the wire to and from the Crews server."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from holdfast.servers.fields import JsonObject, Number, Text

__all__ = ["CrewDescription", "CrewList", "Execution", "NewExecution"]

DEFAULT_TIMEOUT = 300
LONGEST_TIMEOUT = 86_400


class NewExecution(BaseModel):
    """A crew to be executed."""

    crew_name: Annotated[Text, Field(min_length=1, max_length=200)]
    inputs: JsonObject = Field(description="What the crew is given.")
    timeout: Annotated[Number, Field(gt=0, le=LONGEST_TIMEOUT)] = Field(
        default=DEFAULT_TIMEOUT, description="Seconds that it may take."
    )


class Execution(BaseModel):
    """What came of it."""

    success: bool
    crew_name: str
    result: Any = Field(description="What the crew returned; null where it failed.")
    error: str | None = Field(description="Why it failed; null where it did not.")
    execution_time: float = Field(description="Seconds that it took.")
    timestamp: datetime = Field(description="When it ended.")


class CrewDescription(BaseModel):
    """A crew, for people."""

    class_name: str
    module: str
    description: str


class CrewList(BaseModel):
    """All crews, by name."""

    available_crews: dict[str, CrewDescription]
    total_count: int
    timestamp: datetime
