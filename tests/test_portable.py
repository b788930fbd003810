"""What errors carry: redacted requests and responses, pickles that come back, copies."""

from __future__ import annotations

import concurrent.futures
import copy
import gzip
import io
import multiprocessing
import pickle
import threading
from types import MappingProxyType
from typing import Any
from unittest import mock

import httpx2
import pytest

from holdfast.exceptions import (
    APIConnectionError,
    APITimeoutError,
    DeadlineExceededError,
    HoldfastError,
    InvalidRequestError,
    MaxRetriesExceededError,
    RateLimitError,
    ServerError,
    narrow,
)
from tests.support.errors import (
    NARROWABLE,
    PROTOCOLS,
    TOKEN,
    PetBusyError,
    PetError,
    TransportOfOursError,
    again,
    make,
    request_with_secrets,
    response_with_secrets,
)

NARROWED = narrow(PetBusyError, RateLimitError, httpx2.HTTPStatusError)


def test_the_request_is_a_redacted_copy():
    sent = request_with_secrets()
    error = narrow(PetError, APITimeoutError, httpx2.ReadTimeout)("x", request=sent, secret_headers={"x-tenant"})
    shown: httpx2.Request = error.request  # type: ignore[attr-defined]
    assert shown is not sent
    assert shown.method == "POST"
    assert str(shown.url) == "https://jo:***@api.example.com/pets?page=1&access_token=***"
    for name in ("authorization", "cookie", "x-api-key", "x-tenant"):
        assert shown.headers[name] == "[redacted]"
    assert shown.headers["x-request-id"] == "id-1"
    assert shown.content == b'{"name": "Rex"}'
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"


def test_the_response_is_kept_and_its_requests_are_redacted():
    hop = httpx2.Response(307, headers={"Location": "/x"}, request=request_with_secrets())
    hop.next_request = request_with_secrets()
    response = response_with_secrets(history=[hop])
    error = NARROWED("x", response=response, secret_headers=["X-TENANT"])
    assert error.response is response
    assert error.request is response.request  # type: ignore[attr-defined]
    for request in (response.request, hop.request, hop.next_request):
        assert request.headers["authorization"] == "[redacted]"
        assert request.headers["x-tenant"] == "[redacted]"
        assert TOKEN not in str(request.url)
    assert response.json() == {"detail": "busy"}
    assert response.cookies["session"] == TOKEN
    assert error.status_code == 429


def test_the_response_of_an_error_without_a_request_of_its_own_is_redacted_too():
    error = RateLimitError("x", response=response_with_secrets())
    assert error.response is not None
    assert error.response.request.headers["authorization"] == "[redacted]"
    assert not hasattr(error, "request")


def test_a_request_given_to_an_error_that_has_none_is_not_kept():
    error = RateLimitError("x", request=request_with_secrets())
    assert not hasattr(error, "request")
    assert TOKEN not in repr(vars(error))
    assert not any(isinstance(value, httpx2.Request) for value in vars(error).values())


@pytest.mark.parametrize(
    ("endpoint", "method", "url"),
    [
        ("GET /crews", "GET", "/crews"),
        ("post https://h/p?token=x", "POST", "https://h/p?token=***"),
        ("DELETE", "DELETE", ""),
        (None, "GET", ""),
        ("GET https://h:port/", "GET", ""),
        ("GET \x00", "GET", ""),
    ],
)
def test_without_a_request_there_is_a_stand_in(endpoint, method, url):
    error = narrow(PetError, APIConnectionError, httpx2.ConnectError)("x", endpoint=endpoint)
    assert hasattr(error, "request")
    assert (error.request.method, str(error.request.url)) == (method, url)
    assert error.request is error.request
    assert str(again(error).request.url) == url


def test_a_stand_in_serves_a_response_without_request_too():
    error = NARROWED("x", response=httpx2.Response(429), endpoint="GET /pets")
    assert str(error.request.url) == "/pets"  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError):
        _ = error.response.request  # type: ignore[union-attr]
    assert again(error).status_code == 429


