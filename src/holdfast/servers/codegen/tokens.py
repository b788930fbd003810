"""Who may call: bearer tokens that are names of nobody in particular."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["PREFIX", "Tokens", "problem"]

PREFIX = "/v1"
"""Everything below it needs a token."""

MISSING = "Authorization with a bearer token is missing: send the header 'Authorization: Bearer <token>'."
WRONG = "The API token is not valid: this server accepts the one that CODEGEN_API_TOKEN holds where it was started."


def problem(status: int, message: str) -> dict[str, object]:
    """The body of an error: as the official contract has it, and `detail` as all servers here have it."""
    return {"message": message, "status_code": status, "detail": message}


class Tokens:
    """ASGI middleware: requests below `/v1` have a bearer token. Their `request.state.caller` is a digest of it.

    Args:
        app: what is protected.
        token: the only one that is accepted; None accepts any that is not empty.
    """

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode("utf-8", "surrogateescape")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it before its body is read."""
        # Routes of Starlette end in `$`, which matches before a newline at the end as well.
        if scope["type"] == "http" and (scope["path"].rstrip("\n") + "/").startswith(f"{PREFIX}/"):
            given = _bearer(Headers(scope=scope).get("Authorization"))
            if given is None or not self._accepts(given):
                body = problem(401, MISSING if given is None else WRONG)
                await JSONResponse(body, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
                return
            # Keys are kept under it, and the page shows where it begins: neither needs the token itself.
            scope.setdefault("state", {})["caller"] = hashlib.sha256(given).hexdigest()[:32]
        await self._app(scope, receive, send)

    def _accepts(self, given: bytes) -> bool:
        return self._token is None or hmac.compare_digest(given, self._token)


def _bearer(authorization: str | None) -> bytes | None:
    scheme, _, token = (authorization or "").partition(" ")
    # Starlette decodes headers as Latin-1; the bytes are what a token is compared by.
    return token.strip().encode("latin-1") or None if scheme.lower() == "bearer" else None
