"""What is wrong is said where it is given, and what is late or large is called so."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from unittest import mock

import httpx2
import pytest

from holdfast import (
    ClientConfig,
    DeadlineExceededError,
    InvalidRequestError,
    NotFoundError,
    ResilientClient,
    RetryConfig,
)
from holdfast.testing import FaultTransport, Step

CONFIG = ClientConfig(base_url="https://api.example.com", retry=RetryConfig(min_wait_seconds=0.0, max_wait_seconds=0.0))


def client(script: Any = (200,), **settings: Any) -> tuple[ResilientClient, FaultTransport]:
    transport = FaultTransport(script)
    return ResilientClient(CONFIG.model_copy(update=settings), transport=transport), transport


def test_an_error_with_a_large_body_in_memory_keeps_its_status():
    user, transport = client([Step(404, content=b"123456")], max_response_bytes=5)
    with pytest.raises(NotFoundError):
        user.get("/x").result()
    assert len(transport.requests) == 1


def test_an_answer_after_the_deadline_is_late_in_sync_use_too():
    # The transport takes its time in one piece, so that no timeout of a single step ends it.
    def slow(request: httpx2.Request) -> httpx2.Response:
        import time

        time.sleep(0.1)
        return httpx2.Response(200)

    user = ResilientClient(CONFIG, transport=httpx2.MockTransport(slow))
    with pytest.raises(DeadlineExceededError) as caught:
        user.get("/x", deadline=0.05).result()
    assert caught.value.may_have_executed


@pytest.mark.parametrize("timeout", [0, 0.0, (5, 0), (0, 5)])
def test_a_timeout_of_nothing_is_refused(timeout: Any):
    user, _ = client()
    with pytest.raises(ValueError, match="timeout must be more than 0 seconds"):
        user.get("/x", timeout=timeout).result()


@pytest.mark.parametrize("transport", [5, httpx2.MockTransport])
def test_what_is_no_transport_is_refused(transport: Any):
    with pytest.raises(TypeError, match="transport must be"):
        ResilientClient(CONFIG, transport=transport)


@pytest.mark.parametrize("observers", [print, [1], "print"])
def test_what_is_no_list_of_observers_is_refused(observers: Any):
    with pytest.raises(TypeError, match="observers must be"):
        ResilientClient(CONFIG, observers=observers)


@pytest.mark.parametrize("name", ["json", "content", "data", "files"])
def test_a_view_takes_no_body(name: str):
    user, _ = client()
    with pytest.raises(TypeError, match=f"{name} belongs to a single call"):
        user.with_options(**{name: {"a": "b"} if name != "content" else b"x"})  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["/a\nERROR forged", "/\ud800"])
def test_the_message_about_a_url_is_one_printable_line(url: str):
    user, _ = client()
    with pytest.raises(InvalidRequestError) as caught:
        user.get(url).result()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("option", [{"cache_ttl": 60}, {"cache_identity": "ada"}, {"tags": ["pets"]}])
def test_an_option_of_the_cache_is_refused_where_nothing_is_kept(option: Any):
    user, transport = client()
    (name,) = option
    with pytest.raises(TypeError, match=f"{name} is an option of GET: the answer to a POST is never kept"):
        _ = user.post("/x", **option)
    with pytest.raises(TypeError, match=f"{name} is an option of GET: the answer to a stream is never kept"):
        user.stream("GET", "/x", **option)
    user.request("get", "/x", **option).result()
    user.with_options(**option).post("/x").result()
    assert len(transport.requests) == 2


def test_whoever_replaced_request_may_answer_with_a_stand_in():
    stand_in = mock.Mock(status_code=200, json=lambda: {"id": 7})
    with mock.patch.object(httpx2.Client, "request", return_value=stand_in):
        user = ResilientClient(CONFIG)
        assert user.get("/x").result().json() == {"id": 7}
        assert user.bulkhead.in_flight == 0
    user.close().result()


MISTAKES = [AssertionError("it is GET"), AttributeError("no such thing"), KeyError("path"), TypeError("not a str")]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("replaced", [True, False], ids=["request", "transport"])
def test_a_mistake_in_what_was_handed_in_is_raised_as_it_is(mistake: Exception, sync: bool, replaced: bool):
    """Retried, and in another exception, it would be hard to find: an assertion in a mock, for one."""
    handler = mock.Mock(side_effect=mistake)
    transport = httpx2.MockTransport(handler)
    kind = httpx2.Client if sync else httpx2.AsyncClient
    user = ResilientClient(CONFIG, **({} if replaced else {"transport": transport}))  # type: ignore[arg-type]
    with mock.patch.object(kind, "request", handler) if replaced else contextlib.nullcontext():
        with pytest.raises(type(mistake)) as caught:
            user.get("/x").result() if sync else asyncio.run(awaited(user.get("/x")))
        assert caught.value is mistake and handler.call_count == 1
    assert user.bulkhead.in_flight == 0 and user.circuit_breaker.state == "closed"


async def awaited(call: Any) -> Any:
    return await call


def test_what_the_network_raises_is_no_mistake():
    handler = mock.Mock(side_effect=[OSError("reset"), ValueError("garbage"), httpx2.Response(200)])
    user = ResilientClient(CONFIG, transport=httpx2.MockTransport(handler))
    assert user.get("/x").result().status_code == 200 and handler.call_count == 3
