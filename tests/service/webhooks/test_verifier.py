"""What is let through, and why something is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from starlette.datastructures import Headers

from holdfast.exceptions import WebhookError
from holdfast.service import WebhookEvent, Webhooks, sign_webhook
from tests.support.webhook_cases import Case, cases, verdict

NOW = 1_750_000_000.0
SECRET = "correct horse battery"
OTHER = "another secret"


def stamp(offset: float = 0) -> str:
    return datetime.fromtimestamp(NOW + offset, UTC).isoformat()


def body_of(**fields: Any) -> bytes:
    return json.dumps({"event_type": "a.b", "timestamp": stamp(), "data": {"id": 7}, **fields}).encode()


BODY = body_of()


def webhooks(secrets: Any = SECRET, **options: Any) -> Webhooks:
    return Webhooks(secrets, clock=lambda: NOW, **options)


def refused(taker: Webhooks, body: Any, signature: Any = None, headers: Any = None) -> tuple[str | None, str]:
    with pytest.raises(WebhookError) as caught:
        taker.verify(body, signature, headers)
    assert type(caught.value) is WebhookError and SECRET not in str(caught.value)
    return caught.value.reason, caught.value.message


def hub(body: bytes = BODY, secret: str = SECRET) -> str:
    return sign_webhook(body, secret, scheme="hub")["X-Hub-Signature-256"]


def standard(body: bytes = BODY, secret: str = SECRET, offset: float = 0, webhook_id: str = "msg_1") -> dict[str, str]:
    return sign_webhook(body, secret, scheme="standard", webhook_id=webhook_id, timestamp=NOW + offset)


@given(cases)
@settings(print_blob=True)
def test_whatever_comes_in_only_webhook_error_escapes_and_nothing_forged_passes(case: Case) -> None:
    verdict(case)


# What passes


def test_an_event_is_read_with_what_it_has_besides():
    event = webhooks().verify(body_of(attempt=3, webhook_id="theirs"), hub(body_of(attempt=3, webhook_id="theirs")))
    assert type(event) is WebhookEvent and event.verified and event.scheme == "hub"
    assert (event.event_type, event.data, event["attempt"]) == ("a.b", {"id": 7}, 3)
    assert event.timestamp == datetime.fromtimestamp(NOW, UTC)
    # What is known of the delivery and what the payload calls by the same name are two things.
    assert event["webhook_id"] == "theirs" and event.webhook_id != "theirs"


def test_the_type_of_standard_webhooks_and_an_event_without_data():
    body = b'{"type": "user.created", "name": "Ada"}'
    event = webhooks().verify(body, headers=standard(body))
    assert (event.event_type, event.data, event["name"], event.timestamp) == ("user.created", {}, "Ada", None)
    assert (event.webhook_id, event.scheme) == ("msg_1", "standard")


@pytest.mark.parametrize("written", ["sha256={}", "{}", " sha256={} "])
def test_ways_to_write_a_hub_signature(written):
    digits = hub().removeprefix("sha256=")
    for one in (digits, digits.upper()):
        assert webhooks().verify(BODY, written.format(one)).verified


@pytest.mark.parametrize("name", ["X-Hub-Signature-256", "x-signature", "X-SIGNATURE"])
@pytest.mark.parametrize(
    "form",
    [
        dict,
        list,
        lambda pairs: [(name.encode(), value.encode()) for name, value in pairs],
        httpx2.Headers,
        lambda pairs: Headers(dict(pairs)),
    ],
    ids=["dict", "pairs", "ASGI", "httpx2", "Starlette"],
)
def test_headers_as_frameworks_keep_them(name, form):
    assert webhooks().verify(BODY, headers=form([("Content-Type", "application/json"), (name, hub())])).verified


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, lambda body: body.decode(), json.loads])
def test_bodies_as_frameworks_keep_them(form):
    assert webhooks().verify(form(BODY), hub()).verified


@pytest.mark.parametrize("place", range(3))
def test_any_of_several_secrets(place):
    secrets = ["secret 0", "secret 1", "secret 2"]
    assert webhooks(secrets).verify(BODY, hub(secret=secrets[place])).verified
    assert webhooks(secrets).verify(BODY, headers=standard(secret=secrets[place])).verified
    assert refused(webhooks(secrets), BODY, hub(secret=OTHER))[0] == "signature"


def test_one_right_signature_among_others():
    headers = standard()
    headers["webhook-signature"] = f"v1a,AAAA v1,AAAA nonsense v2,x {headers['webhook-signature']} v1,"
    assert webhooks().verify(BODY, headers=headers).verified


def test_a_signature_that_is_handed_in_is_taken_by_its_form():
    headers = standard()
    signature = headers.pop("webhook-signature")
    assert webhooks().verify(BODY, signature, headers).scheme == "standard"
    assert webhooks().verify(BODY, hub(), headers).scheme == "hub"


# Signatures that do not


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        (None, "no signature"),
        ("", "no signature"),
        ("sha256=", "64 digits"),
        ("sha1=" + "0" * 40, "64 digits"),
        ("0" * 63, "64 digits"),
        ("0" * 31 + " 0" + "0" * 31, "64 digits"),
        ("\u0660" * 64, "64 digits"),
        ("0" * 64, "does not match"),
        (7, "int, not text"),
    ],
)
def test_hub_signatures_that_are_refused(signature, said):
    reason, message = refused(webhooks(), BODY, signature)
    assert reason == "signature" and said in message
    assert hub().removeprefix("sha256=") not in message


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        ({"webhook-id": None}, "signature", "no webhook-id"),
        ({"webhook-timestamp": None}, "signature", "no webhook-timestamp"),
        ({"webhook-id": "msg_2"}, "signature", "does not match"),
        ({"webhook-id": "é"}, "malformed", "printable ASCII"),
        ({"webhook-id": "m" * 256}, "malformed", "1 to 255"),
        ({"webhook-timestamp": "soon"}, "timestamp", "whole number"),
        ({"webhook-timestamp": f"{NOW:.0f}.5"}, "timestamp", "whole number"),
        ({"webhook-timestamp": "\u0661" * 10}, "timestamp", "whole number"),
        ({"webhook-timestamp": f"0{NOW:.0f}"}, "signature", "does not match"),
        ({"webhook-signature": "v1a,AAAA"}, "signature", "no signature of the kind 'v1,'"),
        ({"webhook-signature": "v1,&&&&"}, "signature", "no signature of the kind 'v1,'"),
        ({"webhook-signature": "v1,AAAA"}, "signature", "does not match"),
    ],
)
def test_standard_webhooks_that_are_refused(change, reason, said):
    headers = {name: value for name, value in {**standard(), **change}.items() if value is not None}
    found, message = refused(webhooks(), BODY, headers=headers)
    assert (found, said in message) == (reason, True), message


def test_all_three_headers_are_needed_where_the_scheme_is_set():
    assert "no webhook-id and no webhook-timestamp" in refused(webhooks(scheme="standard"), BODY)[1]
    assert refused(webhooks(scheme="standard"), BODY, hub())[0] == "signature"
    assert refused(webhooks(scheme="hub"), BODY, headers=standard())[0] == "signature"


def test_a_wrong_standard_signature_is_not_made_up_for_by_a_right_one_of_the_other_scheme():
    headers = {**standard(secret=OTHER), "X-Hub-Signature-256": hub()}
    assert refused(webhooks(), BODY, headers=headers)[0] == "signature"


def test_a_base64_secret_without_its_prefix_is_what_is_suspected():
    secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = standard(secret=f"whsec_{secret}")
    assert "has to begin with whsec_" in refused(webhooks(secret), BODY, headers=headers)[1]
    assert "whsec_" not in refused(webhooks(f"whsec_{secret}"), BODY, headers=standard(secret=OTHER))[1]


def test_parts_of_what_is_signed_cannot_be_taken_for_each_other():
    """Id, timestamp and body are joined by dots, so other parts can give the same signed bytes."""
    headers = standard(webhook_id=f"msg.{NOW:.0f}")
    moved = {**headers, "webhook-id": "msg", "webhook-timestamp": f"{NOW:.0f}"}
    assert refused(webhooks(), f"{NOW:.0f}.".encode() + BODY, headers=moved)[0] == "malformed"


def test_the_same_header_twice_is_refused_unless_it_says_the_same():
    pairs = [("X-Signature", hub()), ("x-signature", hub())]
    assert webhooks().verify(BODY, headers=pairs).verified
    reason, message = refused(webhooks(), BODY, headers=[*pairs, ("X-SIGNATURE", "0" * 64)])
    assert reason == "malformed" and "more than once" in message


@pytest.mark.parametrize(
    "headers", [7, "text", [1, 2], [("a",)], {"X-Signature": ["list"]}, dict, {"x-signature": None}]
)
def test_headers_that_are_none(headers):
    assert refused(webhooks(), BODY, headers=headers)[0] in {"malformed", "signature"}


# Age


@pytest.mark.parametrize("offset", [-300, -299, 0, 299, 300])
def test_within_the_tolerance(offset):
    body = body_of(timestamp=stamp(offset))
    assert webhooks().verify(body, hub(body)).verified
    # By Standard Webhooks it is the header that tells: the event may be old, where this attempt is not.
    old = body_of(timestamp=stamp(-1e6))
    assert webhooks().verify(old, headers=standard(old, offset=offset)).verified


@pytest.mark.parametrize(("offset", "said"), [(-301, "301 s in the past"), (301, "301 s in the future")])
def test_beyond_the_tolerance(offset, said):
    body = body_of(timestamp=stamp(offset))
    reason, message = refused(webhooks(), body, hub(body))
    assert reason == "timestamp" and said in message and "300 s are allowed" in message
    reason, message = refused(webhooks(), BODY, headers=standard(offset=offset))
    assert reason == "timestamp" and said in message
    assert webhooks(tolerance=None).verify(body, hub(body)).verified
    assert webhooks(tolerance=400).verify(body, hub(body)).verified


def test_another_offset_is_the_same_time():
    local = datetime.fromtimestamp(NOW, timezone(timedelta(hours=-7)))
    body = body_of(timestamp=local.isoformat())
    event = webhooks().verify(body, hub(body))
    assert event.timestamp == local


@pytest.mark.parametrize(
    ("timestamp", "reason", "said"),
    [
        (None, "timestamp", "no timestamp"),
        ("2025-06-15T15:06:40", "timestamp", "no offset"),
        ("yesterday", "malformed", "timestamp"),
        ({}, "malformed", "timestamp"),
    ],
)
def test_timestamps_of_payloads_that_tell_no_age(timestamp, reason, said):
    body = body_of(timestamp=timestamp)
    found, message = refused(webhooks(), body, hub(body))
    assert found == reason and said in message
    if timestamp is None:
        assert webhooks(tolerance=None).verify(body, hub(body)).timestamp is None


def test_the_age_of_what_is_not_signed_is_told_to_nobody():
    body = body_of(timestamp=stamp(-1000))
    assert refused(webhooks(), body, hub(body, OTHER))[0] == "signature"
    assert refused(webhooks(), BODY, headers=standard(secret=OTHER, offset=-1000))[0] == "signature"


# Form


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"event_type": NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "array, not an object"),
        (b"null", "null, not an object"),
        (b"{}", "event_type: Field required"),
        (b'{"event_type": ""}', "event_type"),
        (b'{"event_type": 7}', "event_type"),
        (b'{"event_type": "%s"}' % (b"a" * 256), "event_type"),
    ],
)
def test_bodies_that_are_no_event(body, said):
    reason, message = refused(webhooks(), body, hub(body))
    assert reason == "malformed" and said in message


@pytest.mark.parametrize("body", [None, 7, ["a"], {"a": object()}, "\ud800", object()])
def test_bodies_that_cannot_have_been_received(body):
    assert refused(webhooks(), body, hub())[0] == "malformed"


def test_a_dict_that_contains_itself():
    payload: dict[str, Any] = {"event_type": "a.b"}
    payload["data"] = payload
    assert refused(webhooks(), payload, hub())[0] == "malformed"


def test_a_body_that_is_too_large_is_not_looked_at():
    body = body_of(data="x" * 2**20)
    reason, message = refused(webhooks(), body, hub(body))
    assert reason == "too_large" and "1,048,576 bytes" in message and "max_bytes" in message
    assert webhooks(max_bytes=2**21).verify(body, hub(body)).verified
    exact = body_of(data="x" * (2**20 - len(body_of(data=""))))
    assert len(exact) == 2**20 and webhooks().verify(exact, hub(exact)).verified


# Without a secret


def test_without_a_secret_everything_of_the_right_form_passes_unverified():
    event = webhooks(None).verify(b'{"event_type": "a.b"}')
    assert not event.verified and event.scheme is None and event.webhook_id is None
    assert webhooks(None).verify(BODY, "wrong").event_type == "a.b"
    assert webhooks(None).verify(BODY, headers={"webhook-id": "msg_1"}).webhook_id == "msg_1"
    assert refused(webhooks(None), b"{}")[0] == "malformed"
    assert refused(webhooks(None), BODY, headers={"webhook-id": "é"})[0] == "malformed"
    assert refused(webhooks(None, max_bytes=10), BODY)[0] == "too_large"


# Settings


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"scheme": "both"}, ValueError, "scheme"),
        ({"tolerance": -1}, ValueError, "tolerance"),
        ({"tolerance": "300"}, TypeError, "tolerance"),
        ({"tolerance": float("nan")}, ValueError, "tolerance"),
        ({"remember": 599}, ValueError, "twice the tolerance of 300 s"),
        ({"remember": None}, TypeError, "remember"),
        ({"max_bytes": 0}, ValueError, "max_bytes"),
        ({"max_bytes": 1.5}, TypeError, "max_bytes"),
        ({"handler_timeout": 0}, ValueError, "handler_timeout"),
        ({"max_concurrency": True}, TypeError, "max_concurrency"),
    ],
)
def test_settings_that_cannot_work(options, error, said):
    with pytest.raises(error, match=said):
        webhooks(**options)


def test_no_secret_is_shown():
    assert SECRET not in repr(webhooks()) and SECRET not in repr(vars(webhooks()))
    assert repr(webhooks()) == "<Webhooks any, 1 secret(s), 0 handler(s)>"
    assert repr(webhooks(None)) == "<Webhooks unsigned, 0 handler(s)>"


def test_a_subclass_raises_errors_of_its_own():
    class RefusedError(WebhookError):
        pass

    class Mine(Webhooks):
        def translate(self, error: WebhookError) -> Exception:
            return RefusedError(f"mine: {error.message}", reason=error.reason)

    for act in (Mine(SECRET).verify, lambda body: Mine(SECRET).process(body).result()):
        with pytest.raises(RefusedError, match="mine: no signature"):
            act(BODY)
