"""Secrets, signing, and the vectors that others publish."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from holdfast.exceptions import WebhookError
from holdfast.service import Webhooks, sign_webhook

# Published with the libraries of Standard Webhooks.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
# RFC 4231, section 4.3: HMAC-SHA256 of "what do ya want for nothing?" with the key "Jefe".
RFC_4231 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

EVENT = b'{"event_type": "a.b", "timestamp": "2021-02-25T15:02:10Z", "data": {"id": 7}}'


def at(seconds: float) -> Any:
    return lambda: seconds


def test_the_published_vector_of_standard_webhooks_is_what_is_signed():
    headers = sign_webhook(
        VECTOR_BODY, VECTOR_SECRET, scheme="standard", webhook_id=VECTOR["webhook-id"], timestamp=1614265330
    )
    assert headers == VECTOR
    moment = datetime.fromtimestamp(1614265330, UTC)
    assert sign_webhook(VECTOR_BODY, VECTOR_SECRET, webhook_id=VECTOR["webhook-id"], timestamp=moment).items() >= (
        VECTOR.items()
    )


def test_its_signature_is_found_right_and_only_its_form_is_refused():
    webhooks = Webhooks(VECTOR_SECRET, clock=at(1614265330))
    with pytest.raises(WebhookError, match="no event: event_type: Field required") as caught:
        webhooks.verify(VECTOR_BODY, headers=VECTOR)
    assert caught.value.reason == "malformed"
    wrong = {**VECTOR, "webhook-signature": "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="}
    with pytest.raises(WebhookError, match="does not match") as caught:
        webhooks.verify(VECTOR_BODY, headers=wrong)
    assert caught.value.reason == "signature"


def test_the_hub_scheme_is_the_hmac_of_the_rfc():
    headers = sign_webhook("what do ya want for nothing?", b"Jefe", scheme="hub")
    assert headers == {"X-Hub-Signature-256": f"sha256={RFC_4231}"}


def test_a_dict_is_signed_as_json_dumps_writes_it():
    payload = {"event_type": "a.b", "timestamp": "2021-02-25T15:02:10Z", "data": {"name": "Zoë"}}
    assert sign_webhook(payload, "secret", scheme="hub") == sign_webhook(json.dumps(payload), "secret", scheme="hub")
    headers = sign_webhook(payload, "secret", scheme="hub")
    webhooks = Webhooks("secret", clock=at(1614265330))
    event = webhooks.verify(payload, headers["X-Hub-Signature-256"])
    assert event.data == {"name": "Zoë"} and event == webhooks.verify(json.dumps(payload).encode(), headers=headers)


def test_fresh_ids_and_the_time_of_now_unless_given():
    first, second = sign_webhook(EVENT, "secret"), sign_webhook(EVENT, "secret")
    assert first["webhook-id"] != second["webhook-id"]
    assert abs(int(first["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60


def test_while_secrets_change_standard_webhooks_carries_signatures_of_all():
    headers = sign_webhook(EVENT, ["new secret", "old secret"], timestamp=1614265330)
    assert headers["webhook-signature"].count("v1,") == 2
    hub = {"X-Hub-Signature-256": headers.pop("X-Hub-Signature-256")}
    for secret in ("new secret", "old secret"):
        assert Webhooks(secret, clock=at(1614265330)).verify(EVENT, headers=headers).scheme == "standard"
    assert Webhooks("new secret", clock=at(1614265330)).verify(EVENT, headers=hub).scheme == "hub"
    with pytest.raises(WebhookError):
        Webhooks("old secret", clock=at(1614265330)).verify(EVENT, headers=hub)


@pytest.mark.parametrize(
    "given",
    ["whsec_c2VjcmV0LW9mLTI0LWJ5dGVzIQ==", "whsec_c2VjcmV0LW9mLTI0LWJ5dGVzIQ", b"secret-of-24-bytes!"],
    ids=["padded", "unpadded", "bytes"],
)
def test_forms_of_one_key(given):
    headers = sign_webhook(EVENT, given, scheme="standard", timestamp=1614265330)
    assert Webhooks(b"secret-of-24-bytes!", clock=at(1614265330)).verify(EVENT, headers=headers).verified
    assert (
        Webhooks(SecretStr("whsec_c2VjcmV0LW9mLTI0LWJ5dGVzIQ"), clock=at(1614265330))
        .verify(EVENT, headers=headers)
        .verified
    )


def test_the_hub_scheme_takes_a_secret_as_it_is():
    headers = sign_webhook(EVENT, "whsec_not base64", scheme="hub")
    assert Webhooks("whsec_not base64", scheme="hub", clock=at(1614265330)).verify(EVENT, headers=headers).verified


@pytest.mark.parametrize(
    ("secrets", "error", "said"),
    [
        ("", ValueError, "secrets is empty"),
        ([], ValueError, "secrets is empty"),
        (["good-secret", ""], ValueError, r"secrets\[1\] is empty"),
        ("hidden-secret\n", ValueError, "white space"),
        ("whsec_hidden-secret!", ValueError, "not Base64"),
        ("whsec_", ValueError, "not Base64"),
        ("hidden\ud800secret", ValueError, "surrogate"),
        (7, TypeError, "not int"),
        (["good-secret", None], TypeError, r"secrets\[1\] must be text or bytes, not NoneType"),
        ({"hidden-secret"}, TypeError, "not set"),
    ],
)
def test_secrets_that_cannot_be_used(secrets, error, said):
    with pytest.raises(error, match=said) as caught:
        Webhooks(secrets)
    assert "hidden" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"scheme": "any"}, ValueError, "scheme must be"),
        ({"webhook_id": "two words"}, ValueError, "webhook_id"),
        ({"webhook_id": ""}, ValueError, "webhook_id"),
        ({"timestamp": datetime(2021, 1, 1)}, ValueError, "no offset"),  # noqa: DTZ001  # which is what is refused
        ({"timestamp": True}, TypeError, "not bool"),
        ({"timestamp": -1}, ValueError, "since 1970"),
        ({"timestamp": float("nan")}, ValueError, "since 1970"),
        ({"secret": ""}, ValueError, "secret is empty"),
        ({"body": None}, TypeError, "not NoneType"),
        ({"body": {"a": object()}}, TypeError, "cannot be written as JSON"),
    ],
)
def test_signing_says_what_is_wrong(arguments, error, said):
    with pytest.raises(error, match=said):
        sign_webhook(**{"body": EVENT, "secret": "secret", **arguments})


def test_every_secret_is_compared_in_constant_time_whichever_is_right(monkeypatch: pytest.MonkeyPatch):
    compared: list[bool] = []
    real = hmac.compare_digest

    def counting(one: Any, other: Any) -> bool:
        compared.append(real(one, other))
        return compared[-1]

    monkeypatch.setattr(hmac, "compare_digest", counting)
    webhooks = Webhooks(["secret one", "secret two", "secret three"], clock=at(1614265330))
    for number, secret in enumerate(["secret one", "secret two", "secret three"]):
        compared.clear()
        webhooks.verify(EVENT, headers=sign_webhook(EVENT, secret, scheme="hub"))
        assert compared == [number == index for index in range(3)]
    compared.clear()
    headers = sign_webhook(EVENT, ["secret two", "another"], scheme="standard", timestamp=1614265330)
    webhooks.verify(EVENT, headers=headers)
    assert len(compared) == 6 and compared.count(True) == 1
