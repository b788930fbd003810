"""Webhooks: who is told what, when it is tried again, and what becomes of what nobody takes."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from holdfast.servers.codegen.tables import webhooks
from holdfast.servers.service import Storage
from holdfast.service.webhooks import Webhooks
from tests.support.codegen_served import SECRET, codegen_served
from tests.support.loopback import HANG_UP, RESET, Answer, answer, redirect
from tests.support.served import Clock

pytestmark = pytest.mark.loopback

HOOKS = "/v1/webhooks"
DELIVERIES = f"{HOOKS}/deliveries"


def sent(receiver) -> list[str]:
    return [json.loads(body)["event_type"] for body in receiver.bodies]


def end_a_run(codegen, prompt: str = "Fix the bug", **fields) -> int:
    run = codegen.new_run(prompt, **fields)["id"]
    codegen.clock.advance(seconds=3)
    codegen.deliver()
    return int(run)


def test_the_end_of_a_run_is_told_signed_in_both_ways(everywhere, receiver):
    everywhere.webhook(f"{receiver.url}/hook?key=1")
    run = end_a_run(everywhere)
    (seen,) = receiver.seen
    assert (seen.method, seen.target, seen.get("Content-Type")) == ("POST", "/hook?key=1", "application/json")
    payload = json.loads(seen.body)
    assert payload == {
        "event_type": "agent_run.completed",
        "timestamp": "2024-02-29T12:00:03.123456+00:00",
        "data": everywhere.run(run),
    }
    for scheme in ("hub", "standard"):
        # This has its own code for signatures; what it refuses raises.
        verifier = Webhooks(SECRET, scheme=scheme, clock=lambda: everywhere.clock().timestamp())
        event = verifier.verify(seen.body, headers=seen.headers)
        assert event.verified and event.data["id"] == run
    (delivery,) = everywhere.deliveries()
    assert (delivery["status"], delivery["attempts"], delivery["last_status"]) == ("delivered", 1, 200)
    assert delivery["payload"] == payload and delivery["message_id"] == seen.get("webhook-id")
    # Nobody is told twice.
    everywhere.clock.advance(days=1)
    everywhere.deliver()
    assert len(receiver.seen) == 1


@pytest.mark.parametrize(
    ("prompt", "fields", "events"),
    [
        ("x", {}, ["agent_run.completed"]),
        ("x", {"repo_id": 1}, ["github.pr.created", "agent_run.completed"]),
        ("[fail]", {"repo_id": 1}, ["agent_run.failed", "error.occurred"]),
        ("[pause]", {"repo_id": 1}, []),
        ("[cancel]", {}, []),
    ],
)
def test_every_end_has_its_events(codegen, receiver, prompt, fields, events):
    codegen.webhook(receiver.url)
    end_a_run(codegen, prompt, **fields)
    assert sent(receiver) == events


def test_who_asks_for_some_events_gets_no_others(codegen, receiver):
    codegen.webhook(f"{receiver.url}/failed", events=["agent_run.failed", "agent_run.failed"])
    codegen.webhook(f"{receiver.url}/all", events=None)
    end_a_run(codegen, "x")
    end_a_run(codegen, "[fail]")
    assert [seen.path for seen in receiver.seen].count("/failed") == 1
    assert [seen.path for seen in receiver.seen].count("/all") == 3


def test_one_that_is_resumed_in_time_is_told_of_twice(codegen, receiver):
    codegen.webhook(receiver.url)
    run = codegen.new_run("First", repo_id=1)["id"]
    codegen.clock.advance(seconds=3)
    # The end is not told yet when it is resumed.
    codegen.ok("POST", "/v1/organizations/123/agent/run/resume", {"agent_run_id": run, "prompt": "[fail] Second"})
    codegen.clock.advance(seconds=3)
    codegen.deliver()
    assert sent(receiver) == ["github.pr.created", "agent_run.completed", "agent_run.failed", "error.occurred"]
    results = [json.loads(body)["data"].get("result", "") for body in receiver.bodies]
    assert results[1] == "Done: First" and "Second" in results[2]


def test_events_come_in_the_order_in_which_they_happened(codegen, receiver):
    codegen.webhook(receiver.url)
    runs = []
    for _ in range(5):
        runs.append(codegen.new_run()["id"])
        codegen.clock.advance(seconds=0.1)
    codegen.clock.advance(seconds=3)
    codegen.deliver()
    assert [json.loads(body)["data"]["id"] for body in receiver.bodies] == runs


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (answer(500), 500, "answered 500"),
        (answer(404), 404, "answered 404"),
        (answer(401), 401, "answered 401"),
        (redirect(302, "/elsewhere"), 302, "answered 302, and redirects are not followed"),
        (RESET, None, "ReadError"),
        (HANG_UP, None, "RemoteProtocolError"),
        (Answer((b"nonsense\r\n\r\n",), "close"), None, "RemoteProtocolError"),
    ],
)
def test_whatever_is_no_2xx_is_tried_again_later(codegen, receiver, failure, status, said):
    receiver.on("/", failure, answer(204))
    codegen.webhook(receiver.url)
    end_a_run(codegen)
    (delivery,) = codegen.deliveries("pending")
    assert (delivery["attempts"], delivery["last_status"]) == (1, status)
    assert said in delivery["last_error"]
    codegen.clock.advance(seconds=0.9)
    codegen.deliver()
    assert len(receiver.seen) == 1
    codegen.clock.advance(seconds=0.1)
    codegen.deliver()
    (delivery,) = codegen.deliveries("delivered")
    assert (delivery["attempts"], delivery["last_status"], delivery["last_error"]) == (2, 204, None)
    first, second = receiver.seen
    # The same message, under the same id, signed anew for its time.
    assert first.body == second.body and first.get("webhook-id") == second.get("webhook-id")
    assert int(second.get("webhook-timestamp") or 0) - int(first.get("webhook-timestamp") or 0) == 1


def test_waits_grow_fourfold_until_it_is_dead(everywhere, receiver, caplog):
    receiver.default = answer(503)
    everywhere.webhook(receiver.url)
    start = everywhere.clock() + timedelta(seconds=3)
    end_a_run(everywhere)
    gaps = []
    while pending := everywhere.deliveries("pending"):
        due = pending[0]["next_attempt_at"]
        before = everywhere.clock()
        while everywhere.clock().isoformat().replace("+00:00", "Z") < due:
            everywhere.clock.advance(seconds=0.5)
        gaps.append((everywhere.clock() - before).total_seconds())
        everywhere.deliver()
    assert gaps == [1.0, 4.0, 16.0, 64.0]
    (dead,) = everywhere.deliveries("dead")
    assert (dead["attempts"], dead["next_attempt_at"], dead["last_status"]) == (5, None, 503)
    assert (everywhere.clock() - start).total_seconds() == 85.0
    assert "is dead after 5 attempts: answered 503" in caplog.text
    everywhere.clock.advance(days=1)
    everywhere.deliver()
    assert len(receiver.seen) == 5


def test_retry_after_is_kept_to(codegen, receiver):
    receiver.on("/", answer(429, b"", ("Retry-After", "30")), answer())
    codegen.webhook(receiver.url)
    end_a_run(codegen)
    codegen.clock.advance(seconds=29)
    codegen.deliver()
    assert len(receiver.seen) == 1
    codegen.clock.advance(seconds=1)
    codegen.deliver()
    assert len(receiver.seen) == 2


def test_who_answers_410_is_asked_once(codegen, receiver):
    receiver.default = answer(410)
    codegen.webhook(receiver.url)
    end_a_run(codegen)
    (dead,) = codegen.deliveries("dead")
    assert (dead["attempts"], dead["last_error"]) == (1, "answered 410")


def test_a_receiver_that_answers_too_late_has_failed(tmp_path, receiver):
    receiver.default = Answer((b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"), pause=5)
    with codegen_served(Storage(tmp_path), delivery_timeout=0.3) as codegen:
        codegen.webhook(receiver.url)
        end_a_run(codegen)
        (pending,) = codegen.deliveries("pending")
        assert "Timeout" in pending["last_error"] or "deadline" in pending["last_error"]


def test_the_body_of_an_answer_is_not_waited_for(codegen, receiver):
    receiver.default = Answer((b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n",), "keep")
    codegen.webhook(receiver.url)
    end_a_run(codegen)
    assert codegen.deliveries("delivered")


def test_one_that_failed_does_not_hold_up_the_others(codegen, receiver):
    receiver.on("/", answer(500), answer())
    codegen.webhook(receiver.url)
    first, second = end_a_run(codegen), end_a_run(codegen)
    assert [json.loads(body)["data"]["id"] for body in receiver.bodies] in (
        [first, first, second],
        [first, second, first],
    )
    codegen.clock.advance(seconds=10)
    codegen.deliver()
    assert len(codegen.deliveries("delivered")) == 2


def test_a_slow_receiver_does_not_hold_up_the_others(codegen, receiver):
    receiver.on("/slow", Answer((b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"), pause=1.5))
    codegen.webhook(f"{receiver.url}/slow")
    codegen.webhook(f"{receiver.url}/quick")
    codegen.new_run()
    codegen.clock.advance(seconds=3)

    async def watch() -> list[str]:
        await codegen.server.turn()
        for _ in range(100):
            async with codegen.server._database.reading() as connection:
                from holdfast.servers.codegen.tables import deliveries

                found = select(deliveries.c.webhook_id).where(deliveries.c.status == "delivered")
                if ended := list((await connection.execute(found)).scalars()):
                    return ended
            await asyncio.sleep(0.05)
        return []

    assert codegen.served.run(watch()) == [2]
    codegen.deliver()
    assert len(codegen.deliveries("delivered")) == 2


def test_a_dead_delivery_can_be_delivered_anew(everywhere, receiver):
    receiver.default = answer(410)
    everywhere.webhook(receiver.url)
    end_a_run(everywhere)
    (dead,) = everywhere.deliveries("dead")
    receiver.default = answer()
    everywhere.clock.advance(hours=10)
    again = everywhere("POST", f"{DELIVERIES}/{dead['id']}/redeliver")
    assert again.status_code == 202
    assert (again.json()["status"], again.json()["attempts"], again.json()["last_error"]) == ("pending", 0, None)
    everywhere.deliver()
    (delivered,) = everywhere.deliveries()
    assert (delivered["status"], delivered["attempts"]) == ("delivered", 1)
    first, second = receiver.seen
    assert first.get("webhook-id") == second.get("webhook-id")
    # One who goes by the time in the payload can take it as well.
    hub = Webhooks(SECRET, scheme="hub", clock=lambda: everywhere.clock().timestamp())
    assert hub.verify(second.body, headers=second.headers).data == json.loads(first.body)["data"]


def test_there_is_no_such_thing(codegen):
    for number in (0, 99, 2**63, -1):
        assert codegen.refused("POST", f"{DELIVERIES}/{number}/redeliver") == (404, f"Delivery not found: {number}")
        assert codegen.refused("DELETE", f"{HOOKS}/{number}") == (404, f"Webhook not found: {number}")


def test_retries_survive_a_restart(storage, receiver):
    clock = Clock()
    receiver.on("/", answer(503), answer())
    with codegen_served(storage, clock) as codegen:
        codegen.webhook(receiver.url)
        codegen.new_run()
        codegen.clock.advance(seconds=3)
    # The end comes while no server runs.
    with codegen_served(storage, clock) as codegen:
        codegen.deliver()
        assert len(codegen.deliveries("pending")) == 1
    clock.advance(seconds=1)
    with codegen_served(storage, clock) as codegen:
        codegen.deliver()
        assert codegen.deliveries("delivered")[0]["attempts"] == 2


def test_what_a_server_leaves_that_dies_is_taken_over_when_its_claim_lapses(storage, receiver):
    clock = Clock()
    with codegen_served(storage, clock) as codegen:
        codegen.webhook(receiver.url)
        codegen.new_run()
        clock.advance(seconds=3)

        async def die() -> None:
            async with codegen.server._database.writing() as connection:
                claim = {"owner": "another", "busy_until": clock() + timedelta(seconds=15)}
                await connection.execute(update(webhooks).values(claim))

        codegen.served.run(die())
        codegen.deliver()
        assert not receiver.seen
        clock.advance(seconds=15)
        codegen.deliver()
        assert len(receiver.seen) == 1


def test_two_servers_tell_of_everything_once(storage, receiver):
    clock = Clock()
    with codegen_served(storage, clock, relaxed_limits=True) as one, codegen_served(storage, clock) as other:
        one.webhook(receiver.url)
        for _ in range(20):
            one.new_run()
        clock.advance(seconds=3)
        for _ in range(3):
            one.deliver()
            other.deliver()
    ids = [json.loads(body)["data"]["id"] for body in receiver.bodies]
    assert ids == sorted(set(ids)) and len(ids) == 20


def test_a_stopping_server_cuts_off_what_takes_long_and_loses_nothing(tmp_path, receiver):
    clock = Clock()
    receiver.on("/", Answer((b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"), pause=20))
    with codegen_served(Storage(tmp_path), clock) as codegen:
        codegen.webhook(receiver.url)
        codegen.new_run()
        clock.advance(seconds=3)
        codegen.served.run(codegen.server.turn())
    with codegen_served(Storage(tmp_path), clock) as codegen:
        receiver.on("/", answer())
        codegen.deliver()
        assert codegen.deliveries("delivered")


def test_a_webhook_is_shown_without_its_secret_and_can_be_removed(everywhere, receiver):
    made = everywhere.ok("POST", HOOKS, {"url": receiver.url, "secret": SECRET, "events": ["error.occurred"]})
    assert made == {
        "id": 1,
        "url": receiver.url,
        "events": ["error.occurred"],
        "own_secret": True,
        "created_at": "2024-02-29T12:00:00.123456Z",
    }
    assert everywhere.ok("GET", HOOKS)["items"] == [made]
    end_a_run(everywhere, "[fail]")
    assert everywhere.ok("DELETE", f"{HOOKS}/1") == {"id": 1, "deleted": True}
    end_a_run(everywhere, "[fail]")
    assert (everywhere.ok("GET", HOOKS)["items"], everywhere.deliveries(), len(receiver.seen)) == ([], [], 1)


def test_the_servers_secret_is_used_where_there_is_no_other(tmp_path, receiver):
    with codegen_served(Storage(tmp_path), webhook_secret="the server's") as codegen:
        codegen.ok("POST", HOOKS, {"url": receiver.url})
        end_a_run(codegen)
        (seen,) = receiver.seen
        verifier = Webhooks("the server's", clock=lambda: codegen.clock().timestamp())
        assert verifier.verify(seen.body, headers=seen.headers).verified


def test_without_any_secret_nothing_is_registered(codegen, receiver):
    problem = codegen.problem("POST", HOOKS, {"url": receiver.url})
    assert problem["loc"] == ["body", "secret"] and "CODEGEN_WEBHOOK_SECRET" in problem["msg"]


@pytest.mark.parametrize(
    ("fields", "where", "what"),
    [
        ({"url": None}, ["url"], "string"),
        ({"url": "ftp://example.com"}, ["url"], "pattern"),
        ({"url": "http://"}, ["url"], "no host"),
        ({"url": "http://user:secret@example.com/"}, ["url"], "user name"),
        ({"url": "http://example.com/#part"}, ["url"], "fragment"),
        ({"url": "http://example.com/?a=b c"}, ["url"], "percent-encoded"),
        ({"url": "http://example.com/" + "x" * 2000}, ["url"], "2000"),
        ({"url": "http://169.254.169.254/latest"}, ["url"], "metadata"),
        ({"url": "http://[fe80::1]/"}, ["url"], "link-local"),
        ({"url": "http://0.0.0.0/"}, ["url"], "unspecified"),
        ({"url": "http://2852039166/"}, ["url"], "four decimal numbers"),
        ({"url": "http://metadata.google.internal/"}, ["url"], "metadata"),
        ({"events": []}, ["events"], "at least 1 item"),
        ({"events": ["agent_run.started"]}, ["events", 0], "agent_run.completed"),
        ({"secret": ""}, ["secret"], "at least 1 character"),
        ({"secret": " white space"}, ["secret"], "pattern"),
    ],
)
def test_what_cannot_be_a_webhook_says_what_and_where(codegen, fields, where, what):
    problem = codegen.problem("POST", HOOKS, {"url": "http://127.0.0.1:9/", "secret": "x", **fields})
    assert problem["loc"] == ["body", *where]
    assert what in problem["msg"]


def test_in_production_webhooks_are_not_for_the_own_network(tmp_path, monkeypatch, receiver):
    with codegen_served(Storage(tmp_path)) as codegen:
        codegen.webhook(receiver.url)
        # Registered before the rules became stricter.
    monkeypatch.setenv("ENVIRONMENT", "production")
    with codegen_served(Storage(tmp_path), api_token="any") as codegen:
        problem = codegen.problem("POST", HOOKS, {"url": "http://10.0.0.1/", "secret": "x"})
        assert "CODEGEN_ALLOW_PRIVATE_ADDRESSES" in problem["msg"]
        end_a_run(codegen)
        (dead,) = codegen.deliveries("dead")
        assert "127.0.0.1 is loopback" in dead["last_error"] and dead["attempts"] == 1
    assert not receiver.seen


def test_a_key_makes_one_webhook(codegen, receiver):
    headers = {"Idempotency-Key": "once"}
    made = [codegen.ok("POST", HOOKS, {"url": receiver.url, "secret": "x"}, headers=headers) for _ in range(2)]
    assert made[0] == made[1] and codegen.ok("GET", HOOKS)["total"] == 1


def test_what_has_ended_long_ago_is_removed(everywhere, receiver):
    everywhere.webhook(receiver.url)
    end_a_run(everywhere)
    receiver.default = answer(503)
    end_a_run(everywhere)
    everywhere.clock.advance(days=31)
    everywhere.served.run(everywhere.server.purge(everywhere.server._database, everywhere.clock()))
    (left,) = everywhere.deliveries()
    assert left["status"] == "pending"


def test_the_activity_shows_what_goes_on(codegen, receiver):
    receiver.default = answer(410)
    codegen.webhook(receiver.url)
    run = end_a_run(codegen)
    seen = codegen.ok("GET", "/v1/activity")
    assert seen["runs"][0]["id"] == run and seen["runs_in_all"] == 5
    assert {one["name"]: one["used"] for one in seen["usage"]} == {"create-agent-run": 1}
    assert len(seen["limits"]) == 9 and seen["relaxed"] is True
    assert seen["deliveries_by_status"] == {"pending": 0, "delivered": 0, "dead": 1}
    assert seen["webhooks"][0]["url"] == receiver.url and SECRET not in json.dumps(seen)
