"""Clients over scripted transports, for tests of the calls that they return."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from holdfast import Call, ClientConfig, ResilientClient, RetryConfig
from holdfast.testing import FaultTransport, Step
from holdfast.testing.transport import Script
from tests.support.virtual_loop import VirtualLoop

BASE = "https://api.example.com"
SLOW = Step(delay=5.0, json={"name": "slow"})
"""An answer that takes seconds, which pass at once under `run_virtual`."""


class Scripted:
    """A client that makes one attempt a call, and its transport."""

    def __init__(self, script: Script = (200,), **config: Any) -> None:
        self.transport = FaultTransport(script)
        settings = {"base_url": BASE, "retry": RetryConfig(max_attempts=1), "deadline": None, **config}
        self.client = ResilientClient(ClientConfig(**settings), transport=self.transport)

    @property
    def sent(self) -> int:
        """Requests that reached the transport."""
        return len(self.transport.requests)

    @property
    def held(self) -> int:
        """Slots that are taken, or waited for."""
        return self.client.bulkhead.in_flight + self.client.bulkhead.queued


def in_thread(work: Callable[[], Any]) -> Any:
    """Does something in another thread, and returns or raises what came of it."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results[0]


def abandoned(*calls: Call[Any]) -> tuple[asyncio.AbstractEventLoop, list[asyncio.Task[Any]]]:
    """Tasks of these calls in the middle of them, on a loop that was closed."""
    loop = VirtualLoop()
    loop.set_exception_handler(lambda loop, context: None)
    tasks = [loop.create_task(call) for call in calls]
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    return loop, tasks


def silence(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def as_awaiting_task(call: Call[Any]) -> asyncio.Task[Any]:
    """A task that awaits the call, where `asyncio.create_task` would make one that is the call."""

    async def awaiting() -> Any:
        return await call

    return asyncio.create_task(awaiting())
