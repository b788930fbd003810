"""Closing, abandoning and dropping a call."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from holdfast import Call
from tests.support.calls import SLOW, Scripted, abandoned, as_awaiting_task, silence
from tests.support.virtual_loop import run_virtual

# Closing


def test_closed_unsent_it_sends_nothing_and_does_not_warn(recwarn):
    user = Scripted()
    call = user.client.get("/x")
    call.close()
    assert call.done() and call.cancelled()
    with pytest.raises(asyncio.CancelledError):
        call.result()
    del call
    gc.collect()
    assert user.sent == 0 and not recwarn.list


@pytest.mark.parametrize("stepper", [asyncio.ensure_future, as_awaiting_task])
def test_closed_in_flight_it_gives_its_slot_back_and_lets_nobody_wait(stepper):
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        task = stepper(call)
        await asyncio.sleep(1)
        assert user.held == 1
        call.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.done() and call.cancelled()
        assert user.held == 0

    run_virtual(main())


def test_closed_by_who_steps_it_by_hand_it_ends_at_once():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        task = asyncio.current_task()
        assert task is not None
        call.send(None)
        assert user.held == 1
        call.close()
        assert user.held == 0 and call.cancelled()
        await asyncio.sleep(1)
        assert task.cancelling() == 0

    run_virtual(main())


def test_closed_while_it_waits_for_a_slot():
    user = Scripted([SLOW], bulkhead={"max_concurrency": 1})
    call = user.client.get("/second")

    async def main():
        holder = asyncio.create_task(user.client.get("/first"))
        await asyncio.sleep(0)
        task = asyncio.create_task(call)
        await asyncio.sleep(1)
        assert user.client.bulkhead.queued == 1
        call.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert user.client.bulkhead.queued == 0
        await holder

    run_virtual(main())
    assert user.sent == 1 and user.held == 0


def test_closing_what_is_done_changes_nothing():
    user = Scripted()
    call = user.client.get("/x")
    call.result()
    call.close()
    call.close()
    assert call.result().status_code == 200 and not call.cancelled()


def test_closing_what_runs_on_a_thread_changes_nothing():
    calls: list[Call[Any]] = []

    def step(request: Any) -> int:
        calls[0].close()
        assert not calls[0].done()
        return 200

    user = Scripted(step)
    calls.append(user.client.get("/x"))
    assert calls[0].result().status_code == 200
    assert user.held == 0


# Dropping


@pytest.mark.parametrize("deadline", [None, 60.0])
def test_calls_abandoned_in_flight_give_their_slots_back_to_sync_code(deadline: float | None):
    user = Scripted([SLOW, SLOW, 200], bulkhead={"max_concurrency": 2, "acquisition_timeout": 1.0})
    loop, tasks = abandoned(*(user.client.get("/x", deadline=deadline) for _ in range(2)))
    assert user.held == 2
    silence(tasks)
    del loop, tasks
    assert user.client.get("/y").result().status_code == 200
    assert user.held == 0


@pytest.mark.parametrize("deadline", [None, 60.0])
def test_calls_abandoned_in_flight_give_their_slots_back_to_the_next_loop(deadline: float | None):
    user = Scripted([SLOW, SLOW, 200], bulkhead={"max_concurrency": 2, "acquisition_timeout": 1.0})
    loop, tasks = abandoned(*(user.client.get("/x", deadline=deadline) for _ in range(2)))
    silence(tasks)
    del loop, tasks
    assert asyncio.run(user.client.get("/y")).status_code == 200
    assert user.held == 0


def test_a_call_abandoned_in_the_queue_gives_up_its_place():
    user = Scripted([SLOW, 200], bulkhead={"max_concurrency": 1, "acquisition_timeout": 1.0})
    loop, tasks = abandoned(user.client.get("/x"), user.client.get("/y"))
    assert (user.client.bulkhead.in_flight, user.client.bulkhead.queued) == (1, 1)
    silence(tasks)
    del loop, tasks
    assert asyncio.run(user.client.get("/z")).status_code == 200
    assert user.held == 0


def test_a_call_that_is_collected_under_the_lock_gives_its_slot_back_afterwards():
    user = Scripted([SLOW])
    assembly = user.client._assembly
    loop, tasks = abandoned(user.client.get("/x"))
    silence(tasks)
    del loop, tasks
    with assembly.runtime:
        assembly.connections.let_go()
        gc.collect()
        assert user.held == 1, "nobody may touch it while somebody else has the lock"
    assert user.held == 0


def test_a_thousand_cancelled_calls_leave_nothing():
    user = Scripted([SLOW], bulkhead={"max_concurrency": 5, "acquisition_timeout": 1000.0})

    async def main():
        tasks = [asyncio.create_task(user.client.get("/x")) for _ in range(1000)]
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())
    assert user.held == 0
    assert user.sent <= 10
