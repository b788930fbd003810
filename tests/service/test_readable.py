"""Calls that are read as dicts without being awaited: what sends them, once, and what they never wait for."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from holdfast import (
    APIConnectionError,
    Call,
    InvalidRequestError,
    NotFoundError,
    PoolTimeoutError,
    ServiceUnavailableError,
)
from holdfast.auth import TokenAuth
from holdfast.service import (
    Model,
    Offset,
    PageNumber,
    ReadCall,
    ReadPagedCall,
    RequestModel,
    ServiceClient,
    ServiceSettings,
)
from holdfast.testing import FaultTransport, Step, VirtualClock
from tests.support.calls import in_thread

REX = {"id": 7, "name": "Rex"}


class Settings(ServiceSettings):
    url: str = "http://pets.test"
    max_retries: int = 1
    rate: float | None = None

    def client_settings(self) -> dict[str, Any]:
        limit = {} if self.rate is None else {"rate_limit": {"rate": self.rate, "period": 20.0, "burst": 1}}
        return {**super().client_settings(), **limit}


class Pet(Model):
    id: int
    name: str = "?"
    tag: str | None = None


class Wanted(RequestModel):
    size: int


class Pets(ServiceClient[Settings]):
    def get_pet(self, pet_id: int, **options: Any) -> ReadCall[Pet]:
        return self.readable(self.get(Pet, "/pets/{pet_id}", pet_id=pet_id, **options))

    def list_pets(self, **query: Any) -> ReadPagedCall[Pet]:
        return self.readable(self.pages(Pet, "/pets", paging=PageNumber(), query=query))

    def of_size(self, size: Any) -> ReadCall[Pet]:
        return self.readable(self.get(Pet, "/pets", query=Wanted(size=size).body()))

    def all_of_size(self, size: Any) -> ReadPagedCall[Pet]:
        return self.readable(self.pages(Pet, "/pets", paging=Offset(), query=Wanted(size=size).body()))

    def oldest(self) -> ReadCall[Pet]:
        def steps() -> Generator[Call[Any], Any, Pet]:
            first: Pet = yield self.get_pet(1)
            second: Pet = yield self.get_pet(2)
            return first if first.id < second.id else second

        return self.readable(self.steps(steps))


def page_of(request: httpx2.Request) -> Step:
    number = int(request.url.params.get("page", 1))
    items = [{"id": 2 * number - 1}, {"id": 2 * number}] if number < 3 else []
    return Step(json={"items": items, "total": 4, "page": number, "pages": 2})


PAGES = {"GET /pets": page_of}


def pets(script: Any, **settings: Any) -> tuple[Pets, FaultTransport]:
    transport = FaultTransport(script)
    return Pets(Settings(**settings), transport=transport), transport


LOOKS = {
    "[]": lambda call: call["name"],
    "keys": lambda call: call.keys(),
    "get": lambda call: call.get("name"),
    "in": lambda call: "name" in call,
    "len": lambda call: len(call),
    "iter": lambda call: iter(call),
    "reversed": lambda call: reversed(call),
    "dict": lambda call: dict(call),
    "**": lambda call: dict(**call),
}
every_look = pytest.mark.parametrize("look", LOOKS.values(), ids=list(LOOKS))


# What it reads like


def test_it_reads_like_the_dict_that_it_came_from():
    client, _ = pets([Step(json=REX)])
    call = client.get_pet(7)
    assert call["id"] == 7 and call["name"] == "Rex"
    assert call.keys() == list(call) == ["id", "name"] and len(call) == 2 and [*reversed(call)] == ["name", "id"]
    assert call.get("name") == "Rex" and call.get("owner") is None and call.get("owner", "nobody") == "nobody"
    assert "name" in call and "owner" not in call and 7 not in call
    assert dict(call) == REX
    with pytest.raises(KeyError, match="owner"):
        call["owner"]


def test_a_list_reads_like_its_page():
    client, _ = pets(PAGES)
    call = client.list_pets(page=2)
    assert [pet["id"] for pet in call["items"]] == [3, 4]
    assert (call["total"], call.get("pages"), call.get("next"), "items" in call) == (4, 2, None, True)
    assert list(call) == call.keys() == list(dict(call)) == ["items", "total", "page", "pages"] and len(call) == 4
    assert [*reversed(call)] == ["pages", "page", "total", "items"]
    assert not client.list_pets(page=3)["items"]


def test_a_page_that_was_awaited_has_get_as_well():
    client, _ = pets(PAGES)
    page = client.list_pets().result()
    assert (page.get("total"), page.get("next"), page.get("next", 0)) == (4, None, 0)
    assert page.get("items") is page.items and dict(page)["pages"] == 2


@every_look
def test_the_first_look_sends_it_and_no_other_does(look):
    client, transport = pets([Step(json=REX)])
    call = client.get_pet(7)
    assert not transport.requests and not call.done()
    look(call)
    assert len(transport.requests) == 1 and call.done()
    for other in LOOKS.values():
        other(call)
    assert call.result().name == "Rex"
    assert len(transport.requests) == 1


def test_nothing_else_sends_it(caplog):
    client, transport = pets([Step(json=REX)])
    for call in (client.get_pet(7), client.list_pets()):
        with caplog.at_level(logging.INFO):
            logging.getLogger("test").info("a call: %s", call)
            logging.getLogger("test").info("%r and so on", call)
        assert repr(call) in caplog.text and "not sent" in repr(call) and bool(call)
        assert call == call and call != REX and call not in [REX, None] and hash(call) is not None
        assert not issubclass(type(call), Mapping)
        for task_like in (inspect.isawaitable, asyncio.iscoroutine):
            assert task_like(call)
        assert not call.done()
        call.close()
    assert not transport.requests


def test_it_is_awaited_as_any_call():
    client, transport = pets([Step(json=REX)])

    async def main() -> None:
        call = client.get_pet(7)
        pet = await call
        assert call["name"] == pet["name"] == "Rex" and await call is pet
        assert await asyncio.create_task(client.get_pet(7)) == pet

    asyncio.run(main())
    assert len(transport.requests) == 2
    assert inspect.iscoroutinefunction(client.get_pet) and inspect.iscoroutinefunction(client.list_pets)


def test_what_was_looked_into_is_awaited_without_sending():
    client, transport = pets([Step(json=REX)])
    call = client.get_pet(7)
    assert call["name"] == "Rex"

    async def main() -> Pet:
        return await call

    assert asyncio.run(main()) is call.result()
    assert len(transport.requests) == 1


def test_options_and_raw_are_there():
    client, transport = pets([Step(json=REX)])
    call = client.get_pet(7).with_options(headers={"X-Trace": "on"})
    assert call["id"] == 7
    assert transport.requests[0].headers["x-trace"] == "on"
    assert client.get_pet(7).raw().result().json() == REX
    again = client.list_pets().with_options(headers={"X-Trace": "on"})
    assert isinstance(again, ReadPagedCall)
    again.close()


def test_the_call_that_it_was_made_of_is_used():
    client, transport = pets([Step(json=REX)])
    plain = client.get(Pet, "/pets/7")
    call = client.readable(plain)
    with pytest.raises(RuntimeError, match="can be sent"):
        plain.result()
    assert call["id"] == 7 and len(transport.requests) == 1
    with pytest.raises(RuntimeError, match="cannot be changed any more"):
        client.readable(call)  # type: ignore[unused-awaitable]


def test_one_that_is_made_of_several():
    client, transport = pets({"GET /pets/1": Step(json={"id": 1}), "GET /pets/2": Step(json={"id": 2})})
    assert client.oldest()["id"] == 1 and len(transport.requests) == 2


def test_one_that_is_dropped_warns():
    client, transport = pets([200])
    with pytest.warns(RuntimeWarning, match="never sent"):
        client.get_pet(7)  # type: ignore[unused-awaitable]
    assert not transport.requests


# Failures


@every_look
def test_a_failure_is_raised_by_every_look(look):
    client, transport = pets([404])
    call = client.get_pet(7)
    errors = []
    for _ in range(2):
        with pytest.raises(NotFoundError) as caught:
            look(call)
        errors.append(caught.value)

    async def main() -> None:
        await call

    with pytest.raises(NotFoundError) as caught:
        asyncio.run(main())
    assert errors == [caught.value] * 2 and len(transport.requests) == 1


@pytest.mark.parametrize("listed", [False, True])
def test_what_is_invalid_is_raised_by_the_look(listed):
    client, transport = pets([200])
    call = client.all_of_size("huge") if listed else client.of_size("huge")
    assert isinstance(call, ReadPagedCall if listed else ReadCall)
    with pytest.raises(InvalidRequestError, match="size: Input should be"):
        call["id"]
    assert not transport.requests


def test_a_cancelled_one_sends_nothing():
    client, transport = pets([200])
    call = client.get_pet(7)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        call["id"]
    assert not transport.requests


# Walks


def test_async_for_walks_the_items_and_for_gives_the_keys():
    client, transport = pets(PAGES)

    async def main() -> list[int]:
        assert [pet.id for pet in await client.list_pets().all()] == [1, 2, 3, 4]
        return [pet.id async for pet in client.list_pets()]

    assert asyncio.run(main()) == [1, 2, 3, 4]
    assert [pet.id for pet in client.list_pets().all().result()] == [1, 2, 3, 4]
    assert [pet.id for pet in client.list_pets().walked()] == [1, 2, 3, 4]
    assert [page["page"] for page in client.list_pets().pages()] == [1, 2]
    assert len(transport.requests) == 10
    assert list(client.list_pets()) == ["items", "total", "page", "pages"]


@pytest.mark.parametrize("colour", ["async", "sync"])
def test_a_bulk_over_it_takes_the_items(colour):
    client, _ = pets({**PAGES, "GET /pets/*": Step(json=REX)})
    listed: Any = client.list_pets()  # for type checkers it is ambiguous what that iterates over
    call = client.bulk(listed, lambda pet: client.get_pet(pet.id), workers=1)

    async def main() -> Any:
        return await call

    found = call.result() if colour == "sync" else asyncio.run(main())
    assert found.results == [Pet(id=7, name="Rex")] * 4


# Threads


def test_threads_that_look_at_once_send_it_once():
    asked, answer = threading.Event(), threading.Event()

    def slow(_: httpx2.Request) -> Step:
        asked.set()
        assert answer.wait(10)
        return Step(json=REX)

    client, transport = pets(slow)
    call = client.get_pet(7)
    with ThreadPoolExecutor(8) as pool:
        looks = [pool.submit(call.__getitem__, "name") for _ in range(8)]
        assert asked.wait(10)
        answer.set()
        assert [look.result(10) for look in looks] == ["Rex"] * 8
    assert len(transport.requests) == 1


def test_a_loop_does_not_wait_for_a_thread_that_looks():
    asked, answer = threading.Event(), threading.Event()

    def slow(_: httpx2.Request) -> Step:
        asked.set()
        assert answer.wait(10)
        return Step(json=REX)

    client, transport = pets(slow)
    call = client.get_pet(7)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="is being sent by another thread"):
            call["name"]

    with ThreadPoolExecutor(1) as pool:
        look = pool.submit(call.__getitem__, "name")
        assert asked.wait(10)
        try:
            asyncio.run(main())
        finally:
            answer.set()
        assert look.result(10) == "Rex"
    assert call["name"] == "Rex" and len(transport.requests) == 1


def test_a_look_from_within_is_an_error_and_no_deadlock():
    looked: list[BaseException] = []

    def looks(_: Any) -> Step:
        try:
            call["name"]
        except RuntimeError as error:
            looked.append(error)
        return Step(json=REX)

    client, _ = pets(looks)
    call = client.get_pet(7)
    assert in_thread(lambda: call["name"]) == "Rex"
    assert len(looked) == 1


# Inside a running loop


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "running event loop" in record.getMessage()]


@every_look
def test_inside_a_running_loop_it_is_sent_on_the_same_thread(look):
    threads = []

    def answering(_: httpx2.Request) -> Step:
        threads.append(threading.get_ident())
        return Step(json=REX)

    client, transport = pets(answering)

    async def main() -> None:
        call = client.get_pet(7)
        look(call)
        assert (await call).name == "Rex"

    asyncio.run(main())
    assert threads == [threading.get_ident()] and len(transport.requests) == 1


def test_the_warning_comes_once_for_each_place(caplog):
    client, _ = pets([Step(json=REX)])

    async def main() -> None:
        for _ in range(3):
            assert client.get_pet(7)["name"] == "Rex"
        assert dict(client.get_pet(7)) == REX
        seen = client.get_pet(7)
        await seen
        assert seen["name"] == "Rex"  # blocks nothing

    asyncio.run(main())
    assert client.get_pet(7)["name"] == "Rex"
    first, second = warnings_of(caplog)
    line = inspect.getsourcelines(test_the_warning_comes_once_for_each_place)[1]
    assert f"GET /pets/7 (not sent)> is read without 'await' at {__file__}:{line + 5}, inside" in first
    assert f":{line + 6}, " in second and "write 'await'" in second
    assert {record.levelname for record in caplog.records if "running event loop" in record.message} == {"WARNING"}


def test_retries_and_their_waits_are_made(caplog):
    with VirtualClock() as clock:
        client, transport = pets([503, 503, Step(json=REX)], max_retries=3)

        async def main() -> str:
            name: str = client.get_pet(7)["name"]
            return name

        assert asyncio.run(main()) == "Rex"
    assert len(transport.requests) == 3 and len(clock.waits) == 2


def refusing(look: Any, held: Any = None) -> PoolTimeoutError:
    """What a look inside a loop raises, while `held` is in flight in the same loop."""

    async def main() -> PoolTimeoutError:
        task = None if held is None else asyncio.ensure_future(held)
        for _ in range(5):
            await asyncio.sleep(0)
        with pytest.raises(PoolTimeoutError) as caught:
            look()
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return caught.value

    return asyncio.run(asyncio.wait_for(main(), 30))


NEVER = Step(delay=3600.0)


def test_it_does_not_wait_for_a_slot_that_a_task_holds():
    client, transport = pets({"GET /pets/1": NEVER, "GET /pets/*": Step(json=REX)}, max_concurrency=1)
    error = refusing(lambda: client.get_pet(2)["id"], client.get_pet(1))
    assert "no slot of the bulkhead is free" in str(error) and "Await the call" in str(error)
    assert "Nothing was sent" in str(error) and "Raise bulkhead" not in str(error) and error.attempts == 0
    assert len(transport.requests) == 1
    assert (client.resilient.bulkhead.in_flight, client.resilient.bulkhead.queued) == (0, 0)
    assert client.get_pet(2)["id"] == 7


def test_on_a_thread_beside_the_loop_it_does_wait():
    client, transport = pets(
        {"GET /pets/1": Step(delay=0.05, json=REX), "GET /pets/2": Step(json=REX)}, max_concurrency=1
    )

    async def main() -> str:
        task = asyncio.ensure_future(client.get_pet(1))
        await asyncio.sleep(0)
        name: str = await asyncio.to_thread(lambda: client.get_pet(2)["name"])
        await task
        return name

    assert asyncio.run(main()) == "Rex" and len(transport.requests) == 2


def test_it_does_not_wait_for_a_token():
    client, transport = pets([Step(json=REX)], rate=1.0)
    assert client.get_pet(1)["id"] == 7
    error = refusing(lambda: client.get_pet(2)["id"])
    assert "the rate limit gives no token before" in str(error) and "Await the call" in str(error)
    again = refusing(lambda: client.get_pet(2)["id"])  # what was refused took no token
    for one in (error, again):
        assert one.retry_after is not None and 10 < one.retry_after <= 20
    assert len(transport.requests) == 1


def test_it_does_not_wait_for_the_same_request_of_a_task():
    client, transport = pets([NEVER])
    error = refusing(lambda: client.get_pet(1, cache_ttl=60)["id"], client.get_pet(1, cache_ttl=60))
    assert "the same request is in flight already" in str(error) and "Await the call" in str(error)
    assert len(transport.requests) == 1


def test_who_does_not_wait_is_not_waited_for_either():
    """The next in line goes on when the leader is cancelled, though a look came before it."""
    script = iter([NEVER, Step(json=REX)])
    client, transport = pets(lambda _: next(script))

    async def main() -> Pet:
        leader = asyncio.ensure_future(client.get_pet(1, cache_ttl=60))
        await asyncio.sleep(0)
        with pytest.raises(PoolTimeoutError):
            client.get_pet(1, cache_ttl=60)["id"]
        follower = asyncio.ensure_future(client.get_pet(1, cache_ttl=60))
        await asyncio.sleep(0)
        leader.cancel()
        return await asyncio.wait_for(follower, 20)

    assert asyncio.run(main()).id == 7 and len(transport.requests) == 2


def test_nor_by_who_waits_for_credentials():
    async def renew() -> str:
        await asyncio.sleep(0 if released else 3600)
        return "token"

    released: list[int] = []
    transport = FaultTransport([Step(json=REX)])
    client = Pets(Settings(), transport=transport, auth=TokenAuth(renew))

    async def main() -> Pet:
        leader = asyncio.ensure_future(client.get_pet(1))
        await asyncio.sleep(0)
        with pytest.raises(PoolTimeoutError):
            client.get_pet(2)["id"]
        follower = asyncio.ensure_future(client.get_pet(3))
        await asyncio.sleep(0)
        released.append(1)
        leader.cancel()
        return await asyncio.wait_for(follower, 20)

    assert asyncio.run(main()).id == 7 and len(transport.requests) == 1


def test_it_does_not_wait_for_a_token_of_credentials_that_a_task_renews():
    renewing = asyncio.Event()

    async def renew() -> str:
        await renewing.wait()
        return "token"

    transport = FaultTransport([Step(json=REX)])
    client = Pets(Settings(), transport=transport, auth=TokenAuth(renew))
    error = refusing(lambda: client.get_pet(2)["id"], client.get_pet(1))
    assert "another call is obtaining it" in str(error) and "Await the call" in str(error)
    assert not transport.requests


def test_if_there_is_no_slot_for_a_retry_the_error_of_the_attempt_is_raised():
    with VirtualClock():
        client, transport = pets([503], max_retries=2, rate=1.0)

        async def main() -> None:
            client.get_pet(7)["name"]

        with pytest.raises(ServiceUnavailableError, match=r"503.*Not retried: the rate limit gives no token") as caught:
            asyncio.run(main())
    assert len(transport.requests) == 1 and caught.value.attempts == 1


def test_while_a_task_awaits_it_a_look_fails(caplog):
    client, transport = pets([NEVER])

    async def main() -> None:
        call = client.get_pet(1)
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being awaited"):
            call["id"]
        assert not warnings_of(caplog)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(transport.requests) == 1


def test_a_client_that_is_async_alone_cannot_be_looked_into():
    async def main() -> None:
        async with httpx2.AsyncClient(transport=FaultTransport([200])) as given:
            client = Pets(http_client=given)
            with pytest.raises(RuntimeError, match=r"http_client is an httpx2\.AsyncClient: use await"):
                client.get_pet(7)["id"]

    asyncio.run(main())
    client = Pets(transport=httpx2.ASGITransport(app=lambda *_: None))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="transport is an async one: use await"):
        client.get_pet(7)["id"]


def test_an_unreachable_service_is_an_error_of_the_look():
    client, _ = pets([httpx2.ConnectError("refused")])
    call = client.list_pets()
    with pytest.raises(APIConnectionError):
        call["items"]
