"""One renewal at a time: across tasks, threads, event loops and clients, whatever becomes of who does it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import holdfast.auth
from holdfast import AuthenticationError, ClientConfig, DeadlineExceededError, ResilientClient
from holdfast.auth import OAuth2ClientCredentials, TokenAuth, TokenError
from holdfast.auth.renewal import Renewal
from holdfast.auth.renewing import RenewingAuth
from holdfast.core.effects import Flow, Park, Waiter
from holdfast.testing import CallSpec, FaultTransport, Scenario, Step, VirtualClient, VirtualTime
from holdfast.testing.scenario import run_async, run_sync, run_virtual
from tests.core.test_purity import forbidden_yields
from tests.support.tokens import BASE, TOKEN_URL, Endpoint, credentials, guarded


def oauth(**more: Any) -> OAuth2ClientCredentials:
    return OAuth2ClientCredentials(TOKEN_URL, "id", "client-secret", **more)


def idle(auth: RenewingAuth) -> bool:
    """Whether nobody obtains a token or waits for one."""
    return auth._renewal.idle


class Slow:
    """A source that takes its time: an event for threads, a sleep for tasks."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = threading.Event()

    def __call__(self) -> str:
        self.asked += 1
        assert self.go.wait(20)
        return f"T{self.asked}"


def threads(count: int, work: Callable[[int], Any]) -> tuple[list[threading.Thread], list[Any]]:
    came: list[Any] = []

    def run(number: int) -> None:
        try:
            came.append(work(number))
        except BaseException as error:
            came.append(error)

    started = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for one in started:
        one.start()
    return started, came


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.002)


def join(started: list[threading.Thread]) -> None:
    for one in started:
        one.join(20)
        assert not one.is_alive()


async def a_few_turns() -> None:
    """Lets tasks come to where they wait, without time passing on a virtual clock."""
    for _ in range(5):
        await asyncio.sleep(0)


# One at a time


def test_a_hundred_tasks_wait_for_one():
    asked = 0

    async def source() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.02)
        return f"T{asked}"

    auth = TokenAuth(source)
    client, transport = guarded(200, auth)

    async def main() -> None:
        await asyncio.gather(*(client.get("/x") for _ in range(100)))

    asyncio.run(main())
    assert asked == 1 and credentials(transport) == ["Bearer T1"] * 100 and idle(auth)


def test_threads_wait_for_one():
    source = Slow()
    auth = TokenAuth(source)
    client, transport = guarded(200, auth)
    started, came = threads(30, lambda _: client.get("/x").result().status_code)
    until(lambda: len(auth._renewal._queue) == 29)
    source.go.set()
    join(started)
    assert came == [200] * 30 and source.asked == 1 and credentials(transport) == ["Bearer T1"] * 30 and idle(auth)


@pytest.mark.parametrize("clients", [1, 4])
def test_tasks_threads_and_loops_of_one_and_several_clients_wait_for_one(clients: int) -> None:
    source = Slow()
    auth = TokenAuth(source)
    transport = FaultTransport(200)
    views = [
        ResilientClient(ClientConfig(base_url=BASE), transport=transport).with_options(auth=auth)
        for _ in range(clients)
    ]
    leader, first = threads(1, lambda _: views[0].get("/x").result())
    until(lambda: source.asked == 1)

    def on_a_loop(number: int) -> int:
        async def main() -> int:
            return len(await asyncio.gather(*(views[(number + n) % clients].get("/x") for n in range(50))))

        return asyncio.run(main())

    on_threads, came = threads(20, lambda number: views[number % clients].get("/x").result().status_code)
    on_loops, counts = threads(2, on_a_loop)
    until(lambda: len(auth._renewal._queue) == 120)
    source.go.set()
    join([*leader, *on_threads, *on_loops])
    assert first[0].status_code == 200 and came == [200] * 20 and counts == [50, 50]
    assert source.asked == 1 and set(credentials(transport)) == {"Bearer T1"} and idle(auth)


