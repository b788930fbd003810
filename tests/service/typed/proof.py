"""What type checkers see of a user's client. Not run: mypy and pyright check it in strict mode, in ``make lint``.

Each line that has to be refused says so to both of them; they also refuse a comment that refuses nothing.
"""

from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, assert_type

import httpx2

from holdfast import RetryConfig
from holdfast.service import (
    BulkFailure,
    BulkResult,
    Call,
    HealthReport,
    Offset,
    Page,
    PagedCall,
    ProgressBar,
    ReadCall,
    ReadPagedCall,
    check_health,
)
from tests.service.typed.pets import Pet, PetClient, PetSettings


async def awaited(client: PetClient) -> None:
    assert_type(client.settings, PetSettings)
    _ = assert_type(client.get_pet(7), Call[Pet])
    pet = await client.get_pet(7)
    assert_type(pet, Pet)
    assert_type(pet.name, str)
    assert_type(await client.get_pet(7).raw(), httpx2.Response)
    assert_type(await client.get_pet(7).with_options(deadline=2, retry=RetryConfig(max_attempts=2)), Pet)
    assert_type(client.with_options(headers={"X-Trace": "on"}), PetClient)
    async with client as same:
        assert_type(same, PetClient)


async def listed(client: PetClient) -> None:
    _ = assert_type(client.list_pets(), PagedCall[Pet])
    page = await client.list_pets(limit=5)
    assert_type(page, Page[Pet])
    assert_type(page[0].name if page.position is None else page.items[0].name, Any | str)
    async for pet in client.list_pets():
        assert_type(pet, Pet)
    async for part in client.list_pets().pages():
        assert_type(part.items, list[Pet])
    assert_type(await client.list_pets().all(), list[Pet])
    _ = assert_type(client.list_pets().ahead().resume("e30"), PagedCall[Pet])


async def many(client: PetClient) -> None:
    found = await client.bulk([1, 2, 3], client.get_pet)
    assert_type(found, BulkResult[Pet])
    assert_type(found.results, list[Pet | None])
    assert_type(found.errors, list[BulkFailure])
    assert_type(await client.bulk({"Rex", "Luna"}, client.create_pet, deadline=60), BulkResult[Pet])
    assert_type(await client.bulk(client.list_pets(), lambda pet: client.get_pet(pet.id)), BulkResult[Pet])
    assert_type(await client.bulk(names(), client.create_pet, progress=print), BulkResult[Pet])
    with ProgressBar("pets") as bar:
        raw = await client.bulk([1], lambda one: client.get_pet(one).raw(), progress=bar)
    assert_type(raw, BulkResult[httpx2.Response])
    assert_type(await client.poll(client.get_pet(7), until=lambda pet: pet.status == "sold", deadline=60), Pet)
    assert_type(await client.poll(lambda: client.list_pets().all(), until=lambda pets: len(pets) > 3), list[Pet])
    report = await check_health({"pets": client.get_pet(7), "here": lambda: "ok"})
    assert_type(report, HealthReport)
    assert_type(report.checks["pets"].error, str | None)
    assert_type(await client.steps(steps(client)), str)


def names() -> AsyncIterator[str]:
    raise NotImplementedError


def steps(client: PetClient) -> Callable[[], Generator[Call[Any], Any, str]]:
    def named() -> Generator[Call[Any], Any, str]:
        pet: Pet = yield client.get_pet(7)
        return pet.name

    return named


def in_sync_code(client: PetClient) -> None:
    assert_type(client.get_pet(7).result(), Pet)
    for pet in client.list_pets():
        assert_type(pet, Pet)
    assert_type(client.bulk(range(3), client.get_pet).result(), BulkResult[Pet])
    assert_type(client.list_pets().all().result(), list[Pet])
    with client as same:
        assert_type(same, PetClient)


class ReadClient(PetClient):
    """Calls of this one can be read as dicts."""

    def read_pet(self, pet_id: int) -> ReadCall[Pet]:
        return self.readable(self.get(Pet, "/pets/{pet_id}", pet_id=pet_id))

    def read_json(self) -> ReadCall[dict[str, int]]:
        return self.readable(self.get(dict[str, int], "/pets"))

    def read_pets(self) -> ReadPagedCall[Pet]:
        return self.readable(self.pages(Pet, "/pets", paging=Offset()))


async def read(client: ReadClient) -> None:
    pet = client.read_pet(7)
    assert_type(pet["name"], Any)
    assert_type(pet.get("tag", ""), Any)
    assert_type(pet.keys(), list[str])
    assert_type(list(pet), list[str])
    assert_type(dict(pet), dict[str, Any])
    assert_type("name" in pet and len(pet) > 1, bool)
    assert_type(await pet, Pet)
    assert_type(await client.read_json(), dict[str, int])
    pets = client.read_pets()
    assert_type(pets["items"], Any)
    assert_type([key for key in pets], list[str])  # noqa: C416  # what `for` gives
    assert_type(await pets, Page[Pet])
    async for one in client.read_pets():
        assert_type(one, Pet)
    assert_type(await client.read_pets().all(), list[Pet])
    _ = assert_type(client.read_pets().with_options(deadline=2).ahead(), ReadPagedCall[Pet])
    walk = (pet async for pet in client.read_pets())
    assert_type(await client.bulk(walk, lambda pet: client.read_pet(pet.id)), BulkResult[Pet])


def read_in_sync_code(client: ReadClient) -> None:
    assert_type(client.read_pet(7).result(), Pet)
    for one in client.read_pets().walked():
        assert_type(one, Pet)


async def refused_reads(client: ReadClient) -> None:
    count = client.get(int, "/count")
    await client.readable(count)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]
    client.read_pet(7)["name", 1]  # type: ignore[index]  # pyright: ignore[reportArgumentType]


async def refused(client: PetClient) -> None:
    await client.get_pet("7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.get_pet(id=7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.list_pets(20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.get_dog(7)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    client.get_pet(7).name.upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    (await client.get_pet(7)).nme.upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    await client.bulk(["Rex"], client.get_pet)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.bulk([7], lambda one: one)  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]
    await client.poll(client.get_pet(7), until=lambda pet: pet.id)  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]
    client.get_pet(7)  # type: ignore[unused-awaitable]
