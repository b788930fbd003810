"""What a call is as an object, whatever it sends."""

from __future__ import annotations

import asyncio
import collections.abc
import copy
import functools
import gc
import inspect
import pickle
import weakref
from typing import Any

import pytest

from holdfast import Call
from tests.support.calls import SLOW, Scripted
from tests.support.virtual_loop import run_virtual

VERBS = ["get", "head", "options", "post", "put", "patch", "delete", "request", "close", "aclose"]


# A coroutine


def test_a_call_is_a_coroutine():
    call: Any = Scripted().client.get("/x")
    assert isinstance(call, collections.abc.Coroutine)
    assert asyncio.iscoroutine(call)
    assert inspect.isawaitable(call)
    call.close()


@pytest.mark.parametrize("verb", VERBS)
def test_request_methods_are_coroutine_functions(verb: str):
    client = Scripted().client
    for method in (getattr(client, verb), getattr(type(client), verb), functools.partial(getattr(client, verb), "/x")):
        assert inspect.iscoroutinefunction(method)
        assert asyncio.iscoroutinefunction(method)  # type: ignore[deprecated,unused-ignore]  # frameworks ask it still


@pytest.mark.parametrize("name", ["stream", "with_options", "metrics"])
def test_other_methods_are_none(name: str):
    assert not inspect.iscoroutinefunction(getattr(Scripted().client, name))


def test_a_view_s_methods_are_coroutine_functions_too():
    assert inspect.iscoroutinefunction(Scripted().client.with_options(deadline=1.0).get)


@pytest.mark.parametrize("verb", VERBS)
def test_marking_them_keeps_name_and_signature(verb: str):
    method = getattr(Scripted().client, verb)
    assert method.__name__ == verb.replace("aclose", "close")
    parameters = inspect.signature(method).parameters
    assert "options" in parameters or not parameters


def test_its_states_are_those_of_a_coroutine():
    user = Scripted([SLOW])
    call: Any = user.client.get("/x")
    seen = [inspect.getcoroutinestate(call)]

    async def main():
        task = asyncio.create_task(call)
        await asyncio.sleep(1)
        seen.append(inspect.getcoroutinestate(call))
        await task

    run_virtual(main())
    seen.append(inspect.getcoroutinestate(call))
    assert seen == [inspect.CORO_CREATED, inspect.CORO_SUSPENDED, inspect.CORO_CLOSED]


def test_its_state_while_it_is_stepped():
    calls: list[Any] = []
    seen: list[str] = []

    def step(request: Any) -> int:
        seen.append(inspect.getcoroutinestate(calls[-1]))
        return 200

    user = Scripted(step)
    calls.append(user.client.get("/x"))
    asyncio.run(calls[0])
    calls.append(user.client.get("/x"))
    calls[1].result()
    assert seen == [inspect.CORO_RUNNING, inspect.CORO_RUNNING]


def test_it_has_a_name_and_no_other_attributes():
    call: Any = Scripted().client.get("/x")
    assert call.__name__ == "GET /x"
    assert type(call).__name__ == "Call"
    with pytest.raises(AttributeError, match="'Call' object has no attribute 'status_code'"):
        _ = call.status_code
    call.close()


# Identity


def test_calls_are_equal_only_if_they_are_the_same():
    client = Scripted().client
    one, other = client.get("/x"), client.get("/x")
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2
    assert {one: 1}[one] == 1
    one.close()
    other.close()


def test_comparing_and_hashing_send_nothing():
    user = Scripted()
    call = user.client.get("/x")
    assert call != "GET /x" and hash(call) == hash(call) and not call.done()
    assert user.sent == 0
    call.close()


@pytest.mark.parametrize("status", [200, 204, 404])
def test_a_call_is_always_true(status: int):
    user = Scripted([status])
    call = user.client.get("/x")
    assert call
    asyncio.run(asyncio.wait_for(_ended(call), 1))
    assert call


async def _ended(call: Call[Any]) -> None:
    await asyncio.gather(call, return_exceptions=True)


def test_repr_tells_the_request_and_where_it_stands():
    user = Scripted([SLOW, 404])
    call, cancelled, failed = user.client.get("/users"), user.client.post("/users"), user.client.delete("/users/7")
    seen = [repr(call)]
    cancelled.cancel()

    async def main():
        task = asyncio.create_task(call)
        await asyncio.sleep(1)
        seen.append(repr(call))
        await task
        await asyncio.gather(failed, return_exceptions=True)

    run_virtual(main())
    seen += [repr(call), repr(cancelled), repr(failed)]
    assert seen == [
        "<Call GET /users (not sent)>",
        "<Call GET /users (in flight)>",
        "<Call GET /users (done)>",
        "<Call POST /users (cancelled)>",
        "<Call DELETE /users/7 (failed)>",
    ]


def test_repr_sends_nothing():
    user = Scripted()
    call = user.client.get("/x")
    assert str(call) == repr(call) == f"{call}"
    assert user.sent == 0 and not call.done()
    call.close()


@pytest.mark.parametrize(
    "url",
    ["/x?api_key=hunter2&page=2", "https://jo:hunter2@api.example.com/x?page=2", "/x?access_token=hunter2&page=2"],
)
def test_repr_shows_no_secrets(url: str):
    user = Scripted()
    call = user.client.post(url, headers={"Authorization": "Bearer hunter2"}, json={"password": "hunter2"})
    assert "hunter2" not in repr(call)
    assert "/x?" in repr(call) and "page=2" in repr(call)
    stream = user.client.stream("POST", url, params={"token": "hunter2"})
    assert "hunter2" not in repr(stream)
    call.close()
    stream._call.close()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_no_copies(duplicate: Any):
    user = Scripted()
    call = user.client.get("/x")
    with pytest.raises(TypeError, match="cannot be copied"):
        duplicate(call)
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.deepcopy({"call": call})
    call.close()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickles(protocol: int):
    user = Scripted()
    call = user.client.get("/x")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(call, protocol)
    call.result()
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(call, protocol)


def test_it_can_be_referred_to_weakly():
    call = Scripted().client.get("/x")
    assert weakref.ref(call)() is call
    call.close()


# Dropping


def drop(call: object) -> None:
    del call
    gc.collect()


def test_dropped_unsent_it_warns_with_method_and_url():
    user = Scripted()
    with pytest.warns(RuntimeWarning, match=r"GET /users\?page=2 .*never sent: await it, or call \.result\(\)"):
        drop(user.client.get("/users?page=2"))
    assert user.sent == 0


def test_the_warning_shows_no_secrets():
    user = Scripted()
    with pytest.warns(RuntimeWarning) as caught:
        drop(user.client.get("/users?api_key=hunter2"))
    assert "hunter2" not in str(caught[0].message)


def test_a_stream_dropped_unsent_warns_too():
    with pytest.warns(RuntimeWarning, match="GET /events"):
        drop(Scripted().client.stream("GET", "/events"))


@pytest.mark.parametrize("end", ["result", "cancel", "close"])
def test_dropped_afterwards_it_does_not_warn(end: str, recwarn):
    user = Scripted()
    call = user.client.get("/x")
    getattr(call, end)()
    del call
    gc.collect()
    assert not recwarn.list


def test_dropped_after_its_end_it_leaves_nothing():
    user = Scripted([404])
    call = user.client.get("/x")
    asyncio.run(_ended(call))
    gone = weakref.ref(call)
    del call
    gc.collect()
    assert gone() is None
