"""Webhooks of all kinds, right, forged, stale and senseless, and what verification has to make of each."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from hypothesis import strategies as st

from holdfast.exceptions import WebhookError
from holdfast.service import WebhookEvent, Webhooks

NOW = 1_750_000_000.0
TOLERANCE = 300.0
MAX_BYTES = 2_000
REASONS = {"signature", "timestamp", "malformed", "too_large"}
NAMES = ("X-Hub-Signature-256", "X-Signature", "webhook-id", "webhook-timestamp", "webhook-signature")

Kind = Literal["genuine", "forged", "stale", "junk"]


@dataclass(frozen=True)
class Case:
    """One webhook: who takes it, what is handed in, and what it is.

    `hidden` must be in no message: secrets, and signatures that would have been right.
    """

    kind: Kind
    scheme: str
    secrets: Any
    body: Any
    signature: Any
    headers: Any
    hidden: tuple[str, ...]


def verdict(case: Case) -> str:
    """What verification does: ``"passed"``, or the reason of the refusal.

    Raises:
        AssertionError: it is not what has to be done.
        Exception: what else has escaped.
    """
    webhooks = Webhooks(
        case.secrets,
        scheme=case.scheme,  # type: ignore[arg-type]
        tolerance=TOLERANCE,
        max_bytes=MAX_BYTES,
        clock=lambda: NOW,
    )
    found: WebhookEvent | WebhookError
    try:
        found = webhooks.verify(case.body, case.signature, case.headers)
    except WebhookError as error:
        found = error
    if isinstance(found, WebhookEvent):
        assert case.kind == "genuine", f"a {case.kind} webhook passed"
        assert found.verified
        return "passed"
    refused = found
    assert refused.reason in REASONS, refused.reason
    assert case.kind != "genuine", f"a genuine webhook was refused: {refused}"
    assert case.kind != "stale" or refused.reason == "timestamp", refused
    told = f"{refused}{refused!r}{refused.__dict__}{refused.__cause__}"
    assert not any(one in told for one in case.hidden), "the message tells a secret"
    return refused.reason


# Signing once more, independently of what is tested


def hub(key: bytes, body: bytes) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def standard(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@dataclass(frozen=True)
class Keyed:
    """A secret as it is given, and the keys that stand for it."""

    given: str | bytes
    hub: bytes
    standard: bytes


def _keys(secret: Keyed) -> set[bytes]:
    """The keys of a secret, those alike that are so to HMAC: it fills them up with zeros (RFC 2104, section 2)."""
    return {secret.hub.rstrip(b"\0"), secret.standard.rstrip(b"\0")}


def _prefixed(raw: bytes) -> Keyed:
    text = "whsec_" + base64.b64encode(raw).decode()
    return Keyed(text, text.encode(), raw)


printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=40)
secrets = st.one_of(
    st.binary(min_size=16, max_size=64).map(_prefixed),
    # Begun so, that no secret is a word of the messages.
    printable.map("~7{}".format).map(lambda text: Keyed(text, text.encode(), text.encode())),
    st.binary(min_size=8, max_size=40).map(lambda raw: Keyed(raw, raw, raw)),
)

# Text that every writer of JSON can write: without lone surrogates.
words = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
fresh = st.integers(-299, 299)
stale = st.integers(301, 10**8) | st.integers(-(10**8), -301)


def _iso(offset: int) -> str:
    return (datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=offset)).isoformat()


@st.composite
def payloads(draw: st.DrawFn, offset: int) -> dict[str, Any]:
    """What an event looks like in JSON, stamped so many seconds from now."""
    reserved = {"event_type", "type", "timestamp", "data"}
    payload = draw(st.dictionaries(words.filter(lambda word: word not in reserved), values, max_size=2))
    payload[draw(st.sampled_from(["event_type", "type"]))] = draw(words.filter(bool))
    payload["timestamp"] = _iso(offset)
    if draw(st.booleans()):
        payload["data"] = draw(values)
    return payload


CASINGS: tuple[Callable[[str], str], ...] = (str.lower, str.upper, str.title, str)
other_headers = st.dictionaries(st.text(max_size=10), st.text(max_size=10) | st.binary(max_size=10), max_size=2)


@st.composite
def as_headers(draw: st.DrawFn, headers: Mapping[str, str]) -> Any:
    """The same headers in one of the ways in which frameworks keep them."""
    change = draw(st.sampled_from(CASINGS))
    pairs: list[tuple[Any, Any]] = [(change(name), value) for name, value in headers.items()]
    others = draw(other_headers)
    lowered = {name.lower() for name in NAMES}
    pairs += [(name, value) for name, value in others.items() if name.strip().lower() not in lowered]
    form = draw(st.sampled_from(["dict", "pairs", "asgi"]))
    if form == "asgi":
        return [(name.encode(errors="ignore"), value.encode() if isinstance(value, str) else value)
                for name, value in pairs if isinstance(value, bytes) or value.isascii()]  # fmt: skip
    return dict(pairs) if form == "dict" else pairs


@st.composite
def signed(draw: st.DrawFn) -> Case:
    """A webhook that was signed, by one who knows a secret or by one who does not, and perhaps changed on the way."""
    kind: Kind = draw(st.sampled_from(["genuine", "genuine", "forged", "forged", "stale"]))
    known = draw(st.lists(secrets, min_size=1, max_size=3))
    scheme = draw(st.sampled_from(["any", "hub", "standard"]))
    by = draw(st.sampled_from(["hub", "standard"])) if scheme == "any" else scheme
    offset = draw(stale if kind == "stale" else fresh)
    payload = draw(payloads(offset))
    text = json.dumps(payload, ensure_ascii=draw(st.booleans()))
    body = text.encode()
    if len(body) > MAX_BYTES:
        kind = "junk" if kind == "genuine" else kind
    how = draw(st.sampled_from(["body", "key", "signature", "meta"])) if kind == "forged" else "as it is"
    signer = draw(st.sampled_from(known))
    if how == "key":
        signer = draw(secrets.filter(lambda one: not any(_keys(one) & _keys(other) for other in known)))
    webhook_id = draw(printable)
    timestamp = str(int(NOW) + offset)
    right = hub(signer.hub, body) if by == "hub" else standard(signer.standard, webhook_id, timestamp, body)
    sent = right
    if how == "signature":
        sent = draw(_altered(right, by))
    if by == "hub":
        prefix = draw(st.sampled_from(["", "sha256="]))
        headers = {draw(st.sampled_from(NAMES[:2])): prefix + draw(st.sampled_from([sent, sent.upper()]))}
    else:
        noise = draw(
            st.lists(st.sampled_from(["v1,AAAA", "v1a,eHh4", "v2,zz", "v1,", "nonsense", "v1,=$"]), max_size=3)
        )
        at = draw(st.integers(0, len(noise)))
        listed = " ".join([*noise[:at], sent, *noise[at:]])
        headers = {"webhook-id": webhook_id, "webhook-timestamp": timestamp, "webhook-signature": listed}
        if how == "meta":
            if draw(st.booleans()):
                headers["webhook-id"] = draw(printable.filter(lambda other: other != webhook_id))
            else:
                headers["webhook-timestamp"] = str(int(timestamp) + draw(st.integers(1, 50)))
    if how == "body" or (how == "meta" and by == "hub"):
        body = draw(_changed(body))
        text = body.decode(errors="replace")
    given: Any = draw(st.sampled_from([body, bytearray(body)]))
    if how == "as it is" and draw(st.booleans()):
        given = draw(st.sampled_from([text, payload])) if text == json.dumps(payload) else text
    signature = None
    if by == "hub" and draw(st.booleans()):
        signature = headers.popitem()[1]
    hidden = tuple(str(one.given) for one in known) + tuple(hub(one.hub, body) for one in known)
    hidden += tuple(standard(one.standard, webhook_id, timestamp, body) for one in known)
    secret_list: Any = [one.given for one in known]
    if len(known) == 1 and draw(st.booleans()):
        (secret_list,) = secret_list
    return Case(kind, scheme, secret_list, given, signature, draw(as_headers(headers)), hidden)


@st.composite
def _altered(draw: st.DrawFn, right: str, by: str) -> str:
    """Another signature of the same form."""
    if by == "hub":
        digits = [*right]
        at = draw(st.integers(0, 63))
        digits[at] = draw(st.sampled_from("0123456789abcdef").filter(lambda digit: digit != right[at]))
        return "".join(digits)
    raw = bytearray(base64.b64decode(right.removeprefix("v1,")))
    raw[draw(st.integers(0, 31))] ^= draw(st.integers(1, 255))
    return "v1," + base64.b64encode(bytes(raw)).decode()


@st.composite
def _changed(draw: st.DrawFn, body: bytes) -> bytes:
    """Other bytes than these."""
    at = draw(st.integers(0, len(body) - 1))
    how = draw(st.sampled_from(["flip", "cut", "add"]))
    if how == "cut":
        return body[:at]
    if how == "add":
        return body[:at] + draw(st.binary(min_size=1, max_size=5)) + body[at:]
    return body[:at] + bytes([body[at] ^ draw(st.integers(1, 255))]) + body[at + 1 :]


junk_text = st.one_of(
    st.text(max_size=30),
    st.text("0123456789abcdefABCDEF", min_size=64, max_size=64),
    st.sampled_from(
        ["sha256=", "sha1=00", "v1,", "v1", "v1a,AAAA", "v1,é", "v1,AAAA v1,BBBB", "1750000000", "1e9", "-1"]
    ),
    st.from_regex(r"\A(sha256=)?[0-9a-f]{64}\Z"),
    st.from_regex(r"\Av1,[A-Za-z0-9+/]{43}=\Z"),
    st.text("0123456789", min_size=1, max_size=30),
)
junk_values = junk_text | st.binary(max_size=20) | st.none() | st.integers() | st.lists(st.text(max_size=3), max_size=2)
junk_headers = st.one_of(
    st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8) | st.binary(max_size=8), junk_values, max_size=6),
    st.lists(st.tuples(st.sampled_from(NAMES), junk_text | st.binary(max_size=20)), max_size=6),
    st.none() | st.integers() | st.text(max_size=4) | st.lists(st.integers(), max_size=3),
)
junk_bodies = st.one_of(
    st.binary(max_size=60),
    st.binary(min_size=MAX_BYTES - 1, max_size=MAX_BYTES + 2),
    st.text(max_size=20),
    values,
    st.just(b"[" * 1_500 + b"]" * 100),
    st.just(b'{"event_type": "a", "timestamp": 1e400}'),
)


@st.composite
def junk(draw: st.DrawFn) -> Case:
    """Anything at all."""
    known = draw(st.lists(secrets, min_size=1, max_size=2))
    scheme = draw(st.sampled_from(["any", "hub", "standard"]))
    signature = draw(st.none() | junk_values)
    hidden = tuple(str(one.given) for one in known)
    return Case("junk", scheme, [one.given for one in known], draw(junk_bodies), signature, draw(junk_headers), hidden)


@st.composite
def signed_junk(draw: st.DrawFn) -> Case:
    """A body that is no event, from somebody who knows the secret."""
    key = draw(secrets)
    body = draw(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
    by = draw(st.sampled_from(["hub", "standard"]))
    headers: dict[str, str] = {"X-Signature": hub(key.hub, body)}
    if by == "standard":
        signature = standard(key.standard, "msg", str(int(NOW)), body)
        headers = {"webhook-id": "msg", "webhook-timestamp": str(int(NOW)), "webhook-signature": signature}
    return Case("junk", "any", key.given, body, None, headers, (str(key.given),))


cases = st.one_of(signed(), signed(), signed(), junk(), signed_junk())
