"""What a caller is told when a call fails: the class, the attributes, and the message."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from holdfast import RetryConfig
from holdfast.exceptions import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    CircuitOpenError,
    ClientClosedError,
    ConflictError,
    DeadlineExceededError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    PoolTimeoutError,
    RateLimitError,
    ServerError,
    ServerTimeoutError,
    ServiceUnavailableError,
    TooManyRedirectsError,
)
from tests.support.colours import Colour, is_a
from tests.support.loopback import HANG_UP, RESET, Answer, Loopback, answer, json_answer, raw, redirect

pytestmark = pytest.mark.loopback

NEVER = raw(b"", pause=1.0)
UNREACHABLE = "192.0.2.1"  # TEST-NET-1 (RFC 5737): nobody answers there

# Statuses: class, whether a GET is repeated, whether a POST is, whether it may have been executed.
STATUSES: list[tuple[int, type[HoldfastError], bool, bool, bool]] = [
    (400, InvalidRequestError, False, False, False),
    (401, AuthenticationError, False, False, False),
    (403, AuthenticationError, False, False, False),
    (404, NotFoundError, False, False, False),
    (405, APIStatusError, False, False, False),
    (408, ServerTimeoutError, True, True, True),
    (409, ConflictError, False, False, False),
    (410, APIStatusError, False, False, False),
    (413, APIStatusError, False, False, False),
    (418, APIStatusError, False, False, False),
    (422, InvalidRequestError, False, False, False),
    (429, RateLimitError, True, True, False),
    (499, APIStatusError, False, False, False),
    (500, ServerError, True, True, True),
    (501, ServerError, True, True, True),
    (502, ServiceUnavailableError, True, True, True),
    (503, ServiceUnavailableError, True, True, False),
    (504, ServiceUnavailableError, True, True, True),
    (507, ServerError, True, True, True),
    (599, ServerError, True, True, True),
]


@pytest.mark.parametrize(("status", "expected", "get", "post", "executed"), STATUSES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_statuses(
    colour: Colour,
    server: Loopback,
    status: int,
    expected: type[HoldfastError],
    get: bool,
    post: bool,
    executed: bool,
    method: str,
) -> None:
    server.default = json_answer(status, '{"detail": "what  the\\nserver says"}', ("X-Of-Server", "yes"))
    error = colour.error(colour.client(server.url).request(method, "/pets?secret=1"), HoldfastError)
    repeated = get if method == "GET" else post
    assert is_a(error, expected)
    assert is_a(error, APIConnectionError if status >= 500 or status == 408 else APIStatusError)
    assert type(error).__name__ == expected.__name__
    assert is_a(error, httpx2.HTTPStatusError)
    assert not is_a(error, TimeoutError)
    assert error.status_code == error.response.status_code == status
    assert error.response.headers["x-of-server"] == "yes"
    assert error.response.json()["detail"]
    assert error.request.url.path == "/pets"
    assert error.attempts == len(server.seen) == (3 if repeated else 1)
    assert error.may_have_executed is executed
    assert error.endpoint == f"{method} /pets"
    assert error.request_id == server.last.get("x-request-id")
    message = str(error)
    for part in (f"{method} /pets on {server.url}", str(status), "what the server says", error.request_id):
        assert part in message
    assert ("All 3 attempts are used up" in message) is repeated
    assert ("Not retried" in message) is not repeated
    assert ("after 3 attempts" in message) is repeated
    assert ("The server may have executed it" in message) is (executed and method == "POST")
    assert "Nothing was sent" not in message
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.message, again.status_code, again.attempts) == (message, status, error.attempts)


def test_a_429_tells_when_to_come_back(colour: Colour, server: Loopback) -> None:
    server.default = answer(429, b"", ("Retry-After", "3600"))
    error = colour.error(colour.client(server.url).get("/x"), RateLimitError)
    assert error.retry_after == 3600.0
    assert error.attempts == 1
    assert "3600" in str(error) or "max_retry_after" in str(error)
    assert "rate_limit" in str(error), "what to do about it"


def test_a_503_tells_when_to_come_back(colour: Colour, server: Loopback) -> None:
    server.default = answer(503, b"", ("Retry-After", "0"))
    error = colour.error(colour.client(server.url).get("/x"), ServiceUnavailableError)
    assert error.retry_after == 0.0
    assert error.attempts == 3


def test_the_service_has_a_name(colour: Colour, server: Loopback) -> None:
    server.default = answer(503)
    error = colour.error(colour.client(server.url, service_name="Pets").get("/x"), ServiceUnavailableError)
    assert error.service_name == "Pets"
    assert f"on Pets ({server.url})" in str(error)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"detail": "a reason"}', "(a reason)"),
        ('{"message": "a reason"}', "(a reason)"),
        ('{"error": "a reason"}', "(a reason)"),
        ('{"title": "a reason"}', "(a reason)"),
        ('{"error": {"code": 5}}', "400 Bad Request."),
        ('"a reason"', "400 Bad Request."),
        ("not json", "400 Bad Request."),
        ("", "400 Bad Request."),
        ("[" * 100_000, "400 Bad Request."),
        ('{"detail": "%s"}' % ("x" * 1000), "x" * 150),
    ],
)  # fmt: skip
def test_the_servers_own_words(colour: Colour, server: Loopback, body: str, shown: str) -> None:
    server.default = json_answer(400, body)
    message = str(colour.error(colour.client(server.url).get("/x"), InvalidRequestError))
    assert shown in message
    assert len(message) < 600


FASTAPI = """{"detail": [
    {"type": "missing", "loc": ["body", "pet", "name"], "msg": "Field required", "input": {}},
    {"type": "int_parsing", "loc": ["query", "limit"], "msg": "should be an integer", "input": "x"},
    {"type": "less_than", "loc": ["query", "limit"], "msg": "should be less than 100", "input": "x"},
    {"type": "value", "loc": ["body", "tags", 0], "msg": "is empty"},
    {"type": "json", "loc": ["body"], "msg": "JSON decode error"},
    {"loc": "unusual"}, 5
]}"""


def test_field_errors_of_a_fastapi_422(colour: Colour, server: Loopback) -> None:
    server.default = json_answer(422, FASTAPI)
    error = colour.error(colour.client(server.url).post("/x", json={}), InvalidRequestError)
    assert error.field_errors == {
        "pet.name": ["Field required"],
        "limit": ["should be an integer", "should be less than 100"],
        "tags.0": ["is empty"],
        "body": ["JSON decode error"],
    }
    assert len(error.validation_errors) == 7
    assert not error.may_have_executed
    assert "(pet.name: Field required; limit: should be an integer; limit: " in str(error)
    assert pickle.loads(pickle.dumps(error)).field_errors == error.field_errors


def test_a_field_called_like_a_part_of_the_request(colour: Colour, server: Loopback) -> None:
    server.default = json_answer(422, '{"detail": [{"loc": ["body", "path", "query"], "msg": "is empty"}]}')
    error = colour.error(colour.client(server.url).post("/x", json={}), InvalidRequestError)
    assert error.field_errors == {"path.query": ["is empty"]}


@pytest.mark.parametrize(
    "body", ['{"detail": "wrong"}', '{"detail": []}', "[]", "null", "{", '{"detail": [{"loc": []}]}']
)
def test_other_422s(colour: Colour, server: Loopback, body: str) -> None:
    server.default = json_answer(422, body)
    error = colour.error(colour.client(server.url).post("/x"), InvalidRequestError)
    assert error.status_code == 422
    assert isinstance(dict(error.field_errors), dict)


# No answer


def test_a_refused_connection(colour: Colour) -> None:
    with Loopback() as gone:
        url = gone.url
    error = colour.error(colour.client(url).post("/x"), APIConnectionError)
    assert is_a(error, httpx2.ConnectError)
    assert error.attempts == 3, "a POST that never left is repeated"
    assert not error.may_have_executed
    assert error.response is None
    assert error.status_code is None
    assert is_a(error.__cause__, httpx2.ConnectError)
    assert "after 3 attempts: connection failed (ConnectError" in str(error)
    assert "The server may have executed it" not in str(error)


def test_a_name_that_does_not_resolve(colour: Colour) -> None:
    error = colour.error(colour.client("http://nowhere.invalid").post("/x"), APIConnectionError)
    assert is_a(error, httpx2.ConnectError)
    assert not error.may_have_executed
    assert error.attempts == 3


@contextlib.contextmanager
def no_tls() -> Iterator[str]:
    """A server that answers a TLS handshake with something else."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(b"SSH-2.0-no\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_a_tls_handshake_that_fails(colour: Colour) -> None:
    with no_tls() as url:
        error = colour.error(colour.client(url).post("/x"), APIConnectionError)
    assert is_a(error, httpx2.ConnectError)
    assert not error.may_have_executed
    assert error.attempts == 3


