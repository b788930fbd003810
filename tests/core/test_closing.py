"""Closing while calls wait: nothing more is sent, whatever they waited for."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import httpx2

from holdfast.config import BulkheadConfig, ClientConfig
from holdfast.core.outcome import Reason, Stop
from holdfast.testing import Step, VirtualClient, VirtualTime
from holdfast.testing.virtual import Fiber

URL = "https://api.example.com"


def reason(fiber: Fiber) -> Reason:
    assert isinstance(fiber.result, Stop)
    return fiber.result.reason


def sent(client: VirtualClient) -> int:
    return len(client.transport.requests)


def test_a_follower_does_not_take_over_after_the_leader():
    world = VirtualTime()
    client = VirtualClient(world, ClientConfig(base_url=URL), [Step(error=httpx2.ConnectError, delay=5.0)])
    leader = client.start("GET", "/", cache_ttl=60.0)
    follower = client.start("GET", "/", cache_ttl=60.0)
    world.at(1.0, client.assembly.shut)
    world.run()
    assert reason(leader) is reason(follower) is Reason.CLOSED
    assert sent(client) == 1
    assert client.assembly.cache.flights == 0


def test_a_slot_granted_in_the_moment_of_closing_is_not_used():
    world = VirtualTime()
    client = VirtualClient(
        world, ClientConfig(base_url=URL, bulkhead=BulkheadConfig(max_concurrency=1)), [Step(delay=5.0)]
    )
    first, second = client.start("GET", "/"), client.start("GET", "/")
    # Planned after the answer of the first, which frees the slot, and before the second goes on with it.
    world.at(0.0, lambda: world.at(5.0, client.assembly.shut))
    world.run()
    assert first.result.status_code == 200
    assert reason(second) is Reason.CLOSED
    assert sent(client) == 1
    assert client.assembly.pipeline.bulkhead.in_flight == 0


def test_closing_while_credentials_are_made_sends_nothing():
    world = VirtualTime()
    client = VirtualClient(world, ClientConfig(base_url=URL), [200])

    class Slow(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            client.assembly.shut()
            yield request

    call = client.start("GET", "/", auth=Slow())
    world.run()
    assert reason(call) is Reason.CLOSED
    assert sent(client) == 0


def test_renewed_credentials_without_a_token_have_sent_something():
    """ "Nothing was sent" is said only when it is true."""
    world = VirtualTime()
    config = ClientConfig(base_url=URL, bulkhead=BulkheadConfig(max_concurrency=1, acquisition_timeout=0.0))
    client = VirtualClient(world, config, [401, Step(delay=9.0)])
    other: list[Any] = []

    class Renewed(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            yield request
            assert client.assembly.pipeline.bulkhead.enter() is None  # somebody else is faster
            other.append(client)
            yield request

    call = client.start("GET", "/", auth=Renewed())
    world.run()
    assert isinstance(call.result, Stop)
    assert (call.result.attempts, sent(client), len(other)) == (1, 1, 1)
    assert "Nothing was sent" not in str(client.error(call))
