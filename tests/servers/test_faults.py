"""Failure injection around a small app, under virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from holdfast.servers import faults
from holdfast.servers.faults import FaultInjection
from tests.support.virtual_loop import run_virtual

Client = httpx2.AsyncClient


def virtually(story: Callable[[Client], Awaitable[None]]) -> None:
    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse("from the app")

    async def main() -> None:
        app = FaultInjection(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT"])]))
        async with Client(transport=httpx2.ASGITransport(app=app), base_url="http://server") as client:
            await story(client)

    run_virtual(main())


def now() -> float:
    return asyncio.get_running_loop().time()


async def add(client: Client, **rule: Any) -> dict[str, Any]:
    reply = await client.post("/_faults", json=rule)
    assert reply.status_code == 201, reply.text
    added: dict[str, Any] = reply.json()
    return added


async def statuses(client: Client, *requests: str, headers: dict[str, str] | None = None) -> list[int]:
    return [(await client.request(*request.split(), headers=headers)).status_code for request in requests]


def carrying(*rules: dict[str, Any], request_id: str | None = None) -> dict[str, str]:
    text = json.dumps(rules[0] if len(rules) == 1 else rules)
    return {"X-Holdfast-Fault": text, **({"X-Request-ID": request_id} if request_id else {})}


# --- kinds


def test_without_rules_the_app_answers():
    async def story(client):
        reply = await client.get("/msg")
        assert (reply.status_code, reply.text, now()) == (200, "from the app", 0)

    virtually(story)


@pytest.mark.parametrize("status", [400, 404, 408, 500, 503, 599])
def test_a_status(status):
    async def story(client):
        await add(client, kind="status", status=status)
        reply = await client.get("/msg")
        assert (reply.status_code, reply.json()) == (status, {"detail": "Injected fault"})

    virtually(story)


def test_a_status_with_a_detail():
    async def story(client):
        await add(client, kind="status", status=503, detail="Down for tea")
        assert (await client.get("/msg")).json() == {"detail": "Down for tea"}

    virtually(story)


def test_a_fixed_latency():
    async def story(client):
        await add(client, kind="latency", seconds=2.5)
        reply = await client.get("/msg")
        assert (reply.text, now()) == ("from the app", 2.5)

    virtually(story)


def test_a_latency_between_two_bounds():
    async def story(client):
        await add(client, kind="latency", seconds=1, up_to=3, seed=1)
        waits = []
        for _ in range(200):
            before = now()
            await client.get("/msg")
            waits.append(now() - before)
        assert 1 <= min(waits) < 1.1
        assert 2.9 < max(waits) <= 3
        assert sum(waits) / len(waits) == pytest.approx(2, abs=0.2)

    virtually(story)


@pytest.mark.parametrize(("given", "sent"), [({"retry_after": 7}, "7"), ({"retry_after": 0}, "0"), ({}, None)])
def test_a_429(given, sent):
    async def story(client):
        await add(client, kind="rate_limit", **given)
        reply = await client.get("/msg")
        assert (reply.status_code, reply.headers.get("Retry-After")) == (429, sent)
        assert reply.json() == {"detail": "Too many requests"}

    virtually(story)


# --- when a rule strikes


def test_a_rule_strikes_as_often_as_told():
    async def story(client):
        await add(client, kind="status", status=503, count=2)
        assert await statuses(client, *["GET /msg"] * 4) == [503, 503, 200, 200]

    virtually(story)


def test_a_rate_strikes_that_share():
    async def story(client):
        await add(client, kind="status", status=503, rate=0.3, seed=5)
        share = (await statuses(client, *["GET /msg"] * 1000)).count(503) / 1000
        assert share == pytest.approx(0.3, abs=0.05)

    virtually(story)


def test_the_same_seed_makes_the_same_choice():
    async def story(client):
        runs = []
        for seed in (1, 1, 2):
            await add(client, kind="status", status=503, rate=0.5, seed=seed)
            runs.append(await statuses(client, *["GET /msg"] * 50))
            await client.delete("/_faults")
        assert runs[0] == runs[1] != runs[2]

    virtually(story)


def test_a_count_counts_strikes_not_requests():
    async def story(client):
        await add(client, kind="status", status=503, rate=0.5, count=3, seed=1)
        assert (await statuses(client, *["GET /msg"] * 100)).count(503) == 3

    virtually(story)


def test_a_rule_for_one_method():
    async def story(client):
        await add(client, kind="status", status=503, method="POST")
        assert await statuses(client, "GET /msg", "POST /msg", "PUT /msg") == [200, 503, 200]

    virtually(story)


@pytest.mark.parametrize("path", ["/a", "/a/"])
def test_a_rule_for_a_path_and_what_is_below_it(path):
    async def story(client):
        await add(client, kind="status", status=503, path=path)
        assert await statuses(client, "GET /a", "GET /a/b", "GET /ab", "GET /b", "GET /") == [503, 503, 200, 200, 200]

    virtually(story)


def test_requests_elsewhere_use_up_no_count():
    async def story(client):
        await add(client, kind="status", status=503, path="/a", count=1)
        assert await statuses(client, "GET /b", "GET /b", "GET /a", "GET /a") == [200, 200, 503, 200]

    virtually(story)


def test_rules_nest_in_the_order_of_adding():
    async def story(client):
        await add(client, kind="latency", seconds=2)
        await add(client, kind="status", status=503, count=1)
        await add(client, kind="latency", seconds=10, count=1)
        assert await statuses(client, "GET /msg") == [503]
        assert now() == 2

    virtually(story)


# --- the admin API


def test_adding_and_listing():
    async def story(client):
        added = await add(client, kind="latency", seconds=1, path="/a", count=2)
        await add(client, kind="status", status=500, method="PUT")
        expected = {"kind": "latency", "seconds": 1.0, "rate": 1.0, "path": "/a", "count": 2}
        assert added == {"id": 1, **expected, "matched": 0, "struck": 0, "remaining": 2}
        await client.get("/a")
        first, second = (await client.get("/_faults")).json()["rules"]
        assert first == {"id": 1, **expected, "matched": 1, "struck": 1, "remaining": 1}
        assert (second["id"], second["kind"], second["method"], second["remaining"]) == (2, "status", "PUT", None)

    virtually(story)


def test_clearing():
    async def story(client):
        await add(client, kind="status", status=503)
        await add(client, kind="status", status=503)
        assert (await client.delete("/_faults")).json() == {"cleared": 2}
        assert (await client.get("/_faults")).json() == {"rules": []}
        assert await statuses(client, "GET /msg") == [200]

    virtually(story)


def test_stats():
    async def story(client):
        await add(client, kind="status", status=503, path="/a", count=1)
        await statuses(client, "GET /a", "GET /a", "GET /b")
        await statuses(client, "GET /b", headers=carrying({"kind": "rate_limit"}))
        stats = (await client.get("/_faults/stats")).json()
        assert stats["requests"] == 4
        assert stats["struck"] == {"status": 1, "rate_limit": 1}
        assert [(rule["matched"], rule["struck"]) for rule in stats["rules"]] == [(2, 1)]
        await client.delete("/_faults")
        assert (await client.get("/_faults/stats")).json() == {"requests": 0, "struck": {}, "rules": []}

    virtually(story)


def test_the_admin_api_cannot_be_struck():
    async def story(client):
        await add(client, kind="status", status=503)
        headers = carrying({"kind": "status", "status": 500})
        assert (await client.get("/_faults", headers=headers)).status_code == 200

    virtually(story)


@pytest.mark.parametrize(
    ("request_line", "status"), [("PUT /_faults", 405), ("GET /_faults/other", 404), ("GET /_faultsy", 200)]
)
def test_paths_beside_the_admin_api(request_line, status):
    async def story(client):
        assert await statuses(client, request_line) == [status]

    virtually(story)


# --- validation

BAD = {
    "no kind": ({"status": 500}, "kind"),
    "unknown kind": ({"kind": "meteor"}, "kind"),
    "no status": ({"kind": "status"}, "status"),
    "good status": ({"kind": "status", "status": 200}, "status"),
    "status too high": ({"kind": "status", "status": 600}, "status"),
    "status as text": ({"kind": "status", "status": "500"}, "status"),
    "no seconds": ({"kind": "latency"}, "seconds"),
    "negative seconds": ({"kind": "latency", "seconds": -1}, "seconds"),
    "seconds without end": ({"kind": "latency", "seconds": 1e300}, "seconds"),
    "bounds the wrong way round": ({"kind": "latency", "seconds": 2, "up_to": 1}, "up_to"),
    "fraction of a second": ({"kind": "rate_limit", "retry_after": 0.5}, "retry_after"),
    "negative retry_after": ({"kind": "rate_limit", "retry_after": -1}, "retry_after"),
    "rate zero": ({"kind": "rate_limit", "rate": 0}, "rate"),
    "rate above one": ({"kind": "rate_limit", "rate": 1.1}, "rate"),
    "count zero": ({"kind": "rate_limit", "count": 0}, "count"),
    "count true": ({"kind": "rate_limit", "count": True}, "count"),
    "unknown method": ({"kind": "rate_limit", "method": "get"}, "method"),
    "relative path": ({"kind": "rate_limit", "path": "msg"}, "path"),
    "seed as text": ({"kind": "rate_limit", "seed": "1"}, "seed"),
    "misspelt field": ({"kind": "rate_limit", "retryafter": 1}, "retryafter"),
    "field of another kind": ({"kind": "rate_limit", "seconds": 1}, "seconds"),
}


@pytest.mark.parametrize(("rule", "field"), BAD.values(), ids=BAD)
def test_a_bad_rule_is_a_422_that_names_the_field(rule, field):
    async def story(client):
        reply = await client.post("/_faults", json=rule)
        assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, ["body", field])
        assert (await client.get("/_faults")).json() == {"rules": []}

        reply = await client.get("/msg", headers=carrying(rule))
        expected = ["header", "X-Holdfast-Fault", field]
        assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, expected)

        reply = await client.get("/msg", headers=carrying({"kind": "rate_limit"}, rule))
        expected = ["header", "X-Holdfast-Fault", 1, field]
        assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, expected)

    virtually(story)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"5", b"\xff\xfe"])
def test_what_is_no_rule_at_all_is_a_422(body):
    async def story(client):
        reply = await client.post("/_faults", content=body)
        assert reply.status_code == 422
        assert reply.json()["detail"][0]["loc"] == ["body"]

    virtually(story)


def test_an_endless_rule_is_a_413():
    async def story(client):
        async def endless():
            while True:
                yield b" " * 10_000

        assert (await client.post("/_faults", content=endless())).status_code == 413

    virtually(story)


# --- the request header


def test_a_header_strikes_its_own_request_only():
    async def story(client):
        assert await statuses(client, "GET /msg", headers=carrying({"kind": "status", "status": 502})) == [502]
        assert await statuses(client, "GET /msg") == [200]

    virtually(story)


def test_a_count_in_a_header_lasts_for_all_attempts_with_one_request_id():
    async def story(client):
        rule = {"kind": "status", "status": 503, "count": 2}
        for request_id in ("one", "two"):
            found = await statuses(client, *["GET /msg"] * 4, headers=carrying(rule, request_id=request_id))
            assert found == [503, 503, 200, 200]

    virtually(story)


def test_a_count_in_a_header_without_request_id_starts_anew():
    async def story(client):
        rule = {"kind": "status", "status": 503, "count": 1}
        assert await statuses(client, *["GET /msg"] * 3, headers=carrying(rule)) == [503] * 3

    virtually(story)


def test_clearing_forgets_what_headers_have_used_up():
    async def story(client):
        headers = carrying({"kind": "status", "status": 503, "count": 1}, request_id="one")
        assert await statuses(client, *["GET /msg"] * 2, headers=headers) == [503, 200]
        await client.delete("/_faults")
        assert await statuses(client, *["GET /msg"] * 2, headers=headers) == [503, 200]

    virtually(story)


def test_what_headers_have_used_up_is_not_kept_without_bound(monkeypatch):
    monkeypatch.setattr(faults, "MAX_REMEMBERED", 2)

    async def story(client):
        rule = {"kind": "status", "status": 503, "count": 1}
        for request_id, status in [
            ("one", 503),
            ("two", 503),
            ("one", 200),
            ("three", 503),
            ("two", 200),
            ("one", 503),
        ]:
            assert await statuses(client, "GET /msg", headers=carrying(rule, request_id=request_id)) == [status]

    virtually(story)


def test_several_rules_in_a_header_come_after_the_added_ones():
    async def story(client):
        await add(client, kind="latency", seconds=1)
        headers = carrying({"kind": "latency", "seconds": 2}, {"kind": "rate_limit", "retry_after": 1})
        assert await statuses(client, "GET /msg", headers=headers) == [429]
        assert now() == 3

    virtually(story)


def test_a_rule_in_a_header_may_choose_its_route():
    async def story(client):
        headers = carrying({"kind": "status", "status": 503, "method": "POST", "path": "/a"})
        assert await statuses(client, "GET /a", "POST /a", "POST /b", headers=headers) == [200, 503, 200]

    virtually(story)