def test_a_connection_that_times_out(colour: Colour) -> None:
    client = colour.client(f"http://{UNREACHABLE}", timeout={"connect": 0.1})
    error = colour.error(client.post("/x", retry=None), APIConnectionError)
    if isinstance(error, APITimeoutError):
        assert is_a(error, httpx2.ConnectTimeout)
        assert is_a(error, TimeoutError)
        assert "timed out (ConnectTimeout" in str(error)
    else:
        assert is_a(error, httpx2.ConnectError), "this machine has no route there"
    assert not error.may_have_executed


LOST: dict[str, tuple[Answer, type[Exception]]] = {
    "closed": (HANG_UP, httpx2.RemoteProtocolError),
    "reset": (RESET, httpx2.ReadError),
    "silent": (NEVER, httpx2.ReadTimeout),
}


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("keyed", [False, True])
def test_a_connection_lost_before_the_answer(colour: Colour, server: Loopback, kind: str, keyed: bool) -> None:
    server.default, cause = LOST[kind]
    client = colour.client(server.url, timeout={"read": 0.1})
    error = colour.error(client.post("/x", idempotency_key="k" if keyed else None), APIConnectionError)
    assert is_a(error, cause)
    assert is_a(error, APITimeoutError) is (kind == "silent")
    assert is_a(error, TimeoutError) is (kind == "silent")
    assert error.attempts == (3 if keyed else 1)
    assert error.may_have_executed
    assert error.status_code is None
    assert "The server may have executed it" in str(error)
    assert cause.__name__ in str(error)
    if not keyed:
        assert "without a key the server deduplicates" in str(error)
    assert error.request.headers["x-request-id"] == error.request_id


