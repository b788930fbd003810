"""That an event is let through once, and again after it has failed."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import pytest

from holdfast.exceptions import WebhookError
from holdfast.service import MemoryReplayCache, ReplayCache, WebhookEvent, WebhookResult, Webhooks, sign_webhook
from tests.support.virtual_loop import run_virtual

SECRET = "correct horse battery"
START = 1_750_000_000.0


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


BODY = json.dumps({"event_type": "a.b", "timestamp": "2025-06-15T15:06:40Z"}).encode()


def hub(body: bytes = BODY) -> dict[str, str]:
    return sign_webhook(body, SECRET, scheme="hub")


def standard(clock: Clock, webhook_id: str = "msg_1", body: bytes = BODY) -> dict[str, str]:
    return sign_webhook(body, SECRET, scheme="standard", webhook_id=webhook_id, timestamp=clock.now)


def refusal(webhooks: Webhooks, headers: dict[str, str], body: bytes = BODY) -> WebhookError:
    with pytest.raises(WebhookError) as caught:
        webhooks.process(body, headers=headers).result()
    return caught.value


def test_the_same_id_is_let_through_once_however_often_it_is_signed(clock: Clock):
    webhooks = Webhooks(SECRET, clock=clock, scheme="standard")
    assert webhooks.process(BODY, headers=standard(clock)).result().status == "unhandled"
    clock.now += 200
    again = refusal(webhooks, standard(clock))
    assert again.reason == "replay" and not again.in_progress and "handled before" in again.message
    assert webhooks.process(BODY, headers=standard(clock, "msg_2")).result().ok
    clock.now += 86_400
    assert webhooks.process(BODY, headers=standard(clock)).result().ok


def test_in_the_hub_scheme_it_is_the_body_that_tells(clock: Clock):
    webhooks = Webhooks(SECRET, clock=clock)
    assert webhooks.process(BODY, headers=hub()).result().ok
    assert refusal(webhooks, hub()).reason == "replay"
    other = BODY.replace(b"a.b", b"c.d")
    assert webhooks.process(other, headers=hub(other)).result().ok


@pytest.mark.parametrize("first", ["hub", "standard"])
def test_an_event_that_was_signed_by_both_schemes_passes_once(clock: Clock, first: Literal["hub", "standard"]):
    """The headers of one scheme taken away, it would pass by the other."""
    webhooks = Webhooks(SECRET, clock=clock)
    ways = {"hub": hub(), "standard": standard(clock)}
    second = "standard" if first == "hub" else "hub"
    assert webhooks.process(BODY, headers=ways[first]).result().ok
    assert refusal(webhooks, ways[second]).reason == "replay"
    # What was refused has taken nothing with it.
    for _ in range(2):
        again = refusal(webhooks, standard(clock, "msg_3"))
        assert again.reason == "replay" and not again.in_progress


def test_without_a_timestamp_in_the_body_only_the_id_tells(clock: Clock):
    """Such a body cannot pass by the hub scheme, and two pings may well be the same."""
    webhooks = Webhooks(SECRET, clock=clock)
    body = b'{"type": "ping"}'
    for number in range(2):
        assert webhooks.process(body, headers=standard(clock, f"msg_{number}", body)).result().ok
    anytime = Webhooks(SECRET, clock=clock, tolerance=None)
    assert anytime.process(body, headers=standard(clock, "msg_1", body)).result().ok
    assert refusal(anytime, hub(body), body).reason == "replay"


def test_the_hub_replay_is_remembered_for_as_long_as_it_would_pass(clock: Clock):
    """A timestamp may be ahead by the tolerance, and pass for twice as long."""
    webhooks = Webhooks(SECRET, clock=clock, remember=600)
    clock.now = START - 300
    assert webhooks.process(BODY, headers=hub()).result().ok
    clock.now = START + 299
    assert refusal(webhooks, hub()).reason == "replay"
    clock.now = START + 301
    assert refusal(webhooks, hub()).reason == "timestamp"


def test_an_event_whose_handler_failed_may_come_again(clock: Clock):
    webhooks = Webhooks(SECRET, clock=clock)
    tries: list[str] = []

    @webhooks.on("a.b")
    def fails_once(event: WebhookEvent) -> None:
        tries.append("one")
        if len(tries) == 1:
            raise ValueError("not yet")

    webhooks.on("a.b")(_fine)
    assert webhooks.process(BODY, headers=standard(clock)).result().status == "failed"
    assert webhooks.process(BODY, headers=standard(clock)).result().status == "handled"
    assert refusal(webhooks, standard(clock)).reason == "replay" and len(tries) == 2


async def _fine(event: WebhookEvent) -> str:
    return "fine"


def test_while_it_is_being_handled_it_is_refused_as_in_progress(clock: Clock):
    webhooks = Webhooks(SECRET, clock=clock)

    @webhooks.on("a.b")
    async def slow(event: WebhookEvent) -> None:
        await asyncio.sleep(10)

    async def main() -> tuple[list[Any], Any]:
        calls = [webhooks.process(BODY, headers=standard(clock)) for _ in range(5)]
        at_once = await asyncio.gather(*calls, return_exceptions=True)
        (later,) = await asyncio.gather(webhooks.process(BODY, headers=standard(clock)), return_exceptions=True)
        return at_once, later

    at_once, later = run_virtual(main())
    assert [isinstance(one, WebhookResult) for one in at_once] == [True, False, False, False, False]
    assert all(one.in_progress and "at this moment" in one.message for one in at_once[1:])
    assert not later.in_progress


def test_remember_0_lets_everything_through_again(clock: Clock):
    webhooks = Webhooks(SECRET, clock=clock, remember=0)
    for _ in range(2):
        assert webhooks.process(BODY, headers=hub()).result().ok


def test_without_a_secret_the_id_still_tells():
    webhooks = Webhooks(None)
    assert webhooks.process(BODY, headers={"webhook-id": "msg_1"}).result().ok
    assert refusal(webhooks, {"webhook-id": "msg_1"}).reason == "replay"
    for _ in range(2):
        assert webhooks.process(BODY).result().ok


# The cache in memory


def test_the_memory_is_bounded_and_the_oldest_is_forgotten_first(clock: Clock):
    cache = MemoryReplayCache(3, clock=clock)
    for mark in "abcd":
        assert cache.claim(mark, 60) == "new"
        cache.keep(mark, 60)
    assert len(cache) == 3
    assert [cache.claim(mark, 60) for mark in "bcd"] == ["done"] * 3 and cache.claim("a", 60) == "new"
    crowded = MemoryReplayCache(3, clock=clock)
    for number in range(100):
        crowded.claim(f"busy {number}", 60)
    assert len(crowded) == 3


def test_what_has_lapsed_makes_room(clock: Clock):
    cache = MemoryReplayCache(clock=clock)
    for number in range(50):
        cache.keep(f"mark {number}", 60)
    clock.now += 61
    cache.keep("mark", 60)
    assert len(cache) == 1 and cache.claim("mark 7", 60) == "new"


def test_a_claim_ends_by_itself_or_when_it_is_released(clock: Clock):
    cache = MemoryReplayCache(clock=clock)
    assert (cache.claim("a", 60), cache.claim("a", 60)) == ("new", "busy")
    cache.release("a")
    assert (cache.claim("a", 60), cache.claim("a", 60)) == ("new", "busy")
    clock.now += 60
    assert cache.claim("a", 60) == "new"
    cache.keep("a", 60)
    cache.release("a")
    assert cache.claim("a", 60) == "done"


@pytest.mark.parametrize("entries", [0, -1, 1.5, True, None])
def test_how_many_are_remembered_is_a_number(entries):
    with pytest.raises(ValueError, match="max_entries"):
        MemoryReplayCache(entries)


# Others


class Shared:
    """As in a database: async, for many processes, and down at times."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, float]] = {}
        self.down: set[str] = set()

    def _ask(self, what: str) -> None:
        if what in self.down:
            raise ConnectionError("database is down")

    async def claim(self, mark: str, seconds: float) -> Literal["new", "busy", "done"]:
        await asyncio.sleep(0)
        self._ask("claim")
        if mark in self.kept:
            return "busy" if self.kept[mark][0] == "busy" else "done"
        self.kept[mark] = "busy", seconds
        return "new"

    async def keep(self, mark: str, seconds: float) -> None:
        await asyncio.sleep(0)
        self._ask("keep")
        self.kept[mark] = "done", seconds

    async def release(self, mark: str) -> None:
        await asyncio.sleep(0)
        self._ask("release")
        self.kept.pop(mark)


