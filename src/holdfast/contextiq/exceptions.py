"""What the workers raise besides the errors of the clients they use."""

from __future__ import annotations

from typing import Any

from holdfast.exceptions import (
    APIConnectionError,
    AuthenticationError,
    ClientClosedError,
    HoldfastError,
    InvalidRequestError,
    RateLimitError,
    ResponseError,
    ServerError,
    ServerTimeoutError,
)
from holdfast.service.errors import renamed

__all__ = ["ModelOutputError", "WorkStoppedError"]


class WorkStoppedError(HoldfastError):
    """A worker could not go on. It is also the error that stopped it, such as a `ServiceUnavailableError`.

    Nothing has to be undone: start the same work again, and it goes on with what is missing.

    Attributes:
        result: what was done until then: what the worker's method would have returned.
    """

    result: Any = None


class ModelOutputError(ResponseError):
    """A model answered, but not with what it was asked for: no JSON, other fields, too few embeddings."""


def stopped(error: HoldfastError, result: Any) -> WorkStoppedError:
    """The error of a worker that could not go on because of `error`."""
    message = f"{error.message} The work stopped there; until then: {result}. Start it again to do what is missing."
    return renamed(error, WorkStoppedError, message, result=result)


def concerns_all(error: Exception) -> bool:
    """Whether the next request would fare no better, so that going on only adds to the trouble.

    So it is where a service cannot be reached or says that it is unavailable, overloaded or not for us. Other refusals,
    and a crash of the server, may be about the one request alone.
    """
    if isinstance(error, (ServerError, ServerTimeoutError)):
        return False
    return isinstance(error, (APIConnectionError, AuthenticationError, RateLimitError, ClientClosedError))


def refused(what: str, fields: dict[str, str]) -> InvalidRequestError:
    """The error for arguments with which nothing can be done; nothing was sent."""
    said = "; ".join(f"{field}: {message}" for field, message in fields.items())
    return InvalidRequestError(
        f"{what} sent nothing: {said}",
        endpoint=what,
        field_errors={field: [message] for field, message in fields.items()},
        may_have_executed=False,
    )
