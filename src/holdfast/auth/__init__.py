"""Credentials: bearer tokens, API keys, JWTs minted here, OAuth 2.0 client credentials, tokens of your own source.

    client = ResilientClient(config).with_options(auth=BearerAuth(token))

A provider goes to a client, a view of one, or a single call, as ``auth=``. Its credentials go to the origin of
`base_url` alone. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._lazy import lazily

if TYPE_CHECKING:
    from holdfast.auth.errors import SigningKeyError, TokenError
    from holdfast.auth.internal import (
        DEVELOPMENT_KEY,
        INTERNAL_SCOPES,
        get_internal_token,
        internal_auth,
        internal_key,
    )
    from holdfast.auth.minted import JWTAuth
    from holdfast.auth.oauth2 import OAuth2ClientCredentials
    from holdfast.auth.provider import AuthProvider
    from holdfast.auth.renewing import TokenAuth
    from holdfast.auth.static import APIKeyAuth, BearerAuth

__all__ = [
    "DEVELOPMENT_KEY",
    "INTERNAL_SCOPES",
    "APIKeyAuth",
    "AuthProvider",
    "BearerAuth",
    "JWTAuth",
    "OAuth2ClientCredentials",
    "SigningKeyError",
    "TokenAuth",
    "TokenError",
    "get_internal_token",
    "internal_auth",
    "internal_key",
]

_PLACES = {
    "holdfast.auth.errors": "SigningKeyError TokenError",
    "holdfast.auth.internal": "DEVELOPMENT_KEY INTERNAL_SCOPES get_internal_token internal_auth internal_key",
    "holdfast.auth.minted": "JWTAuth",
    "holdfast.auth.oauth2": "OAuth2ClientCredentials",
    "holdfast.auth.provider": "AuthProvider",
    "holdfast.auth.renewing": "TokenAuth",
    "holdfast.auth.static": "APIKeyAuth BearerAuth",
}

if not TYPE_CHECKING:  # to type checkers the package has the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
