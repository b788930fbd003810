"""`Record`: a result that is made here, and reads like the JSON that a service would answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = ["Record"]


class Record:
    """An object whose attributes can also be read by key: ``found.status`` and ``found["status"]`` are the same.

    A subclass names the attributes that count in `_keys`. ``dict(found)`` has them all.
    """

    _keys: ClassVar[tuple[str, ...]] = ()

    def keys(self) -> list[str]:
        """The keys, in the order in which the class documents them."""
        return list(self._keys)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or `default` if there is none by that name."""
        return getattr(self, key) if key in self._keys else default

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain dictionaries and lists, for `json.dumps`, as far as the values of others allow."""
        return {key: _plain(getattr(self, key)) for key in self._keys}

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
