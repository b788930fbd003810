"""Whose an answer is, and which variant of it: what keeps cached responses apart."""

from __future__ import annotations

import hashlib

_UNCACHED = frozenset(
    {b"range", b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since", b"if-range"}
)
_NO_IDENTITY = frozenset(
    {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"pragma",
        b"traceparent",
        b"tracestate",
        b"user-agent",
        b"x-correlation-id",
        b"x-request-id",
    }
)


class Selector:
    """This request's values of the headers that a stored response varies on."""

    __slots__ = ("_headers",)

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._headers = headers

    def __call__(self, names: tuple[str, ...]) -> tuple[str, ...]:
        found: dict[str, list[str]] = {name: [] for name in names}
        for name, value in self._headers:
            values = found.get(name.decode("latin-1").lower())
            if values is not None:
                values.append(value.decode("latin-1"))
        return tuple(", ".join(found[name]) for name in names)


def identity_of(given: list[tuple[bytes, bytes]]) -> str | None:
    """A hash of all headers given on the call that may be credentials: any but the few that surely are not.

    None if the call is conditional or partial, whose answers are not for others.
    """
    digest = hashlib.sha256()
    count = 0
    for name, value in sorted((name.lower(), value) for name, value in given):
        if name in _UNCACHED:
            return None
        if name not in _NO_IDENTITY:
            count += 1
            digest.update(b"%d:%s%d:%s" % (len(name), name, len(value), value))
    return digest.hexdigest() if count else ""
