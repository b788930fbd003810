"""Bearer tokens: who may call what is below a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import jwt
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from holdfast.servers.fields import storable_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["SHORTEST_SECRET", "BearerTokens", "ContextTokens", "InternalTokens", "RefusedError", "TokenCheck"]

SHORTEST_SECRET = 32
"""Bytes. RFC 7518, section 3.2: a key for HS256 is at least as long as its hash."""

LEEWAY_SECONDS = 5
"""Clocks of two machines differ."""

MISSING = "the header Authorization with a bearer token is missing"

LONGEST_SUBJECT = 255
"""Characters. OpenID Connect Core 1.0, section 2, allows no more; a database's index has no room for any length."""


class RefusedError(Exception):
    """The request may not pass; the message says why.

    Attributes:
        status: of the answer.
        detail: of the answer, in the words that the clients of this server know.
    """

    def __init__(self, status: int, detail: str, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.detail = detail


class TokenCheck(Protocol):
    """Looks at the header Authorization of a request."""

    def __call__(self, authorization: str | None) -> str:
        """Whose token it is.

        Raises:
            RefusedError: it is none, or does not allow this.
        """
        ...


class ContextTokens:
    """Tokens of the Sessions and the Memory service: they say who issued them. What is wrong with one is a 401."""

    def __init__(self, secret: str, issuer: str) -> None:
        self._secret = _key(secret)
        self._issuer = issuer

    def __call__(self, authorization: str | None) -> str:
        """See `TokenCheck`."""
        token = _bearer(authorization)
        if token is None:
            raise RefusedError(401, "Authentication required", MISSING)
        try:
            return _subject(_claims(token, self._secret, ["sub", "exp", "iat", "iss"], issuer=self._issuer))
        except jwt.InvalidTokenError as error:
            why = f"the token cannot be accepted: {error}"
            raise RefusedError(401, "Authentication required", why) from error


class InternalTokens:
    """Tokens that services of one owner sign with a common secret: they say what they allow.

    Without a token a request is refused with 403, with one that is no good with 401, and with one that does not allow
    it with 403, as by the service that this one stands for.

    Args:
        secret: what tokens are signed with; a short one is for its owner to allow.
        scopes: of which a token must have one.
    """

    def __init__(self, secret: str, scopes: Collection[str]) -> None:
        self._secret = _key(secret)
        self._scopes = frozenset(scopes)

    def __call__(self, authorization: str | None) -> str:
        """See `TokenCheck`."""
        token = _bearer(authorization)
        if token is None:
            raise RefusedError(403, "Not authenticated", MISSING)
        try:
            claims = _claims(token, self._secret, ["sub", "exp", "iat", "scopes"])
            subject = _subject(claims)
        except jwt.ExpiredSignatureError as error:
            raise RefusedError(401, "Token has expired", f"the token cannot be accepted: {error}") from error
        except jwt.InvalidTokenError as error:
            raise RefusedError(401, "Invalid token", f"the token cannot be accepted: {error}") from error
        scopes = claims["scopes"]
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise RefusedError(401, "Invalid token", "the token cannot be accepted: scopes must be a list of texts")
        if self._scopes.isdisjoint(scopes):
            why = f"the token needs one of the scopes {', '.join(sorted(self._scopes))}"
            raise RefusedError(403, "Insufficient permissions", why)
        return subject


class BearerTokens:
    """ASGI middleware: requests to these paths, and to what is below them, get their caller as `request.state.caller`.

    One that the check refuses is answered before its body is read.
    """

    def __init__(self, app: ASGIApp, *, paths: Collection[str], check: TokenCheck) -> None:
        self._app = app
        self._prefixes = tuple(path.rstrip("/") + "/" for path in paths)
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        # Routes of Starlette end in `$`, which matches before a newline at the end as well: /crews%0A is /crews.
        if scope["type"] == "http" and (scope["path"].rstrip("\n") + "/").startswith(self._prefixes):
            try:
                caller = self._check(Headers(scope=scope).get("Authorization"))
            except RefusedError as error:
                body = {"detail": error.detail, "error": str(error)}
                headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
                await JSONResponse(body, error.status, headers)(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _key(secret: str) -> bytes:
    # HMAC fills a key up with zeros in any case (RFC 2104, section 2). PyJWT would warn of a short one with every
    # token; whether one may be short is decided, and said, where it comes from.
    return secret.encode("utf-8", "surrogatepass").ljust(SHORTEST_SECRET, b"\0")


def _claims(token: str, secret: bytes, required: list[str], issuer: str | None = None) -> dict[str, Any]:
    """The claims of a JWT that is signed with HS256 and not expired."""
    return jwt.decode(
        token,
        secret,
        algorithms=["HS256"],
        issuer=issuer,
        leeway=LEEWAY_SECONDS,
        options={"require": required, "verify_aud": False},
    )


def _subject(claims: dict[str, Any]) -> str:
    """Whose token it is. Idempotency keys are kept under it, so it must be what every database can keep."""
    subject = str(claims["sub"])
    if len(subject) > LONGEST_SUBJECT:
        raise jwt.InvalidTokenError(f"sub must not be longer than {LONGEST_SUBJECT} characters")
    try:
        return storable_text(subject)
    except ValueError as error:
        raise jwt.InvalidTokenError(f"sub {error}") from error
