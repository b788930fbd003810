"""`SigningKey`: signs tokens by one of the algorithms that are allowed, with a key that is fit for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, get_args

from holdfast.auth.errors import SigningKeyError
from holdfast.auth.notices import warn_once
from holdfast.auth.provider import fingerprint
from holdfast.auth.tokens import secret_text

__all__ = ["Algorithm", "SigningKey"]

Algorithm = Literal["HS256", "RS256", "ES256"]
"""The algorithms that tokens are signed by (RFC 7518, section 3.1). There are no others: above all, not ``none``."""

LEAST_SECRET = 32
"""Bytes of a secret for HS256: as many as the hash has (RFC 7518, section 3.2)."""
_LEAST_RSA = 2048  # bits (RFC 7518, section 3.3)


class SigningKey:
    """A key with its algorithm.

    Args:
        key: the secret for HS256; a private key in PEM for RS256 and ES256. str, bytes or a pydantic `SecretStr`.
        algorithm: one of `Algorithm`.
        passphrase: of an encrypted PEM.
        allow_short_key: takes a secret of less than 32 bytes, and logs a warning once. For development.

    Raises:
        SigningKeyError: the key does not do; says why without showing it.
        ValueError: an algorithm that is not allowed.
        TypeError: an argument of a wrong type.
    """

    def __init__(
        self,
        key: Any,
        algorithm: Algorithm,
        *,
        passphrase: str | bytes | None = None,
        allow_short_key: bool = False,
    ) -> None:
        if algorithm not in get_args(Algorithm):
            raise ValueError(f"algorithm must be one of {', '.join(get_args(Algorithm))}, not {algorithm!r}")
        self.algorithm = algorithm
        raw = _raw("key", key)
        # Here, because it takes as long to load as many requests, and not every program signs tokens.
        import jwt

        self._signer = jwt.PyJWS(algorithms=[algorithm])
        if algorithm == "HS256":
            if passphrase is not None:
                raise ValueError("passphrase is for RS256 and ES256: the key of HS256 is no PEM")
            self._key: Any = self._secret(raw, allow_short_key=allow_short_key)
        elif not jwt.algorithms.has_crypto:
            raise SigningKeyError(f'{algorithm} needs the package cryptography: pip install "holdfast[jwt]"')
        else:
            self._key = _private_key(raw, algorithm, None if passphrase is None else _raw("passphrase", passphrase))

    def sign(self, claims: Mapping[str, Any], key_id: str | None = None) -> str:
        """A signed token (RFC 7519) with these claims; `key_id` goes into its header.

        Raises:
            TypeError, ValueError: the claims are no JSON.
        """
        payload = json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
        return self._signer.encode(payload, self._key, self.algorithm, {"kid": key_id} if key_id is not None else None)

    def _secret(self, raw: bytes, *, allow_short_key: bool) -> bytes:
        import jwt
        from jwt.algorithms import HMACAlgorithm

        try:
            secret = HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(raw)
        except jwt.InvalidKeyError as error:
            raise SigningKeyError(f"the key cannot be a secret for HS256: {error}") from None
        if len(raw) >= LEAST_SECRET:
            return secret
        found = f"the key for HS256 has {len(raw)} bytes, and must have {LEAST_SECRET} or more (RFC 7518, section 3.2)"
        if not allow_short_key:
            raise SigningKeyError(f'{found}. Make one: python -c "import secrets; print(secrets.token_urlsafe(48))"')
        warn_once(
            fingerprint("short", raw), "allow_short_key: %s. It is taken nevertheless, for development only", found
        )

        class ShortSecret(HMACAlgorithm):
            """As the original, which warns with every token."""

            def check_key_length(self, key: bytes) -> None:
                """Was checked."""

        self._signer.unregister_algorithm("HS256")
        self._signer.register_algorithm("HS256", ShortSecret(HMACAlgorithm.SHA256))
        return secret

    def __repr__(self) -> str:
        return f"<SigningKey {self.algorithm}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SigningKey cannot be pickled or copied: it is a secret")


def _raw(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        if not value.strip():
            raise SigningKeyError(f"{name} is empty: is the variable that it comes from set?")
        return value
    try:
        return secret_text(name, value).encode()
    except UnicodeEncodeError:
        raise SigningKeyError(f"{name} contains half a surrogate pair, which has no bytes") from None
    except ValueError as error:
        raise SigningKeyError(str(error)) from None


def _private_key(raw: bytes, algorithm: Algorithm, passphrase: bytes | None) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(raw, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # A TypeError says that a passphrase is missing, or given for a key that has none.
        why = str(error) if isinstance(error, TypeError) else "is it a private key, and the passphrase the right one?"
        raise SigningKeyError(f"the key for {algorithm} cannot be read as a PEM: {why}") from None
    if algorithm == "RS256":
        if not isinstance(key, RSAPrivateKey):
            raise SigningKeyError(f"RS256 needs an RSA key, and this is a {type(key).__name__.strip('_')}")
        if key.key_size < _LEAST_RSA:
            raise SigningKeyError(
                f"the RSA key has {key.key_size} bits, and must have {_LEAST_RSA} or more (RFC 7518, section 3.3)"
            )
    elif not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        found = key.curve.name if isinstance(key, EllipticCurvePrivateKey) else type(key).__name__.strip("_")
        raise SigningKeyError(f"ES256 needs a key on the curve P-256, and this is {found} (RFC 7518, section 3.4)")
    return key
