"""`JWTAuth`: signs its own tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.auth.keys import Algorithm, SigningKey
from holdfast.auth.provider import Carrier, fingerprint
from holdfast.auth.renewing import RenewingAuth, seconds
from holdfast.auth.tokens import NoToken, Token
from holdfast.core.effects import Failed, Flow, Io, Job
from holdfast.exceptions import HoldfastError

__all__ = ["JWTAuth"]

LIFETIME = 23 * 3600.0
EARLY = 300.0
_OWN_CLAIMS = frozenset({"sub", "exp", "iat", "iss", "scopes"})


class JWTAuth(RenewingAuth):
    """Bearer tokens that are JWTs (RFC 7519) minted here, from a secret or a private key.

    One token serves all calls for 23 hours and is renewed 5 minutes before it expires, by one call at a time. One that
    the server answers with 401 is renewed, and the request sent once more.

    Args:
        key: a secret of 32 bytes or more for HS256, a private key in PEM for RS256 and ES256; see `SigningKey`.
        subject: the claim ``sub``, whom the token stands for.
        algorithm: what it is signed by.
        issuer: the claim ``iss``; None for none.
        scopes: the claim ``scopes``, a list; none if empty.
        claims: further claims, such as ``aud``.
        key_id: names the key in the token's header (``kid``).
        passphrase: of an encrypted private key.
        lifetime: seconds from now to ``exp``.
        early: seconds before that the token is renewed.
        clock_skew: seconds by which ``iat`` is dated back, for servers whose clocks are behind.
        allow_short_key: takes a secret of less than 32 bytes, for development, and logs a warning.
        wall: the time, in seconds since 1970.

    Raises:
        SigningKeyError: the key does not do; says why without showing it.
        TypeError, ValueError: names the argument that is wrong.
    """

    def __init__(
        self,
        key: Any,
        *,
        subject: str,
        algorithm: Algorithm = "HS256",
        issuer: str | None = None,
        scopes: Sequence[str] = (),
        claims: Mapping[str, Any] | None = None,
        key_id: str | None = None,
        passphrase: str | bytes | None = None,
        lifetime: float = LIFETIME,
        early: float = EARLY,
        clock_skew: float = 30.0,
        allow_short_key: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(early)
        self._lifetime = seconds("lifetime", lifetime, least=1.0)
        self._skew = seconds("clock_skew", clock_skew, least=0.0)
        self._wall = wall
        self._claims = _fixed_claims(subject, issuer, scopes, claims)
        self._key_id = key_id
        if key_id is not None and not isinstance(key_id, str):
            raise TypeError(f"key_id must be a str, not {type(key_id).__name__}")
        self._key = SigningKey(key, algorithm, passphrase=passphrase, allow_short_key=allow_short_key)
        self.mint()  # a claim that is no JSON is found now
        raw = key if isinstance(key, bytes) else getattr(key, "get_secret_value", lambda: key)()
        self.identity = fingerprint(algorithm, raw, json.dumps(self._claims, sort_keys=True))

    def mint(self) -> str:
        """A new token, for use elsewhere: those that calls carry are kept by themselves."""
        now = self._wall()
        times = {"iat": int(now - self._skew), "exp": int(now + self._lifetime)}
        return self._key.sign({**self._claims, **times}, self._key_id)

    def fetch(self, job: Job, carrier: Carrier) -> Flow[Token | NoToken]:
        """See `RenewingAuth.fetch`."""
        began = carrier.now()
        # Outside of the client's lock: signing with RSA takes a millisecond.
        minted = yield Io(_mint, self, job.deadline)
        if minted.__class__ is Failed:
            return NoToken(f"it could not be signed ({minted.error})", HoldfastError, cause=minted.error)
        return Token.lasting(b"Bearer " + minted.encode("ascii"), began, self._lifetime, self._early)

    def __repr__(self) -> str:
        claims = "".join(f" {name}={self._claims[name]!r}" for name in ("sub", "iss", "scopes") if name in self._claims)
        return f"<JWTAuth {self._key.algorithm}{claims}>"


def _mint(auth: JWTAuth) -> str:
    return auth.mint()


def _fixed_claims(subject: Any, issuer: Any, scopes: Any, claims: Mapping[str, Any] | None) -> dict[str, Any]:
    """The claims that are the same in every token."""
    if not isinstance(subject, str) or not subject:
        raise ValueError(f"subject must be a str that is not empty, not {subject!r}")
    if issuer is not None and (not isinstance(issuer, str) or not issuer):
        raise ValueError(f"issuer must be a str that is not empty, or None, not {issuer!r}")
    if isinstance(scopes, str) or not all(isinstance(scope, str) for scope in scopes):
        raise TypeError(f"scopes must be a list of str, not {scopes!r}")
    clash = _OWN_CLAIMS & (claims or {}).keys()
    if clash:
        raise ValueError(f"claims contains {', '.join(sorted(clash))}, for which there are arguments")
    fixed: dict[str, Any] = {**(claims or {}), "sub": subject}
    if issuer is not None:
        fixed["iss"] = issuer
    if scopes:
        fixed["scopes"] = list(scopes)
    return fixed
