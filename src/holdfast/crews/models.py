"""What the Crews service answers, what it is sent, and what is made of an execution."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypedDict

from pydantic import Field

from holdfast.service.model import Model
from holdfast.service.sending import JsonObject, RequestModel


class CrewResult(TypedDict):
    """What an execution gave. At run time it is a plain dict, which also has what else the service answered.

    Keys:
        success: True; what failed is raised.
        result: what the crew returned.
        error: None, or what the service says nevertheless.
        execution_time: seconds that the crew ran, as the service measured them; None if it does not tell.
        total_time: seconds of the whole call, retries and waits included.
        crew_name: the crew.
        request_id: the X-Request-ID that this client sent. The service may have logged another one.
        timestamp: when the service answered, in its words; None if it does not tell.
    """

    success: bool
    result: Any
    error: Any
    execution_time: float | None
    total_time: float
    crew_name: str
    request_id: str
    timestamp: Any


class Execution(Model):
    """What the service answers to an execution. All that matters is `success`: no result is lost over the rest."""

    success: bool
    result: Any = None
    error: Any = None
    execution_time: Any = None
    timestamp: Any = None

    @property
    def seconds(self) -> float | None:
        """How long the crew ran, if that is a duration."""
        told = self.execution_time
        known = isinstance(told, int | float) and not isinstance(told, bool) and math.isfinite(told) and told >= 0
        return float(told) if known else None


class Crews(Model):
    """Which crews there are, by name; some servers tell only the names."""

    available_crews: dict[str, Any] | list[str]


class Trace(RequestModel):
    """The id under which a request is sent: 1 to 200 visible ASCII characters."""

    request_id: Annotated[str, Field(pattern=r"\A[!-~]{1,200}\z")] | None = None


class NewExecution(RequestModel):
    """An execution to be made. `timeout`: seconds."""

    crew_name: Annotated[str, Field(min_length=1)]
    inputs: JsonObject
    timeout: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent; the inputs as they are, nulls included."""
        seconds = int(self.timeout) if self.timeout.is_integer() else self.timeout  # servers expect a whole number
        return {"crew_name": self.crew_name, "inputs": self.inputs, "timeout": seconds}
