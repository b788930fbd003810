"""One call for each of many items: how many at a time, what becomes of them, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from holdfast import (
    Call,
    ClientClosedError,
    ClientConfig,
    DeadlineExceededError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    ResilientClient,
    request_context,
)
from holdfast.service import (
    BulkResult,
    BulkStoppedError,
    Model,
    Offset,
    PagedCall,
    ServiceClient,
    ServiceSettings,
)
from holdfast.testing import FaultTransport, Step, VirtualClock


class Settings(ServiceSettings):
    url: str = "http://pets.test"
    max_retries: int = 1
    circuit_breaker: bool = False


class Pet(Model):
    id: int


class Pets(ServiceClient[Settings]):
    def get_pet(self, pet_id: int | str) -> Call[Pet]:
        return self.get(Pet, "/pets/{pet_id}", pet_id=pet_id)

    def list_pets(self) -> PagedCall[Pet]:
        return self.pages(Pet, "/pets", paging=Offset(), query={"limit": 3})


def number(request: httpx2.Request) -> int:
    return int(request.url.path.rpartition("/")[2])


class Server:
    """Answers with pets, each after some time; counts how many it is asked for at once."""

    def __init__(self, missing: Any = (), seconds: Callable[[int], float] = lambda _: 1.0) -> None:
        self.missing = set(missing)
        self.seconds = seconds

    def __call__(self, request: httpx2.Request) -> Step:
        if request.url.path == "/pets":
            start = int(request.url.params.get("offset", 0))
            return Step(json={"items": [{"id": n} for n in range(start, min(start + 3, 8))], "total": 8})
        n = number(request)
        return Step(404, delay=self.seconds(n)) if n in self.missing else Step(json={"id": n}, delay=self.seconds(n))


def pets(server: Callable[[httpx2.Request], Step] | None = None, **more: Any) -> tuple[Pets, FaultTransport]:
    transport = FaultTransport(server or Server())
    return Pets(transport=transport, **more), transport


def sent(call: Call[Any], colour: str) -> Any:
    async def main() -> Any:
        try:
            return await call
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.sleep(0)
            assert not [task for task in others if not task.done()], "something is left running"

    return call.result() if colour == "sync" else asyncio.run(main())


both = pytest.mark.parametrize("colour", ["async", "sync"])
pytestmark = pytest.mark.usefixtures("holdfast_clock")


# What comes of it


@both
def test_results_are_in_the_order_of_the_items_and_a_failure_stops_nobody(colour, holdfast_clock):
    client, _ = pets(Server({1, 4}, lambda n: 10.0 - n))
    result = sent(client.bulk(range(6), client.get_pet, workers=3), colour)
    assert type(result) is BulkResult
    assert [pet and pet.id for pet in result.results] == [0, None, 2, 3, None, 5]
    assert (result.total_items, result.successful_items, result.failed_items) == (6, 4, 2)
    assert [(one.index, one.item, one.error_type) for one in result.errors] == [
        (1, 1, "NotFoundError"),
        (4, 4, "NotFoundError"),
    ]
    assert result.success_rate == pytest.approx(200 / 3)
    assert result.duration_seconds == pytest.approx(holdfast_clock.elapsed)
    assert isinstance(result.errors[0].exception, NotFoundError) and "GET /pets/1" in result.errors[0].error


def test_a_result_reads_like_json():
    client, _ = pets(Server({1}))
    result = client.bulk([0, 1], client.get_pet).result()
    assert result["errors"][0]["index"] == 1 and result["failed_items"] == 1 and "results" in result
    assert result.get("nothing", 7) == 7 and "nothing" not in result
    assert set(dict(result)) == {
        "total_items",
        "successful_items",
        "failed_items",
        "results",
        "errors",
        "duration_seconds",
        "success_rate",
    }
    assert result.to_dict()["results"] == [{"id": 0}, None]
    assert list(dict(result.errors[0])) == ["index", "item", "error", "error_type"]
    with pytest.raises(KeyError):
        result["nothing"]
    assert repr(result) == f"<BulkResult 1 of 2 items in {result.duration_seconds:.3g} s>"


@both
def test_no_items_are_a_success(colour):
    client, transport = pets()
    result = sent(client.bulk([], client.get_pet), colour)
    assert (result.total_items, result.success_rate, result.errors) == (0, 100.0, []) and not transport.requests


@both
def test_no_more_than_the_workers_are_sent_at_a_time(colour, holdfast_clock):
    client, _ = pets()
    sent(client.bulk(range(12), client.get_pet, workers=4), colour)
    assert holdfast_clock.elapsed == pytest.approx(3.0), "each takes a second"


@both
def test_items_are_taken_when_a_worker_is_free(colour):
    client, transport = pets()
    ahead = []

    def items() -> Iterator[int]:
        for n in range(20):
            ahead.append(n + 1 - len(transport.requests))
            yield n

    result = sent(client.bulk(items(), client.get_pet, workers=3), colour)
    assert result.successful_items == 20 and max(ahead) <= 4


def test_many_items_do_not_make_many_tasks():
    client, _ = pets(Server(seconds=lambda _: 0.0))
    most = 0

    def look(done: int, total: int | None) -> None:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))

    result = sent(client.bulk(range(1000), client.get_pet, workers=5, progress=look), "async")
    assert result.successful_items == 1000 and most <= 6


@both
def test_items_can_come_in_pages(colour):
    client, _ = pets()
    result = sent(client.bulk(client.list_pets(), lambda pet: client.get_pet(pet.id)), colour)
    assert [pet.id for pet in result.results] == list(range(8))


# Progress


@both
def test_progress_is_told_at_the_beginning_and_after_each_item_on_the_callers_thread(colour):
    client, _ = pets(Server({1}))
    told: list[tuple[int, int | None]] = []
    threads = set()

    def progress(done: int, total: int | None) -> None:
        told.append((done, total))
        threads.add(threading.get_ident())

    sent(client.bulk([0, 1, 2], client.get_pet, progress=progress), colour)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)] and threads == {threading.get_ident()}
    told.clear()
    sent(client.bulk(iter([0, 1]), client.get_pet, progress=progress), colour)
    assert told == [(0, None), (1, None), (2, None)]


@both
def test_progress_that_raises_ends_the_whole(colour):
    client, transport = pets()

    def progress(done: int, total: int | None) -> None:
        if done == 2:
            raise ZeroDivisionError("a bug")

    call = client.bulk(range(50), client.get_pet, workers=2, progress=progress)
    with pytest.raises(ZeroDivisionError) as info:
        sent(call, colour)
    assert "It ended the bulk: 2 of 50 items were done; 1 were in flight." in info.value.__notes__
    assert len(transport.requests) <= 4 and call.done()
    idle(client)


# Items that cannot be sent


@both
def test_what_is_wrong_with_an_item_is_its_failure(colour):
    class Strict(BaseModel):
        size: int

    client, transport = pets()

    def make(item: str) -> Call[Pet]:
        if item == "invalid":
            Strict.model_validate({"size": item})
        if item == "refused":
            raise HoldfastError("not that one")
        return client.get_pet(item)  # an empty one is refused by the method itself

    result = sent(client.bulk(["1", "", "invalid", "refused", "2"], make), colour)
    kinds = [InvalidRequestError, ValidationError, HoldfastError]
    assert [(one.index, type(one.exception)) for one in result.errors] == list(zip([1, 2, 3], kinds, strict=True))
    assert [bool(pet) for pet in result.results] == [True, False, False, False, True] and len(transport.requests) == 2


@both
def test_a_mistake_in_the_function_ends_the_whole_and_says_for_which_item(colour):
    client, _ = pets(Server(seconds=lambda _: 0.02))
    items: list[Any] = [1, None, 3]
    with pytest.raises(AttributeError) as info:
        sent(client.bulk(items, lambda item: client.get_pet(item.real)), colour)
    assert "The bulk's function was called with item 1: None." in info.value.__notes__
    idle(client)


@both
def test_what_is_no_call_is_a_mistake_too(colour):
    client, _ = pets()
    not_a_call: Any = lambda item: item  # noqa: E731
    with pytest.raises(TypeError, match="must return a Call, not int"):
        sent(client.bulk([1], not_a_call), colour)


@both
def test_items_that_raise_end_the_whole(colour):
    client, _ = pets(Server(seconds=lambda _: 0.02))

    def items() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        sent(client.bulk(items(), client.get_pet), colour)
    idle(client)


@both
def test_a_page_that_fails_ends_the_whole_and_loses_nothing(colour):
    def server(request: httpx2.Request) -> Step:
        return Step(500) if request.url.params.get("offset") == "3" else Server()(request)

    client, _ = pets(server)
    with pytest.raises(BulkStoppedError) as info:
        sent(client.bulk(client.list_pets(), lambda pet: client.get_pet(pet.id), workers=1), colour)
    assert info.value.status_code == 500 and info.value.result is not None
    assert info.value.result.results[:2] == [Pet(id=0), Pet(id=1)]


def test_items_that_can_only_be_awaited_need_async_code():
    async def items() -> Any:
        yield 1

    client, _ = pets()
    assert sent(client.bulk(items(), client.get_pet), "async").results == [Pet(id=1)]
    with pytest.raises(TypeError, match="can only be iterated over in async code"):
        client.bulk(items(), client.get_pet).result()


# Calls of all kinds


@both
def test_any_call_will_do(colour):
    client, _ = pets(Server({3}))
    other, _ = pets(Server(seconds=lambda _: 0.0))
    plain = ResilientClient(ClientConfig(base_url="http://pets.test"), transport=FaultTransport(Step(json={"id": 9})))
    kinds: dict[str, Callable[[], Call[Any]]] = {
        "own": lambda: client.get_pet(1),
        "of another client": lambda: other.get_pet(2),
        "fails": lambda: client.get_pet(3),
        "plain": lambda: client.resilient.get("/pets/4"),
        "plain of another": lambda: plain.get("/"),
        "raw": lambda: client.get_pet(5).raw(),
        "page": client.list_pets,
        "walk": lambda: client.list_pets().all(),
        "poll": lambda: client.poll(client.get_pet(6), until=lambda pet: pet.id == 6),
        "bulk": lambda: client.bulk([1, 2], client.get_pet),
        "bulk of another": lambda: other.bulk([1, 2], other.get_pet),
    }
    made: dict[str, Call[Any]] = {}

    def make(name: str) -> Call[Any]:
        made[name] = kinds[name]()
        return made[name]

    result = sent(client.bulk(kinds, make, workers=4), colour)
    found = dict(zip(kinds, result.results, strict=True))
    assert [one.item for one in result.errors] == ["fails"]
    assert (found["own"], found["of another client"], found["poll"]) == (Pet(id=1), Pet(id=2), Pet(id=6))
    assert (found["plain"].json(), found["plain of another"].json(), found["raw"].status_code) == (
        {"id": 4},
        {"id": 9},
        200,
    )
    assert len(found["page"]) == 3 and len(found["walk"]) == 8
    assert found["bulk"].results == found["bulk of another"].results == [Pet(id=1), Pet(id=2)]
    assert all(call.done() for call in made.values())
    assert made["own"].result() is found["own"]
    with pytest.raises(NotFoundError):
        made["fails"].result()


@both
def test_a_call_that_was_sent_before_gives_its_outcome(colour):
    client, transport = pets()
    call = client.get_pet(1)
    sent(call, colour)
    assert sent(client.bulk([0], lambda _: call), colour).results == [Pet(id=1)] and len(transport.requests) == 1


@both
def test_what_is_being_served_is_told_with_every_call(colour):
    client, transport = pets()

    def run() -> Any:
        with request_context("incoming-1"):
            return sent(client.bulk(range(4), client.get_pet, workers=2), colour)

    assert run().successful_items == 4
    assert {request.headers["X-Correlation-ID"] for request in transport.requests} == {"incoming-1"}


# The end before the end


def idle(client: Pets) -> None:
    """Waits for requests on threads, which nothing can interrupt, to come to their end."""
    end = time.monotonic() + 10
    while client.resilient.bulkhead.in_flight:
        assert time.monotonic() < end, "a slot is leaked"
        time.sleep(0.005)


@both
@pytest.mark.parametrize(("first", "executed"), [(Step(json={"id": 1}), True), (429, False)])
def test_a_bulk_that_was_stopped_says_whether_anything_was_executed(first, executed, colour):
    transport = FaultTransport([first, 404])
    client = Pets(transport=transport)
    with pytest.raises(BulkStoppedError) as info:
        sent(
            client.bulk([1, 2], lambda n: client.post(Pet, "/pets", json={"id": n}), workers=1, stop_on_error=True),
            colour,
        )
    assert info.value.may_have_executed is executed


def test_the_deadline_ends_the_whole_and_loses_nothing(holdfast_clock):
    client, transport = pets(Server({1}, lambda n: 0.1 if n < 3 else 3600.0))
    made: list[Call[Pet]] = []

    def make(item: int) -> Call[Pet]:
        made.append(client.get_pet(item))
        return made[-1]

    with pytest.raises(BulkStoppedError, match=r"the deadline of 0\.5 s for the whole bulk passed: 3 of 9") as info:
        sent(client.bulk(range(9), make, workers=3, deadline=0.5), "async")
    error = info.value
    assert isinstance(error, DeadlineExceededError) and error.may_have_executed
    assert isinstance(error.last_error, NotFoundError) and holdfast_clock.elapsed == pytest.approx(0.5, abs=0.1)
    assert error.result is not None and error.result.results == [Pet(id=0), None, Pet(id=2), None, None, None]
    assert [one.index for one in error.result.errors] == [1, 3, 4, 5]
    assert error.result.errors[-1].error == "in flight when the bulk was stopped"
    assert error.result.errors[-1].exception.may_have_executed  # type: ignore[attr-defined]
    assert len(transport.requests) == len(made) == 6 and client.resilient.bulkhead.in_flight == 0


@both
def test_the_deadline_also_holds_for_the_wait_for_an_item(colour, holdfast_clock):
    async def slowly() -> Any:
        yield 1
        await holdfast_clock.sleep(60)
        yield 2

    def slow() -> Iterator[int]:
        yield 1
        holdfast_clock.sleep_sync(60)
        yield 2

    items: Any = slowly() if colour == "async" else slow()
    client, _ = pets(Server(seconds=lambda _: 0.0))
    with pytest.raises(BulkStoppedError) as info:
        sent(client.bulk(items, client.get_pet, deadline=5), colour)
    assert holdfast_clock.elapsed == pytest.approx(5.0 if colour == "async" else 60.0)
    assert info.value.result is not None and info.value.result.results[:1] == [Pet(id=1)]


@both
def test_it_can_stop_at_the_first_error(colour):
    client, transport = pets(Server({2}, lambda n: 1.0 + n / 10))
    with pytest.raises(NotFoundError) as info:
        sent(client.bulk(range(20), client.get_pet, workers=2, stop_on_error=True), colour)
    error = info.value
    assert isinstance(error, BulkStoppedError) and error.result is not None
    assert [bool(pet) for pet in error.result.results] == [True, True, False, True]
    assert len(transport.requests) == 4 and "3 of 20" not in str(error)
    assert error.__notes__ == ["It stopped the bulk: 4 of 20 items were done, 1 of them with an error."]


@both
def test_stopping_at_an_item_that_cannot_be_sent(colour):
    client, transport = pets()
    with pytest.raises(BulkStoppedError, match="invalid literal") as info:
        sent(client.bulk(["1", "x", "2"], lambda item: client.get_pet(int(item)), stop_on_error=True), colour)
    assert isinstance(info.value.__cause__, ValueError) and len(transport.requests) == 1


def test_cancelled_it_stops_at_once_and_leaves_nothing(holdfast_clock):
    client, transport = pets(Server(seconds=lambda n: 0.0 if n < 3 else 60.0))
    made: list[Call[Pet]] = []

    def make(item: int) -> Call[Pet]:
        made.append(client.get_pet(item))
        return made[-1]

    async def main() -> None:
        task = asyncio.ensure_future(client.bulk(range(100), make, workers=4))
        while len(transport.requests) < 7:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.resilient.bulkhead.in_flight == 0 and asyncio.all_tasks() == {asyncio.current_task()}
        assert holdfast_clock.elapsed < 1
        await asyncio.sleep(0)
        assert len(transport.requests) == len(made) == 7 and all(call.done() for call in made)

    asyncio.run(main())


def test_cancelled_it_ends_the_iteration_that_it_has_begun():
    client, _ = pets(Server(seconds=lambda _: 60.0))
    log: list[str] = []

    class Items:
        async def __aiter__(self) -> Any:
            try:
                for n in range(10):
                    yield n
            finally:
                log.append("closed")

    async def main() -> None:
        task = asyncio.ensure_future(client.bulk(Items(), client.get_pet, workers=2))
        while client.resilient.bulkhead.in_flight < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["closed"]

    asyncio.run(main())


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("how", ["cancel", "close"])
def test_it_ends_whenever_it_is_cancelled_or_its_client_closed(how, turns):
    client, transport = pets(Server(seconds=lambda _: 60.0))

    async def main() -> None:
        call = client.bulk(range(100), client.get_pet, workers=3)
        task = asyncio.ensure_future(call)
        for _ in range(turns):
            await asyncio.sleep(0)
        if how == "cancel":
            assert call.cancel() or not turns
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await client.close()
            with pytest.raises(ClientClosedError):
                await task
        before = len(transport.requests)
        await asyncio.sleep(0.01)
        assert len(transport.requests) == before <= 3 and client.resilient.bulkhead.in_flight == 0

    asyncio.run(asyncio.wait_for(main(), 20))


def test_closing_the_client_ends_it_on_threads_too():
    client, _ = pets(Server(seconds=lambda n: 0.0 if n < 5 else 0.05))

    def progress(done: int, total: int | None) -> None:
        if done == 5:
            client.close().result()

    with pytest.raises(ClientClosedError) as info:
        client.bulk(range(100), client.get_pet, workers=2, progress=progress).result()
    assert isinstance(info.value, BulkStoppedError) and info.value.result is not None
    assert 5 <= info.value.result.total_items <= 8


def test_a_task_that_somebody_else_cancels_is_a_failure_of_its_item():
    client, transport = pets(Server(seconds=lambda _: 60.0))

    async def main() -> Any:
        task = asyncio.ensure_future(client.bulk(range(2), client.get_pet))
        while len(transport.requests) < 2:
            await asyncio.sleep(0)
        for other in asyncio.all_tasks() - {task, asyncio.current_task()}:
            other.cancel()
        return await task

    result = asyncio.run(main())
    assert [one.error for one in result.errors] == ["the task that waited for it was cancelled"] * 2


@both
def test_what_is_made_and_never_sent_does_not_warn(colour):
    """The warnings of calls that were never sent are errors here."""
    client, transport = pets(Server(seconds=lambda _: 0.02))
    made: list[Call[Pet]] = []

    def make(item: int) -> Call[Pet]:
        made.append(client.get_pet(item))
        return made[-1]

    with pytest.raises(ZeroDivisionError) as info:
        sent(client.bulk(range(4, -1, -1), lambda item: make(1 // item)), colour)
    assert info.value.__notes__[-1].startswith("It ended the bulk: 0 of 5 items were done; ")
    assert len(made) == 4
    if colour == "async":
        assert not transport.requests and all(call.cancelled() for call in made)
    idle(client)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_ctrl_c_ends_it_on_a_thread_without_waiting_for_what_is_in_flight():
    answer = threading.Event()

    class Slow(httpx2.BaseTransport):
        asked = 0

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            self.asked += 1
            if self.asked == 3:
                os.kill(os.getpid(), signal.SIGINT)
            answer.wait(30)
            return httpx2.Response(200, json={"id": 1})

    slow = Slow()
    client = Pets(transport=slow)
    call = client.bulk(range(100), client.get_pet, workers=3)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        call.result()
    assert time.monotonic() - began < 15
    answer.set()
    idle(client)
    assert slow.asked == 3


# As a call


def test_it_is_a_call_like_others():
    client, transport = pets()
    call = client.bulk([1, 2], client.get_pet)
    assert repr(call) == "<Call bulk of 2 items by Pets.get_pet (not sent)>" and not call.done()
    with pytest.raises(TypeError, match=r"let its function return calls with \.raw\(\)"):
        _ = call.raw()
    with pytest.raises(TypeError, match="put the options on the calls"):
        _ = call.with_options(deadline=3)
    assert call.cancel() and call.done() and not transport.requests
    with pytest.raises(asyncio.CancelledError):
        call.result()
    done = client.bulk([1], client.get_pet)
    assert done.result() is done.result() and done.done() and len(transport.requests) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"items": 7}, TypeError, "items must be an iterable of the items, not int"),
        ({"items": "abc"}, TypeError, "not str"),
        ({"make": None}, TypeError, "make must be a function, not NoneType"),
        ({"workers": 0}, ValueError, "workers must be at least 1, not 0"),
        ({"workers": 1.5}, TypeError, "workers must be a whole number, not float"),
        ({"progress": 7}, TypeError, "progress must be a function, not int"),
        ({"deadline": 0}, ValueError, "deadline must be more than 0 seconds"),
        ({"deadline": "1"}, TypeError, "deadline must be a number of seconds"),
    ],
)
def test_wrong_arguments_are_named_at_once(arguments, error, message):
    client, _ = pets()
    with pytest.raises(error, match=message):
        _ = client.bulk(**{"items": [1], "make": client.get_pet, **arguments})


# Anything goes


@both
@settings(max_examples=25)
@given(
    items=st.lists(st.tuples(st.sampled_from(["ok", "missing", "raises", "other"]), st.floats(0, 3)), max_size=12),
    workers=st.integers(1, 5),
)
def test_every_item_has_one_outcome_in_its_place(colour, items, workers):
    with VirtualClock():
        kinds = [kind for kind, _ in items]
        server = Server((n for n, kind in enumerate(kinds) if kind == "missing"), lambda n: items[n][1])
        client, _ = pets(server)
        other, _ = pets(server)

        def make(n: int) -> Call[Pet]:
            if kinds[n] == "raises":
                raise ValueError(str(n))
            return (other if kinds[n] == "other" else client).get_pet(n)

        result = sent(client.bulk(iter(range(len(items))), make, workers=workers), colour)
    good = [kind in ("ok", "other") for kind in kinds]
    assert result.results == [Pet(id=n) if fine else None for n, fine in enumerate(good)]
    assert [one.index for one in result.errors] == [n for n, fine in enumerate(good) if not fine]
    assert client.resilient.bulkhead.in_flight == 0
