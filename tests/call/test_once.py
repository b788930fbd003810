"""A call is sent at most once, and its outcome is kept."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast import Call, InvalidRequestError, NotFoundError
from tests.support.calls import SLOW, Scripted, in_thread
from tests.support.virtual_loop import run_virtual


async def waiting_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


Stepper = Callable[["Call[Any]"], "asyncio.Task[Any]"]


def as_task(call: Call[Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(call)


def awaited(call: Call[Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(waiting_for(call))


PAIRS = [(first, second) for first in (as_task, awaited) for second in (as_task, awaited)]
both = pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda step: step.__name__)


def test_awaited_again_it_gives_the_same_response():
    user = Scripted()

    async def main():
        call = user.client.get("/x")
        return [await call, await call, await asyncio.create_task(call), await asyncio.gather(call)]

    first, second, third, (fourth,) = run_virtual(main())
    assert first is second is third is fourth
    assert user.sent == 1


def test_awaited_again_it_raises_the_same_error():
    user = Scripted([404])
    call = user.client.get("/x")

    async def main():
        errors = []
        for _ in range(3):
            with pytest.raises(NotFoundError) as caught:
                await call
            errors.append(caught.value)
        return errors

    first, *others = run_virtual(main())
    assert all(other is first for other in others)
    assert user.sent == 1 and call.done() and not call.cancelled()


def test_an_error_keeps_its_first_traceback_and_does_not_grow():
    user = Scripted([404])
    call = user.client.get("/x")
    seen: list[list[str]] = []

    async def main():
        for _ in range(20):
            try:
                await call
            except NotFoundError as error:
                seen.append([frame.name for frame in traceback.extract_tb(error.__traceback__)])

    run_virtual(main())
    for _ in range(3):
        with pytest.raises(NotFoundError) as caught:
            call.result()
        seen.append([frame.name for frame in traceback.extract_tb(caught.value.__traceback__)])
    first, *others = seen
    assert "drive" in first
    for frames in others:
        assert frames[-1] == first[-1] and "drive" in frames
    assert seen[1] == seen[19]
    assert seen[20] == seen[22]


def test_what_is_done_under_asyncio_can_be_had_from_sync_code():
    user = Scripted()
    call = user.client.get("/x")
    assert asyncio.run(call) is call.result()
    assert user.sent == 1


def test_what_is_done_in_sync_code_can_be_awaited():
    user = Scripted()
    call = user.client.get("/x")
    assert call.result() is asyncio.run(call)
    assert user.sent == 1


def test_the_result_of_a_call_that_is_done_can_be_had_inside_a_running_loop():
    user = Scripted()

    async def main():
        call = user.client.get("/x")
        return await call is call.result()

    assert run_virtual(main())


def test_an_error_of_sync_code_is_raised_again_under_asyncio():
    user = Scripted([404])
    call = user.client.get("/x")
    with pytest.raises(NotFoundError) as caught:
        call.result()

    async def main():
        await call

    with pytest.raises(NotFoundError) as again:
        run_virtual(main())
    assert again.value is caught.value
    assert user.sent == 1


def test_a_request_that_cannot_be_built_fails_when_awaited_and_again():
    user = Scripted()
    call = user.client.get("http://[broken")

    async def main():
        with pytest.raises(InvalidRequestError) as first:
            await call
        with pytest.raises(InvalidRequestError) as second:
            await asyncio.create_task(call)
        assert first.value is second.value

    run_virtual(main())
    assert call.done() and user.sent == 0


# A second task


@both
def test_a_second_task_is_refused_while_the_first_one_waits(first: Stepper, second: Stepper):
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        sender = first(call)
        await asyncio.sleep(1)
        with pytest.raises(RuntimeError, match="already being awaited"):
            await second(call)
        assert not sender.done()
        return await sender

    assert run_virtual(main()).status_code == 200
    assert user.sent == 1 and user.held == 0


@both
def test_a_second_task_of_the_same_moment_is_refused(first: Stepper, second: Stepper):
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        return await asyncio.gather(first(call), second(call), return_exceptions=True)

    reply, error = run_virtual(main())
    assert reply.status_code == 200
    assert isinstance(error, RuntimeError)
    assert user.sent == 1


@both
def test_cancelling_the_second_task_does_not_cancel_the_first(first: Stepper, second: Stepper):
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        sender = first(call)
        await asyncio.sleep(1)
        other = second(call)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        assert not call.done() and user.held == 1
        return await sender

    assert run_virtual(main()).status_code == 200
    assert not call.cancelled() and user.sent == 1


@both
def test_a_second_task_that_comes_after_the_end_gets_the_outcome(first: Stepper, second: Stepper):
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        return await first(call) is await second(call)

    assert run_virtual(main())
    assert user.sent == 1


@both
def test_a_second_task_cancelled_after_the_end_is_just_cancelled(first: Stepper, second: Stepper):
    user = Scripted()
    call = user.client.get("/x")

    async def main():
        await first(call)
        other = second(call)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        return await call

    assert run_virtual(main()).status_code == 200
    assert not call.cancelled()


def test_a_second_loop_is_refused_too():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        sender = asyncio.create_task(call)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being awaited"):
            in_thread(lambda: asyncio.run(call))
        return await sender

    assert run_virtual(main()).status_code == 200


def test_result_is_refused_while_a_task_waits():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        sender = asyncio.create_task(call)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being awaited"):
            in_thread(call.result)
        await sender

    run_virtual(main())
    assert user.sent == 1


def test_awaiting_is_refused_while_a_thread_waits():
    arrived, go = threading.Event(), threading.Event()

    def held(request: Any) -> int:
        arrived.set()
        assert go.wait(10)
        return 200

    user = Scripted(held)
    call = user.client.get("/x")
    thread = threading.Thread(target=call.result)
    thread.start()
    try:
        assert arrived.wait(10)
        with pytest.raises(RuntimeError, match="already being awaited"):
            asyncio.run(call)
        with pytest.raises(RuntimeError, match="already being awaited"):
            call.result()
    finally:
        go.set()
        thread.join(10)
    assert call.result().status_code == 200
    assert user.sent == 1


def test_threads_that_race_for_a_call_send_it_once():
    user = Scripted()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            sent = user.sent
            call = user.client.get("/x")
            start = threading.Barrier(4)

            def race(call: Call[Any] = call, start: threading.Barrier = start) -> None:
                start.wait(10)
                try:
                    call.result()
                except RuntimeError as error:
                    assert "already being awaited" in str(error)  # noqa: PT017

            threads = [threading.Thread(target=race) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            assert user.sent == sent + 1
    finally:
        sys.setswitchinterval(before)
