"""Deadlines of what is made of several calls, in real time: it is by a real clock that a read on a thread is cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from holdfast import Call
from holdfast.service import (
    BulkStoppedError,
    Model,
    PollDeadlineError,
    ServiceClient,
    ServiceSettings,
    check_health,
)
from holdfast.testing import FaultTransport, Step

DEADLINE = 1.0
HANGS = 3600.0


class Settings(ServiceSettings):
    url: str = "http://pets.test"
    max_retries: int = 1
    timeout: float = 2 * HANGS


class Pet(Model):
    id: int


class Pets(ServiceClient[Settings]):
    def get_pet(self, pet_id: int) -> Call[Pet]:
        return self.get(Pet, "/pets/{pet_id}", pet_id=pet_id)


def hanging(number: int) -> Callable[[httpx2.Request], Step]:
    """Answers for pets up to a number, and then hangs."""

    def server(request: httpx2.Request) -> Step:
        pet_id = int(request.url.path.rpartition("/")[2])
        return Step(json={"id": pet_id}, delay=HANGS if pet_id >= number else 0.0)

    return server


def sent(call: Call[Any], colour: str) -> Any:
    async def main() -> Any:
        return await call

    return call.result() if colour == "sync" else asyncio.run(main())


@contextmanager
def cut(*clients: Pets) -> Generator[None]:
    """What happens inside is cut by its deadline, and leaves nothing in flight."""
    began = time.monotonic()
    yield
    while any(client.resilient.bulkhead.in_flight for client in clients):
        assert time.monotonic() - began < 30, "a request is in flight still"
        time.sleep(0.005)
    assert DEADLINE * 0.9 < time.monotonic() - began < 30


both = pytest.mark.parametrize("colour", ["async", "sync"])
anybody = pytest.mark.parametrize("of", ["own", "other"])


@both
@anybody
def test_of_a_bulk(colour, of):
    client, other = Pets(transport=FaultTransport(hanging(0))), Pets(transport=FaultTransport(hanging(2)))
    if of == "own":
        client, other = other, client
    whose = client if of == "own" else other
    with cut(client, other), pytest.raises(BulkStoppedError) as info:
        sent(client.bulk(range(9), whose.get_pet, workers=3, deadline=DEADLINE), colour)
    assert info.value.result is not None
    assert info.value.result.results == [Pet(id=0), Pet(id=1), None, None, None]
    assert {one.error for one in info.value.result.errors} == {"in flight when the bulk was stopped"}


@both
@anybody
def test_of_a_poll(colour, of):
    client, other = Pets(transport=FaultTransport(hanging(0))), Pets(transport=FaultTransport(hanging(0)))
    polled = (client if of == "own" else other).get_pet(1)
    with cut(client, other), pytest.raises(PollDeadlineError, match="1 poll; no answer came"):
        sent(client.poll(polled, until=lambda pet: pet.id == 7, deadline=DEADLINE), colour)


@both
def test_of_health_checks(colour):
    client, other = Pets(transport=FaultTransport(hanging(1))), Pets(transport=FaultTransport(hanging(1)))
    checks = {"up": client.get_pet(0), "own": client.get_pet(1), "other": other.get_pet(1)}
    with cut(client, other):
        report = sent(check_health(checks, deadline=DEADLINE), colour)
    assert [one.status for one in report.checks.values()] == ["healthy", "unhealthy", "unhealthy"]
    assert {one.error for one in report.checks.values()} == {None, f"no answer within {DEADLINE:g} s"}


@both
def test_of_a_bulk_around_a_poll(colour):
    client = Pets(transport=FaultTransport(Step(json={"id": 0})))

    def polled(pet_id: int) -> Call[Pet]:
        return client.poll(
            client.get_pet(pet_id), until=lambda pet: pet.id == 7, interval=0.02, factor=1, deadline=HANGS
        )

    with cut(client), pytest.raises(BulkStoppedError) as info:
        sent(client.bulk(range(2), polled, deadline=DEADLINE), colour)
    assert info.value.result is not None and info.value.result.failed_items == 2
