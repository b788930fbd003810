"""Makes models of responses, and says which field is wrong where that fails."""

from __future__ import annotations

from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from holdfast.exceptions import ResponseError
from holdfast.service.model import mark

if TYPE_CHECKING:
    import httpx2

    from holdfast.core.effects import Job

T = TypeVar("T")

_SHOWN = 3  # errors in a message
_NO_CONTENT = frozenset({204, 205, 304})


class Decoder(Generic[T]):
    """Decodes the bodies of one endpoint.

    Args:
        model: what they are: a `Model`, a list of them, any type that pydantic knows; `NoneType` if they are not read.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._adapter: TypeAdapter[T] | None = None if model is NoneType else TypeAdapter(model)

    def __call__(self, job: Job, reply: httpx2.Response) -> T:
        """The model in a reply.

        Raises:
            ResponseError: the body is not JSON, or not the model; the message names the field.
        """
        adapter = self._adapter
        if adapter is None:
            return None  # type: ignore[return-value]  # T is NoneType then
        try:
            value = adapter.validate_json(reply.content)
        except ValidationError as error:
            raise self.unusable(job, reply, self._what(reply, error)) from None
        mark(value, reply.headers, job.id)
        return value

    def validated(self, job: Job, reply: httpx2.Response, value: Any, where: str) -> T:
        """The model of a part of a reply's JSON.

        Args:
            job: the call.
            reply: its reply.
            value: the part.
            where: its name, for messages.

        Raises:
            ResponseError: it is not the model; the message names the field.
        """
        adapter = cast("TypeAdapter[T]", self._adapter)
        try:
            return adapter.validate_python(value)
        except ValidationError:
            pass
        try:
            # A strict model takes a time or a UUID as text from JSON only.
            return adapter.validate_json(to_json(value, inf_nan_mode="constants"))
        except ValidationError as error:
            raise self.unusable(job, reply, f"the body is not {self._name}: {_fields(error, where)}") from None

    def unusable(self, job: Job, reply: httpx2.Response, what: str) -> ResponseError:
        """The error for a reply that is a success, and cannot be used."""
        executed = " The server did answer, so it has executed it." if not job.idempotent else ""
        return ResponseError(
            f"{job.route} on {job.key}: {what}.{executed} Request id {job.id}.",
            request_id=job.id,
            attempts=job.attempts,
            may_have_executed=True,
            endpoint=job.route,
            response=reply,
        )

    @property
    def _name(self) -> str:
        return str(self.model) if get_origin(self.model) else getattr(self.model, "__name__", str(self.model))

    def _what(self, reply: httpx2.Response, error: ValidationError) -> str:
        expected = "" if self.model is Any else f", and {self._name} was expected"
        if not reply.content:
            empty = "as its status says" if reply.status_code in _NO_CONTENT else "without saying why"
            return f"the body is empty {empty}{expected}"
        if any(one["type"] == "json_invalid" for one in error.errors(include_input=False, include_url=False)):
            kind = reply.headers.get("content-type", "no content type")
            return f"the body is not JSON ({kind}){expected}"
        return f"the body is not {self._name}: {_fields(error)}"


@lru_cache(maxsize=1024)
def _known(model: Any) -> Decoder[Any]:
    return Decoder(model)


def decoder(model: Any) -> Decoder[Any]:
    """The decoder for a model, made once."""
    try:
        return _known(model)
    except TypeError:  # unhashable, as some annotations are
        return Decoder(model)


def _fields(error: ValidationError, below: str = "") -> str:
    found = error.errors(include_input=False, include_url=False)
    named = []
    for one in found[:_SHOWN]:
        path = ".".join(str(step) for step in (*filter(None, (below,)), *one["loc"]))
        named.append(f"{path or 'the whole'}: {one['msg']}")
    more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
    return "; ".join(named) + more
