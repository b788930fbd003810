"""Makes methods that describe a request: what is invalid about it is raised by the call that they return."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, get_origin

from pydantic import ValidationError

from holdfast.call import Call, returns_call
from holdfast.exceptions import InvalidRequestError
from holdfast.service.endpoint import Refused
from holdfast.service.pages import PagedCall, PageRequest, RefusedPages
from holdfast.service.readable import ReadCall, ReadPagedCall
from holdfast.service.sending import BadParameterError

if TYPE_CHECKING:
    from holdfast.client import ResilientClient
    from holdfast.exceptions import HoldfastError


class Describing(Protocol):
    """A typed client, as much of one as its methods need here."""

    resilient: ResilientClient

    def translate(self, error: HoldfastError) -> HoldfastError:
        """The error that users of the service see in place of `error`."""
        ...


def says(method: Callable[..., Any]) -> str:
    """The name of the class that a method returns, as its annotation says, which may be text and not evaluated yet."""
    said = method.__annotations__.get("return")
    if isinstance(said, str):
        return said.partition("[")[0].rpartition(".")[2].strip("\"' ")
    return getattr(get_origin(said) or said, "__name__", "")


def described(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that describes a request: what is invalid about it is raised by its call."""
    kind = says(method)

    @functools.wraps(method)
    def checked(self: Describing, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except (ValidationError, BadParameterError) as error:
            name = f"{type(self).__name__}.{method.__name__}"
            refused = self.translate(invalid(name, error))
            if kind in ("PagedCall", "ReadPagedCall"):
                endpoint = RefusedPages(self.resilient._assembly, refused)  # noqa: SLF001
                paged = PagedCall if kind == "PagedCall" else ReadPagedCall
                return paged(endpoint, PageRequest(name, {}, {}))
            return (ReadCall if kind == "ReadCall" else Call)(Refused(refused), name)

    return returns_call(checked)


def invalid(name: str, error: ValidationError | BadParameterError, came: str = "was not sent") -> InvalidRequestError:
    """The error for arguments that cannot be sent. `came`: how far it came."""
    fields: dict[str, list[str]] = {}
    found: list[Any] = []
    if isinstance(error, BadParameterError):
        fields[error.field] = [str(error)]
    else:
        found = list(error.errors(include_input=False, include_url=False, include_context=False))
        for one in found:
            field = ".".join(str(step) for step in one["loc"]) or "the whole"
            fields.setdefault(field, []).append(one["msg"].removeprefix("Value error, "))
    said = "; ".join(f"{field}: {' and '.join(messages)}" for field, messages in fields.items())
    return InvalidRequestError(
        f"{name} {came}: {said}",
        endpoint=name,
        field_errors=fields,
        validation_errors=found,
        may_have_executed=False,
    )
