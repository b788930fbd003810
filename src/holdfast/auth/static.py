"""Credentials that stay the same: a bearer token, and an API key in a header of any name."""

from __future__ import annotations

import re
from typing import Any

from holdfast.auth.provider import AuthProvider, Carrier, fingerprint
from holdfast.auth.tokens import NoToken, Token, bearer, secret_text
from holdfast.core.effects import Flow, Job
from holdfast.exceptions import AuthenticationError

__all__ = ["APIKeyAuth", "BearerAuth"]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[^\t -~]|^[ \t]|[ \t]$")
_FRAMING = frozenset({"connection", "content-length", "host", "transfer-encoding"})


class _Static(AuthProvider):
    """One token for ever."""

    def __init__(self, value: bytes) -> None:
        self._token = Token(value)
        self.identity = fingerprint(self.header, value)

    def current(self, now: float) -> Token | None:
        """See `AuthProvider.current`."""
        return self._token

    def obtain(self, job: Job, carrier: Carrier, refused: Token | None = None) -> Flow[Token | NoToken]:
        """See `AuthProvider.obtain`. There is no other, if this one was refused."""
        yield from ()
        if refused is None:
            return self._token
        return NoToken("the server does not take the token, and there is no other", AuthenticationError)


class BearerAuth(_Static):
    """A bearer token that is given (RFC 6750): ``Authorization: Bearer ...``.

    Args:
        token: a str, or a pydantic `SecretStr`; without the word Bearer.

    Raises:
        TypeError, ValueError: it is no token; says why without showing it.
    """

    def __init__(self, token: Any) -> None:
        super().__init__(bearer("token", token))

    def __repr__(self) -> str:
        return "<BearerAuth>"


class APIKeyAuth(_Static):
    """An API key in a header.

    Args:
        key: the value of the header, a str or a pydantic `SecretStr`.
        header: its name.

    Raises:
        TypeError, ValueError: key or name cannot be sent; says why without showing the key.
    """

    def __init__(self, key: Any, *, header: str = "X-API-Key") -> None:
        if not _NAME.fullmatch(header):
            raise ValueError(f"header is not the name of a header: {header!r}")
        if header.lower() in _FRAMING:
            raise ValueError(f"header {header!r} is set by the client itself")
        text = secret_text("key", key)
        if _BAD_VALUE.search(text):
            raise ValueError("key contains a control character, outer space or a character beyond ASCII")
        self.header = header
        super().__init__(text.encode("ascii"))

    def __repr__(self) -> str:
        return f"<APIKeyAuth {self.header}>"