class SyncShared:
    """The same with a sync driver."""

    def __init__(self, inner: Shared) -> None:
        self.inner = inner

    def claim(self, mark: str, seconds: float) -> Literal["new", "busy", "done"]:
        return asyncio.run(self.inner.claim(mark, seconds))  # fails on a thread with a running loop

    def keep(self, mark: str, seconds: float) -> None:
        asyncio.run(self.inner.keep(mark, seconds))

    def release(self, mark: str) -> None:
        asyncio.run(self.inner.release(mark))


@pytest.mark.parametrize("in_sync_code", [True, False])
@pytest.mark.parametrize("sync_cache", [True, False])
def test_a_cache_of_ones_own(clock: Clock, in_sync_code, sync_cache):
    shared = Shared()
    cache: ReplayCache = SyncShared(shared) if sync_cache else shared
    one = Webhooks(SECRET, clock=clock, replay_cache=cache, handler_timeout=200, remember=1_000)
    other = Webhooks(SECRET, clock=clock, replay_cache=cache)
    during: list[dict[str, tuple[str, float]]] = []

    def send(webhooks: Webhooks) -> WebhookResult:
        if in_sync_code:
            return webhooks.process(BODY, headers=standard(clock)).result()

        async def main() -> WebhookResult:
            return await webhooks.process(BODY, headers=standard(clock))

        return asyncio.run(main())

    @one.on("a.b")
    def look(event: WebhookEvent) -> None:
        during.append(dict(shared.kept))
        if len(during) == 1:
            raise ValueError("once")

    assert send(one).status == "failed" and shared.kept == {}
    assert send(one).status == "handled"
    assert {state for state, _ in during[1].values()} == {"busy"}
    # A worker that has gone must not keep the event from coming again for long.
    assert {seconds for _, seconds in during[1].values()} == {400}
    assert set(shared.kept.values()) == {("done", 1_000)} and "standard:msg_1" in shared.kept
    with pytest.raises(WebhookError) as caught:
        send(other)
    assert caught.value.reason == "replay"


def test_a_cache_that_is_down_lets_nothing_through(clock: Clock, caplog: pytest.LogCaptureFixture):
    shared = Shared()
    webhooks = Webhooks(SECRET, clock=clock, replay_cache=shared)
    handled: list[str] = []
    webhooks.on("a.b")(lambda event: handled.append("once"))
    shared.down = {"claim"}
    refused = refusal(webhooks, hub())
    assert refused.reason == "unavailable" and "ConnectionError" in refused.message and handled == []
    assert webhooks.statistics().refused == {"unavailable": 1} and "database is down" in caplog.text
    # What was handled stays so, though nobody can remember it.
    shared.down = {"keep", "release"}
    assert webhooks.process(BODY, headers=hub()).result().status == "handled"
    assert "may be handled again" in caplog.text


def test_a_cache_that_answers_something_else(clock: Clock):
    class Wrong(Shared):
        async def claim(self, mark: str, seconds: float) -> Any:
            return True

    assert refusal(Webhooks(SECRET, clock=clock, replay_cache=Wrong()), hub()).reason == "unavailable"
