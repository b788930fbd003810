"""Errors under the names that a service documents."""

from __future__ import annotations

from typing import Any, TypeVar

from holdfast import _portable
from holdfast.exceptions import (
    APIConnectionError,
    HoldfastError,
    MaxRetriesExceededError,
    ServiceUnavailableError,
    narrow,
)

E = TypeVar("E", bound=HoldfastError)


def renamed(error: HoldfastError, public: type[E], message: str | None = None, **details: Any) -> E:
    """The same error, as one of a service's own class too: everything that could be caught before still can.

    Args:
        error: stays as it is.
        public: the service's class.
        message: in place of the error's own.
        **details: attributes that `public` declares.

    Raises:
        TypeError: a detail that it does not declare, or a MaxRetriesExceededError, which goes by no other name.
    """
    cls = narrow(public, type(error))
    other = _portable.blank(cls)
    other.args = error.args if message is None else (message,)
    other.__dict__.update(error.__dict__)
    if message is not None:
        other.message = message
    for name, value in details.items():
        if not hasattr(public, name):
            raise TypeError(f"{public.__name__} has no attribute {name!r}")
        setattr(other, name, value)
    if hasattr(error, "__notes__"):
        other.__notes__ = list(error.__notes__)
    other.__cause__, other.__context__ = error.__cause__, error.__context__
    other.__suppress_context__ = error.__suppress_context__
    return other.with_traceback(error.__traceback__)


def unreachable(error: HoldfastError, service_name: str | None) -> HoldfastError:
    """A service that cannot be reached is unavailable: an error without an answer becomes a ServiceUnavailableError.

    Others stay as they are.
    """
    if isinstance(error, MaxRetriesExceededError) or not isinstance(error, APIConnectionError):
        return error
    if error.status_code is not None or isinstance(error, ServiceUnavailableError):
        return error
    return renamed(error, ServiceUnavailableError, service_name=service_name)
