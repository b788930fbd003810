"""What `ResilientClient` makes of injected faults, over real connections in both colours."""

from __future__ import annotations

import time

import pytest

from holdfast import APIConnectionError, APITimeoutError, RateLimitError, ServiceUnavailableError
from tests.support.colours import Colour
from tests.support.faulty import BODY, Faulty, faulty
from tests.support.serving import request

pytestmark = pytest.mark.loopback

# After the app has done its work and before the client knows, and whether it has.
LOST = {
    "reset": 0,
    "reset=after": 1,
    "reset=body": 1,
    "truncate": 1,
    "truncate;framing=chunked": 1,
    "garbage": 1,
    "garbage;at=before": 0,
    "wrong_length;seconds=0": 1,
    "broken_gzip": 1,
    "broken_gzip=truncated": 1,
    "broken_gzip=plain": 1,
    "silence=0": 0,
    "silence=0;at=after": 1,
}


@pytest.fixture(scope="module")
def shared():
    with faulty() as server:
        yield server


@pytest.fixture
def server(shared: Faulty) -> Faulty:
    assert request(f"{shared.url}/_faults", "DELETE")[0] == 200
    shared.app.executed.clear()
    return shared


@pytest.fixture(params=["async", "sync"])
def colour(request):
    colour = Colour(sync=request.param == "sync")
    yield colour
    colour.close()


@pytest.mark.parametrize("rule", LOST)
def test_a_get_survives_two_of_each(colour, server, rule):
    client = colour.client(server.url)
    reply = colour(client.get("/msg", headers={"X-Holdfast-Fault": f"{rule};count=2"}))
    assert (reply.status_code, reply.content) == (200, BODY)
    assert len(server.app.executed) == 2 * LOST[rule] + 1


@pytest.mark.parametrize("rule", LOST)
def test_a_plain_post_is_never_executed_twice(colour, server, rule):
    client = colour.client(server.url)
    error = colour.error(client.post("/msg", json={}, headers={"X-Holdfast-Fault": f"{rule};count=2"}))
    assert error.may_have_executed
    assert error.attempts == 1
    assert len(server.app.executed) == LOST[rule]


@pytest.mark.parametrize("rule", ["reset=after", "truncate"])
def test_a_keyed_post_is_repeated(colour, server, rule):
    client = colour.client(server.url)
    headers = {"X-Holdfast-Fault": f"{rule};count=1"}
    assert colour(client.post("/msg", json={}, headers=headers, idempotency_key="order-7")).status_code == 200
    assert len(server.app.executed) == 2


@pytest.mark.parametrize(("rule", "kind"), [("status=503", ServiceUnavailableError), ("rate_limit=0", RateLimitError)])
def test_what_was_refused_was_not_executed(colour, server, rule, kind):
    client = colour.client(server.url)
    error = colour.error(client.post("/msg", json={}, headers={"X-Holdfast-Fault": rule}), kind)
    assert (error.may_have_executed, error.attempts, server.app.executed) == (False, 3, [])


@pytest.mark.parametrize("rule", ["silence", "trickle;interval=60", "trickle=head;interval=60", "latency=60;at=after"])
def test_a_deadline_ends_what_does_not_end(colour, server, rule):
    client = colour.client(server.url)
    before = time.monotonic()
    error = colour.error(
        client.post("/msg", json={}, headers={"X-Holdfast-Fault": rule}, deadline=0.3), APITimeoutError
    )
    assert error.may_have_executed
    assert time.monotonic() - before < 5


def test_a_trickle_is_only_slow(colour, server):
    client = colour.client(server.url)
    for part in ("head", "body"):
        rule = f"trickle={part};interval=0.001;bytes=3"
        for path in ("/msg", "/chunked"):
            assert colour(client.get(path, headers={"X-Holdfast-Fault": rule})).content == BODY


def test_the_share_that_is_struck_is_the_rate(server, colour):
    client = colour.client(server.url, retry={"max_attempts": 1}, circuit_breaker={"failure_threshold": 1000})
    server.add("reset;rate=0.3;seed=4")
    failed = 0
    for _ in range(100):
        try:
            colour(client.get("/msg"))
        except APIConnectionError:
            failed += 1
    assert failed == server.stats()["struck"]["reset"]
    assert 15 < failed < 45


def test_chunks_beside_a_length_decide_or_are_refused(colour, server):
    """RFC 9112, section 6.3, has the one, and would rather have the other."""
    headers = {"X-Holdfast-Fault": "wrong_length=3;form=with_chunked"}
    client = colour.client(server.url, engine="httpx2")
    assert colour(client.post("/msg", headers=headers)).content == BODY
    client = colour.client(server.url, engine="native")
    with pytest.raises(APIConnectionError, match="both a Content-Length and a Transfer-Encoding"):
        colour(client.post("/msg", headers=headers))


def test_surplus_bytes_do_not_become_the_next_answer(colour, server):
    """They are on the connection that the next request is sent on."""
    client = colour.client(server.url)
    assert colour(client.get("/msg", headers={"X-Holdfast-Fault": "wrong_length=-3"})).content == BODY[:-3]
    assert colour(client.get("/msg")).content == BODY
