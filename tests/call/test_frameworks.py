"""Calls in the hands of other people's libraries."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Iterator
from typing import Any
from unittest import mock

import anyio
import httpx2
import pytest
import stamina
import tenacity
from fastapi import Depends, FastAPI

from holdfast import HoldfastError, ResilientClient
from holdfast.testing import Step
from tests.support.calls import BASE, SLOW, Scripted
from tests.support.virtual_loop import run_virtual

# anyio


def test_anyio_run():
    user = Scripted([Step(json="hello")])
    assert anyio.run(user.client.get, "/x").json() == "hello"


def test_anyio_start_soon():
    user = Scripted([SLOW])

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(user.client.get, "/a", name="mine")
            group.start_soon(functools.partial(user.client.get, "/b", params={"page": 2}))

    run_virtual(main())
    assert sorted(request.url.path for request in user.transport.requests) == ["/a", "/b"]
    assert user.held == 0


def test_anyio_start_soon_cancelled_before_and_after_it_is_sent():
    user = Scripted([SLOW])

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(user.client.get, "/sent")
            await asyncio.sleep(1)
            group.start_soon(user.client.get, "/late")
            group.cancel_scope.cancel()

    run_virtual(main())
    assert user.held == 0
    assert user.transport.requests[0].url.path == "/sent"


def test_anyio_cancel_scopes():
    user = Scripted([SLOW])
    call = user.client.get("/x")

    async def main():
        with anyio.move_on_after(1) as scope:
            await call
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(1):
                await user.client.get("/y")
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    run_virtual(main())
    assert call.cancelled() and user.held == 0


def test_anyio_shielded_scopes():
    user = Scripted([SLOW])
    replies: list[Any] = []

    async def main():
        with anyio.move_on_after(1) as outer:
            with anyio.CancelScope(shield=True):
                replies.append(await user.client.get("/x"))
            await anyio.sleep(10)
        assert outer.cancelled_caught

    run_virtual(main())
    assert replies[0].status_code == 200


def test_a_call_cancelled_inside_of_an_anyio_scope_leaves_the_scope_alone():
    user = Scripted([SLOW])

    async def main():
        async with anyio.create_task_group() as group:
            call = user.client.get("/x")

            async def canceller() -> None:
                await anyio.sleep(1)
                call.cancel()

            group.start_soon(canceller)
            with pytest.raises(asyncio.CancelledError):
                await call
            await anyio.sleep(1)
        assert not group.cancel_scope.cancel_called

    run_virtual(main())
    assert user.held == 0


# trio


def test_without_asyncio_the_error_says_so_and_the_call_can_still_be_sent():
    user = Scripted()
    call = user.client.get("/x")
    with pytest.raises(RuntimeError, match=r"only be awaited under asyncio; trio is not supported.*use \.result\(\)"):
        call.send(None)
    assert user.sent == 0 and not call.done()
    assert call.result().status_code == 200


def test_awaited_by_a_coroutine_without_asyncio_the_error_says_so():
    user = Scripted()
    call = user.client.get("/x")

    async def main():
        return await call

    coroutine = main()
    with pytest.raises(RuntimeError, match="only be awaited under asyncio; trio is not supported"):
        coroutine.send(None)
    call.close()


def test_a_client_entered_without_asyncio_says_so():
    user = Scripted()
    with pytest.raises(RuntimeError, match=r"a client can only be used by 'async with' under asyncio; trio is not"):
        user.client.__aenter__().send(None)


# tenacity and stamina


def test_tenacity_retries_for_real():
    user = Scripted([503, 503, Step(json="at last")])
    get = tenacity.retry(
        stop=tenacity.stop_after_attempt(3), retry=tenacity.retry_if_exception_type(HoldfastError), sleep=_no_sleep
    )(user.client.get)
    assert inspect.iscoroutinefunction(get)

    async def main():
        return (await get("/x")).json()

    assert run_virtual(main()) == "at last"
    assert user.sent == 3


def test_tenacity_gives_up():
    user = Scripted([503])
    get = tenacity.retry(stop=tenacity.stop_after_attempt(2), sleep=_no_sleep)(user.client.get)

    async def main():
        with pytest.raises(tenacity.RetryError):
            await get("/x")

    run_virtual(main())
    assert user.sent == 2


def test_tenacity_around_a_partial():
    user = Scripted([503, 200])
    get = tenacity.retry(stop=tenacity.stop_after_attempt(3), sleep=_no_sleep)(functools.partial(user.client.get, "/x"))

    async def main():
        return await get()

    assert run_virtual(main()).status_code == 200


async def _no_sleep(seconds: float) -> None:
    pass


@pytest.fixture
def impatient() -> Iterator[None]:
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)


def test_stamina_retries_for_real(impatient):
    user = Scripted([503, 503, Step(json="at last")])
    get = stamina.retry(on=HoldfastError)(user.client.get)
    assert inspect.iscoroutinefunction(get)

    async def main():
        return (await get("/x")).json()

    assert run_virtual(main()) == "at last"
    assert user.sent == 3


def test_stamina_as_a_caller(impatient):
    user = Scripted([503, 200])

    async def main():
        return await stamina.AsyncRetryingCaller()(HoldfastError, user.client.get, "/x")

    assert run_virtual(main()).status_code == 200
    assert user.sent == 2


# functools


def test_partial():
    user = Scripted()
    get = functools.partial(user.client.get, "/x", params={"page": 2})
    assert asyncio.run(get()).status_code == 200
    assert get().result().status_code == 200
    assert str(user.transport.requests[0].url) == f"{BASE}/x?page=2"


# Mocks


def test_an_autospec_mock_can_be_awaited():
    client = mock.create_autospec(ResilientClient, instance=True)
    client.get.return_value = httpx2.Response(200, json={"id": 7})

    async def main():
        return (await client.get("/users/7", deadline=2.0)).json()

    assert asyncio.run(main()) == {"id": 7}
    client.get.assert_awaited_once_with("/users/7", deadline=2.0)


@pytest.mark.parametrize(("verb", "arguments"), [("get", ()), ("post", ("/x", "/y")), ("request", ("GET",))])
def test_an_autospec_mock_checks_the_signature(verb: str, arguments: tuple[str, ...]):
    client = mock.create_autospec(ResilientClient, instance=True)

    async def main():
        await getattr(client, verb)(*arguments)

    with pytest.raises(TypeError, match="argument"):
        asyncio.run(main())


def test_an_autospec_mock_raises_what_it_is_told():
    client = mock.create_autospec(ResilientClient, instance=True)
    client.post.side_effect = HoldfastError("refused")

    async def main():
        await client.post("/x")

    with pytest.raises(HoldfastError, match="refused"):
        asyncio.run(main())


def test_an_autospec_mock_is_an_async_context_manager():
    client = mock.create_autospec(ResilientClient, instance=True)

    async def main():
        async with client as entered:
            entered.get.return_value = 1
        await client.close()

    asyncio.run(main())
    client.close.assert_awaited_once_with()


def test_patching_a_method_with_autospec():
    user = Scripted()
    with mock.patch.object(user.client, "get", autospec=True) as get:
        get.return_value = "mocked"

        async def main():
            return await user.client.get("/x")

        assert asyncio.run(main()) == "mocked"
    assert user.sent == 0


def test_a_mock_with_a_spec_can_be_awaited():
    client = mock.Mock(spec=ResilientClient)
    assert isinstance(client.get, mock.AsyncMock)
    assert not isinstance(client.stream, mock.AsyncMock)


# FastAPI


def application(client: ResilientClient) -> FastAPI:
    app = FastAPI()

    async def get_client() -> ResilientClient:
        return client

    async def me(client: ResilientClient = Depends(get_client)) -> Any:
        return (await client.get("/me")).json()

    @app.get("/proxied")
    async def proxied(client: ResilientClient = Depends(get_client)) -> Any:
        return (await client.get("/users")).json()

    @app.get("/sync")
    def in_a_worker_thread(client: ResilientClient = Depends(get_client)) -> Any:
        return client.get("/users").result().json()

    @app.get("/me")
    async def with_dependency(user: Any = Depends(me)) -> Any:
        return user

    @app.get("/call", response_model=None)
    async def returned(client: ResilientClient = Depends(get_client)) -> Any:
        response = await client.get("/users")
        return dict(response.json(), status=response.status_code)

    return app


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/proxied", {"path": "/users"}),
        ("/sync", {"path": "/users"}),
        ("/me", {"path": "/me"}),
        ("/call", {"path": "/users", "status": 200}),
    ],
)
def test_fastapi_dependencies(path: str, answer: Any):
    user = Scripted(lambda request: Step(json={"path": request.url.path}))
    transport = httpx2.ASGITransport(application(user.client))

    async def main():
        async with httpx2.AsyncClient(transport=transport, base_url="http://app") as browser:
            return (await browser.get(path)).json()

    assert asyncio.run(main()) == answer
    assert user.sent == 1 and user.held == 0