def test_a_request_that_httpx2_sets_later_is_redacted():
    error = narrow(PetError, APIConnectionError, httpx2.ConnectError)("x", endpoint="GET /pets")

    def fail(request: httpx2.Request) -> httpx2.Response:
        raise error

    with httpx2.Client(transport=httpx2.MockTransport(fail)) as client, pytest.raises(PetError):
        client.get("https://h/other", headers={"Authorization": TOKEN})
    assert str(error.request.url) == "https://h/other"  # type: ignore[attr-defined]
    assert error.request.headers["authorization"] == "[redacted]"  # type: ignore[attr-defined]


def test_a_body_that_was_streamed_is_not_read_again():
    def body():
        yield b"once"

    sent = httpx2.Request("POST", "https://h/p", content=body())
    error = narrow(PetError, APIConnectionError, httpx2.ReadError)("x", request=sent)
    shown: httpx2.Request = error.request  # type: ignore[attr-defined]
    with pytest.raises(httpx2.StreamClosed):
        shown.read()
    assert sent.read() == b"once"


def test_a_body_in_memory_that_nobody_read_yet_is_there():
    sent = httpx2.Request("POST", "https://h/p", stream=httpx2.ByteStream(b"bytes"))
    error = narrow(PetError, APIConnectionError, httpx2.ReadError)("x", request=sent)
    assert error.request.content == b"bytes"  # type: ignore[attr-defined]
    assert "content-length" not in error.request.headers  # type: ignore[attr-defined]


def test_headers_beyond_ascii_survive_the_redaction():
    sent = httpx2.Request("GET", "https://h/p", headers=[(b"X-Name", "café".encode()), (b"X-Token", b"\xff")])
    error = narrow(PetError, APIConnectionError, httpx2.ReadError)("x", request=sent)
    assert error.request.headers["x-name"] == "café"  # type: ignore[attr-defined]
    assert error.request.headers["x-token"] == "[redacted]"  # type: ignore[attr-defined]


def test_stand_ins_of_tests_do_not_break_errors():
    response = mock.MagicMock(status_code=500)
    error = narrow(PetError, ServerError, httpx2.ReadError)("x", response=response, endpoint="GET /pets")
    assert error.response is response
    assert error.request.method == "GET"  # type: ignore[attr-defined]
    assert type(again(error)) is type(error)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_brings_everything_back(protocol):
    error = NARROWED(
        "busy",
        request_id="id-1",
        attempts=3,
        may_have_executed=True,
        endpoint="POST /pets",
        response=response_with_secrets(),
        retry_after=3.0,
        queue=9,
    )
    error.add_note("a note")
    error.own = ["something"]  # type: ignore[attr-defined]
    loaded = again(error, protocol)
    assert type(loaded) is NARROWED
    for name in ("message", "request_id", "attempts", "may_have_executed", "endpoint", "status_code", "retry_after"):
        assert getattr(loaded, name) == getattr(error, name)
    assert loaded.queue == 9
    assert loaded.own == ["something"]  # type: ignore[attr-defined]
    assert loaded.__notes__ == ["a note"]
    assert loaded.args == ("busy",)
    response = loaded.response
    assert response is not None
    assert (response.status_code, response.json(), response.text) == (429, {"detail": "busy"}, '{"detail": "busy"}')
    assert response.headers["retry-after"] == "3"
    assert response.request.method == "POST"
    assert loaded.request.headers["x-request-id"] == "id-1"  # type: ignore[attr-defined]
    assert again(loaded, protocol).response is not None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_secret_is_in_a_pickle_or_a_text(protocol):
    hop = httpx2.Response(307, headers={"Location": f"/x?token={TOKEN}"}, request=request_with_secrets())
    response = response_with_secrets(history=[hop])
    assert response.cookies["session"] == TOKEN
    last = httpx2.ReadTimeout("slow", request=request_with_secrets())
    errors = [
        NARROWED("x", response=response),
        RateLimitError("x", response=response_with_secrets()),
        narrow(PetError, DeadlineExceededError, httpx2.ReadTimeout)(
            "x", request=request_with_secrets(), last_error=last
        ),
        MaxRetriesExceededError("x", last_error=NARROWED("y", response=response_with_secrets())),
        MaxRetriesExceededError(
            "x",
            last_error=httpx2.HTTPStatusError("y", request=request_with_secrets(), response=response_with_secrets()),
        ),
    ]
    stray = PetError("x")
    stray.seen = {"all": [response_with_secrets(), (request_with_secrets(), last)]}  # type: ignore[attr-defined]
    for error in (*errors, stray):
        data = pickle.dumps(error, protocol)
        assert TOKEN.encode() not in data
        assert type(pickle.loads(data)) is type(error)
        assert TOKEN not in f"{error!r} {error}"
    assert TOKEN not in repr(pickle.dumps(last))


