"""What a provider has to give: a `Token`, or `NoToken` and the reason for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from holdfast.auth.errors import TokenError
from holdfast.core.effects import FOREVER, Job
from holdfast.exceptions import HoldfastError, narrow

_INVISIBLE = re.compile(r"[^!-~]")


class Token:
    """A credential, as the value of the header that it is sent in, with the times that hold for it.

    Attributes:
        value: of the header.
        renew_at, expires_at: on the client's monotonic clock, in seconds: from when on a new one should be obtained,
            and from when on this one is of no use.
    """

    __slots__ = ("expires_at", "renew_at", "value")

    def __init__(self, value: bytes, renew_at: float = FOREVER, expires_at: float = FOREVER) -> None:
        self.value = value
        self.renew_at = renew_at
        self.expires_at = expires_at

    @classmethod
    def lasting(cls, value: bytes, began: float, lifetime: float, early: float) -> Token:
        """A token that was asked for at the time `began` and lives for `lifetime` seconds from then on.

        It is renewed `early` seconds before its end, but not before half of its life is over: a token that lives
        shorter than that would be renewed with every call.
        """
        expires_at = began + lifetime
        return cls(value, expires_at - min(early, lifetime / 2), expires_at)

    def __repr__(self) -> str:
        return "<Token>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token cannot be pickled or copied: it is a credential")


@dataclass(frozen=True, slots=True, eq=False)
class NoToken:
    """Why there is no token.

    Attributes:
        what: what happened; ends a sentence.
        kind: the exception class of that.
        local: whether it came of the one call that tried (its deadline, its client was closed) rather than from
            outside: then another one may fare better.
        cause: an exception that was raised by the user's own code, None if it was none.
        foreign: the class of httpx2 for it, None if there is none.
        details: attributes of the `TokenError`.
    """

    what: str
    kind: type[HoldfastError]
    local: bool = False
    cause: BaseException | None = None
    foreign: type[Exception] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def error(self, job: Job) -> TokenError:
        """The exception for a call that needed the token."""
        made = narrow(TokenError, self.kind, self.foreign)(
            f"{job.route} on {job.key} was not sent for want of a token: {self.what.rstrip('.')}."
            f" Request id of the call: {job.id}.",
            request_id=job.id,
            attempts=job.attempts,
            may_have_executed=job.executed,
            endpoint=job.route,
            **self.details,
        )
        made.__cause__ = self.cause
        return made


def secret_text(name: str, value: Any) -> str:
    """A secret as text, out of a pydantic `SecretStr` if it is one. Its value is in no message.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty, or blank.
    """
    reveal = getattr(value, "get_secret_value", None)
    text = value if reveal is None else reveal()
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {type(text).__name__}")
    if not text.strip():
        raise ValueError(f"{name} is empty: is the variable that it comes from set?")
    return text


def bearer(name: str, value: Any) -> bytes:
    """The header value for a bearer token (RFC 6750, section 2.1).

    Raises:
        TypeError, ValueError: it is no token; its value is in no message.
    """
    text = secret_text(name, value)
    if text.lower().startswith("bearer "):
        raise ValueError(f"{name} begins with the scheme: give the token alone, without 'Bearer'")
    if _INVISIBLE.search(text):
        raise ValueError(f"{name} contains white space, a control character or a character beyond ASCII")
    return b"Bearer " + text.encode("ascii")
