"""What takes the place of a call that has not been sent: the same with other options, or for the response itself."""

from __future__ import annotations

import asyncio
import gc
import warnings

import httpx2
import pytest

from holdfast import ClientConfig, DeadlineExceededError, ResilientClient
from holdfast.testing import FaultTransport, Step

CONFIG = ClientConfig(base_url="https://api.example.com")


def made(script=(200,)):
    transport = FaultTransport(list(script))
    return ResilientClient(CONFIG, transport=transport), transport


def test_other_options_go_before_those_of_the_call():
    client, transport = made()
    call = client.get("/a", headers={"X-One": "1", "X-Two": "2"}, request_id="first")
    call.with_options(headers={"X-Two": "3"}, request_id="second").result()
    (request,) = transport.requests
    assert (request.headers["X-One"], request.headers["X-Two"], request.headers["X-Request-ID"]) == ("1", "3", "second")


def test_a_deadline_can_be_put_on_a_call():
    client, _ = made([Step(200, delay=5.0)])
    with pytest.raises(DeadlineExceededError):
        asyncio.run(client.get("/a").with_options(deadline=0.02))


def test_a_header_of_the_call_still_goes_to_the_url_as_typed():
    client, transport = made()
    client.get("https://other.example/a", headers={"X-Key": "1"}).with_options(timeout=3).result()
    assert transport.requests[0].headers["X-Key"] == "1"


def test_a_header_of_a_view_still_stays_at_home():
    client, transport = made()
    view = client.with_options(headers={"X-Key": "1"})
    view.get("https://other.example/a").with_options(timeout=3).result()
    assert "X-Key" not in transport.requests[0].headers


@pytest.mark.parametrize("take", [lambda call: call.raw(), lambda call: call.with_options(deadline=1)])
def test_the_call_that_was_taken_over_counts_as_used(take):
    client, transport = made()
    old = client.get("/a")
    new = take(old)
    with pytest.raises(
        RuntimeError, match=r"taken over.*only what \.raw\(\) or \.with_options\(\) returned can be sent"
    ):
        old.result()
    assert old.done() and not old.cancel() and not old.cancelled()
    assert new.result().status_code == 200 and len(transport.requests) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del old
        gc.collect()


@pytest.mark.parametrize("take", [lambda call: call.raw(), lambda call: call.with_options(deadline=1)])
def test_a_call_that_was_sent_cannot_be_taken_over(take):
    client, _ = made()
    call = client.get("/a")
    call.result()
    with pytest.raises(RuntimeError, match="cannot be changed any more"):
        take(call)


def test_what_cannot_be_changed_leaves_the_call_as_it_was():
    client, transport = made()
    call = client.post("/a", json={})
    with pytest.raises(TypeError, match="json belongs to a single call"):
        call.with_options(json={})
    with pytest.raises(TypeError, match="unknown option 'dedline'"):
        call.with_options(dedline=1)
    with pytest.raises(TypeError, match="cache_ttl is an option of GET"):
        call.with_options(cache_ttl=1)
    assert call.result().status_code == 200 and len(transport.requests) == 1


def test_the_raw_call_of_a_plain_call_gives_the_same_response():
    client, _ = made()
    response = client.get("/a").raw().result()
    assert isinstance(response, httpx2.Response) and response.status_code == 200


def test_closing_can_neither_be_changed_nor_looked_at():
    client, _ = made()
    closing = client.close()
    with pytest.raises(TypeError, match="no options"):
        closing.with_options(deadline=1)
    with pytest.raises(TypeError, match="no response"):
        closing.raw()
    closing.result()