def test_clients_on_threads_hand_tokens_over_for_ever():
    """Short-lived tokens, so that binding, waking, giving up and leading meet each other in every order."""
    numbers = iter(range(10**9))
    obtaining = threading.Semaphore(1)

    def source() -> tuple[str, float]:
        assert obtaining.acquire(blocking=False), "two obtain a token at the same time"
        time.sleep(0.0005)
        obtaining.release()
        return f"T{next(numbers)}", 0.002

    auth = TokenAuth(source)
    views = [guarded(200, auth)[0] for _ in range(4)]

    def work(number: int) -> int:
        if number % 2:
            return sum(views[number % 4].get("/x").result().status_code == 200 for _ in range(60))

        async def main() -> int:
            done = 0
            for turn in range(20):
                tasks = [asyncio.ensure_future(views[(number + n) % 4].get("/x")) for n in range(4)]
                await asyncio.sleep(0)
                tasks[turn % 4].cancel()
                found = await asyncio.gather(*tasks, return_exceptions=True)
                done += all(isinstance(one, asyncio.CancelledError) or one.status_code == 200 for one in found)  # type: ignore[union-attr]
            return done

        return asyncio.run(main())

    started, came = threads(8, work)
    join(started)
    assert sorted(came) == [20] * 4 + [60] * 4 and idle(auth)


# Who obtains it, goes


def test_a_leader_that_is_cancelled_hands_over_to_the_oldest():
    asked: list[str] = []

    async def source() -> str:
        asked.append(str(asyncio.current_task() and asyncio.current_task().get_name()))  # type: ignore[union-attr]
        await asyncio.sleep(0.05)
        return "T"

    auth = TokenAuth(source)
    client, _ = guarded(200, auth)

    async def main() -> None:
        async def one() -> int:
            return (await client.get("/x")).status_code

        tasks = [asyncio.create_task(one(), name=str(number)) for number in range(5)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        tasks[1].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]
        assert await asyncio.gather(*tasks[2:]) == [200] * 3
        assert tasks[0].cancelled() and tasks[1].cancelled()

    asyncio.run(main())
    assert asked in (["0", "2"], ["0", "1", "2"]) and idle(auth)


def test_a_leader_out_of_time_hands_over_and_fails_alone(holdfast_clock):
    endpoint = Endpoint(delay=3.0)
    auth = oauth()
    client, transport = guarded(endpoint, auth)

    async def main() -> list[Any]:
        hasty = asyncio.ensure_future(client.get("/x", deadline=1.0))
        await asyncio.sleep(0)
        patient = [asyncio.ensure_future(client.get("/x")) for _ in range(3)]
        return await asyncio.gather(hasty, *patient, return_exceptions=True)

    hasty, *patient = asyncio.run(main())
    assert isinstance(hasty, TokenError) and isinstance(hasty, DeadlineExceededError)
    assert [one.status_code for one in patient] == [200] * 3
    assert endpoint.issued == 2 and idle(auth)
    assert credentials(transport, path="/x") == ["Bearer T2"] * 3


def test_a_follower_out_of_time_fails_alone(holdfast_clock):
    auth = oauth()
    client, _ = guarded(Endpoint(delay=3.0), auth)

    async def main() -> Any:
        leader = asyncio.ensure_future(client.get("/x"))
        await asyncio.sleep(0)
        return await asyncio.gather(leader, client.get("/x", deadline=1.0), return_exceptions=True)

    leader, follower = asyncio.run(main())
    assert leader.status_code == 200 and idle(auth)
    assert isinstance(follower, DeadlineExceededError) and isinstance(follower, TokenError)
    assert "another call" in follower.message and follower.attempts == 0 and not follower.may_have_executed


