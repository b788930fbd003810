"""`Model`: what a service answers, with attributes for people and the keys of its JSON for code that has it as JSON."""

from __future__ import annotations

from typing import Any

import httpx2
from pydantic import BaseModel, ConfigDict, PrivateAttr
from pydantic.fields import FieldInfo

__all__ = ["Model"]


class Model(BaseModel):
    """The base of models of what a service answers.

    Fields that the model does not know are kept. A model can be read like the JSON object that it came from:
    ``run.id`` and ``run["id"]`` are the same, ``"id" in run`` asks whether it was there, ``dict(run)`` has what was
    there. ``run["title"]`` of a declared field that was not there is its default.

    Two models are equal if their classes and contents are. What they know of their responses does not count, but goes
    along when they are copied or pickled. A field of the service's that goes by the name of a method or property here
    needs an alias, such as ``their_id: str = Field(alias="request_id")``.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    _response_headers: httpx2.Headers | None = PrivateAttr(default=None)
    _sent_as: str | None = PrivateAttr(default=None)

    @property
    def response_headers(self) -> httpx2.Headers:
        """The headers of the response that it came in; none if it was made by hand."""
        if self._response_headers is None:
            self._response_headers = httpx2.Headers()
        return self._response_headers

    @property
    def request_id(self) -> str | None:
        """The X-Request-ID that its request was sent with; None if it was made by hand."""
        return self._sent_as

    def keys(self) -> list[str]:
        """The keys of the JSON object that it came from, declared fields first."""
        fields = type(self).model_fields
        declared = [_key(name, field) for name, field in fields.items() if name in self.model_fields_set]
        return [*declared, *(self.__pydantic_extra__ or {})]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or `default` if there is none by that name."""
        try:
            return self[key]
        except KeyError:
            return default

    def __getitem__(self, key: str) -> Any:
        extra = self.__pydantic_extra__
        if extra and key in extra:
            return extra[key]
        for name, field in type(self).model_fields.items():
            if key in (_key(name, field), name):
                return getattr(self, name)
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model):
            return NotImplemented
        same = type(self) is type(other) and self.__dict__ == other.__dict__
        return same and (self.__pydantic_extra__ or {}) == (other.__pydantic_extra__ or {})

    __hash__ = None  # type: ignore[assignment]  # it can be changed


def _key(name: str, field: FieldInfo) -> str:
    """What a field is called in JSON."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else name


def mark(value: Any, headers: httpx2.Headers, request_id: str) -> None:
    """Tells models, also those in a list, which response they came in."""
    if isinstance(value, Model):
        value._response_headers = headers  # noqa: SLF001  # of this module
        value._sent_as = request_id  # noqa: SLF001
    elif isinstance(value, list):
        for one in value:
            mark(one, headers, request_id)
