"""Cancelling and interrupting a call."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import Call
from holdfast.testing import Step
from tests.support.calls import SLOW, Scripted, abandoned, in_thread, silence
from tests.support.virtual_loop import run_virtual


async def cancelled_while_awaiting(call: Call[Any]) -> int:
    """Awaits a call that is cancelled meanwhile; how many cancellations are left to the awaiting task itself."""
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(asyncio.CancelledError):
        await call
    left = task.cancelling()
    await asyncio.sleep(1)
    return left


# Before it is sent


def test_a_call_is_done_when_it_has_its_outcome():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        assert not call.done()
        task = asyncio.create_task(call)
        assert not call.done()
        await asyncio.sleep(1)
        assert not call.done()
        await task
        assert call.done() and not call.cancelled()

    run_virtual(main())


def test_cancelled_before_it_is_sent_nothing_is_sent():
    user = Scripted()
    call = user.client.get("/x")
    assert call.cancel()
    assert call.done() and call.cancelled()

    async def main():
        return await cancelled_while_awaiting(call)

    assert run_virtual(main()) == 0
    assert user.sent == 0


def test_cancelled_before_it_is_sent_result_sends_nothing():
    user = Scripted()
    call = user.client.get("/x")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        call.result()
    assert user.sent == 0


def test_cancelled_between_task_and_first_step_nothing_is_sent():
    user = Scripted()
    call = user.client.get("/x")

    async def main():
        task = asyncio.create_task(call)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run_virtual(main())
    assert user.sent == 0


def test_its_task_cancelled_before_the_first_step_nothing_is_sent():
    user = Scripted()
    call = user.client.get("/x")

    async def main():
        task = asyncio.create_task(call)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())
    assert call.done() and call.cancelled()
    assert user.sent == 0


def test_cancelling_twice_says_that_it_is_done():
    user = Scripted()
    call = user.client.get("/x")
    assert [call.cancel(), call.cancel()] == [True, False]


def test_what_is_done_cannot_be_cancelled():
    user = Scripted()
    call = user.client.get("/x")
    call.result()
    assert not call.cancel()
    assert not call.cancelled()
    assert call.result().status_code == 200


# In flight


def test_cancelled_in_flight_from_the_same_loop():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        waiting = asyncio.create_task(cancelled_while_awaiting(call))
        await asyncio.sleep(1)
        assert user.held == 1
        assert call.cancel()
        return await waiting

    assert run_virtual(main()) == 0, "the awaiting task was not cancelled itself"
    assert call.done() and call.cancelled()
    assert user.sent == 1 and user.held == 0


def test_cancelled_in_flight_from_a_callback():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        asyncio.get_running_loop().call_later(1, call.cancel)
        return await cancelled_while_awaiting(call)

    assert run_virtual(main()) == 0
    assert call.cancelled() and user.held == 0


def test_cancelled_while_it_waits_for_a_slot():
    user = Scripted([SLOW], bulkhead={"max_concurrency": 1})
    call = user.client.get("/second")

    async def main():
        holder = asyncio.create_task(user.client.get("/first"))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(cancelled_while_awaiting(call))
        await asyncio.sleep(1)
        assert user.client.bulkhead.queued == 1
        call.cancel()
        await waiting
        assert user.client.bulkhead.queued == 0
        await holder

    run_virtual(main())
    assert user.sent == 1 and user.held == 0


def test_cancelled_in_flight_as_the_coroutine_of_a_task():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        task = asyncio.create_task(call)
        await asyncio.sleep(1)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled() and task.cancelling() == 1

    run_virtual(main())
    assert call.cancelled() and user.held == 0


def test_cancelling_its_task_cancels_the_call():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        task = asyncio.create_task(cancelled_while_awaiting(call))
        await asyncio.sleep(1)
        task.cancel()
        return await task

    assert run_virtual(main()) == 1, "this cancellation was meant for the task"
    assert call.cancelled() and user.held == 0


def test_cancelled_in_flight_from_another_thread():
    arrived = threading.Event()

    def slow(request: Any) -> Step:
        arrived.set()
        return Step(delay=30.0)

    user = Scripted(slow)
    call = user.client.get("/x")
    answers: list[bool] = []

    def cancel() -> None:
        assert arrived.wait(10)
        answers.append(call.cancel())

    async def main():
        task = asyncio.current_task()
        assert task is not None
        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(asyncio.CancelledError):
            await call
        thread.join(10)
        await asyncio.sleep(0)
        return task.cancelling()

    assert asyncio.run(main(), debug=True) == 0
    assert answers == [True]
    assert call.cancelled() and user.held == 0


def test_cancelled_twice_in_flight_the_awaiting_task_is_still_not_cancelled():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        waiting = asyncio.create_task(cancelled_while_awaiting(call))
        await asyncio.sleep(1)
        assert call.cancel() and call.cancel()
        return await waiting

    assert run_virtual(main()) == 0
    assert not call.cancel()


def test_cancelled_together_with_its_task_the_task_stays_cancelled():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        waiting = asyncio.create_task(cancelled_while_awaiting(call))
        await asyncio.sleep(1)
        call.cancel()
        waiting.cancel()
        return await waiting

    assert run_virtual(main()) == 1


def test_a_task_group_goes_on_after_a_call_in_it_was_cancelled():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        async with asyncio.TaskGroup() as group:
            cancelled = group.create_task(cancelled_while_awaiting(call))
            other = group.create_task(user.client.get("/other"))
            await asyncio.sleep(1)
            call.cancel()
        return cancelled.cancelled(), other.result().status_code

    assert run_virtual(main()) == (False, 200)


@pytest.mark.parametrize("where", [lambda work: work(), in_thread], ids=["own step", "thread"])
def test_cancelled_too_late_it_interrupts_nothing_else(where: Callable[[Callable[[], bool]], bool]):
    calls: list[Call[Any]] = []
    user = Scripted(lambda request: 200 if where(calls[0].cancel) else 500)
    call = user.client.get("/x")
    calls.append(call)

    async def main():
        reply = await call
        await asyncio.sleep(1)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        return reply.status_code

    assert run_virtual(main()) == 200
    assert not call.cancelled()


def test_a_thread_cannot_be_interrupted():
    answers: list[bool] = []
    calls: list[Call[Any]] = []

    def step(request: Any) -> int:
        answers.append(calls[0].cancel())
        return 200

    user = Scripted(step)
    calls.append(user.client.get("/x"))
    assert calls[0].result().status_code == 200
    assert answers == [False]


def test_cancelled_after_its_loop_was_closed():
    user = Scripted([SLOW])
    call = user.client.get("/x")
    loop, task = abandoned(call)
    assert user.held == 1
    assert not call.cancel()
    call.close()
    assert call.cancelled() and user.held == 0
    del loop
    silence(task)


# Ctrl-C


def ctrl_c(request: Any) -> int:
    raise KeyboardInterrupt


def test_ctrl_c_in_sync_code_is_not_stored():
    user = Scripted(ctrl_c)
    call = user.client.get("/x")
    with pytest.raises(KeyboardInterrupt):
        call.result()
    assert user.held == 0
    assert call.done() and not call.cancelled()
    with pytest.raises(RuntimeError, match="interrupted before it had an outcome"):
        call.result()
    with pytest.raises(RuntimeError, match="interrupted before it had an outcome"):
        asyncio.run(call)
    assert user.sent == 1


def test_ctrl_c_under_asyncio_is_not_stored():
    user = Scripted(ctrl_c)
    call = user.client.get("/x")

    async def main():
        with pytest.raises(KeyboardInterrupt):
            await call
        with pytest.raises(RuntimeError, match="interrupted before it had an outcome"):
            await call

    run_virtual(main())
    assert user.sent == 1 and user.held == 0


def test_ctrl_c_under_asyncio_run_gives_the_slot_back():
    def interrupted(request: Any) -> Step:
        signal.raise_signal(signal.SIGINT)
        return Step(delay=30.0)

    user = Scripted(interrupted)
    call = user.client.get("/x")
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(call)
    assert call.cancelled() and user.held == 0