def test_a_client_that_is_closed_leaves_the_renewal_to_those_of_others(holdfast_clock):
    auth = oauth()
    closing, _ = guarded(Endpoint(delay=3.0), auth)
    other_endpoint = Endpoint()
    other, _ = guarded(other_endpoint, auth)

    async def main() -> Any:
        leader = asyncio.ensure_future(closing.get("/x"))
        await a_few_turns()
        follower = asyncio.ensure_future(other.get("/x"))
        await a_few_turns()
        assert not leader.done() and len(auth._renewal._queue) == 1
        leader.cancel()
        await closing.close()
        return await asyncio.gather(leader, follower, return_exceptions=True)

    leader, follower = asyncio.run(main())
    assert isinstance(leader, asyncio.CancelledError) and follower.status_code == 200
    assert other_endpoint.issued == 1 and idle(auth)


def test_what_befalls_one_client_is_not_shared_with_others(holdfast_clock):
    """Its own closing, while it waits for another attempt at the token endpoint."""
    auth = oauth()
    failing = Endpoint()
    failing.instead = lambda _: Step(503, headers={"Retry-After": "50"})
    closing, _ = guarded(failing, auth)
    endpoint = Endpoint()
    other, _ = guarded(endpoint, auth)

    async def main() -> Any:
        leader = asyncio.ensure_future(closing.get("/x"))
        while not failing.forms:
            await asyncio.sleep(0)
        follower = asyncio.ensure_future(other.get("/x"))
        await a_few_turns()
        assert not leader.done() and len(auth._renewal._queue) == 1
        await closing.close()
        return await asyncio.gather(leader, follower, return_exceptions=True)

    leader, follower = asyncio.run(main())
    assert isinstance(leader, TokenError) and follower.status_code == 200
    assert endpoint.issued == 1 and idle(auth)


def test_a_refusal_is_shared_and_each_gets_an_error_of_its_own(holdfast_clock):
    endpoint = Endpoint()
    endpoint.instead = lambda _: Step(401, json={"error": "invalid_client"}, delay=1.0)
    auth = oauth()
    client, _ = guarded(endpoint, auth)

    async def main() -> list[Any]:
        return await asyncio.gather(*(client.get("/x") for _ in range(20)), return_exceptions=True)

    errors = asyncio.run(main())
    assert all(isinstance(one, TokenError) and isinstance(one, AuthenticationError) for one in errors)
    assert len({id(one) for one in errors}) == 20 == len({one.request_id for one in errors})
    assert len(endpoint.forms) == 1 and idle(auth)


def test_a_forked_child_waits_for_nobody_of_the_parent():
    source = Slow()
    auth = TokenAuth(source)
    client, _ = guarded(200, auth)
    started, came = threads(2, lambda _: client.get("/x").result().status_code)
    until(lambda: len(auth._renewal._queue) == 1)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
        child = os.fork()
    if not child:
        # As far away from pytest as possible.
        try:
            source.go.set()
            os.write(writing, b"ok" if client.get("/x", deadline=5.0).result().status_code == 200 else b"no")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"ok"
    os.waitpid(child, 0)
    source.go.set()
    join(started)
    assert came == [200, 200]


# Thrown into at every yield


class Cut(Generator[Any, Any, Any]):
    """A flow that is thrown into at one of the yields of all flows of a run, before or with the reply to it."""

    def __init__(self, flow: Flow[Any], counter: list[int], point: int, error: type[BaseException], *, late: bool):
        self._flow, self._counter, self._point, self._error = flow, counter, point, error
        self._late = late
        self._due = False
        self.cut = False

    def send(self, value: Any) -> Any:
        if self._due:
            return self._throw()
        effect = self._flow.send(value)
        number, self._counter[0] = self._counter[0], self._counter[0] + 1
        if number == self._point:
            if not self._late:
                return self._throw()
            self._due = True
        return effect

    def _throw(self) -> Any:
        self._due = False
        self.cut = True
        return self._flow.throw(self._error())

    def throw(self, *error: Any) -> Any:
        return self._flow.throw(*error)


