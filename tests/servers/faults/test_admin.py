"""The admin API of failure injection."""

from __future__ import annotations

import json

import pytest

from tests.support.faulty import add, carrying, statuses, virtually

# --- the admin API


def test_adding_and_listing():
    async def story(client):
        added = await add(client, kind="latency", seconds=1, path="/a", count=2)
        await add(client, kind="status", status=500, method="PUT")
        expected = {
            "kind": "latency",
            "seconds": 1.0,
            "rate": 1.0,
            "path": "/a",
            "count": 2,
            "from": 0.0,
            "at": "before",
        }
        expected["seed"] = added["seed"]
        assert added == {"id": 1, **expected, "matched": 0, "struck": 0, "remaining": 2}
        await client.get("/a")
        first, second = (await client.get("/_faults")).json()["rules"]
        assert first == {"id": 1, **expected, "matched": 1, "struck": 1, "remaining": 1}
        assert (second["id"], second["kind"], second["method"], second["remaining"]) == (2, "status", "PUT", None)

    virtually(story)


def test_adding_several_at_once():
    async def story(client):
        rules = [{"kind": "status", "status": 500}, {"kind": "rate_limit"}]
        for body in (json.dumps(rules), "status=500, rate_limit"):
            reply = await client.post("/_faults", content=body)
            assert reply.status_code == 201
            assert [rule["kind"] for rule in reply.json()["rules"]] == ["status", "rate_limit"]
        reply = await client.post("/_faults", content=json.dumps(rules[:1]))
        assert [rule["id"] for rule in reply.json()["rules"]] == [5]

    virtually(story)


def test_all_or_none_are_added():
    async def story(client):
        assert (await client.post("/_faults", content="status=500, meteor")).status_code == 422
        assert (await client.get("/_faults")).json() == {"rules": []}

    virtually(story)


def test_the_seed_of_a_report_repeats_the_run():
    async def story(client):
        added = await add(client, kind="status", status=503, rate=0.5)
        first = await statuses(client, *["GET /msg"] * 50)
        await client.delete("/_faults")
        await add(client, kind="status", status=503, rate=0.5, seed=added["seed"])
        assert await statuses(client, *["GET /msg"] * 50) == first

    virtually(story)


def test_one_rule_shown_and_cleared():
    async def story(client):
        await client.post("/_faults", content="status=500;path=/a, status=501;path=/b, status=502;path=/c")
        await statuses(client, "GET /b", "GET /b")
        one = (await client.get("/_faults/2")).json()
        assert (one["id"], one["status"], one["matched"], one["struck"]) == (2, 501, 2, 2)
        assert (await client.delete("/_faults/2")).json() == {"cleared": 1}
        assert await statuses(client, "GET /a", "GET /b", "GET /c") == [500, 200, 502]
        assert [rule["id"] for rule in (await client.get("/_faults")).json()["rules"]] == [1, 3]
        for method in ("GET", "DELETE"):
            reply = await client.request(method, "/_faults/2")
            assert (reply.status_code, reply.json()) == (404, {"detail": "there is no rule 2"})
        assert (await add(client, kind="rate_limit"))["id"] == 4

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


def test_a_bad_rule_is_a_422_in_one_line():
    async def story(client):
        reply = await client.post("/_faults", content="status=503, status=404;rate=1.5")
        assert reply.status_code == 422
        assert reply.json() == {
            "detail": "body: rule 2: rate: must be less than or equal to 1, not '1.5'",
            "errors": [
                {
                    "loc": ["body", 1, "rate"],
                    "msg": "must be less than or equal to 1, not '1.5'",
                    "type": "less_than_equal",
                }
            ],
        }
        reply = await client.get("/msg", headers={"X-Holdfast-Fault": "meteor"})
        assert reply.status_code == 422
        assert reply.json()["detail"].startswith(
            "header: X-Holdfast-Fault: kind: there is no fault 'meteor'; there are "
        )

    assert virtually(story).executed == []


def test_a_refused_header_counts_no_strike():
    async def story(client):
        await add(client, kind="status", status=503)
        assert await statuses(client, "GET /msg", headers={"X-Holdfast-Fault": "meteor"}) == [422]
        assert (await client.get("/_faults/1")).json()["matched"] == 0

    virtually(story)


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1])
def test_a_rule_that_is_too_long_is_a_413(size):
    async def story(client):
        reply = await client.post("/_faults", content=b"status=503" + b" " * (size - 10))
        assert reply.status_code == (201 if size == 64 * 1024 else 413)

    virtually(story)


def test_an_endless_rule_is_a_413():
    async def story(client):
        async def endless():
            while True:
                yield b" " * 10_000

        assert (await client.post("/_faults", content=endless())).status_code == 413

    virtually(story)
