"""Ctrl-C outside of a flow: in an observer, which runs between its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import ClientConfig, ResilientClient
from holdfast.core.events import AttemptStarted, CallFinished, Event
from holdfast.testing import FaultTransport


def _sync(client: ResilientClient) -> Any:
    return client.get("/", cache_ttl=60.0).result()


def _async(client: ResilientClient) -> Any:
    async def main() -> Any:
        return await client.get("/", cache_ttl=60.0)

    return asyncio.run(main())


@pytest.mark.parametrize("send", [_sync, _async])
@pytest.mark.parametrize("when", [AttemptStarted, CallFinished])
def test_nothing_is_held_while_the_interrupt_travels(send: Callable[[ResilientClient], Any], when: type[Event]):
    interrupting = [True]

    def observer(event: Event) -> None:
        if isinstance(event, when) and interrupting:
            interrupting.clear()
            raise KeyboardInterrupt

    client = ResilientClient(
        ClientConfig(base_url="https://api.example.com"), transport=FaultTransport([200]), observers=[observer]
    )
    with pytest.raises(KeyboardInterrupt) as kept:
        send(client)
    # The traceback keeps the frames alive, so that nothing is given back by chance.
    assert kept.value.__traceback__ is not None
    assert client.bulkhead.in_flight == 0
    assert client._assembly.cache.flights == 0
    assert send(client).status_code == 200