def crowd(point: int, error: type[BaseException], *, late: bool) -> int:
    """Runs calls around renewals, one of which is thrown into. Returns how many yields there were."""
    world = VirtualTime()
    endpoint = Endpoint(delay=2.0, expires_in=20)
    auth = oauth(early=2.0)
    script: Any = endpoint
    client = VirtualClient(world, ClientConfig(base_url=BASE), script)
    counter = [0]
    cuts: list[tuple[Cut, Any]] = []

    def start(method: str, *, refuse: bool = False, **options: Any) -> None:
        if refuse:
            # Whatever is issued from now on: one token may be lost with the call that obtained it.
            endpoint.good = {f"T{number}" for number in range(endpoint.issued + 1, endpoint.issued + 9)}
        cut = Cut(client.flow(method, "/x", auth=auth, **options), counter, point, error, late=late)
        cuts.append((cut, client.start_flow(cut)))

    # None yet; about to expire; expired; refused.
    for at in (0.0, 0.5, 1.0, 18.5, 19.0, 60.0, 60.5, 61.0):
        world.at(at, lambda: start("GET", deadline=30.0))
    for at in (65.0, 65.5, 66.0):
        world.at(at, lambda at=at: start("POST", refuse=at == 65.0))  # type: ignore[misc]
    world.run()
    assert idle(auth)
    assert client.assembly.pipeline.bulkhead.in_flight == 0
    for cut, fiber in cuts:
        if cut.cut:
            assert isinstance(fiber.result, error)
        else:
            assert getattr(fiber.result, "status_code", None) == 200, fiber.result
    assert point < 0 or any(cut.cut for cut, _ in cuts)
    return counter[0]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("error", [GeneratorExit, asyncio.CancelledError, KeyboardInterrupt])
def test_whoever_is_thrown_into_wherever_the_others_get_their_token(error: type[BaseException], late: bool) -> None:
    points = crowd(-1, error, late=late)
    assert points >= 24
    for point in range(points):
        crowd(point, error, late=late)


class WokenWhileBound(Waiter):
    """Woken by another client's thread at the very moment in which a driver connects it."""

    @property
    def notify(self) -> Any:
        return self._notify

    @notify.setter
    def notify(self, notify: Any) -> None:
        self._notify = notify
        if notify is not None:
            self.wake("now")


@pytest.mark.parametrize("on_a_virtual_clock", [False, True])
@pytest.mark.parametrize("sync", [False, True])
def test_a_wake_up_while_a_waiter_is_bound_reaches_it_once(request: Any, sync: bool, on_a_virtual_clock: bool) -> None:
    if on_a_virtual_clock:
        request.getfixturevalue("holdfast_clock")
    client, _ = guarded(200, None)

    def waits() -> Flow[Any]:
        waiter = WokenWhileBound()
        woken = yield Park(time.monotonic() + 1e6, waiter)
        return woken, waiter.value

    async def main() -> Any:
        driver = client._assembly.connections.driver(asyncio.get_running_loop())
        task = asyncio.current_task()
        assert task is not None
        return await driver.drive(waits(), task)

    assert (client._assembly.run_flow(waits()) if sync else asyncio.run(main())) == (True, "now")


def test_a_lead_that_comes_with_the_end_of_the_patience_is_not_lost():
    """Woken by another client's thread between the end of the wait and the look at what it brought."""
    renewal = Renewal()
    assert renewal._join(0.0, None) is None
    place: Any = renewal._join(0.0, None)
    next_place: Any = renewal._join(0.0, None)
    renewal._hand_over()
    assert place.woken
    renewal._abandon(place)
    assert next_place.woken
    renewal._abandon(next_place)
    assert renewal.idle


def test_one_who_has_left_is_not_woken():
    renewal = Renewal()
    assert renewal._join(0.0, None) is None
    place: Any = renewal._join(0.0, None)
    assert renewal._outcome(place) is None
    # It may have been taken out of the line already, by a leader who is about to wake it.
    assert not place.wake("anything")
    renewal._hand_over()
    assert renewal.idle and not place.woken


