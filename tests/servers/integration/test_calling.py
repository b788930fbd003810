"""What becomes of a call of an action, by what the service does."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from holdfast.servers.integration.calling import ActionFailedError, ActionResult, Health, ServiceCaller, Target
from holdfast.servers.integration.settings import Settings
from tests.support.loopback import HANG_UP, RESET, Answer, Loopback, answer, chunked, json_answer, raw, redirect
from tests.support.registry import TEXT_OUT

pytestmark = pytest.mark.loopback

TLS = ssl.create_default_context()
GOOD = json_answer(200, '{"text": "hi"}')
LIMIT = 100_000


class Caller:
    """Calls one service."""

    def __init__(self, runner: asyncio.Runner, caller: ServiceCaller, peer: Loopback) -> None:
        self.runner = runner
        self.caller = caller
        self.peer = peer
        self.service_id = uuid4()

    def target(self, **fields: Any) -> Target:
        given: dict[str, Any] = {
            "service_id": self.service_id,
            "name": "text",
            "endpoint": f"{self.peer.url}/api/",
            "deduplicates": False,
            "action": "extract",
            "input_schema": {},
            "output_schema": TEXT_OUT,
        }
        return Target(**{**given, **fields})

    def __call__(self, *, key: str | None = "k", timeout: float = 5.0, **fields: Any) -> ActionResult:
        call = self.caller.call(
            self.target(**fields), {"url": "ü", "n": [1]}, key=key, correlation_id="corr-1", timeout=timeout
        )
        return self.runner.run(call)

    def fails(self, **options: Any) -> ActionFailedError:
        with pytest.raises(ActionFailedError) as failed:
            self(**options)
        assert str(failed.value) == failed.value.message
        assert "'extract'" in failed.value.message and "'text'" in failed.value.message
        return failed.value

    def health(self, **fields: Any) -> Health:
        return self.runner.run(self.caller.health(self.target(**fields)))


@contextmanager
def calling(peer: Loopback, **settings: Any) -> Iterator[Caller]:
    with asyncio.Runner() as runner:
        made = ServiceCaller(Settings(max_body_bytes=LIMIT, **settings), tls=TLS)

        async def entered() -> ServiceCaller:
            return await made.__aenter__()

        try:
            yield Caller(runner, runner.run(entered()), peer)
        finally:
            runner.run(made.__aexit__(None, None, None))


@pytest.fixture
def call(peer) -> Iterator[Caller]:
    with calling(peer, action_attempts=3) as caller:
        yield caller


def test_the_action_is_sent_its_input_and_gives_its_output(call, peer):
    peer.on("/api/extract", json_answer(200, '{"text": "hi", "more": 1}'))
    assert call() == ActionResult({"text": "hi", "more": 1}, 1)
    (seen,) = peer.seen
    assert (seen.method, seen.target) == ("POST", "/api/extract")
    assert json.loads(seen.body) == {"url": "ü", "n": [1]}
    assert (seen.get("Idempotency-Key"), seen.get("X-Correlation-ID")) == ("k", "corr-1")
    assert seen.get("Content-Type") == "application/json"


def test_keys(call, peer):
    peer.default = GOOD
    call(key=None)
    assert peer.last.get("Idempotency-Key") is None
    call(key=None, deduplicates=True)
    assert peer.last.get("Idempotency-Key") == peer.last.get("X-Request-ID")
    # What fits into no header is stood for by what does, always the same.
    for _ in range(2):
        call(key="run:schritt ä")
    first, second = [one.get("Idempotency-Key") for one in peer.seen[-2:]]
    assert first == second and first is not None and first.startswith("sha256:")
    call(key="run:" + "s" * 300)
    assert peer.last.get("Idempotency-Key") not in {first, None}


AMBIGUOUS = [json_answer(500, "{}"), RESET, HANG_UP, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")]


@pytest.mark.parametrize("failure", AMBIGUOUS, ids=["500", "reset", "end", "broken off"])
def test_what_may_have_been_executed_is_repeated_only_where_keys_are_honoured(call, peer, failure):
    peer.on("/api/extract", failure, GOOD)
    failed = call.fails()
    assert (failed.attempts, failed.may_have_executed, failed.definite) == (1, True, False)
    assert len(peer.seen) == 1
    peer.on("/api/extract", failure, failure, GOOD)
    assert call(deduplicates=True).attempts == 3
    assert {one.get("Idempotency-Key") for one in peer.seen} == {"k"}


def test_what_was_not_executed_is_repeated(call, peer):
    peer.on("/api/extract", json_answer(503, "{}"), json_answer(429, "{}", ("Retry-After", "0")), GOOD)
    assert call().attempts == 3
    peer.on("/api/extract", json_answer(503, '{"detail": "busy"}'))
    failed = call.fails()
    assert (failed.status, failed.attempts, failed.may_have_executed, failed.definite) == (503, 3, False, False)
    assert "busy" in failed.message


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_a_refusal_is_definite(call, peer, status):
    peer.default = json_answer(status, '{"detail": "no"}')
    failed = call.fails(deduplicates=True)
    assert (failed.status, failed.attempts, failed.may_have_executed, failed.definite) == (status, 1, False, True)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (json_answer(200, '{"text": 7}'), "output['text']"),
        (json_answer(200, "{}"), "required"),
        (json_answer(200, "[]"), "no object"),
        (json_answer(200, "null"), "no object"),
        (json_answer(200, "x"), "no JSON"),
        (answer(200, b"\xff\xfe\x00"), "no JSON"),
        (answer(204), "body is empty"),
        (json_answer(200, '{"text": "a", "n": NaN}'), "NaN"),
        (json_answer(200, '{"text": "\\u0000"}'), "U+0000"),
        (json_answer(200, '{"text": "\\ud800"}'), "surrogate"),
        (json_answer(200, '{"a": ' + "[" * 40_000 + "]" * 40_000 + "}"), "no JSON"),
        (json_answer(200, '{"a": ' + "[" * 200 + "]" * 200 + "}"), "100 deep"),
        (json_answer(200, '{"a": 1' + "0" * 5_000 + "}"), "no JSON"),
        (json_answer(200, '{"text": "' + "x" * LIMIT + '"}'), "INTEGRATION_MAX_BODY_BYTES"),
        (chunked(200, [b" " * 50_000] * 50), "INTEGRATION_MAX_BODY_BYTES"),
        (answer(200, b"not gzip", ("Content-Encoding", "gzip")), "cannot be used"),
        (answer(304), "304"),
    ],
)
def test_an_answer_that_cannot_be_used_is_definite(call, peer, reply, told):
    peer.default = reply
    failed = call.fails()
    assert told in failed.message
    assert (failed.attempts, failed.may_have_executed, failed.definite) == (1, True, True)


def test_redirects_are_followed_within_the_endpoint_only(call, peer):
    with Loopback(default=GOOD) as other:
        peer.on("/api/extract", redirect(307, "/api/elsewhere")).on("/api/elsewhere", GOOD)
        assert call().output == {"text": "hi"}
        assert [one.body for one in peer.seen] == [peer.seen[0].body] * 2
        for status in (301, 302, 303, 307, 308):
            peer.on("/api/extract", redirect(status, f"{other.url}/api/extract"))
            failed = call.fails()
            assert failed.definite and failed.attempts == 1
        peer.on("/api/extract", redirect(307, "/api/extract"))
        assert "max_redirects" in call.fails().message
        assert other.connections == 0


def test_nothing_lasts_longer_than_the_timeout(call, peer):
    drip = Answer((b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", *[b" "] * 200), pause=0.05)
    for reply in (Answer((b"HTTP/1.1 200 OK\r\n", b""), pause=2.0), drip):
        peer.default = reply
        began = time.monotonic()
        failed = call.fails(timeout=0.3)
        assert time.monotonic() - began < 1.9
        assert (failed.attempts, failed.may_have_executed, failed.definite) == (1, True, False)


def test_a_service_that_hangs_opens_its_circuit(peer):
    peer.default = Answer((b"", b""), pause=1.0)
    with calling(peer, action_attempts=1) as call:
        # A busy machine may find the deadline of a call passed before its timeout: then it does not count.
        failed = call.fails(timeout=0.3)
        for _ in range(30):
            if failed.attempts:
                failed = call.fails(timeout=0.3)
        assert "OPEN" in failed.message
        assert (failed.attempts, failed.may_have_executed, failed.definite) == (0, False, False)
        assert call.health().circuit == "open"
        # Another one is called.
        peer.default = GOOD
        call.service_id = uuid4()
        assert call().attempts == 1


def test_an_inactive_service_is_not_called(call, peer):
    failed = call.fails(active=False)
    assert "INACTIVE" in failed.message and failed.attempts == 0 and peer.connections == 0


def test_a_service_that_has_moved_is_called_where_it_is_now(call, peer):
    peer.default = GOOD
    call()
    with Loopback(default=GOOD) as other:
        call(endpoint=other.url)
        assert len(other.seen) == len(peer.seen) == 1
        clients = call.caller._clients
        assert [held.made_for[0] for held in clients._held.values()] == [other.url]

        async def closed() -> None:
            while clients._closing:
                await asyncio.sleep(0.01)

        call.runner.run(asyncio.wait_for(closed(), 10))


def test_a_client_is_closed_when_its_last_call_has_ended(call, peer):
    peer.on("/api/extract", Answer((b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n", b'{"text": "hi"}'), pause=0.3))

    async def main() -> None:
        calling_ = asyncio.create_task(call.caller.call(call.target(), {}, key=None, correlation_id=None, timeout=10))
        while not peer.seen:
            await asyncio.sleep(0.01)
        (held,) = call.caller._clients._held.values()
        call.caller.forget(call.service_id)
        assert not held.client.is_closed
        assert (await calling_).output == {"text": "hi"}
        await asyncio.sleep(0.05)
        assert held.client.is_closed and held.uses == 0

    call.runner.run(main())


def test_no_more_clients_are_kept_than_may_be(call, peer, monkeypatch):
    monkeypatch.setattr("holdfast.servers.integration.service_clients.MOST_CLIENTS", 3)
    peer.default = GOOD
    ids = [UUID(int=number) for number in range(8)]
    for service_id in ids:
        call(service_id=service_id)
    assert list(call.caller._clients._held) == ids[-3:]


def test_health(call, peer):
    peer.on("/api/", answer(200, b"fine"))
    found = call.health()
    assert (found.healthy, found.status_code, found.error, found.circuit) == (True, 200, None, "closed")
    assert (peer.last.method, peer.last.target) == ("GET", "/api/")
    # A body without an end is not waited for.
    peer.on("/api/", Answer((b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 1000] * 100), pause=0.05))
    assert call.health().healthy
    for reply, status, told in [
        (answer(404), 404, "404"),
        (redirect(302, "/"), 302, "302"),
        (answer(204), 204, "204"),
        (RESET, None, "failed"),
        (raw(b"rubbish\r\n\r\n"), None, "failed"),
    ]:
        peer.on("/api/", reply)
        found = call.health()
        assert (found.healthy, found.status_code) == (False, status)
        assert told in (found.error or "")
    for endpoint in ("http://nowhere.invalid", "http://169.254.169.254", "http://127.1", "nonsense"):
        found = call.health(endpoint=endpoint)
        assert not found.healthy and found.error


def test_health_is_asked_for_a_limited_time(call, peer, monkeypatch):
    monkeypatch.setattr("holdfast.servers.integration.calling.HEALTH_SECONDS", 0.2)
    peer.default = Answer((b"", b""), pause=1.0)
    found = call.health()
    assert not found.healthy and "within 0.2 s" in (found.error or "")
