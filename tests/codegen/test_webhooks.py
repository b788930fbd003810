"""Webhooks through the client: its secret, its errors, its switches."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import holdfast
from holdfast.codegen import CodegenAPIError, WebhookError, WebhookEvent
from holdfast.service.webhooks import sign_webhook
from tests.support.codegen import Service
from tests.support.colours import Colour, is_a

SECRET = "a-webhook-secret-0123456789"


def event(**data: Any) -> bytes:
    told = {"event_type": "agent_run.completed", "timestamp": datetime.now(UTC).isoformat(), "data": data}
    return json.dumps(told).encode()


def signed(payload: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()


def test_the_guides_way(service: Service, colour: Colour) -> None:
    client = service.client(webhook_secret=SECRET)
    seen: list[Any] = []

    async def completed(event: WebhookEvent) -> None:
        seen.append(event.data["id"])

    handler = client.get_webhook_handler()
    assert handler is client.get_webhook_handler() is client.with_options(deadline=1).get_webhook_handler()
    handler.register_handler("agent_run.completed", completed)
    payload = event(id=42, status="COMPLETE")
    result = colour(client.process_webhook(payload, signed(payload)))
    assert seen == [42] and result.status == "handled"
    assert client.get_metrics_summary()["webhooks"]["received"] == 1
    assert json.loads(client.export_metrics())["webhooks"]["handled"] == 1
    colour(client.close())


def test_a_dict_is_verified_as_it_is_dumped(service: Service) -> None:
    client = service.client(webhook_secret=SECRET)
    payload = json.loads(event(id=1))
    text = json.dumps(payload)
    assert client.process_webhook(payload, signed(text.encode())).result().event_type == "agent_run.completed"


def test_all_headers_may_be_given(service: Service) -> None:
    client = service.client(webhook_secret=SECRET)
    payload = event(id=1)
    assert client.process_webhook(payload, headers=sign_webhook(payload, SECRET)).result().event.verified


BAD: list[tuple[str, bytes, str | None, str]] = [
    ("another secret", event(), "another", "signature"),
    ("no signature", event(), None, "signature"),
    ("no JSON", b"{", SECRET, "malformed"),
    ("no event", b'{"data": {}}', SECRET, "malformed"),
    ("too large", b"x" * (2**20 + 1), SECRET, "too_large"),
]


@pytest.mark.parametrize(("payload", "secret", "reason"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
def test_what_cannot_be_trusted(service: Service, colour: Colour, payload: bytes, secret: str, reason: str) -> None:
    client = service.client(webhook_secret=SECRET)
    called: list[Any] = []
    client.get_webhook_handler().register_handler("*", called.append)
    signature = signed(payload, secret) if secret else None
    error = colour.error(client.process_webhook(payload, signature), WebhookError)
    assert type(error).__name__ == "WebhookError" and error.reason == reason and not called
    assert is_a(error, holdfast.WebhookError) and is_a(error, CodegenAPIError) and SECRET not in str(error)
    colour(client.close())


def test_what_is_old_or_came_before(service: Service) -> None:
    client = service.client(webhook_secret=SECRET)
    payload = event(id=1)
    client.process_webhook(payload, signed(payload)).result()
    with pytest.raises(WebhookError) as caught:
        client.process_webhook(payload, signed(payload)).result()
    assert caught.value.reason == "replay"
    old = {"event_type": "x", "timestamp": (datetime.now(UTC) - timedelta(hours=1)).isoformat(), "data": {}}
    stale = json.dumps(old).encode()
    with pytest.raises(WebhookError) as caught:
        client.process_webhook(stale, signed(stale)).result()
    assert caught.value.reason == "timestamp"


def test_without_a_secret_nothing_is_verified(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    client = service.client()
    with caplog.at_level(logging.WARNING):
        assert client.process_webhook(event(id=1)).result().event.verified is False
    assert caplog.records


def test_a_handler_may_take_no_longer_than_it_may(service: Service) -> None:
    client = service.client(webhook_secret=SECRET, webhook_timeout=0.05)

    async def slow(event: WebhookEvent) -> None:
        await asyncio.sleep(30)

    client.get_webhook_handler().register_handler("*", slow)
    payload = event()

    async def main() -> str:
        return (await client.process_webhook(payload, signed(payload))).status

    assert asyncio.run(main()) == "failed"