def test_executed_on_any_attempt_means_executed(colour: Colour, server: Loopback) -> None:
    server.on("/x", answer(500), answer(503))
    error = colour.error(colour.client(server.url).post("/x"), ServiceUnavailableError)
    assert error.status_code == 503
    assert error.may_have_executed


def test_replay_when_safe(colour: Colour, server: Loopback) -> None:
    server.default = answer(500)
    client = colour.client(server.url, retry={"replay": "when_safe"})
    error = colour.error(client.post("/x", idempotency_key="k"), ServerError)
    assert error.attempts == 1
    assert 'replay="when_safe"' in str(error)


# Stopped by ourselves


def test_an_open_circuit(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    client.circuit_breaker.isolate()
    error = colour.error(client.post("/x"), CircuitOpenError)
    assert "Circuit breaker is OPEN" in str(error)
    assert "Nothing was sent" in str(error)
    assert error.attempts == 0
    assert not error.may_have_executed
    assert is_a(error, APIConnectionError)
    assert not is_a(error, httpx2.HTTPError)
    assert not server.connections


def test_a_circuit_that_opens_meanwhile_raises_the_last_real_error(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url, retry={"min_wait_seconds": 0.3, "max_wait_seconds": 0.3})

    def refuse(seen: Any) -> Answer:
        client.circuit_breaker.isolate()
        return answer(503)

    server.on("/x", refuse)
    error = colour.error(client.get("/x"), ServiceUnavailableError)
    assert error.attempts == 1
    assert "Not retried: the circuit breaker is isolated" in str(error)
    assert "Nothing was sent" not in str(error)


def test_a_spent_retry_budget_raises_the_last_real_error(colour: Colour, server: Loopback) -> None:
    server.default = answer(503)
    client = colour.client(server.url, retry={"budget": {"ratio": 0.0, "floor": 1}})
    error = colour.error(client.get("/x"), ServiceUnavailableError)
    assert error.attempts == 2
    assert "Not retried: the retry budget of this origin is spent" in str(error)


def test_a_deadline_without_time_for_the_wait_raises_the_last_real_error(colour: Colour, server: Loopback) -> None:
    server.default = answer(503)
    retry = RetryConfig(min_wait_seconds=5.0, max_wait_seconds=5.0)
    error = colour.error(colour.client(server.url).get("/x", retry=retry, deadline=1.0), ServiceUnavailableError)
    assert error.attempts == 1
    assert "the deadline leaves no time for the wait of 5 s" in str(error)


def test_a_deadline_that_passes_in_the_first_attempt(colour: Colour, server: Loopback) -> None:
    server.default = NEVER
    error = colour.error(colour.client(server.url).post("/x", deadline=0.2), DeadlineExceededError)
    assert is_a(error, TimeoutError)
    assert error.last_error is None
    assert error.attempts == 1
    assert error.may_have_executed
    assert "the deadline of 0.2 s passed" in str(error)
    assert "The server may have executed it" in str(error)


def test_a_deadline_that_passes_in_a_later_attempt_has_the_last_error(colour: Colour, server: Loopback) -> None:
    server.on("/x", json_answer(503, '{"detail": "busy"}'), NEVER)
    error = colour.error(colour.client(server.url).get("/x", deadline=0.3), DeadlineExceededError)
    assert is_a(error.last_error, ServiceUnavailableError)
    assert error.attempts == 2
    assert "the last attempt ended with: 503 Service Unavailable (busy)" in str(error)


def test_no_slot(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url, bulkhead={"max_concurrency": 1, "acquisition_timeout": 0.05})
    stream = client.stream("GET", "/x")
    if colour.sync:
        with stream:
            error = colour.error(client.get("/x"), PoolTimeoutError)
    else:

        async def main() -> Any:
            async with stream:
                with pytest.raises(PoolTimeoutError) as caught:
                    await client.get("/x")
                return caught.value

        error = colour.run(main())
    assert "no slot of the bulkhead was free within 0.05 s" in str(error)
    assert "Nothing was sent" in str(error)
    assert error.attempts == 0
    assert not is_a(error, APIConnectionError)


def test_a_closed_client(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    colour(client.close())
    error = colour.error(client.get("/x"), ClientClosedError)
    assert is_a(error, RuntimeError)
    assert "Nothing was sent" in str(error)
    assert not server.connections


def test_a_refused_redirect(colour: Colour, server: Loopback) -> None:
    server.on("/x", redirect(302, "ftp://h/"))
    error = colour.error(colour.client(server.url).get("/x"), TooManyRedirectsError)
    assert is_a(error, httpx2.TooManyRedirects)
    assert "a redirect was not followed" in str(error)
    assert error.attempts == 1


def test_what_could_not_be_built(colour: Colour, server: Loopback) -> None:
    error = colour.error(colour.client(server.url).post("/x", json=object()), InvalidRequestError)
    assert str(error).startswith("POST /x was not sent: json cannot be encoded")
    assert error.field_errors.keys() == {"json"}
    assert error.status_code is None
    assert error.response is None
    assert error.endpoint == "POST /x"
    assert not error.may_have_executed
    assert not is_a(error, httpx2.HTTPError)


def test_a_failed_call_gives_the_same_error_again(colour: Colour, server: Loopback) -> None:
    server.default = answer(404)
    call = colour.client(server.url).get("/x")
    first = colour.error(call, NotFoundError)
    assert colour.error(call, NotFoundError) is first
    assert len(server.seen) == 1
