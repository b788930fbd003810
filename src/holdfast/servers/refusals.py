"""Answers of 400 and above that say more than `detail`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import HTTPException
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

__all__ = ["Refusal", "answer_refusal", "body_of"]


class Refusal(HTTPException):
    """An answer whose body has members beside `detail`.

    Attributes:
        more: those members.
    """

    def __init__(self, status: int, detail: Any, headers: Mapping[str, str] | None = None, /, **more: Any) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.more = more

    def body(self) -> bytes:
        """What is sent, as JSON."""
        return bytes(JSONResponse({"detail": self.detail, **self.more}).body)


def body_of(error: HTTPException) -> bytes:
    """What is sent for an error, as JSON."""
    return error.body() if isinstance(error, Refusal) else Refusal(error.status_code, error.detail).body()


async def answer_refusal(_: Request, error: Exception) -> Response:
    """The exception handler for `Refusal`."""
    if not isinstance(error, Refusal):
        raise error
    return Response(error.body(), error.status_code, error.headers, media_type="application/json")
