"""What ASGI cannot do, on real connections: every kind does on the wire what it says."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from starlette.responses import PlainTextResponse

from holdfast.servers.faults import FaultInjection, delivery
from tests.support.faulty import BODY, LARGE, Faulty, faulty
from tests.support.serving import request

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def shared():
    with faulty() as server:
        yield server


@pytest.fixture
def server(shared: Faulty) -> Faulty:
    """The server without rules, and with an app that has done nothing."""
    assert request(f"{shared.url}/_faults", "DELETE")[0] == 200
    shared.app.executed.clear()
    shared.app.bodies.clear()
    return shared


def asked_again(server: Faulty, rule: str, path: str = "/") -> bytes:
    """What a second request on the connection gets, after one that a rule struck. Before it comes what is left over."""
    with server.peer() as peer:
        peer.ask("GET", path, headers={"X-Holdfast-Fault": rule})
        peer.hear(patience=0.3)
        peer.ask("GET", "/again")
        return peer.hear(until=BODY).data


# Resets


@pytest.mark.parametrize(("at", "executed"), [("before", []), ("after", ["POST /"])])
def test_a_reset_without_a_byte_of_the_answer(server, at, executed):
    heard = server.heard(f"reset={at}", "POST", body=b"x" * 10)
    assert (heard.data, heard.end) == (b"", "reset")
    assert server.app.executed == executed


@pytest.mark.parametrize("path", ["/", "/chunked"])
@pytest.mark.parametrize(("keep", "kept"), [("", 6), (";keep=0", 0), (";keep=3", 3), (";keep=999", 11)])
def test_a_reset_inside_the_body(server, path, keep, kept):
    heard = server.heard(f"reset=body{keep}", "POST", path)
    body = heard.body.partition(b"\r\n")[2] if path == "/chunked" else heard.body
    assert (heard.status_line, body, heard.end) == (b"HTTP/1.1 200 OK", BODY[:kept], "reset")
    assert server.app.executed == [f"POST {path}"]


def test_a_reset_inside_a_large_body(server):
    heard = server.heard("reset=body", path="/large")
    assert heard.end == "reset"
    assert heard.header("Content-Length") == [str(len(LARGE))]
    assert len(heard.body) <= len(LARGE) // 2


# Bodies that end early


@pytest.mark.parametrize(("keep", "kept"), [("", 6), ("=0", 0), ("=5", 5), ("=999", 11)])
def test_a_truncated_body(server, keep, kept):
    heard = server.heard(f"truncate{keep}", "POST")
    assert (heard.header("Content-Length"), heard.body, heard.end) == (["12"], BODY[:kept], "closed")
    assert server.app.executed == ["POST /"]


@pytest.mark.parametrize(("path", "framing"), [("/chunked", ""), ("/", ";framing=chunked")])
def test_a_truncated_chunk(server, path, framing):
    heard = server.heard(f"truncate=5{framing}", path=path)
    assert (heard.header("Transfer-Encoding"), heard.header("Content-Length")) == (["chunked"], [])
    assert (heard.body, heard.end) == (b"c\r\n" + BODY[:5], "closed")


def test_a_chunked_body_truncated_with_a_length(server):
    heard = server.heard("truncate;framing=length", path="/chunked")
    assert (heard.header("Transfer-Encoding"), heard.header("Content-Length")) == ([], ["12"])
    assert (heard.body, heard.end) == (BODY[:6], "closed")


def test_an_empty_body_can_be_truncated(server):
    heard = server.heard("truncate", path="/empty")
    assert (heard.header("Content-Length"), heard.body, heard.end) == (["1"], b"", "closed")
    heard = server.heard("truncate;framing=chunked", path="/empty")
    assert (heard.header("Transfer-Encoding"), heard.body, heard.end) == (["chunked"], b"", "closed")


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/"), ("GET", "/none")])
@pytest.mark.parametrize(("rule", "end"), [("truncate", "closed"), ("reset=body", "reset")])
def test_without_a_body_the_head_ends_early(server, method, path, rule, end):
    heard = server.heard(rule, method, path)
    assert heard.data.startswith(b"HTTP/1.1 20") and b"\r\n\r\n" not in heard.data
    assert heard.end == end
    assert server.app.executed == [f"{method} {path}"]


# Answers that take their time


def test_a_trickled_body(server):
    before = time.monotonic()
    with server.peer() as peer:
        peer.ask("POST", "/", b"", {"X-Holdfast-Fault": "trickle;bytes=2;interval=0.1"})
        heard = peer.hear(until=BODY)
        assert time.monotonic() - before > 0.45  # six pieces, five waits
        assert len(heard.lots) > 2
        # The answer was whole, so the connection lives on.
        peer.ask("GET", "/again")
        assert peer.hear(until=BODY).status_line == b"HTTP/1.1 200 OK"
    assert server.app.executed == ["POST /", "GET /again"]


def test_a_trickled_head(server):
    before = time.monotonic()
    with server.peer() as peer:
        peer.ask("POST", "/", b"", {"X-Holdfast-Fault": "trickle=head;bytes=30;interval=0.2"})
        heard = peer.hear(until=b"\r\n\r\n")
        assert time.monotonic() - before > 0.35  # at least three pieces, two waits
        assert b"\r\n\r\n" not in heard.lots[0][1]
        if BODY not in heard.data:
            peer.hear(until=BODY)
        peer.ask("GET", "/again")
        assert peer.hear(until=BODY).status_line == b"HTTP/1.1 200 OK"
    assert server.app.executed == ["POST /", "GET /again"]


def test_a_trickled_chunked_body(server):
    heard = server.heard("trickle;interval=0.001;bytes=4", path="/chunked", patience=0.3)
    assert heard.body == b"c\r\n" + BODY + b"\r\n0\r\n\r\n"


def test_what_is_left_of_a_trickle_comes_at_once(server):
    before = time.monotonic()
    with server.peer() as peer:
        peer.ask(headers={"X-Holdfast-Fault": "trickle;interval=3600;up_to=0.2"})
        peer.hear(until=BODY)
    assert 0.15 < time.monotonic() - before < 10


def test_a_trickle_ends_when_the_peer_goes(server):
    with server.peer() as peer:
        peer.ask(headers={"X-Holdfast-Fault": "trickle;interval=3600;up_to=3600"})
        peer.hear(until=b"f")
    nothing_is_left(server)


def test_a_late_answer_ends_when_the_peer_goes(server):
    with server.peer() as peer:
        peer.ask(headers={"X-Holdfast-Fault": "latency=3600;at=after"})
        assert peer.hear(patience=0.3).end == "silent"
    nothing_is_left(server)
    assert server.app.executed == ["GET /"]


def test_silence_until_the_peer_goes(server):
    with server.peer() as peer:
        peer.ask("POST", headers={"X-Holdfast-Fault": "silence"}, body=b"x" * 1_000_000)
        assert peer.hear(patience=0.3).end == "silent"
    nothing_is_left(server)
    assert server.app.executed == []


@pytest.mark.parametrize(("at", "executed"), [("before", []), ("after", ["POST /"])])
def test_silence_that_ends(server, at, executed):
    heard = server.heard(f"silence=0.1;at={at}", "POST", body=b"x" * 10)
    assert (heard.data, heard.end) == (b"", "closed")
    assert server.app.executed == executed


def test_silence_says_not_even_continue(server):
    with server.peer() as peer:
        peer.send(
            b"POST / HTTP/1.1\r\nHost: server\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
            b"X-Holdfast-Fault: silence=0.2\r\n\r\n"
        )
        heard = peer.hear()
    assert (heard.data, heard.end) == (b"", "closed")


def nothing_is_left(server: Faulty) -> None:
    until = time.monotonic() + 10
    while server.busy:
        assert time.monotonic() < until, "the server still holds the connection or the request"
        time.sleep(0.01)


# Answers that are no HTTP, or not what they say


def test_garbage_in_place_of_the_status_line(server):
    heard = server.heard('garbage="SSH-2.0; hello"', "POST")
    assert (heard.status_line, heard.body, heard.end) == (b"SSH-2.0; hello", BODY, "closed")
    assert server.app.executed == ["POST /"]


def test_garbage_in_place_of_the_app(server):
    # A request that was not read would turn the end of the connection into a reset, which overtakes the garbage.
    heard = server.heard("garbage;at=before", "POST", body=b"x" * 3_000_000)
    assert (heard.status_line, heard.end) == (b"%&/ this is not HTTP", "closed")
    assert server.app.executed == []


def test_a_request_that_never_ends_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(delivery, "MAX_READ_SECONDS", 0.2)
    with server.peer() as peer:
        peer.send(
            b"POST / HTTP/1.1\r\nHost: server\r\nContent-Length: 5\r\nX-Holdfast-Fault: garbage;at=before\r\n\r\n"
        )
        heard = peer.hear()
    assert (heard.status_line, heard.end) == (b"%&/ this is not HTTP", "closed")


@pytest.mark.parametrize(("path", "by", "announced"), [("/", 3, "15"), ("/empty", 3, "3"), ("/empty", -3, "1")])
def test_more_announced_than_there_is(server, path, by, announced):
    seconds = ";seconds=0.1" if by > 0 else ""
    with server.peer() as peer:
        peer.ask("POST", path, b"", {"X-Holdfast-Fault": f"wrong_length={by}{seconds}"})
        heard = peer.hear(patience=20 if by > 0 else 0.2)
    body = BODY if path == "/" else b""
    end = "closed" if by > 0 else "silent"
    assert (heard.header("Content-Length"), heard.body, heard.end) == ([announced], body, end)
    assert server.app.executed == [f"POST {path}"]


def test_less_announced_than_there_is(server):
    heard = server.heard("wrong_length=-3", patience=0.2)
    assert (heard.header("Content-Length"), heard.body, heard.end) == (["9"], BODY, "silent")
    assert asked_again(server, "wrong_length=-3").startswith(b"HTTP/1.1 200 OK")


def test_two_lengths_that_disagree(server):
    heard = server.heard("wrong_length=-3;form=twice", patience=0.2)
    assert (heard.header("Content-Length"), heard.body) == (["12", "9"], BODY)


@pytest.mark.parametrize("path", ["/", "/chunked"])
def test_a_length_beside_chunks(server, path):
    heard = server.heard("wrong_length=3;form=with_chunked", path=path, patience=0.2)
    assert (heard.header("Content-Length"), heard.header("Transfer-Encoding")) == (["15"], ["chunked"])
    assert heard.body == b"c\r\n" + BODY + b"\r\n0\r\n\r\n"


def test_the_wrong_length_of_a_head(server):
    heard = server.heard("wrong_length=3", "HEAD", patience=0.2)
    assert (heard.header("Content-Length"), heard.body, heard.end) == (["15"], b"", "silent")


def test_a_head_has_no_body_whoever_answers(server):
    heard = server.heard("trickle=head;interval=0.001, status=503", "HEAD", patience=0.5)
    assert (heard.status_line, heard.header("Content-Length")) == (b"HTTP/1.1 503 Service Unavailable", ["28"])
    assert (heard.body, heard.end) == (b"", "silent")


def test_a_head_of_the_wrong_length_holds_no_connection(server):
    with server.peer() as peer:
        peer.ask("HEAD", headers={"X-Holdfast-Fault": "wrong_length=3"})
        assert peer.hear(patience=0.3).header("Content-Length") == ["15"]
        peer.ask("GET", "/again")
        assert peer.hear(until=BODY, patience=5).status_line == b"HTTP/1.1 200 OK"


# What they have in common


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/chunked"), ("GET", "/none"), ("HEAD", "/")])
@pytest.mark.parametrize(
    "rule", ["trickle;interval=0.001", "latency=0;at=after", "wrong_length;form=twice", "broken_gzip"]
)
def test_a_connection_is_used_again_where_it_can_be(server, method, path, rule):
    with server.peer() as peer:
        peer.ask(method, path, headers={"X-Holdfast-Fault": rule})
        assert peer.hear(patience=0.2).end == "silent"
        peer.ask("GET", "/again")
        assert peer.hear(until=BODY).status_line == b"HTTP/1.1 200 OK"


def test_a_connection_is_closed_if_the_client_wants_that(server):
    with server.peer() as peer:
        peer.ask(headers={"X-Holdfast-Fault": "trickle;interval=0.001", "Connection": "close"})
        heard = peer.hear(patience=3)  # less than uvicorn's own patience with idle connections
    assert (heard.body, heard.end) == (BODY, "closed")


def test_requests_sent_without_waiting_are_answered_in_turn(server):
    with server.peer() as peer:
        peer.ask(headers={"X-Holdfast-Fault": "trickle;interval=0.01"})
        peer.ask("GET", "/none")
        heard = peer.hear(until=b"204 No Content")
    assert heard.data.index(BODY) < heard.data.index(b"204 No Content")
    assert server.app.executed == ["GET /", "GET /none"]


def test_several_faults_of_one_answer(server):
    before = time.monotonic()
    with server.peer() as peer:
        rules = "trickle=head;interval=0.05;bytes=20, status=503, truncate=4"
        peer.ask("POST", headers={"X-Holdfast-Fault": rules})
        heard = peer.hear()
    assert (heard.status_line, heard.body, heard.end) == (b"HTTP/1.1 503 Service Unavailable", b'{"de', "closed")
    assert time.monotonic() - before > 0.15
    assert server.app.executed == []


def test_nothing_more_is_done_to_an_answer_of_nothing(server):
    heard = server.heard("reset=after, status=500;at=after, truncate")
    assert (heard.data, heard.end) == (b"", "reset")


def test_every_kind_is_counted(server):
    for rule in ("reset;path=/a", "truncate;path=/b;count=1"):
        server.add(rule)
    with server.peer() as peer:
        peer.ask("GET", "/a")
        assert peer.hear().end == "reset"
    for expected in (BODY[:6], BODY):
        with server.peer() as peer:
            peer.ask("GET", "/b")
            assert peer.hear(patience=0.3).body == expected
    stats = server.stats()
    assert (stats["requests"], stats["struck"]) == (3, {"reset": 1, "truncate": 1})
    assert [(rule["matched"], rule["struck"]) for rule in stats["rules"]] == [(1, 1), (2, 1)]


@pytest.mark.parametrize(
    "rule", ["silence", "trickle;bytes=1000000;interval=0.001", "latency=60", "latency=60;at=after"]
)
def test_a_server_can_be_stopped_in_the_middle(rule):
    before = time.monotonic()
    with contextlib.ExitStack() as stack:
        with faulty() as server:
            peer = stack.enter_context(server.peer())
            peer.ask(path="/large", headers={"X-Holdfast-Fault": rule})
            time.sleep(0.2)
        assert peer.hear(patience=5).end in {"closed", "reset"}
    assert time.monotonic() - before < 15


def test_the_app_does_not_see_the_wire():
    seen = []

    def wrap(app):
        async def watched(scope, receive, send):
            seen.append(scope.get("state"))
            await PlainTextResponse(BODY)(scope, receive, send)

        return FaultInjection(watched)

    with faulty(wrap=wrap) as server:
        for rule in ("latency=0", "truncate"):
            server.heard(rule, patience=0.2)
    assert seen == [{}, {}]


def test_on_the_plain_protocol_they_say_that_they_need_more():
    with faulty(http="httptools") as server:
        heard = server.heard("reset", patience=0.3)
        assert heard.status_line == b"HTTP/1.1 501 Not Implemented"
        assert b"FaultProtocol" in heard.body
        assert server.app.executed == []


def test_with_the_protocol_alone_nothing_can_be_injected():
    with faulty(wrap=lambda app: app) as server:
        heard = server.heard("reset", path="/_faults", patience=0.3)
        assert (heard.status_line, heard.body) == (b"HTTP/1.1 200 OK", BODY)


def test_many_connections_at_once_do_not_mix(server):
    """Each gets the end of its own fault."""
    rules = {"reset=body": "reset", "truncate": "closed", "garbage": "closed", "trickle;interval=0.01": "silent"}
    found: list[tuple[str, str]] = []

    def ask(rule: str) -> None:
        found.append((rule, server.heard(rule, patience=1.0).end))

    threads = [threading.Thread(target=ask, args=(rule,)) for rule in rules for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 32
    assert all(rules[rule] == end for rule, end in found), found


def test_a_large_answer_waits_for_a_peer_that_reads_slowly(server):
    """Written whole and then closed: the client gets every byte of it."""
    with server.peer() as peer:
        peer.ask(path="/large", headers={"X-Holdfast-Fault": "garbage"})
        time.sleep(0.3)
        heard = peer.hear()
    assert (len(heard.body), heard.end) == (len(LARGE), "closed")


def test_a_peer_that_reads_nothing_is_not_waited_for_without_end(server, monkeypatch):
    monkeypatch.setattr(delivery, "MAX_STALL_SECONDS", 0.2)
    with server.peer() as peer:
        peer.ask(path="/large", headers={"X-Holdfast-Fault": "garbage"})
        nothing_is_left(server)


def test_a_status_without_a_phrase(server):
    heard = server.heard("status=599, truncate")
    assert (heard.status_line, heard.end) == (b"HTTP/1.1 599 ", "closed")


def test_sockets_do_not_leak(server):
    for _ in range(20):
        for rule in ("reset", "truncate", "garbage"):
            server.heard(rule)
    nothing_is_left(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5):
        pass
