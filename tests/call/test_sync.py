"""`result()`: a call in sync code."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast import NotFoundError
from holdfast.testing import Step
from tests.support.calls import Scripted, in_thread
from tests.support.virtual_loop import run_virtual


def test_result_sends_it():
    user = Scripted([Step(json={"id": 7})])
    call = user.client.get("/users/7")
    assert user.sent == 0
    assert call.result().json() == {"id": 7}
    assert call.done() and not call.cancelled()
    assert user.sent == 1 and user.held == 0


def test_result_raises_the_error():
    user = Scripted([404])
    call = user.client.get("/gone")
    with pytest.raises(NotFoundError):
        call.result()
    assert call.done() and user.held == 0


def test_a_second_result_is_the_first():
    user = Scripted()
    call = user.client.get("/x")
    assert call.result() is call.result()
    assert user.sent == 1


def test_a_second_result_raises_the_same_error():
    user = Scripted([404])
    call = user.client.get("/gone")
    errors = []
    for _ in range(2):
        with pytest.raises(NotFoundError) as caught:
            call.result()
        errors.append(caught.value)
    assert errors[0] is errors[1]
    assert user.sent == 1


def test_result_inside_a_running_loop_raises_at_once_and_says_what_to_write():
    user = Scripted()

    async def main():
        call = user.client.get("/x")
        with pytest.raises(RuntimeError, match=r"running event loop.*write 'await call'") as caught:
            call.result()
        assert "GET /x" in str(caught.value)
        assert user.sent == 0 and not call.done()
        return await call

    assert run_virtual(main()).status_code == 200


def test_result_inside_a_callback_of_a_running_loop_raises_too():
    user = Scripted()
    errors: list[Exception] = []

    def callback() -> None:
        call = user.client.get("/x")
        try:
            call.result()
        except RuntimeError as error:
            errors.append(error)
        call.close()

    async def main():
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0.1)

    run_virtual(main())
    assert len(errors) == 1 and user.sent == 0


def test_a_stream_entered_in_sync_code_inside_a_running_loop_raises_at_once():
    user = Scripted([Step(content=b"abc")])

    async def main():
        stream = user.client.stream("GET", "/x")
        with pytest.raises(RuntimeError, match="running event loop"), stream:
            pass
        async with stream as response:
            return await response.aread()

    assert run_virtual(main()) == b"abc"
    assert user.held == 0


def test_result_in_threads():
    user = Scripted(lambda request: Step(json=request.url.path))
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda number: user.client.get(f"/{number}").result().json(), range(64)))
    assert replies == [f"/{number}" for number in range(64)]
    assert user.sent == 64 and user.held == 0


def test_a_call_may_be_made_in_one_thread_and_sent_in_another():
    user = Scripted()
    call = user.client.get("/x")
    reply = in_thread(call.result)
    assert call.result() is reply


def test_closing_a_client():
    user = Scripted()
    user.client.close().result()
    assert user.client.is_closed
