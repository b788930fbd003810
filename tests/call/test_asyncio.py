"""Whatever takes a coroutine takes a call."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import sys
import threading

import pytest

from holdfast import NotFoundError
from holdfast.testing import Step
from tests.support.calls import SLOW, Scripted, in_thread
from tests.support.virtual_loop import run_virtual


def test_await_sends_it():
    user = Scripted([Step(json={"id": 7})])

    async def main():
        return (await user.client.get("/users/7")).json()

    assert run_virtual(main()) == {"id": 7}
    assert user.sent == 1


def test_nothing_is_sent_before():
    user = Scripted()

    async def main():
        call = user.client.get("/x")
        await asyncio.sleep(1)
        assert user.sent == 0
        await call

    run_virtual(main())
    assert user.sent == 1


def test_create_task():
    user = Scripted([SLOW])

    async def main():
        task = asyncio.create_task(user.client.get("/x"), name="mine")
        await asyncio.sleep(1)
        assert user.sent == 1 and user.held == 1 and not task.done()
        return (await task).json()

    assert run_virtual(main()) == {"name": "slow"}
    assert user.held == 0


def test_ensure_future_makes_a_task_of_it():
    user = Scripted()

    async def main():
        future = asyncio.ensure_future(user.client.get("/x"))
        assert isinstance(future, asyncio.Task)
        assert [(await future).status_code, (await future).status_code] == [200, 200]

    run_virtual(main())
    assert user.sent == 1


def test_task_group():
    user = Scripted([SLOW])

    async def main():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(user.client.get(f"/{number}")) for number in range(3)]
        return [task.result().status_code for task in tasks]

    assert run_virtual(main()) == [200, 200, 200]
    assert user.sent == 3 and user.held == 0


def test_one_that_fails_cancels_the_others_of_its_task_group():
    user = Scripted(lambda request: Step(404, delay=1.0) if request.url.path == "/gone" else SLOW)
    calls = [user.client.get("/gone"), user.client.get("/slow")]

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(call)
        (error,) = caught.value.exceptions
        assert isinstance(error, NotFoundError)

    run_virtual(main())
    assert not calls[0].cancelled() and calls[1].cancelled()
    assert user.held == 0


def test_gather():
    user = Scripted(lambda request: Step(json=request.url.path))

    async def main():
        replies = await asyncio.gather(user.client.get("/a"), user.client.get("/b"))
        return [reply.json() for reply in replies]

    assert run_virtual(main()) == ["/a", "/b"]


def test_gather_returns_errors_if_asked():
    user = Scripted([404, 200])

    async def main():
        return await asyncio.gather(user.client.get("/a"), user.client.get("/b"), return_exceptions=True)

    error, reply = run_virtual(main())
    assert isinstance(error, NotFoundError) and reply.status_code == 200


def test_gathering_the_same_call_twice_sends_one_request():
    user = Scripted([SLOW])

    async def main():
        call = user.client.get("/x")
        return await asyncio.gather(call, call)

    first, second = run_virtual(main())
    assert first is second
    assert user.sent == 1


def test_wait_for_in_time():
    user = Scripted([SLOW])

    async def main():
        return await asyncio.wait_for(user.client.get("/x"), 6)

    assert run_virtual(main()).status_code == 200


def test_wait_for_too_long_cancels_it_and_gives_its_slot_back():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 4)
        assert user.held == 0
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    run_virtual(main())
    assert user.sent == 1
    assert call.done() and call.cancelled()


def test_wait_for_too_long_while_it_waits_for_a_slot():
    user = Scripted([SLOW], bulkhead={"max_concurrency": 1})

    async def main():
        holder = asyncio.create_task(user.client.get("/first"))
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(user.client.get("/second"), 1)
        assert user.client.bulkhead.queued == 0
        await holder

    run_virtual(main())
    assert user.sent == 1 and user.held == 0


def test_timeout_block():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await call

    run_virtual(main())
    assert call.cancelled() and user.held == 0


def test_shield_lets_it_go_on():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        shielded = asyncio.shield(call)
        waiting = asyncio.create_task(asyncio.wait_for(shielded, 1))
        with pytest.raises(TimeoutError):
            await waiting
        assert not call.done() and user.held == 1
        await asyncio.sleep(5)
        return await call

    assert run_virtual(main()).status_code == 200
    assert user.sent == 1 and user.held == 0


def test_as_completed():
    user = Scripted(lambda request: Step(delay=float(request.url.path[1:]), json=request.url.path))

    async def main():
        calls = [user.client.get("/3"), user.client.get("/1"), user.client.get("/2")]
        return [(await future).json() for future in asyncio.as_completed(calls)]

    assert run_virtual(main()) == ["/1", "/2", "/3"]


def test_wait_takes_its_tasks():
    user = Scripted(lambda request: Step(delay=float(request.url.path[1:])))

    async def main():
        tasks = {asyncio.ensure_future(user.client.get(path)) for path in ("/1", "/3")}
        done, pending = await asyncio.wait(tasks, timeout=2)
        assert len(done) == len(pending) == 1
        await pending.pop()

    run_virtual(main())


def test_asyncio_run():
    user = Scripted([Step(json="hello")])
    assert asyncio.run(user.client.get("/x")).json() == "hello"


def test_asyncio_run_raises_its_error():
    user = Scripted([404])
    with pytest.raises(NotFoundError):
        asyncio.run(user.client.get("/x"))


def test_runner():
    user = Scripted([Step(json=1), Step(json=2)])
    with asyncio.Runner() as runner:
        assert [runner.run(user.client.get("/x")).json(), runner.run(user.client.get("/x")).json()] == [1, 2]


def test_closing_a_client_is_a_call_too():
    user = Scripted()
    asyncio.run(user.client.close())
    assert user.client.is_closed


def test_run_until_complete():
    user = Scripted()
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(user.client.get("/x")).status_code == 200
    finally:
        loop.close()


def test_run_coroutine_threadsafe():
    user = Scripted()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        future = asyncio.run_coroutine_threadsafe(user.client.get("/x"), loop)
        assert future.result(10).status_code == 200
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_result_in_a_thread_beside_the_loop():
    user = Scripted()

    async def main():
        return await asyncio.to_thread(user.client.get("/x").result)

    assert asyncio.run(main()).status_code == 200


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_eager_tasks():
    user = Scripted([SLOW])

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        calls = [user.client.get("/a"), user.client.get("/b")]
        tasks = [asyncio.create_task(call) for call in calls]
        assert user.sent == 2
        calls[1].cancel()
        assert (await tasks[0]).status_code == 200
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]

    run_virtual(main())
    assert user.held == 0


# Debug mode


@pytest.fixture
def debugging(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    caplog.set_level(logging.DEBUG)
    return caplog


def test_debug_mode_shows_tasks_and_warns_of_nothing(debugging: pytest.LogCaptureFixture, recwarn):
    user = Scripted([SLOW])
    seen: list[str] = []
    stack = io.StringIO()

    async def main():
        assert asyncio.get_running_loop().get_debug()
        task = asyncio.create_task(user.client.get("/users", params={"page": 2}))
        seen.append(repr(task))
        await asyncio.sleep(1)
        seen.append(repr(task))
        assert task.get_stack()
        task.print_stack(file=stack)
        assert task in asyncio.all_tasks()
        await task
        seen.append(repr(task))
        await asyncio.gather(user.client.get("/a"), user.client.get("/b"))

    run_virtual(main())
    gc.collect()
    fresh, waiting, done = seen
    assert "pending" in fresh and "running at" in fresh
    assert "GET /users" in waiting and "running at" in waiting and "drive_async.py" in waiting
    assert "drive" in stack.getvalue()
    assert "finished" in done and "GET /users" in done
    assert not recwarn.list
    assert not [record for record in debugging.records if record.name == "asyncio" and record.levelno > logging.INFO]


def test_debug_mode_shows_no_secrets(debugging: pytest.LogCaptureFixture):
    user = Scripted([SLOW])

    async def main():
        task = asyncio.create_task(user.client.get("/users?api_key=hunter2"))
        shown = [repr(task)]
        await asyncio.sleep(1)
        shown.append(repr(task))
        await task
        return [*shown, repr(task)]

    shown = run_virtual(main())
    assert all("GET /users" in one for one in shown)
    logged = [record.getMessage() for record in debugging.records if record.name == "asyncio"]
    assert "hunter2" not in "".join(shown + logged)


def test_debug_mode_knows_where_it_was_awaited(debugging: pytest.LogCaptureFixture):
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        task = asyncio.create_task(call)
        await asyncio.sleep(1)
        assert call.cr_origin and call.cr_await is not None
        await task

    run_virtual(main())
    assert user.held == 0


def test_an_error_that_nobody_retrieves_is_reported_as_any_task_s(caplog: pytest.LogCaptureFixture):
    user = Scripted([404])

    async def main():
        task = asyncio.create_task(user.client.get("/gone"))
        await asyncio.sleep(1)
        del task
        gc.collect()

    run_virtual(main())
    assert "Task exception was never retrieved" in caplog.text


def test_a_second_loop_in_another_thread():
    user = Scripted([SLOW])

    async def main():
        return (await user.client.get("/x")).status_code

    assert run_virtual(main()) == 200
    assert in_thread(lambda: run_virtual(main())) == 200
