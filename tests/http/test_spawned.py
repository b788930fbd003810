"""Flows that run beside another one: cancelled they begin nothing more, and their end is always told."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from holdfast import ClientConfig, ResilientClient
from holdfast.core.effects import FOREVER, Child, Failed, Flow, Io, Park, Spawn, Waiter

both = pytest.mark.parametrize("colour", ["async", "sync"])


def driven(flow: Flow[Any], colour: str, client: ResilientClient | None = None) -> Any:
    if client is None:
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200))
        client = ResilientClient(ClientConfig(base_url="http://x.test"), transport=transport)
    assembly = client._assembly

    async def main() -> Any:
        task = asyncio.current_task()
        assert task is not None
        return await assembly.connections.driver(asyncio.get_running_loop()).drive(flow, task)

    return assembly.run_flow(flow) if colour == "sync" else asyncio.run(main())


def cancelling(child_flow: Callable[[Waiter], Flow[Any]], log: list[str]) -> Flow[Any]:
    """Spawns a flow, waits until it says that it has begun, cancels it, and waits for its end."""
    begun = Waiter()
    child: Child = yield Spawn(child_flow(begun))
    yield Park(FOREVER, begun)
    child.cancel()
    log.append("cancelled")
    yield Park(FOREVER, child)
    return child.value


@both
@pytest.mark.parametrize("waiter", [None, Waiter])
def test_a_cancelled_flow_waits_no_longer(colour, waiter):
    log: list[str] = []

    def waits(begun: Waiter) -> Flow[Any]:
        begun.wake()
        try:
            yield Park(time.monotonic() + 60 if waiter is None else FOREVER, waiter and waiter())
        finally:
            log.append("given back")

    before = time.monotonic()
    assert isinstance(driven(cancelling(waits, log), colour), Failed)
    assert log == ["cancelled", "given back"] and time.monotonic() - before < 30


@both
def test_a_cancelled_flow_performs_no_effect_any_more(colour):
    """It is in the middle of one when it is cancelled; on a thread, that comes to its end."""
    log: list[str] = []
    cancelled = threading.Event()

    def works(begun: Waiter) -> Flow[Any]:
        yield Io(lambda _: log.append("first"))
        begun.wake()
        yield Io(wait)
        yield Io(lambda _: log.append("second"))

    def wait(_: Any) -> Any:
        return asyncio.sleep(60) if colour == "async" else cancelled.wait(10)

    def cancels() -> Flow[Any]:
        begun = Waiter()
        child: Child = yield Spawn(works(begun))
        yield Park(FOREVER, begun)
        child.cancel()
        yield Io(lambda _: cancelled.set())
        yield Park(FOREVER, child)
        return child.value

    assert isinstance(driven(cancels(), colour), Failed) and log == ["first"]


def test_a_flow_that_is_cancelled_before_it_has_begun_has_ended_too():
    begun: list[int] = []

    def never() -> Flow[Any]:
        begun.append(1)
        yield Park(FOREVER)

    def cancels() -> Flow[Any]:
        child: Child = yield Spawn(never())
        yield Io(lambda _: [task.cancel() for task in asyncio.all_tasks() if task is not asyncio.current_task()])
        yield Park(time.monotonic() + 30, child)
        return child.woken, child.value

    woken, value = driven(cancels(), "async")
    assert woken and isinstance(value, Failed) and not begun


@both
def test_it_goes_on_in_the_context_of_who_spawned_it(colour):
    served = contextvars.ContextVar("served", default="nothing")

    def looks() -> Flow[Any]:
        return (yield Io(lambda _: served.get()))

    def spawns() -> Flow[Any]:
        child: Child = yield Spawn(looks())
        yield Park(FOREVER, child)
        return child.value

    token = served.set("a request")
    try:
        assert driven(spawns(), colour) == "a request"
    finally:
        served.reset(token)
