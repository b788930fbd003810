"""Failure injection around a small app, under virtual time: what ASGI can do, and when rules strike."""

from __future__ import annotations

import asyncio
import statistics
import zlib

import httpx2
import pytest

from holdfast.servers.faults import FaultInjection, delivery, ledger, parse_rules
from tests.support.faulty import BODY, add, carrying, now, statuses, virtually
from tests.support.virtual_loop import run_virtual

# --- kinds


def test_without_rules_the_app_answers():
    async def story(client):
        reply = await client.get("/msg")
        assert (reply.status_code, reply.text, now()) == (200, BODY.decode(), 0)

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


@pytest.mark.parametrize("path", ["/msg", "/none", "/chunked"])
@pytest.mark.parametrize(("at", "executed"), [("before", []), ("after", ["POST"])])
def test_a_status_before_and_after_the_app(at, executed, path):
    async def story(client):
        await add(client, kind="status", status=500, at=at, retry_after=3)
        reply = await client.post(path)
        assert (reply.status_code, reply.json()) == (500, {"detail": "Injected fault"})
        assert reply.headers["Retry-After"] == "3"

    assert [line.split()[0] for line in virtually(story).executed] == executed


@pytest.mark.parametrize("how", ["corrupt", "truncated", "plain"])
@pytest.mark.parametrize("path", ["/msg", "/empty", "/chunked"])
def test_gzip_that_is_none(how, path):
    async def story(client):
        await add(client, kind="broken_gzip", how=how)
        async with client.stream("POST", path) as reply:
            sent = b"".join([part async for part in reply.aiter_raw()])
        assert (reply.status_code, reply.headers["Content-Encoding"]) == (200, "gzip")
        if path != "/chunked":
            assert reply.headers["Content-Length"] == str(len(sent))
        if how == "plain":
            assert sent == (b"" if path == "/empty" else BODY)
        elif how == "truncated":
            assert not zlib.decompressobj(wbits=31).decompress(sent).endswith(BODY)
        else:
            with pytest.raises(zlib.error):
                zlib.decompress(sent, wbits=31)

    assert virtually(story).executed == [f"POST {path}"]


@pytest.mark.parametrize("path", ["/none", "/msg"])
def test_gzip_of_no_body(path):
    async def story(client):
        await add(client, kind="broken_gzip")
        reply = await client.request("HEAD" if path == "/msg" else "GET", path)
        assert reply.content == b""

    virtually(story)


@pytest.mark.parametrize("kind", ["reset", "truncate", "trickle", "garbage", "wrong_length", "silence"])
def test_what_is_below_asgi_says_that_it_needs_more(kind):
    async def story(client):
        await add(client, kind=kind)
        reply = await client.post("/msg")
        assert (reply.status_code, reply.json()["detail"].startswith(f"{kind} is below ASGI")) == (501, True)

    assert virtually(story).executed == []


def test_an_answer_that_is_too_large_is_not_spoiled(monkeypatch):
    monkeypatch.setattr(delivery, "MAX_COLLECTED", 1_000_000)

    async def story(client):
        await add(client, kind="broken_gzip", count=1)
        reply = await client.get("/large")
        assert (reply.status_code, reply.json()) == (
            501,
            {"detail": "an answer of more than 1000000 bytes cannot be spoiled"},
        )
        assert (await client.get("/large")).status_code == 200

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


async def latencies(client, number, **rule):
    """What a latency rule makes of so many requests."""
    await add(client, kind="latency", **rule)
    waits = []
    for _ in range(number):
        before = now()
        assert (await client.get("/msg")).content == BODY
        waits.append(now() - before)
    return waits


def test_an_exponential_latency():
    async def story(client):
        waits = await latencies(client, 3000, seconds=1, distribution="exponential", up_to=4, seed=1)
        assert statistics.mean(waits) == pytest.approx(1, abs=0.1)
        assert statistics.median(waits) == pytest.approx(0.693, abs=0.1)  # ln 2
        assert max(waits) == pytest.approx(4)

    virtually(story)


def test_a_lognormal_latency():
    async def story(client):
        waits = await latencies(client, 3000, seconds=0.5, distribution="lognormal", sigma=0.5, seed=1)
        assert statistics.median(waits) == pytest.approx(0.5, rel=0.1)
        below = sum(wait < 0.5 * 1.6487 for wait in waits) / len(waits)  # exp(0.5): one standard deviation
        assert below == pytest.approx(0.841, abs=0.03)

    virtually(story)


def test_a_pareto_latency():
    async def story(client):
        waits = await latencies(client, 3000, seconds=0.1, distribution="pareto", alpha=2, seed=1)
        assert min(waits) == pytest.approx(0.1, rel=0.01)
        assert sum(wait > 1 for wait in waits) / len(waits) == pytest.approx(0.01, abs=0.006)  # (0.1 / 1) ** 2

    virtually(story)


@pytest.mark.parametrize("more", [{"distribution": "lognormal", "sigma": 10}, {"distribution": "pareto", "alpha": 0.1}])
@pytest.mark.parametrize(("bound", "expected"), [({}, 60), ({"up_to": 2}, 2)])
def test_a_long_tail_is_cut(more, bound, expected):
    async def story(client):
        waits = await latencies(client, 200, seconds=1, seed=1, **more, **bound)
        assert max(waits) == pytest.approx(expected)

    virtually(story)


