"""Keys, and the signatures that they make and recognise.

Two schemes. *Hub*: HMAC-SHA256 (RFC 2104) of the body, in hexadecimal, as in WebSub (W3C, section 8). *Standard*: the
symmetric signature of the Standard Webhooks specification 1.0.0, HMAC-SHA256 of ``id.timestamp.body``, in Base64.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import Final, Literal, TypeAlias

from pydantic import SecretStr

from holdfast.exceptions import WebhookError

__all__ = ["Body", "Secret", "sign_webhook"]

Secret: TypeAlias = str | bytes | SecretStr
"""``whsec_`` and Base64, other text, or the bytes of the key themselves."""

Body: TypeAlias = bytes | str | Mapping[str, object]
"""The body as it was received. A mapping stands for what `json.dumps` makes of it."""

PREFIX: Final = "whsec_"
_HEX = re.compile(r"(?:sha256=)?([0-9a-fA-F]{64})")
_ID = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One secret, as the key of each scheme; `encoded` tells whether it was given in the form of Standard Webhooks."""

    hub: bytes
    standard: bytes
    encoded: bool


def keys_of(secrets: Secret | Sequence[Secret], *, encoded: bool = True, field: str = "secrets") -> tuple[Key, ...]:
    """The keys of one or several secrets.

    Args:
        secrets: at least one.
        encoded: whether ``whsec_`` announces Base64.
        field: what the argument is called in messages.

    Raises:
        TypeError, ValueError: names which is wrong, without showing it.
    """
    if isinstance(secrets, (str, bytes, SecretStr)):
        return (_key(secrets, field, encoded=encoded),)
    if not isinstance(secrets, Sequence):
        raise TypeError(f"{field} must be a secret or a sequence of secrets, not {type(secrets).__name__}")
    if not secrets:
        raise ValueError(f"{field} is empty: give at least one secret, or None to accept webhooks without a signature")
    return tuple(_key(one, f"{field}[{index}]", encoded=encoded) for index, one in enumerate(secrets))


def _key(secret: object, field: str, *, encoded: bool) -> Key:
    if isinstance(secret, SecretStr):
        secret = secret.get_secret_value()
    if not isinstance(secret, (str, bytes)):
        raise TypeError(f"{field} must be text or bytes, not {type(secret).__name__}")
    if not secret:
        raise ValueError(
            f"{field} is empty; if it is read from an environment variable, that variable is probably unset."
            " Give None to accept webhooks without a signature"
        )
    if isinstance(secret, bytes):
        return Key(secret, secret, encoded=False)
    if secret != secret.strip():
        raise ValueError(f"{field} begins or ends with white space; if it is read from a file, strip the line break")
    try:
        plain = secret.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{field} contains a lone surrogate, which has no bytes") from None
    if not encoded or not secret.startswith(PREFIX):
        return Key(plain, plain, encoded=False)
    text = secret.removeprefix(PREFIX).rstrip("=")
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError(f"{field} begins with {PREFIX}, but what follows is not Base64: copy the secret again")
    return Key(plain, decoded, encoded=True)


# Digests


def hub_digest(key: Key, body: bytes) -> bytes:
    """The signature of a body."""
    return hmac.digest(key.hub, body, "sha256")


def standard_digest(key: Key, webhook_id: str, timestamp: str, body: bytes) -> bytes:
    """The signature of a body with its id and timestamp, as these stand in the headers."""
    return hmac.digest(key.standard, b"%s.%s.%s" % (webhook_id.encode(), timestamp.encode(), body), "sha256")


def any_equal(expected: Iterable[bytes], given: Sequence[bytes]) -> bool:
    """Whether any of the expected digests was given.

    Every one is compared with every one, each in constant time, whatever was found before: the time taken tells
    neither which secret was right, nor how much of a signature.
    """
    found = False
    for one in expected:
        for other in given:
            found |= hmac.compare_digest(one, other)
    return found


