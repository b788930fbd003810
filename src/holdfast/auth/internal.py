"""Tokens for services of one's own, signed with the secret that they share."""

from __future__ import annotations

import os
from typing import Any

from holdfast.auth.errors import SigningKeyError
from holdfast.auth.keys import LEAST_SECRET
from holdfast.auth.minted import EARLY, LIFETIME, JWTAuth
from holdfast.auth.notices import warn_once
from holdfast.auth.provider import fingerprint
from holdfast.auth.tokens import secret_text

__all__ = ["DEVELOPMENT_KEY", "INTERNAL_SCOPES", "get_internal_token", "internal_auth", "internal_key"]

DEVELOPMENT_KEY = "holdfast-development-key, which everybody knows"
"""What tokens are signed with where no secret is set, outside of production."""

INTERNAL_SCOPES = ("sparkjar_internal", "crew_execute")
"""What internal tokens allow."""


def internal_key(key: Any = None, environment: str | None = None) -> str:
    """The secret that internal tokens are signed, and have to be checked, with.

    In production it has to be set, and have 32 bytes or more. Elsewhere a short one is taken, and `DEVELOPMENT_KEY`
    where there is none; either logs a warning, once.

    Args:
        key: None takes the environment variable ``API_SECRET_KEY``. Blank is as good as not set.
        environment: None takes the environment variable ``ENVIRONMENT``.

    Raises:
        SigningKeyError: the key is missing or short in production.
    """
    given = os.environ.get("API_SECRET_KEY") if key is None else key
    where = os.environ.get("ENVIRONMENT", "") if environment is None else environment
    production = where.strip().lower() == "production"
    try:
        secret = secret_text("API_SECRET_KEY", "" if given is None else given)
    except ValueError:
        if production:
            raise SigningKeyError(
                f"API_SECRET_KEY is not set, and ENVIRONMENT is production: set it to a secret of {LEAST_SECRET} bytes"
                " or more that all services share"
            ) from None
        warn_once(
            DEVELOPMENT_KEY,
            "API_SECRET_KEY is not set: internal tokens are signed with DEVELOPMENT_KEY (%r). Anybody can make such"
            " tokens; with ENVIRONMENT=production this is refused",
            DEVELOPMENT_KEY,
        )
        return DEVELOPMENT_KEY
    raw = secret.encode("utf-8", "surrogatepass")
    size = len(raw)
    if size < LEAST_SECRET:
        if production:
            raise SigningKeyError(
                f"API_SECRET_KEY has {size} bytes, and ENVIRONMENT is production: it must have {LEAST_SECRET} or more"
                " (RFC 7518, section 3.2)"
            )
        warn_once(
            fingerprint("short", raw),
            "API_SECRET_KEY has %s bytes and should have %s or more: a development key. With ENVIRONMENT=production it"
            " is refused",
            size,
            LEAST_SECRET,
        )
    return secret


def internal_auth(
    key: Any = None,
    *,
    environment: str | None = None,
    subject: str = "holdfast",
    issuer: str | None = None,
    scopes: tuple[str, ...] = INTERNAL_SCOPES,
    lifetime: float = LIFETIME,
    early: float = EARLY,
) -> JWTAuth:
    """A provider of internal tokens, signed with `internal_key` by HS256. The other arguments are those of `JWTAuth`.

    Raises:
        SigningKeyError: the key is missing or short in production.
    """
    return JWTAuth(
        internal_key(key, environment),
        subject=subject,
        issuer=issuer,
        scopes=scopes,
        lifetime=lifetime,
        early=early,
        allow_short_key=True,  # what is too short for production was refused there
    )


def get_internal_token() -> str:
    """A new internal token, signed with the secret in ``API_SECRET_KEY`` (see `internal_key`).

    Clients take `internal_auth`, which renews its tokens by itself.

    Raises:
        SigningKeyError: the key is missing or short in production.
    """
    return internal_auth().mint()