def test_a_dropped_leader_of_a_closed_loop_hands_over():
    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    auth = TokenAuth(never)
    client, _ = guarded(200, auth)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)

    async def one() -> None:
        await client.get("/x")

    task = loop.create_task(one())
    loop.run_until_complete(asyncio.sleep(0.01))
    assert not idle(auth)
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task, loop
    auth._source = lambda: "T"
    client._assembly.connections.let_go()
    gc.collect()
    assert client.get("/x", deadline=5.0).result().status_code == 200
    assert idle(auth)


def test_no_flow_yields_where_closing_it_would_be_in_the_way():
    files = sorted(Path(next(iter(holdfast.auth.__path__))).glob("*.py"))
    assert len(files) > 8
    assert {file.name: found for file in files if (found := forbidden_yields(file.read_text()))} == {}


# A token that the server does not take


def by_tasks(scenario: Scenario) -> Any:
    return asyncio.run(run_async(scenario))


@pytest.mark.parametrize("runner", [by_tasks, run_sync, run_virtual])
def test_it_is_renewed_once_and_the_request_sent_once_more(runner: Any) -> None:
    endpoint = Endpoint()
    endpoint.good = {"T2"}
    call = CallSpec(200, 1, "POST", options={"auth": oauth(), "json": {"a": 1}})
    scenario = Scenario("a token that is refused", endpoint, (call,), 4, ClientConfig(base_url=BASE))
    assert runner(scenario) == scenario.expected
    assert endpoint.issued == 2


def test_a_second_401_is_the_answer():
    endpoint = Endpoint()
    endpoint.good = set()
    client, transport = guarded(endpoint, oauth())
    with pytest.raises(AuthenticationError) as caught:
        client.get("/x").result()
    assert caught.value.status_code == 401 and caught.value.attempts == 1
    assert not isinstance(caught.value, TokenError)
    assert credentials(transport, path="/x") == ["Bearer T1", "Bearer T2"]


def test_of_many_whose_token_was_refused_one_renews(holdfast_clock):
    endpoint = Endpoint()
    client, transport = guarded(endpoint, oauth())
    client.get("/x").result()
    endpoint.good = {"T2"}

    async def main() -> None:
        await asyncio.gather(*(client.get("/x") for _ in range(50)))

    asyncio.run(main())
    assert endpoint.issued == 2
    assert credentials(transport, path="/x").count("Bearer T2") == 50


@pytest.mark.parametrize("status", [200, 403, 404, 500])
def test_no_other_status_renews(status: int) -> None:
    endpoint = Endpoint()
    seen: list[Any] = []

    def script(request: Any) -> Any:
        if request.url.host == "login.test":
            return endpoint(request)
        seen.append(request)
        return status

    client, _ = guarded(script, oauth())
    with contextlib.suppress(Exception):
        client.get("/x", retry=None).result()
    assert len(seen) == 1 and endpoint.issued == 1


def test_a_body_that_can_be_sent_once_is_not_sent_again():
    endpoint = Endpoint()
    endpoint.good = {"T2"}
    client, transport = guarded(endpoint, oauth())
    with pytest.raises(AuthenticationError):
        client.post("/x", content=iter([b"once"])).result()
    assert len(credentials(transport, path="/x")) == 1 and endpoint.issued == 1


class Refreshing(httpx2.Auth):
    """An auth of httpx2 that sends once more after a 401."""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = "Bearer new"
            yield request


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("make", [lambda: TokenAuth(lambda: "T"), Refreshing])
def test_a_post_whose_result_was_refused_is_not_repeated(status: int, make: Callable[[], Any]) -> None:
    script = {"POST /orders": Step(status, headers={"Location": "/orders/1"}), "GET /orders/1": 401}
    client, transport = guarded(script, make())
    with pytest.raises(AuthenticationError):
        client.post("/orders", json={"a": 1}).result()
    assert [one.method for one in transport.requests] == ["POST", "GET"]