@pytest.mark.parametrize("distribution", ["exponential", "lognormal", "pareto"])
def test_no_latency_has_no_tail(distribution):
    async def story(client):
        assert set(await latencies(client, 3, seconds=0, distribution=distribution)) == {0}

    virtually(story)


def test_a_latency_of_the_answer():
    async def story(client):
        await add(client, kind="latency", seconds=2, at="after")
        assert ((await client.get("/chunked")).content, now()) == (BODY, 2)

    assert virtually(story).executed == ["GET /chunked"]


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


def test_a_star_stands_for_one_segment():
    async def story(client):
        await add(client, kind="status", status=503, path="/users/*/posts")
        paths = [
            "/users/7/posts",
            "/users/7/posts/1",
            "/users/posts",
            "/users/7/8/posts",
            "/users/7/postscript",
            "/users//posts",
        ]
        assert await statuses(client, *[f"GET {path}" for path in paths]) == [503, 503, 200, 200, 200, 200]

    virtually(story)


def test_a_path_is_no_pattern():
    async def story(client):
        await add(client, kind="status", status=503, path="/a.c(")
        assert await statuses(client, "GET /abc(", "GET /a.c(") == [200, 503]

    virtually(story)


def test_a_rate_of_nothing_never_strikes():
    async def story(client):
        await add(client, kind="status", status=503, rate=0)
        assert await statuses(client, *["GET /msg"] * 50) == [200] * 50

    virtually(story)


def test_a_time_window():
    async def story(client):
        await add(client, **{"kind": "status", "status": 503, "from": 10, "for": 5})
        found = []
        for _ in range(20):
            found += await statuses(client, "GET /msg")
            await asyncio.sleep(1)
        assert found == [200] * 10 + [503] * 5 + [200] * 5
        (rule,) = (await client.get("/_faults")).json()["rules"]
        assert (rule["matched"], rule["struck"]) == (5, 5)

    virtually(story)


def test_a_time_window_in_a_header_goes_by_request_id():
    async def story(client):
        rule = {"kind": "status", "status": 503, "for": 5}
        for request_id in ("one", "two"):
            headers = carrying(rule, request_id=request_id)
            assert await statuses(client, "GET /msg", headers=headers) == [503]
            await asyncio.sleep(6)
            assert await statuses(client, "GET /msg", headers=headers) == [200]

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
    monkeypatch.setattr(ledger, "MAX_REMEMBERED", 2)

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


def test_a_rate_in_a_header_goes_on_over_calls():
    async def story(client):
        headers = {"X-Holdfast-Fault": "status=503;rate=0.3;seed=7"}
        runs = []
        for _ in range(2):
            found = []
            for number in range(500):
                found += await statuses(client, "GET /msg", headers={**headers, "X-Request-ID": str(number)})
            assert found.count(503) / 500 == pytest.approx(0.3, abs=0.05)
            runs.append(found)
            await client.delete("/_faults")
        assert runs[0] == runs[1]
        found = await statuses(client, *["GET /msg"] * 500, headers=headers)
        assert found == runs[0]

    virtually(story)


def test_several_headers_and_short_forms():
    async def story(client):
        rules = ["latency=1, latency=2", '{"kind": "latency", "seconds": 4}', "rate_limit=8"]
        reply = await client.get("/msg", headers=[("X-Holdfast-Fault", rule) for rule in rules])
        assert (reply.status_code, reply.headers["Retry-After"], now()) == (429, "8", 7)

    virtually(story)


def test_a_spoiling_rule_spoils_an_answer_wherever_it_comes_from():
    async def story(client):
        async with client.stream("GET", "/msg", headers={"X-Holdfast-Fault": "broken_gzip=plain, status=503"}) as reply:
            assert (reply.status_code, reply.headers["Content-Encoding"]) == (503, "gzip")

    assert virtually(story).executed == []


def test_what_the_app_does_after_its_answer_is_done():
    done = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": BODY})
        await asyncio.sleep(5)
        done.append(now())

    async def main():
        transport = httpx2.ASGITransport(app=FaultInjection(app, parse_rules("latency=1;at=after")))
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
            assert (await client.get("/")).content == BODY

    run_virtual(main())
    assert done == [5]


def test_an_answer_without_end_is_not_spoiled(monkeypatch):
    monkeypatch.setattr(delivery, "MAX_COLLECTED", 1_000_000)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})

    async def main():
        transport = httpx2.ASGITransport(app=FaultInjection(app, parse_rules("broken_gzip")))
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
            assert (await client.get("/")).status_code == 501

    run_virtual(main())


def test_what_is_no_request_goes_to_the_app():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    async def nothing(*message):
        return {}

    asyncio.run(FaultInjection(app, parse_rules("status=503"))({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]


def test_an_error_of_the_app_stays_one():
    async def app(scope, receive, send):
        raise LookupError("of the app")

    async def main():
        transport = httpx2.ASGITransport(app=FaultInjection(app, parse_rules("broken_gzip")))
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
            with pytest.raises(LookupError, match="of the app"):
                await client.get("/")

    run_virtual(main())


def test_a_cancelled_request_cancels_the_app():
    ended = []

    async def app(scope, receive, send):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(now())

    async def main():
        transport = httpx2.ASGITransport(app=FaultInjection(app, parse_rules("broken_gzip")))
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await client.get("/")

    run_virtual(main())
    assert ended == [3]
