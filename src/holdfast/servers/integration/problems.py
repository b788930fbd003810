"""What is wrong with a request, in the shapes that all endpoints answer with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fastapi import HTTPException

from holdfast.servers.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Kind", "Problem", "missing", "refuse"]

Kind = Literal["service", "workflow", "execution", "action"]
"""What a 404 says is not there."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request.

    Attributes:
        loc: where, such as `("body", "steps", 0, "service")`.
        message: for people: what is wrong, and what to do.
        type: for programs.
    """

    loc: tuple[str | int, ...]
    message: str
    type: str = "value_error"


def refuse(problems: Sequence[Problem]) -> None:
    """Returns if there are none.

    Raises:
        HTTPException: 422, with all of them in FastAPI's shape.
    """
    if problems:
        raise HTTPException(422, [{"loc": list(one.loc), "msg": one.message, "type": one.type} for one in problems])


def missing(kind: Kind, resource_id: str, detail: str | None = None) -> Refusal:
    """The 404 for something that is not there."""
    text = detail or f"{kind.capitalize()} not found: {resource_id}"
    return Refusal(404, text, resource_type=kind, resource_id=resource_id)
