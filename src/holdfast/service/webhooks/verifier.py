"""`Verifier`: whether a webhook is what the sender sent, when it sent it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from holdfast.exceptions import WebhookError
from holdfast.service.webhooks.event import WebhookEvent, read_event
from holdfast.service.webhooks.headers import (
    HUB_256,
    HUB_PLAIN,
    STANDARD_ID,
    STANDARD_SIGNATURE,
    STANDARD_TIMESTAMP,
    relevant,
)
from holdfast.service.webhooks.signatures import (
    Key,
    any_equal,
    as_bytes,
    hub_digest,
    hub_signature,
    is_id,
    looks_standard,
    standard_digest,
    standard_signatures,
)

Scheme: TypeAlias = Literal["any", "hub", "standard"]

_UNIX = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Verified:
    """A webhook that may be handled; `marks` are what it is recognised by if it comes again."""

    event: WebhookEvent
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Verifier:
    """Checks size, signature, timestamp and form, in this order: what is not signed is not parsed.

    Args:
        keys: any of them will do; none means that nothing is signed.
        scheme: which signatures count.
        tolerance: seconds that a timestamp may lie in the past or the future; None for any number.
        max_bytes: of a body.
        clock: the time of day, in unix seconds.
    """

    keys: tuple[Key, ...]
    scheme: Scheme
    tolerance: float | None
    max_bytes: int
    clock: Callable[[], float]

    def verify(self, body: object, signature: object = None, headers: object = None) -> Verified:
        """See `Webhooks.verify`.

        Raises:
            WebhookError: and nothing else.
        """
        content = as_bytes(body)
        if len(content) > self.max_bytes:
            raise self.too_large()
        found = relevant(headers)
        if signature is not None and not isinstance(signature, str):
            raise WebhookError(f"the signature is a {type(signature).__name__}, not text", reason="signature")
        if not self.keys:
            return self._unsigned(content, found)
        given = found.get(STANDARD_SIGNATURE) if signature is None else signature
        if self.scheme == "standard" or (self.scheme == "any" and given is not None and _is_standard(given, signature)):
            return self._standard(content, given, found)
        if signature is None:
            signature = found.get(HUB_256) or found.get(HUB_PLAIN)
        return self._hub(content, signature)

    def too_large(self) -> WebhookError:
        """The error for a body that is."""
        return WebhookError(
            f"the body is larger than {self.max_bytes:,} bytes: raise max_bytes if the sender means it",
            reason="too_large",
        )

    def _unsigned(self, content: bytes, found: Mapping[str, str]) -> Verified:
        webhook_id = found.get(STANDARD_ID)
        if webhook_id is not None:
            _check_id(webhook_id)
        event = read_event(content).delivered(webhook_id, None)
        return Verified(event, () if webhook_id is None else (f"standard:{webhook_id}",))

    def _hub(self, content: bytes, signature: str | None) -> Verified:
        if not signature:
            expected = {
                "any": "X-Hub-Signature-256, X-Signature or webhook-signature",
                "hub": "X-Hub-Signature-256 or X-Signature",
            }
            raise WebhookError(
                f"no signature: the sender has to sign with the shared secret, in {expected[self.scheme]}",
                reason="signature",
            )
        given = hub_signature(signature)
        if given is None:
            raise WebhookError(
                "the signature is not an HMAC-SHA256 in hexadecimal: 64 digits, with or without 'sha256=' before them",
                reason="signature",
            )
        if not any_equal((hub_digest(key, content) for key in self.keys), (given,)):
            raise WebhookError(
                f"the signature does not match: {self._advice()}, and check the body as it was received, byte by byte",
                reason="signature",
            )
        event = read_event(content)
        if self.tolerance is not None:
            self._check_age(_stamped(event.timestamp), "the payload's timestamp")
        digest = hashlib.sha256(content).hexdigest()
        return Verified(event.delivered(digest, "hub"), (f"hub:{digest}",))

    def _standard(self, content: bytes, given: str | None, found: Mapping[str, str]) -> Verified:
        values = {STANDARD_ID: found.get(STANDARD_ID), STANDARD_TIMESTAMP: found.get(STANDARD_TIMESTAMP)}
        values[STANDARD_SIGNATURE] = given
        missing = [name for name, value in values.items() if not value]
        if missing:
            raise WebhookError(
                f"no {' and no '.join(missing)}: Standard Webhooks has three headers, and all are needed",
                reason="signature",
            )
        webhook_id, timestamp, signature = (value or "" for value in values.values())
        _check_id(webhook_id)
        if _UNIX.fullmatch(timestamp) is None:
            raise WebhookError(f"{STANDARD_TIMESTAMP} is not a whole number of unix seconds", reason="timestamp")
        signatures = standard_signatures(signature)
        if not signatures:
            raise WebhookError(
                f"{STANDARD_SIGNATURE} has no signature of the kind 'v1,' with Base64 (HMAC-SHA256), the one that a"
                " shared secret makes",
                reason="signature",
            )
        # The id may have dots, which could be taken for those between the parts. A body that begins with a part of them
        # is no JSON object, though, and refused below.
        expected = (standard_digest(key, webhook_id, timestamp, content) for key in self.keys)
        if not any_equal(expected, signatures):
            bare = "" if all(key.encoded for key in self.keys) else ", a Base64 secret has to begin with whsec_ here"
            raise WebhookError(
                f"the signature does not match: {self._advice()}{bare}, and check the body as it was received, byte by"
                " byte",
                reason="signature",
            )
        self._check_age(float(timestamp), STANDARD_TIMESTAMP)
        event = read_event(content).delivered(webhook_id, "standard")
        marks = [f"standard:{webhook_id}"]
        if self.scheme == "any" and self._passes_as_hub(event):
            # A sender may sign by both schemes. Taken apart, its webhook must not pass twice, once by each.
            marks.append(f"hub:{hashlib.sha256(content).hexdigest()}")
        return Verified(event, tuple(marks))

    def _passes_as_hub(self, event: WebhookEvent) -> bool:
        if self.tolerance is None:
            return True
        try:
            self._check_age(_stamped(event.timestamp), "")
        except WebhookError:
            return False
        return True

    def _check_age(self, seconds: float, what: str) -> None:
        age = self.clock() - seconds
        if self.tolerance is not None and abs(age) > self.tolerance:
            where = "past" if age > 0 else "future"
            raise WebhookError(
                f"{what} lies {abs(age):,.0f} s in the {where}, and {self.tolerance:g} s are allowed: check the clocks"
                " of both machines, or whether it was held up or is sent a second time",
                reason="timestamp",
            )

    def _advice(self) -> str:
        count = "the secret" if len(self.keys) == 1 else f"none of the {len(self.keys)} secrets fits; the secret"
        return f"{count} has to be the same on both sides"


def _is_standard(given: str, signature: str | None) -> bool:
    """Whether a signature is for the standard scheme: one from its header always, one that was handed in by form."""
    return signature is None or looks_standard(given)


def _check_id(webhook_id: str) -> None:
    if not is_id(webhook_id):
        raise WebhookError(f"{STANDARD_ID} is not 1 to 255 printable ASCII characters", reason="malformed")


def _stamped(timestamp: datetime | None) -> float:
    if timestamp is None:
        raise WebhookError(
            "the payload has no timestamp, so nobody can tell a fresh webhook from one that was caught and sent again:"
            " the sender has to add one, or tolerance=None gives up the check",
            reason="timestamp",
        )
    if timestamp.tzinfo is None:
        raise WebhookError(
            "the payload's timestamp has no offset: the sender has to write it like 2025-01-31T12:00:00Z",
            reason="timestamp",
        )
    return timestamp.timestamp()
