"""The failure test server, under virtual time: every row and rule of its contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx2
import pytest

from holdfast.servers.flaky import Settings, create_app, service
from holdfast.servers.service import ServerStartError, Storage
from tests.support.virtual_loop import run_virtual

Client = httpx2.AsyncClient
MESSAGES = pytest.mark.parametrize("method", ["GET", "POST"])


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Client]:
    transport = httpx2.ASGITransport(app=create_app(Settings(**settings)))
    async with Client(transport=transport, base_url="http://server") as client:
        yield client


def virtually(story: Callable[[Client], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with running(**settings) as client:
            await story(client)

    run_virtual(main())


def now() -> float:
    return asyncio.get_running_loop().time()


async def timed(request: Awaitable[httpx2.Response]) -> tuple[float, httpx2.Response]:
    """When the response was there, and the response."""
    response = await request
    return round(now(), 6), response


async def failing(client: Client) -> dict[str, Any]:
    reply = (await client.get("/fail/status")).json()
    assert reply["currently_failing"] is reply["failure_status"]["currently_failing"]
    status: dict[str, Any] = reply["failure_status"]
    return status


# --- /msg


@MESSAGES
def test_each_message_has_an_id_of_its_own(method):
    async def story(client):
        replies = [await client.request(method, "/msg") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200] * 3
        assert all(reply.json().keys() == {"message_id"} for reply in replies)
        assert len({UUID(reply.json()["message_id"]) for reply in replies}) == 3

    virtually(story)


@MESSAGES
@pytest.mark.parametrize(("delay", "seconds"), [("0", 0), ("1", 0.001), ("29999", 29.999)])
def test_delay_is_in_milliseconds(method, delay, seconds):
    async def story(client):
        at, reply = await timed(client.request(method, f"/msg?delay={delay}"))
        assert (at, reply.status_code) == (seconds, 200)

    virtually(story)


@MESSAGES
@pytest.mark.parametrize("delay", ["-1", "30001", "1.5", "soon", ""])
def test_a_delay_out_of_range_is_a_422_that_names_it(method, delay):
    async def story(client):
        reply = await client.request(method, f"/msg?delay={delay}")
        assert reply.status_code == 422
        (detail,) = reply.json()["detail"]
        assert detail["loc"] == ["query", "delay"]
        assert {"msg", "type"} <= detail.keys()

    virtually(story)


def test_the_longest_delay_is_allowed():
    async def story(client):
        at, reply = await timed(client.get("/msg?delay=30000"))
        assert (at, reply.status_code) == (30.0, 200)

    virtually(story, request_timeout=31)


# --- /fail and /health


def test_a_number_of_requests_fails():
    async def story(client):
        reply = await client.post("/fail/count/2")
        assert reply.status_code == 200
        assert reply.json() == {"message": reply.json()["message"], "fail_requests_count": 2}
        replies = [await client.get("/msg") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [500, 500, 200]
        assert replies[0].json() == {"detail": "Induced server failure"}

    virtually(story)


def test_a_new_number_replaces_the_old_one():
    async def story(client):
        await client.post("/fail/count/5")
        await client.post("/fail/count/1")
        assert [(await client.get("/msg")).status_code for _ in range(2)] == [500, 200]
        await client.post("/fail/count/5")
        await client.post("/fail/count/0")
        assert (await client.get("/msg")).status_code == 200

    virtually(story)


def test_requests_fail_for_a_while():
    async def story(client):
        reply = await client.post("/fail/duration/10")
        assert reply.status_code == 200
        assert reply.json() == {"message": reply.json()["message"], "duration_seconds": 10}
        assert (await client.get("/msg")).status_code == 500
        await asyncio.sleep(9.99)
        assert (await client.get("/msg")).status_code == 500
        await asyncio.sleep(0.02)
        assert (await client.get("/msg")).status_code == 200

    virtually(story)


def test_the_count_goes_down_while_a_duration_lasts():
    async def story(client):
        await client.post("/fail/count/3")
        await client.post("/fail/duration/10")
        for left in (2, 1, 0, 0):
            assert (await client.get("/msg")).status_code == 500
            assert (await failing(client))["fail_requests_count"] == left
        await asyncio.sleep(10.01)
        assert (await client.get("/msg")).status_code == 200

    virtually(story)


def test_reset_ends_both_kinds_of_failure():
    async def story(client):
        await client.post("/fail/count/3")
        await client.post("/fail/duration/10")
        reply = await client.post("/fail/reset")
        assert reply.status_code == 200
        assert reply.json() == {"message": reply.json()["message"], "status": "normal_operation"}
        assert (await client.get("/msg")).status_code == 200

    virtually(story)


def test_a_duration_of_zero_ends_a_longer_one():
    async def story(client):
        await client.post("/fail/duration/3600")
        await client.post("/fail/duration/0")
        assert (await client.get("/msg")).status_code == 200

    virtually(story)


def test_status_of_normal_operation():
    async def story(client):
        assert await failing(client) == {
            "fail_requests_count": 0,
            "fail_until_timestamp": None,
            "duration_remaining_seconds": 0,
            "currently_failing": False,
        }

    virtually(story)


def test_status_tells_what_is_left_and_uses_up_nothing():
    async def story(client):
        await client.post("/fail/count/4")
        status = await failing(client)
        assert (status["fail_requests_count"], status["currently_failing"]) == (4, True)
        assert (await failing(client))["fail_requests_count"] == 4
        await client.post("/fail/reset")

        await client.post("/fail/duration/60")
        await asyncio.sleep(20)
        status = await failing(client)
        assert status["duration_remaining_seconds"] == pytest.approx(40)
        assert status["fail_until_timestamp"] == pytest.approx(time.time() + 40, abs=5)
        assert status["currently_failing"] is True
        await asyncio.sleep(41)
        assert (await failing(client))["currently_failing"] is False

    virtually(story)


@pytest.mark.parametrize("path", ["count/0", "count/1000", "duration/0", "duration/3600"])
def test_ends_of_the_ranges_are_allowed(path):
    async def story(client):
        assert (await client.post(f"/fail/{path}")).status_code == 200

    virtually(story)


@pytest.mark.parametrize(
    "path", ["count/-1", "count/1001", "count/1.5", "count/x", "duration/-1", "duration/3601", "duration/x"]
)
def test_beyond_the_ranges_is_a_422_that_changes_nothing(path):
    async def story(client):
        reply = await client.post(f"/fail/{path}")
        assert reply.status_code == 422
        assert reply.json()["detail"][0]["loc"][0] == "path"
        assert (await client.get("/msg")).status_code == 200

    virtually(story)


def test_health():
    async def story(client):
        reply = await client.get("/health")
        assert reply.status_code == 200
        assert reply.json() == {"status": "ok", "uptime_seconds": reply.json()["uptime_seconds"]}
        assert reply.json()["uptime_seconds"] >= 0

    virtually(story)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/msg/", 404),
        ("DELETE", "/msg", 405),
        ("GET", "/fail/reset", 405),
        ("GET", "/fail/count/1", 405),
        ("POST", "/fail/status", 405),
        ("POST", "/health", 405),
        ("GET", "/_faults", 404),
        ("POST", "/_faults", 404),
    ],
)
def test_everything_else_is_refused(method, path, status):
    async def story(client):
        reply = await client.request(method, path)
        assert reply.status_code == status
        assert reply.json().keys() == {"detail"}

    virtually(story)


def test_the_fault_header_does_nothing_by_itself():
    async def story(client):
        reply = await client.get("/msg", headers={"X-Holdfast-Fault": '{"kind": "status", "status": 503}'})
        assert reply.status_code == 200

    virtually(story)


# --- request ids


@MESSAGES
def test_the_same_request_id_gets_the_same_message(method):
    async def story(client):
        first = await client.request(method, "/msg", headers={"X-Request-ID": "a"})
        again = await client.request(method, "/msg", headers={"X-Request-ID": "a"})
        other = await client.request(method, "/msg", headers={"X-Request-ID": "b"})
        assert first.json() == again.json() != other.json()

    virtually(story)


def test_an_empty_request_id_is_none():
    async def story(client):
        replies = [await client.get("/msg", headers={"X-Request-ID": ""}) for _ in range(2)]
        assert replies[0].json() != replies[1].json()

    virtually(story)


def test_an_idempotency_key_goes_before_the_request_id_of_a_post():
    async def story(client):
        def post(key, request_id):
            return client.post("/msg", headers={"Idempotency-Key": key, "X-Request-ID": request_id})

        first, again, other = await post("k", "1"), await post("k", "2"), await post("l", "1")
        assert first.json() == again.json() != other.json()

    virtually(story)


def test_a_kept_answer_skips_the_delay():
    async def story(client):
        first = await client.get("/msg", headers={"X-Request-ID": "a"})
        at, again = await timed(client.get("/msg?delay=5000", headers={"X-Request-ID": "a"}))
        assert (at, again.json()) == (0, first.json())

    virtually(story)


def test_a_failure_beats_a_kept_answer():
    async def story(client):
        first = await client.get("/msg", headers={"X-Request-ID": "a"})
        await client.post("/fail/count/1")
        assert (await client.get("/msg", headers={"X-Request-ID": "a"})).status_code == 500
        assert (await client.get("/msg", headers={"X-Request-ID": "a"})).json() == first.json()

    virtually(story)


def test_a_failed_request_keeps_no_answer():
    async def story(client):
        await client.post("/fail/count/1")
        statuses = [(await client.get("/msg", headers={"X-Request-ID": "a"})).status_code for _ in range(2)]
        assert statuses == [500, 200]

    virtually(story)


def test_answers_are_kept_for_a_while():
    async def story(client):
        async def ask():
            return (await client.get("/msg", headers={"X-Request-ID": "a"})).json()

        first = await ask()
        await asyncio.sleep(299.9)
        assert await ask() == first
        await asyncio.sleep(0.2)
        assert await ask() != first

    virtually(story)


def test_the_oldest_answers_are_dropped():
    async def story(client):
        async def ask(key):
            return (await client.get("/msg", headers={"X-Request-ID": key})).json()["message_id"]

        a, b, _c = [await ask(key) for key in "abc"]
        assert await ask("b") == b
        assert await ask("a") != a

    virtually(story, cache_max_size=2)


@MESSAGES
def test_concurrent_duplicates_get_one_message(method):
    async def story(client):
        asked = [client.request(method, "/msg?delay=1000", headers={"X-Request-ID": "a"}) for _ in range(20)]
        replies = await asyncio.gather(*(timed(one) for one in asked))
        assert {at for at, _ in replies} == {1.0}
        assert len({reply.json()["message_id"] for _, reply in replies}) == 1

    virtually(story)


def test_when_the_first_of_two_duplicates_times_out_the_second_does_the_work():
    async def story(client):
        async def ask(after, delay):
            await asyncio.sleep(after)
            return await timed(client.get(f"/msg?delay={delay}", headers={"X-Request-ID": "a"}))

        (at_first, first), (at_second, second) = await asyncio.gather(ask(0, 12_000), ask(3, 2_000))
        assert (at_first, first.status_code) == (10.0, 408)
        assert (at_second, second.status_code) == (12.0, 200)

    virtually(story, request_timeout=10)


# --- slots and timeout


@pytest.mark.parametrize("delay", [10_001, 30_000])
def test_a_slow_request_is_a_408(delay):
    async def story(client):
        at, reply = await timed(client.get(f"/msg?delay={delay}", headers={"X-Request-ID": "a"}))
        assert (at, reply.status_code) == (10.0, 408)
        assert reply.json() == {"detail": "Request timeout"}
        assert (await client.get("/msg", headers={"X-Request-ID": "a"})).status_code == 200

    virtually(story, request_timeout=10)


def test_so_many_requests_at_once_and_no_more():
    async def story(client):
        replies = await asyncio.gather(*(timed(client.get("/msg?delay=1000")) for _ in range(7)))
        assert sorted(at for at, _ in replies) == [1, 1, 1, 2, 2, 2, 3]

    virtually(story, max_concurrency=3)


def test_waiting_for_a_slot_is_not_on_the_clock():
    async def story(client):
        replies = await asyncio.gather(*(timed(client.get("/msg?delay=8000")) for _ in range(4)))
        assert [(at, reply.status_code) for at, reply in replies] == [(8, 200), (16, 200), (24, 200), (32, 200)]

    virtually(story, max_concurrency=1, request_timeout=10)


def test_the_slot_comes_before_validation():
    async def story(client):
        slow, bad = await asyncio.gather(timed(client.get("/msg?delay=1000")), timed(client.get("/msg?delay=x")))
        assert (slow[0], bad[0], bad[1].status_code) == (1.0, 1.0, 422)

    virtually(story, max_concurrency=1)


def test_a_slot_comes_back_after_every_kind_of_end():
    async def story(client):
        await client.post("/fail/count/1")
        statuses = [
            (await client.get(path)).status_code for path in ("/msg", "/msg?delay=x", "/msg?delay=20000", "/no")
        ]
        assert statuses == [500, 422, 408, 404]
        cancelled = asyncio.ensure_future(client.get("/msg?delay=1000"))
        await asyncio.sleep(0.1)
        cancelled.cancel()
        assert (await client.get("/msg")).status_code == 200

    virtually(story, max_concurrency=1, request_timeout=10)


def test_a_422_uses_up_no_failure():
    async def story(client):
        await client.post("/fail/count/1")
        assert [(await client.get(path)).status_code for path in ("/msg?delay=x", "/msg", "/msg")] == [422, 500, 200]

    virtually(story)


def test_a_failure_skips_the_delay():
    async def story(client):
        await client.post("/fail/count/1")
        at, reply = await timed(client.get("/msg?delay=20000"))
        assert (at, reply.status_code) == (0, 500)

    virtually(story)


def test_health_is_exempt_from_slots_and_failures():
    async def story(client):
        busy = asyncio.ensure_future(client.get("/msg?delay=5000"))
        await asyncio.sleep(0.1)
        at, reply = await timed(client.get("/health"))
        assert (at, reply.status_code) == (0.1, 200)
        await busy
        await client.post("/fail/count/1")
        assert (await client.get("/health")).status_code == 200
        assert (await failing(client))["fail_requests_count"] == 1

    virtually(story, max_concurrency=1)


# --- settings


def test_defaults(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SERVER_{name.upper()}", raising=False)
    assert Settings().model_dump() == {
        "port": 8000,
        "max_concurrency": 50,
        "request_timeout": 30.0,
        "cache_max_size": 1000,
        "cache_ttl_seconds": 300.0,
        "log_level": "INFO",
    }
    assert service(Storage(tmp_path)).port == 8000


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SERVER_PORT", "8123")
    monkeypatch.setenv("SERVER_MAX_CONCURRENCY", "7")
    monkeypatch.setenv("SERVER_LOG_LEVEL", "warning")
    settings = Settings()
    assert (settings.port, settings.max_concurrency, settings.log_level) == (8123, 7, "WARNING")
    assert service(Storage(tmp_path)).port == 8123


def test_every_unusable_setting_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SERVER_MAX_CONCURRENCY", "0")
    monkeypatch.setenv("SERVER_REQUEST_TIMEOUT", "soon")
    with pytest.raises(ServerStartError) as caught:
        service(Storage(tmp_path))
    first, second = str(caught.value).splitlines()
    assert first.startswith("SERVER_MAX_CONCURRENCY: ")
    assert second.startswith("SERVER_REQUEST_TIMEOUT: ")
