"""The client that a whole process shares."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.crews import CrewClient, close_crew_client, get_crew_client
from tests.support.loopback import Loopback, json_answer

pytestmark = pytest.mark.loopback


def test_there_is_one_until_it_is_closed() -> None:
    first = get_crew_client()
    assert type(first) is CrewClient and get_crew_client() is first

    async def main() -> None:
        await close_crew_client()
        await close_crew_client()
        assert first.resilient.is_closed
        assert get_crew_client() is not first

    asyncio.run(main())
    second = get_crew_client()
    close_crew_client().result()
    close_crew_client().result()
    assert second.resilient.is_closed and get_crew_client() is not second


def test_closing_where_there_is_none_does_nothing() -> None:
    close_crew_client().result()
    asyncio.run(close_crew_client())
    assert inspect.iscoroutinefunction(close_crew_client)


def test_closing_is_a_call_like_others() -> None:
    with pytest.warns(RuntimeWarning, match="never sent"):
        close_crew_client()  # type: ignore[unused-awaitable]  # that is what is tested
    call = close_crew_client()
    for use in (call.raw, lambda: call.with_options(deadline=1)):
        with pytest.raises(TypeError, match="close"):
            use()
    assert "close()" in repr(call)
    call.result()

    async def main() -> None:
        call = close_crew_client()
        with pytest.raises(RuntimeError, match="inside a running event loop"):
            call.result()
        await call

    asyncio.run(main())


def test_one_that_was_closed_by_itself_is_not_handed_out() -> None:
    first = get_crew_client()
    first.close().result()
    assert get_crew_client() is not first


def test_many_threads_get_the_same() -> None:
    together = threading.Barrier(20)

    def ask() -> CrewClient:
        together.wait(10)
        return get_crew_client()

    with ThreadPoolExecutor(20) as pool:
        found = [one.result() for one in [pool.submit(ask) for _ in range(20)]]
    assert len(set(map(id, found))) == 1


def test_settings_are_read_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWS_MAX_RETRIES", "none at all")
    with pytest.raises(ValueError, match="max_retries"):
        get_crew_client()
    monkeypatch.setenv("CREWS_MAX_RETRIES", "7")
    assert get_crew_client().config.max_retries == 7


def test_it_serves_parent_and_child_of_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback() as server:
        server.on("/crews", json_answer(200, '{"available_crews": ["a"]}'))
        monkeypatch.setenv("CREWS_SERVICE_URL", server.url)
        assert get_crew_client().list_crews().result() == ["a"]
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of threads: the child uses none of theirs
            pid = os.fork()
        if pid == 0:
            try:
                os.write(writing, json.dumps(get_crew_client().list_crews().result()).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert json.load(pipe) == ["a"]
        os.waitpid(pid, 0)
        assert get_crew_client().list_crews().result() == ["a"]
        ids = [one.get("X-Request-ID") for one in server.seen]
        assert len(set(ids)) == 3 and server.connections == 2
        close_crew_client().result()
