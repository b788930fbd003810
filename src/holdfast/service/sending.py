"""What is sent: request models, values that are left out, and `NULL` for those that are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import quote, urlencode

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PrivateAttr,
    SecretBytes,
    SecretStr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

__all__ = ["NULL", "Null", "RequestModel"]


class Null(Enum):
    """The type of `NULL`."""

    NULL = None  # what JSON makes of it, wherever it stands

    def __repr__(self) -> str:
        return "NULL"


NULL: Final = Null.NULL
"""Sends a null. None leaves a field out of a body, and a parameter out of a query."""


class BadParameterError(ValueError):
    """A value that cannot be sent. `field` names its parameter."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


def json_object(value: dict[str, Any]) -> dict[str, Any]:
    """The same value, of which is known that it can be sent.

    Raises:
        ValueError: it cannot be JSON.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"it cannot be sent as JSON: {error}") from None
    return value


JsonObject: TypeAlias = Annotated[dict[str, Any], AfterValidator(json_object)]
"""A field for a JSON object that belongs to the caller: sent as it is, nulls included."""


class RequestModel(BaseModel):
    """The base of models of what is sent.

    Fields that are None are left out; `NULL` sends a null for a field that has a default, whatever its type. An unknown
    field is a mistake, and fails before anything is sent. A field that is a `SecretStr` is sent as what it hides.
    """

    # JSON has no NaN: left as it is it is refused before it is sent, and not made a null.
    model_config = ConfigDict(extra="forbid", populate_by_name=True, ser_json_inf_nan="constants")

    _nulls: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="wrap")
    @classmethod
    def _take_nulls(cls, data: Any, handler: Any) -> Any:
        if not isinstance(data, Mapping) or not any(value is NULL for value in data.values()):
            return handler(data)
        names = {name for name, value in data.items() if value is NULL}
        aliases = {field.alias or name: name for name, field in cls.model_fields.items()}
        unknown = names - aliases.keys() - cls.model_fields.keys()
        if unknown:
            return handler(data)
        made = handler({name: value for name, value in data.items() if value is not NULL})
        made._nulls = frozenset(aliases.get(name, name) for name in names)  # noqa: SLF001  # of this class
        return made

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent.

        Raises:
            BadParameterError: names a field whose value cannot be JSON.
        """
        try:
            found: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True, context=_SENT)
        except ValueError:
            for name in type(self).model_fields:
                try:
                    self.model_dump(mode="json", include={name})
                except ValueError as error:
                    raise BadParameterError(name, f"cannot be sent as JSON: {error}") from None
            raise
        return found

    @model_serializer(mode="wrap")
    def _put_nulls(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        told: dict[str, Any] = dict.fromkeys(self._nulls)
        if info.context is _SENT:
            # Everywhere else they are asterisks.
            told |= {name: _revealed(value) for name, value in self.__dict__.items() if isinstance(value, _SECRET)}
        for name, value in told.items():
            alias = type(self).model_fields[name].alias if info.by_alias else None
            found[alias or name] = value
        return found


_SENT: Final = {"sent": True}
_SECRET = (SecretStr, SecretBytes)


def _revealed(secret: SecretStr | SecretBytes) -> str:
    value = secret.get_secret_value()
    # What is no text is refused later, with the rest of what cannot be encoded.
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def body_of(value: Any) -> Any:
    """A body as JSON: models as objects, None left out of objects, `NULL` as null."""
    if isinstance(value, RequestModel):
        return value.body()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return {name: body_of(one) for name, one in value.items() if one is not None}
    if isinstance(value, (list, tuple)):
        return [body_of(one) for one in value]
    return None if value is NULL else value


def query_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Query parameters: None left out, `NULL` as ``null``, booleans as ``true`` and ``false``, lists as repetitions."""
    for name, value in values.items():
        if isinstance(value, _SECRET):
            raise BadParameterError(name, "is a secret, and URLs end up in logs: send it in a header or in the body")
    return {name: _parameter(value) for name, value in values.items() if value is not None}


def with_query(url: str, values: Mapping[str, Any] | None) -> str:
    """A URL with these parameters after those that it has."""
    query = urlencode(query_of(values), doseq=True, quote_via=quote) if values else ""
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def _parameter(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_parameter(one) for one in value if one is not None]
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is NULL:
        return "null"
    if isinstance(value, Enum):
        return _parameter(value.value)
    return value if isinstance(value, (str, int, float)) else str(value)