def test_the_body_of_the_request_is_not_pickled():
    error = NARROWED("x", response=response_with_secrets())
    assert error.request.content == b'{"name": "Rex"}'  # type: ignore[attr-defined]
    assert b"Rex" not in pickle.dumps(error)


def test_a_decoded_response_is_not_decoded_again():
    response = httpx2.Response(
        429,
        headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"},
        content=gzip.compress("déjà".encode("latin-1")),
        request=httpx2.Request("GET", "https://h/p"),
        default_encoding=lambda data: "latin-1",
    )
    assert response.text == "déjà"
    loaded = again(NARROWED("x", response=response)).response
    assert loaded is not None
    assert (loaded.text, loaded.headers["content-encoding"]) == ("déjà", "gzip")


def test_an_unread_response_can_be_pickled_and_says_that_it_was_not_read():
    response = httpx2.Response(429, content=iter([b"later"]), request=httpx2.Request("GET", "https://h/p"))
    loaded = again(NARROWED("x", response=response)).response
    assert loaded is not None
    with pytest.raises(httpx2.ResponseNotRead):
        _ = loaded.content
    assert response.read() == b"later"


class NeedsTwoError(Exception):
    """Pickles but does not unpickle, as exceptions with such a constructor do."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("last", "kind", "text"),
    [
        (ValueError("v"), ValueError, "v"),
        (RateLimitError("busy"), RateLimitError, "busy"),
        (NARROWED("busy", response=httpx2.Response(429)), NARROWED, "busy"),
        (httpx2.ReadTimeout("slow"), httpx2.ReadTimeout, "slow"),
        (httpx2.ReadTimeout("slow", request=request_with_secrets()), httpx2.ReadTimeout, "slow"),
        (
            httpx2.HTTPStatusError("429", request=request_with_secrets(), response=response_with_secrets()),
            httpx2.HTTPStatusError,
            "429",
        ),
        (TransportOfOursError("no way", "h"), httpx2.ConnectError, "no way"),
        (NeedsTwoError("a", "b"), HoldfastError, "NeedsTwoError: a and b"),
        (None, type(None), "None"),
    ],
)
def test_the_last_error_comes_back_as_what_it_was_or_what_it_can(last, kind, text):
    for cls in (MaxRetriesExceededError, DeadlineExceededError):
        error = cls("x", last_error=last, attempts=3)
        assert error.last_error is last
        loaded = again(error)
        assert isinstance(loaded.last_error, kind)
        assert str(loaded.last_error) == text
        assert loaded.attempts == 3


def test_a_status_error_with_nothing_in_it_can_be_a_last_error():
    broken = httpx2.HTTPStatusError("x", request=None, response=None)  # type: ignore[arg-type]
    loaded = again(MaxRetriesExceededError("x", last_error=broken))
    assert isinstance(loaded.last_error, httpx2.HTTPError)


def test_the_causes_of_a_last_error_are_redacted():
    cause = httpx2.ReadError("cut", request=request_with_secrets())
    cause.__context__ = ExceptionGroup("both", [httpx2.ConnectError("no", request=request_with_secrets())])
    last = ServerError("x")
    last.__cause__ = cause
    cause.__cause__ = last
    MaxRetriesExceededError("x", last_error=last)
    assert cause.request.headers["authorization"] == "[redacted]"
    inner = cause.__context__.exceptions[0]
    assert isinstance(inner, httpx2.ConnectError)
    assert inner.request.headers["authorization"] == "[redacted]"


def test_what_cannot_be_pickled_is_replaced_by_what_it_looks_like():
    lock = threading.Lock()
    stream = io.BufferedReader(io.BytesIO())
    error = InvalidRequestError(
        "x",
        field_errors=MappingProxyType({"name": ["short"]}),
        validation_errors=[{"ctx": {"error": NeedsTwoError("a", "b"), "lock": lock}}, (stream, 1)],
    )
    loaded = again(error)
    assert isinstance(loaded, InvalidRequestError)
    assert loaded.field_errors == {"name": ["short"]}
    first, second = loaded.validation_errors
    assert str(first["ctx"]["error"]) == "NeedsTwoError: a and b"
    assert first["ctx"]["lock"] == repr(lock)
    assert second == (repr(stream), 1)


def test_an_error_that_refers_to_itself_can_be_pickled():
    error = MaxRetriesExceededError("x")
    error.last_error = error
    loaded = again(error)
    assert loaded.last_error is loaded


@pytest.mark.parametrize("core", NARROWABLE, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("httpx_class", [None, httpx2.HTTPStatusError, httpx2.ReadTimeout, httpx2.InvalidURL])
def test_a_copy_is_another_error_with_the_same_in_it(core, httpx_class):
    error = make(narrow(PetBusyError, core, httpx_class), request_id="id-1", queue=2)
    error.add_note("first")
    try:
        raise error from ValueError("cause")
    except HoldfastError:
        pass
    other = copy.copy(error)
    assert other is not error
    assert type(other) is type(error)
    assert vars(other) == vars(error)
    assert (str(other), other.args) == (str(error), error.args)
    assert other.__cause__ is error.__cause__ is not None
    assert other.__traceback__ is error.__traceback__ is not None
    assert other.response is error.response
    other.add_note("second")
    assert error.__notes__ == ["first"]
    deep = copy.deepcopy(error)
    assert type(deep) is type(error)
    assert deep.request_id == "id-1"


def raise_in_worker(kind: str) -> None:
    """Runs in another process, which has to find the narrowed classes by itself."""
    if kind == "status":
        raise NARROWED("busy", request_id="id-1", attempts=3, response=response_with_secrets(), queue=4)
    if kind == "timeout":
        cls = narrow(PetError, DeadlineExceededError, httpx2.ReadTimeout)
        raise cls("late", request=request_with_secrets(), last_error=NeedsTwoError("a", "b"))
    raise MaxRetriesExceededError("gave up", attempts=5, last_error=httpx2.ReadError("cut"))


@pytest.mark.slow
def test_errors_survive_a_process_pool():
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        with pytest.raises(httpx2.HTTPStatusError) as status:
            pool.submit(raise_in_worker, "status").result(60)
        with pytest.raises(TimeoutError) as timeout:
            pool.submit(raise_in_worker, "timeout").result(60)
        with pytest.raises(MaxRetriesExceededError) as retries:
            pool.submit(raise_in_worker, "retries").result(60)
        assert pool.submit(abs, -1).result(60) == 1
    busy: Any = status.value
    late: Any = timeout.value
    assert isinstance(busy, PetBusyError)
    assert isinstance(busy, RateLimitError)
    assert (busy.queue, busy.attempts, str(busy)) == (4, 3, "busy")
    assert busy.response is not None
    assert busy.response.json() == {"detail": "busy"}
    assert isinstance(late, httpx2.ReadTimeout)
    assert isinstance(late, DeadlineExceededError)
    assert str(late) == "late"
    assert isinstance(retries.value.last_error, httpx2.ReadError)
