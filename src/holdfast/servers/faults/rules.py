"""When a fault strikes. What it does is said by the kinds in `kinds.py`."""

from __future__ import annotations

import random
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from holdfast.servers.faults.answer import Answer

__all__ = ["MAX_SECONDS", "Rule"]

MAX_SECONDS = 3600.0
"""No fault holds a request for longer at one time."""

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


class Rule(BaseModel):
    """When a fault strikes. Subclasses say what it does, by overriding what concerns them of the three last methods.

    Attributes:
        kind: the name of the fault.
        rate: share of the matching requests that are struck, 0 to 1.
        count: how often it strikes at most.
        since: in JSON and text `from`: seconds after it was added before which it does not strike.
        lasting: in JSON and text `for`: seconds for which it then strikes; without it there is no end.
        method: only requests with this method.
        path: only this path and the paths below it; a segment `*` stands for any one segment.
        seed: makes the random choices of `rate`, and of the fault itself, repeatable; drawn if it is not given.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    main: ClassVar[str]
    """The field whose value stands behind the kind's name in the short form, as in `status=503`."""

    needs_wire: ClassVar[bool] = False
    """Whether it takes more than ASGI offers: `FaultProtocol`."""

    kind: str
    rate: float = Field(default=1.0, ge=0, le=1)
    count: int | None = Field(default=None, ge=1)
    since: float = Field(default=0.0, ge=0, alias="from")
    lasting: float | None = Field(default=None, gt=0, alias="for")
    method: Method | None = None
    path: str = Field(default="/", pattern=r"^/")
    seed: int | None = None

    def matches(self, method: str, path: str) -> bool:
        """Whether it is about such requests."""
        return self.method in (None, method) and self._paths.match(path) is not None

    def is_open(self, age: float) -> bool:
        """Whether its time window is open, `age` seconds after it was added."""
        return age >= self.since and (self.lasting is None or age < self.since + self.lasting)

    @cached_property
    def _paths(self) -> re.Pattern[str]:
        segments = self.path.rstrip("/").split("/")
        return re.compile("/".join("[^/]+" if each == "*" else re.escape(each) for each in segments) + r"(/|\Z)")

    @property
    def before(self) -> bool:
        """Whether it acts before the app is asked, and not on the app's answer."""
        return getattr(self, "at", "after") == "before"

    def draw(self, rand: random.Random) -> float:
        """Seconds that the request, or with `at="after"` its answer, is held back."""
        return 0.0

    def instead(self) -> Answer | None:
        """What is answered without asking the app, if that is what it does."""
        return None

    def spoil(self, answer: Answer) -> None:
        """Change an answer that is about to be written."""

    @classmethod
    def field_names(cls) -> list[str]:
        """The names of the fields as they are written in JSON and text."""
        return [info.alias or name for name, info in cls.model_fields.items()]

    def shown(self) -> dict[str, Any]:
        """The rule as JSON, without what was not given and has no default."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
