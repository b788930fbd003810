"""Bearer tokens: who may call what is below a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["SHORTEST_SECRET", "BearerTokens", "InvalidTokenError", "subject_of"]

SHORTEST_SECRET = 32
"""Bytes. RFC 7518, section 3.2: a key for HS256 is at least as long as its hash."""

LEEWAY_SECONDS = 5
"""Clocks of two machines differ."""


class InvalidTokenError(Exception):
    """The request has no token that can be accepted; the message says why."""


def subject_of(authorization: str | None, secret: str, issuer: str) -> str:
    """Whose token it is: the claim `sub` of a JWT that is signed with HS256 and not expired.

    Raises:
        InvalidTokenError: it is none.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidTokenError("the header Authorization with a bearer token is missing")
    try:
        claims = jwt.decode(
            token.strip(),
            secret,
            algorithms=["HS256"],
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["sub", "exp", "iat", "iss"], "verify_aud": False},
        )
    except jwt.InvalidTokenError as error:
        raise InvalidTokenError(f"the token cannot be accepted: {error}") from error
    return str(claims["sub"])


class BearerTokens:
    """ASGI middleware: requests below `prefix` need a token, and get its subject as `request.state.caller`.

    A request without one is answered before its body is read.
    """

    def __init__(self, app: ASGIApp, *, prefix: str, secret: str, issuer: str) -> None:
        self._app = app
        self._prefix = prefix.rstrip("/") + "/"
        self._secret = secret
        self._issuer = issuer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and (scope["path"] + "/").startswith(self._prefix):
            try:
                caller = subject_of(Headers(scope=scope).get("Authorization"), self._secret, self._issuer)
            except InvalidTokenError as error:
                body = {"detail": "Authentication required", "error": str(error)}
                await JSONResponse(body, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)
