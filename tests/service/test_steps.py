"""Calls that are made of several, in an order that a generator decides on."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from holdfast import Call, ConflictError, InvalidRequestError, NotFoundError, RateLimitError
from holdfast.service import Model, RequestModel, ServiceClient, ServiceSettings
from holdfast.testing import FaultTransport, Step


class Settings(ServiceSettings):
    url: str = "http://pets.test"
    max_retries: int = 1


class Pet(Model):
    id: int
    owner: int | None = None


class NewPet(RequestModel):
    id: int


class Pets(ServiceClient[Settings]):
    def get_pet(self, pet_id: int) -> Call[Pet]:
        return self.get(Pet, "/pets/{pet_id}", pet_id=pet_id)

    def ensure_pet(self, pet_id: Any) -> Call[Pet]:
        def steps() -> Generator[Call[Any], Any, Pet]:
            try:
                pet: Pet = yield self.get_pet(pet_id)
            except NotFoundError:
                pet = yield self.post(Pet, "/pets", json=NewPet(id=pet_id))
            return pet

        return self.steps(steps)


def pets(script: Any) -> tuple[Pets, FaultTransport]:
    transport = FaultTransport(script)
    return Pets(transport=transport), transport


def sent(call: Call[Any], colour: str) -> Any:
    async def main() -> Any:
        return await call

    return call.result() if colour == "sync" else asyncio.run(main())


both = pytest.mark.parametrize("colour", ["async", "sync"])


@both
def test_one_call_after_the_other(colour):
    client, transport = pets([404, Step(json={"id": 7})])
    assert sent(client.ensure_pet(7), colour) == Pet(id=7)
    assert [request.method for request in transport.requests] == ["GET", "POST"]
    client, transport = pets([Step(json={"id": 7})])
    assert sent(client.ensure_pet(7), colour) == Pet(id=7) and len(transport.requests) == 1


@both
def test_an_error_that_the_generator_does_not_catch_ends_it(colour):
    client, transport = pets([404, 409])
    with pytest.raises(ConflictError):
        sent(client.ensure_pet(7), colour)
    assert len(transport.requests) == 2


@both
def test_what_cannot_be_sent_is_an_invalid_request(colour):
    client, transport = pets([404])
    with pytest.raises(InvalidRequestError, match=r"Pets\.ensure_pet\.steps was not sent: id: Input should be") as info:
        sent(client.ensure_pet("x"), colour)
    assert info.value.field_errors["id"] and len(transport.requests) == 1


@both
@pytest.mark.parametrize(("script", "notes"), [([Step(json={"id": 1})], []), ([Step(json={"id": 1}), 409], [1])])
def test_what_was_executed_before_an_error_is_not_forgotten(script, notes, colour):
    client, transport = pets(script)

    def steps() -> Generator[Call[Any], Any, None]:
        pet: Pet = yield client.post(Pet, "/pets", json=NewPet(id=1))
        yield client.post(Pet, "/pets", json=NewPet(id=pet.id if notes else "x"))  # type: ignore[arg-type]

    with pytest.raises(ConflictError if notes else InvalidRequestError) as info:
        sent(client.steps(steps), colour)
    assert info.value.may_have_executed and len(transport.requests) == len(script)
    assert notes or "stopped after POST /pets: id: " in str(info.value)
    assert info.value.__notes__[0].endswith("sent by then: POST /pets.")


@both
def test_what_was_only_looked_at_does_not_count(colour):
    client, _ = pets([Step(json={"id": 1}), 429])

    def steps() -> Generator[Call[Any], Any, None]:
        yield client.get_pet(1)
        yield client.post(Pet, "/pets", json=NewPet(id=1))

    with pytest.raises(RateLimitError) as info:
        sent(client.steps(steps), colour)
    assert not info.value.may_have_executed and not hasattr(info.value, "__notes__")


@both
def test_steps_can_be_of_any_kind(colour):
    client, _ = pets(Step(json={"id": 7}))
    other, _ = pets(Step(json={"id": 8}))

    def steps() -> Generator[Call[Any], Any, list[Any]]:
        found = [(yield client.get_pet(1))]
        found.append((yield other.get_pet(1)))
        found.append((yield client.bulk([1, 2], client.get_pet)).successful_items)
        found.append((yield client.poll(client.get_pet(1), until=lambda _: True)))
        found.append((yield client.ensure_pet(1)))
        return found

    assert sent(client.steps(steps), colour) == [Pet(id=7), Pet(id=8), 2, Pet(id=7), Pet(id=7)]


@both
def test_mistakes_are_named(colour):
    client, _ = pets(200)

    def wrong_step() -> Generator[Any, Any, None]:
        yield 7

    with pytest.raises(TypeError, match="a step must be a call, not int"):
        sent(client.steps(wrong_step), colour)
    not_steps: Any = lambda: 7  # noqa: E731
    with pytest.raises(TypeError, match="steps are a generator function that yields calls; this one returned 7"):
        sent(client.steps(not_steps), colour)

    def raises() -> Generator[Any, Any, None]:
        yield client.resilient.get("/")
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        sent(client.steps(raises), colour)


def test_cancelled_the_generator_cleans_up_and_sends_no_more():
    client, transport = pets(Step(json={"id": 7}, delay=30.0))
    cleaned = []

    def steps() -> Generator[Call[Any], Any, None]:
        try:
            yield client.get_pet(1)
        finally:
            cleaned.append(client.resilient.metrics().total.calls)

    async def main() -> None:
        task = asyncio.ensure_future(client.steps(steps))
        while not transport.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert cleaned == [1] and client.resilient.bulkhead.in_flight == 0, "its code runs outside of the client's lock"


def test_it_is_a_call_like_others():
    client, transport = pets(200)
    call = client.ensure_pet(7)
    assert repr(call) == "<Call Pets.ensure_pet.steps (not sent)>"
    with pytest.raises(TypeError, match="made of several responses"):
        _ = call.raw()
    with pytest.raises(TypeError, match="take a view of the client"):
        _ = call.with_options(deadline=3)
    assert call.cancel() and call.done() and not transport.requests