def hub_signature(text: str) -> bytes | None:
    """The digest in a signature of the hub scheme; None if there is none."""
    match = _HEX.fullmatch(text.strip())
    return None if match is None else bytes.fromhex(match[1])


def standard_signatures(text: str) -> list[bytes]:
    """The digests in a webhook-signature header, those that are HMACs."""
    found: list[bytes] = []
    for one in text.split():
        version, _, encoded = one.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def looks_standard(signature: str) -> bool:
    """Whether a signature has the form of Standard Webhooks: versions, and what they announce."""
    return re.match(r"\s*v\d+[a-z]?,", signature) is not None


def is_id(text: str) -> bool:
    """Whether a webhook-id can be kept and shown: up to 255 printable ASCII characters."""
    return _ID.fullmatch(text) is not None


# Bodies


def as_bytes(body: object) -> bytes:
    """The bytes that are signed.

    Raises:
        WebhookError: it is nothing that could have been received.
    """
    if isinstance(body, bytes):
        return body
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    try:
        if isinstance(body, Mapping):
            body = json.dumps(body if isinstance(body, dict) else dict(body))
        if isinstance(body, str):
            return body.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WebhookError(f"the body cannot be written as JSON: {type(error).__name__}", reason="malformed") from None
    raise WebhookError(
        f"the body must be the bytes that were received, text or a dict, not {type(body).__name__}", reason="malformed"
    )


# Signing


def sign_webhook(
    body: Body,
    secret: Secret | Sequence[Secret],
    *,
    scheme: Literal["both", "hub", "standard"] = "both",
    webhook_id: str | None = None,
    timestamp: float | datetime | None = None,
) -> dict[str, str]:
    """The headers that a sender puts on a webhook.

    Args:
        body: what is sent. For a mapping, send exactly ``json.dumps(body)``.
        secret: as for `Webhooks`. Of several, while one takes the place of the other, the hub scheme uses the first,
            for it has one header; Standard Webhooks has signatures of all.
        scheme: ``"hub"`` for X-Hub-Signature-256, ``"standard"`` for the three headers of Standard Webhooks, or both.
        webhook_id: of the event, the same in every attempt to deliver it. A fresh one unless given.
        timestamp: of this attempt, in unix seconds or with an offset. Now, unless given.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names it.
    """
    if scheme not in ("both", "hub", "standard"):
        raise ValueError(f"scheme must be 'both', 'hub' or 'standard', not {scheme!r}")
    keys = keys_of(secret, encoded=scheme != "hub", field="secret")
    try:
        content = as_bytes(body)
    except WebhookError as error:
        raise TypeError(error.message) from None
    headers: dict[str, str] = {}
    if scheme != "standard":
        headers["X-Hub-Signature-256"] = f"sha256={hub_digest(keys[0], content).hex()}"
    if scheme != "hub":
        if webhook_id is None:
            webhook_id = f"msg_{token_hex(16)}"
        if not is_id(webhook_id):
            raise ValueError("webhook_id must be 1 to 255 printable ASCII characters without blanks")
        seconds = str(_seconds(timestamp))
        digests = [standard_digest(key, webhook_id, seconds, content) for key in keys]
        headers["webhook-id"] = webhook_id
        headers["webhook-timestamp"] = seconds
        headers["webhook-signature"] = " ".join(f"v1,{base64.b64encode(one).decode()}" for one in digests)
    return headers


def _seconds(timestamp: float | datetime | None) -> int:
    if timestamp is None:
        return int(time.time())
    if isinstance(timestamp, datetime):
        if timestamp.tzinfo is None:
            raise ValueError("timestamp has no offset: give one such as datetime.now(timezone.utc)")
        timestamp = timestamp.timestamp()
    given: object = timestamp
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(f"timestamp must be unix seconds or a datetime, not {type(given).__name__}")
    if not 0 <= timestamp < 10**12:
        raise ValueError(f"timestamp must be seconds since 1970, not {timestamp!r}")
    return int(timestamp)