def test_a_get_that_was_redirected_is_repeated():
    answers = iter([Step(302, headers={"Location": "/there"}), 401, Step(302, headers={"Location": "/there"}), 200])
    tokens = iter(["T1", "T2"])
    client, transport = guarded(lambda _: next(answers), TokenAuth(lambda: next(tokens)))
    assert client.get("/here").result().status_code == 200
    assert credentials(transport) == ["Bearer T1", "Bearer T1", "Bearer T2", "Bearer T2"]


def test_what_another_origin_refuses_renews_nothing():
    script = {
        "GET /here": Step(302, headers={"Location": "https://elsewhere.test/there"}),
        "GET /there": 401,
    }
    tokens = iter(["T1", "T2"])
    client, transport = guarded(script, TokenAuth(lambda: next(tokens)))
    with pytest.raises(AuthenticationError):
        client.get("/here").result()
    assert credentials(transport) == ["Bearer T1", None]


def test_a_stream_is_renewed_too():
    endpoint = Endpoint()
    endpoint.good = {"T2"}
    client, _ = guarded(endpoint, oauth())
    with client.stream("GET", "/x") as response:
        assert response.status_code == 200
    assert client.bulkhead.in_flight == 0


def test_renewing_in_vain_is_not_repeated_with_every_call(holdfast_clock):
    endpoint = Endpoint()
    endpoint.good = set()
    client, _ = guarded(endpoint, oauth(), circuit_breaker={"enabled": False})

    def refused() -> int:
        with pytest.raises(AuthenticationError):
            client.get("/x").result()
        return endpoint.issued

    assert [refused() for _ in range(5)] == [2] * 5
    holdfast_clock.advance(61)
    assert refused() == 3


def test_one_that_was_taken_meanwhile_is_renewed_again_at_once():
    endpoint = Endpoint()
    client, _ = guarded(endpoint, oauth())
    for number in (2, 3, 4):
        endpoint.good = {f"T{number}"}
        assert client.get("/x").result().status_code == 200
    assert endpoint.issued == 4


def test_a_retry_after_a_renewal_uses_the_new_token():
    tokens = iter(["T1", "T2", "T3"])
    answers = iter([401, 503, 200])
    client, transport = guarded(lambda _: next(answers), TokenAuth(lambda: next(tokens)))
    assert client.get("/x").result().status_code == 200
    assert credentials(transport) == ["Bearer T1", "Bearer T2", "Bearer T2"]


def test_if_it_cannot_be_renewed_the_401_stands(caplog):
    endpoint = Endpoint()
    client, transport = guarded(endpoint, oauth())
    client.get("/x").result()
    endpoint.good = {"T2"}
    endpoint.instead = lambda _: Step(400, json={"error": "invalid_grant"})
    with pytest.raises(AuthenticationError) as caught:
        client.get("/x").result()
    assert caught.value.status_code == 401 and not isinstance(caught.value, TokenError)
    assert credentials(transport, path="/x") == ["Bearer T1"] * 2
    (said,) = [one.getMessage() for one in caplog.records if one.name == "holdfast.auth"]
    assert "refused, and could not be renewed" in said and "invalid_grant" in said


# Early, and not at any price


def test_while_one_renews_early_others_use_the_old_one(holdfast_clock):
    endpoint = Endpoint(expires_in=100)
    client, transport = guarded(endpoint, oauth(early=20.0))
    client.get("/first").result()
    holdfast_clock.advance(85)
    endpoint.delay = 3.0

    async def main() -> float:
        renewing = asyncio.ensure_future(client.get("/renewing"))
        await a_few_turns()
        began = holdfast_clock.elapsed
        await client.get("/other")
        took = holdfast_clock.elapsed - began
        await renewing
        return float(took)

    assert asyncio.run(main()) == 0.0
    assert credentials(transport, path="/renewing") == ["Bearer T2"]
    assert credentials(transport, path="/other") == ["Bearer T1"]


def test_a_token_that_still_holds_is_used_where_no_other_can_be_had(holdfast_clock, caplog):
    endpoint = Endpoint(expires_in=100)
    client, transport = guarded(endpoint, oauth(early=30.0), retry={"max_attempts": 1})
    client.get("/x").result()
    endpoint.instead = lambda _: 503
    holdfast_clock.advance(75)
    for _ in range(5):
        client.get("/x").result()
    assert len(endpoint.forms) == 2, "one attempt, and then a pause"
    assert sum("about to expire" in one.getMessage() for one in caplog.records) == 1
    holdfast_clock.advance(11)
    client.get("/x").result()
    assert len(endpoint.forms) == 3
    assert credentials(transport, path="/x") == ["Bearer T1"] * 7
    holdfast_clock.advance(20)
    with pytest.raises(TokenError):
        client.get("/x").result()
    endpoint.instead = None
    assert client.get("/x").result().status_code == 200
    assert credentials(transport, path="/x")[-1] == "Bearer T2"


# Sources of one's own


def test_a_source_may_tell_how_long_a_token_lives(holdfast_clock):
    tokens = iter([("T1", 100.0), ("T2", 100.0)])
    client, transport = guarded(200, TokenAuth(lambda: next(tokens), early=10.0))
    for seconds in (0, 89, 2):
        holdfast_clock.advance(seconds)
        client.get("/x").result()
    assert credentials(transport) == ["Bearer T1", "Bearer T1", "Bearer T2"]


@pytest.mark.parametrize(
    "bad", ["", "two words", None, 5, ("T", -1), ("T", "x"), ("T",), ("T", float("nan")), "T\n", "Bearer T"]
)
def test_what_is_no_token_fails_the_call(bad: Any) -> None:
    client, transport = guarded(200, TokenAuth(lambda: bad))
    with pytest.raises(TokenError, match="source failed"):
        client.get("/x").result()
    assert not transport.requests


def test_what_a_source_raises_is_the_cause():
    def source() -> str:
        raise LookupError("no vault")

    auth = TokenAuth(source)
    client, _ = guarded(200, auth)
    for _ in range(2):
        with pytest.raises(TokenError, match="no vault") as caught:
            client.get("/x").result()
        assert isinstance(caught.value.__cause__, LookupError)
        assert caught.value.endpoint == "GET /x" and caught.value.attempts == 0
    assert idle(auth) and client.bulkhead.in_flight == 0


def test_an_async_source_serves_awaited_calls_alone():
    async def source() -> str:
        return "T"

    client, _ = guarded(200, TokenAuth(source))
    with pytest.raises(TokenError, match="await it"):
        client.get("/x").result()
    assert asyncio.run(_status(client)) == 200


async def _status(client: ResilientClient) -> int:
    return (await client.get("/x")).status_code


def test_a_source_may_call_through_the_same_client_with_one_slot():
    plain, transport = guarded(
        {"GET /login": Step(json={"token": "T"}), "GET /x": 200}, None, bulkhead={"max_concurrency": 1}
    )

    async def source() -> str:
        return str((await plain.get("/login")).json()["token"])

    assert asyncio.run(_status(plain.with_options(auth=TokenAuth(source)))) == 200
    assert credentials(transport) == [None, "Bearer T"]


@pytest.mark.parametrize(
    ("wrong", "named"), [(("T",), "source"), ((lambda: "T", -1), "lifetime"), ((lambda: "T", 0), "lifetime")]
)
def test_wrong_arguments_are_named(wrong: Any, named: str) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        TokenAuth(wrong[0], lifetime=wrong[1] if len(wrong) > 1 else None)


def test_a_park_is_all_that_a_follower_yields():
    renewal = Renewal()
    assert renewal._join(0.0, None) is None
    world = VirtualTime()
    client = VirtualClient(world, ClientConfig(base_url=BASE), 200)
    job = client.assembly.job(("GET", "/x", {}, None), sync=True)
    following = renewal.obtain(job, world.clock, lambda: pytest.fail("there is a leader"))
    assert isinstance(next(following), Park)
    following.close()
    assert not renewal._queue
