"""Asking the same until the answer is the one that is waited for: how often, how long, and what ends it."""

from __future__ import annotations

import asyncio
from types import NoneType
from typing import Any

import httpx2
import pytest

from holdfast import (
    APIConnectionError,
    APIStatusError,
    Call,
    ClientClosedError,
    DeadlineExceededError,
    HoldfastError,
    NotFoundError,
    RateLimitError,
    ServerError,
    ServiceUnavailableError,
)
from holdfast.service import (
    Model,
    Offset,
    PagedCall,
    PollDeadlineError,
    ServiceClient,
    ServiceSettings,
    renamed,
)
from holdfast.testing import FaultTransport, Step


class Settings(ServiceSettings):
    url: str = "http://runs.test"
    max_retries: int = 1
    circuit_breaker: bool = False


class Run(Model):
    id: int
    status: str


class Runs(ServiceClient[Settings]):
    def get_run(self, run_id: int) -> Call[Run]:
        return self.get(Run, "/runs/{run_id}", run_id=run_id, cache_ttl=600)

    def list_runs(self) -> PagedCall[Run]:
        return self.pages(Run, "/runs", paging=Offset())

    def start_run(self) -> Call[Run]:
        return self.post(Run, "/runs")


def run(status: str, **more: Any) -> Step:
    return Step(json={"id": 7, "status": status}, **more)


def runs(*steps: Any) -> tuple[Runs, FaultTransport]:
    transport = FaultTransport(list(steps) if steps else run("running"))
    return Runs(transport=transport), transport


def sent(call: Call[Any], colour: str) -> Any:
    async def main() -> Any:
        return await call

    return call.result() if colour == "sync" else asyncio.run(main())


def done(found: Run) -> bool:
    return found.status == "done"


both = pytest.mark.parametrize("colour", ["async", "sync"])
pytestmark = pytest.mark.usefixtures("holdfast_clock")


# How often


@both
@pytest.mark.parametrize("how", ["call", "function"])
def test_it_asks_until_the_answer_is_the_one_past_the_cache(colour, how, holdfast_clock):
    client, transport = runs(run("running"), run("running"), run("done"))
    call: Any = client.get_run(7) if how == "call" else lambda: client.get_run(7)
    found = sent(client.poll(call, until=done), colour)
    assert type(found) is Run and found.status == "done" and len(transport.requests) == 3
    assert holdfast_clock.waits == (1.0, 1.5)
    assert len({request.headers["X-Request-ID"] for request in transport.requests}) == 3


@both
def test_it_neither_reads_nor_fills_the_cache(colour):
    client, transport = runs(run("old"), run("done"), run("new"))
    assert sent(client.get_run(7), colour).status == "old"
    assert sent(client.poll(client.get_run(7), until=done), colour).status == "done"
    assert sent(client.get_run(7), colour).status == "old" and len(transport.requests) == 2


@both
@pytest.mark.parametrize(
    ("options", "waits"),
    [
        ({"interval": 5, "factor": 1}, [5, 5, 5, 5]),
        ({"interval": 1, "factor": 2, "max_interval": 3}, [1, 2, 3, 3]),
        ({"interval": 20, "factor": 2}, [20, 30, 30, 30]),
        ({"interval": 45, "factor": 2}, [45, 45, 45, 45]),
    ],
)
def test_intervals_grow_to_the_longest(colour, options, waits, holdfast_clock):
    client, _ = runs(*[run("running")] * 4, run("done"))
    sent(client.poll(client.get_run(7), until=done, **options), colour)
    assert list(holdfast_clock.waits) == pytest.approx(waits)


def test_with_jitter_they_are_between_half_and_all_of_that(holdfast_clock):
    client, _ = runs(*[run("running")] * 20, run("done"))
    client.poll(client.get_run(7), until=done, interval=4, factor=1, jitter=True).result()
    waits = holdfast_clock.waits
    assert len(set(waits)) == 20 and min(waits) >= 2 and max(waits) <= 4


@both
def test_each_answer_is_told_before_it_is_judged(colour):
    client, _ = runs(run("running"), run("done"))
    told: list[str] = []

    def until(found: Run) -> bool:
        told.append(f"judged {found.status}")
        return done(found)

    sent(client.poll(client.get_run(7), until=until, on_update=lambda found: told.append(found.status)), colour)
    assert told == ["running", "judged running", "done", "judged done"]


@both
def test_what_is_made_of_several_calls_can_be_polled_by_a_function(colour):
    asked: list[str] = []

    def server(request: httpx2.Request) -> Step:
        asked.append(request.url.path)
        items = [{"id": n, "status": "done"} for n in range(len(asked))]
        return Step(json={"items": items, "total": len(items)})

    client = Runs(transport=FaultTransport(server))
    assert len(sent(client.poll(lambda: client.list_runs().all(), until=lambda found: len(found) > 2), colour)) == 3
    assert len(sent(client.poll(client.list_runs(), until=lambda page: len(page) > 4), colour)) == 5
    assert sent(client.poll(client.get_run(7).raw(), until=lambda reply: len(asked) > 7), colour).status_code == 200
    assert sent(client.poll(client.resilient.get("/plain"), until=lambda _: len(asked) > 9), colour).status_code == 200
    other = Runs(transport=FaultTransport([run("running"), run("done")]))
    assert sent(client.poll(other.get_run(1), until=done), colour).status == "done"


# What ends it


@both
def test_the_deadline_ends_it_with_the_last_state(colour, holdfast_clock):
    client, transport = runs()
    call = client.poll(client.get_run(7), until=done, interval=10, factor=1, deadline=35)
    with pytest.raises(PollDeadlineError, match="polling GET /runs/7: the deadline of 35 s passed after 34") as info:
        sent(call, colour)
    error = info.value
    assert issubclass(type(error), DeadlineExceededError)
    assert "the last answer was Run with status 'running'" in str(error)
    assert error.last_result.status == "running" and error.request_id == error.last_result.request_id
    assert error.polls == len(transport.requests) == 5
    assert holdfast_clock.elapsed == pytest.approx(34.9, abs=0.05), "there was a last look before the end"


@pytest.mark.parametrize(("deadline", "latency", "polls"), [(60, 20.0, 3), (60, 25.0, 3), (0.1, 0.0, 2)])
def test_it_does_not_give_up_while_there_is_time_for_another_look(deadline, latency, polls, holdfast_clock):
    client, transport = runs(run("running", delay=latency))
    with pytest.raises(PollDeadlineError) as info:
        sent(client.poll(client.get_run(7), until=done, interval=0.012, factor=1, deadline=deadline), "async")
    assert info.value.polls == len(transport.requests) >= polls
    assert holdfast_clock.elapsed >= 0.75 * deadline


def test_the_deadline_cuts_a_poll_in_flight(holdfast_clock):
    client, _ = runs(run("running", delay=100.0))
    with pytest.raises(PollDeadlineError, match="1 poll; no answer came") as info:
        sent(client.poll(client.get_run(7), until=done, deadline=3), "async")
    assert holdfast_clock.elapsed == pytest.approx(3.0, abs=0.1) and info.value.last_result is None
    assert client.resilient.bulkhead.in_flight == 0


@both
def test_a_retry_that_the_deadline_leaves_no_time_for_is_not_waited_for(colour, holdfast_clock):
    class Patient(Settings):
        max_retries: int = 3
        retry_delay: float = 40.0
        retry_max_wait: float = 40.0

    transport = FaultTransport([503, run("done")])
    client = Runs(Patient(), transport=transport)
    with pytest.raises(ServiceUnavailableError, match="the deadline leaves no time for the wait of 40 s"):
        sent(client.poll(client.get_run(7), until=done, deadline=3), colour)
    assert holdfast_clock.elapsed < 1 and len(transport.requests) == 1


def test_the_deadline_cuts_the_wait_for_a_slot(holdfast_clock):
    class Narrow(Settings):
        max_concurrency: int = 1

    client = Runs(Narrow(), transport=FaultTransport([run("running", delay=20.0), run("done")]))

    async def main() -> None:
        other = asyncio.ensure_future(client.get_run(1))
        await asyncio.sleep(0)
        with pytest.raises(PollDeadlineError):
            await client.poll(client.get_run(7), until=done, deadline=3)
        assert holdfast_clock.elapsed == pytest.approx(3.0, abs=0.1)
        await other
        assert (await client.get_run(7)).status == "done"

    asyncio.run(main())


def test_the_deadline_cuts_polls_of_another_client_too(holdfast_clock):
    client, _ = runs()
    other, _ = runs(run("running", delay=100.0))
    with pytest.raises(PollDeadlineError):
        sent(client.poll(other.get_run(7), until=done, deadline=3), "async")
    assert holdfast_clock.elapsed == pytest.approx(3.0, abs=0.1) and other.resilient.bulkhead.in_flight == 0


@both
@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (500, ServerError), (429, RateLimitError)])
def test_an_error_ends_it(colour, status, error):
    client, transport = runs(run("running"), status, run("done"))
    with pytest.raises(error):
        sent(client.poll(client.get_run(7), until=done), colour)
    assert len(transport.requests) == 2


@both
def test_failures_that_may_pass_can_be_tolerated_so_many_in_a_row(colour, holdfast_clock):
    client, transport = runs(500, httpx2.ConnectError, run("running"), 503, 500, run("done"))
    assert sent(client.poll(client.get_run(7), until=done, tolerate=2), colour).status == "done"
    assert len(transport.requests) == 6 and len(holdfast_clock.waits) == 5
    client, transport = runs(500, 500, httpx2.ConnectError, run("done"))
    with pytest.raises(APIConnectionError) as info:
        sent(client.poll(client.get_run(7), until=done, tolerate=2), colour)
    assert info.value.__notes__ == ["It was poll 3, the last of 3 in a row that failed."]
    client, transport = runs(404, run("done"))
    with pytest.raises(NotFoundError):
        sent(client.poll(client.get_run(7), until=done, tolerate=2), colour)


@both
def test_a_tolerated_failure_tells_when_to_come_back(colour, holdfast_clock):
    client, _ = runs(Step(429, headers={"Retry-After": "100"}), run("done"))
    sent(client.poll(client.get_run(7), until=done, tolerate=1), colour)
    assert holdfast_clock.elapsed == pytest.approx(100.0)


@both
def test_the_deadline_tells_of_the_last_failure(colour):
    client, _ = runs(run("running"), *[500] * 20)
    with pytest.raises(PollDeadlineError, match=r"status 'running'; the last poll failed \(ServerError\)") as info:
        sent(client.poll(client.get_run(7), until=done, deadline=20, tolerate=100), colour)
    assert isinstance(info.value.last_error, ServerError) and info.value.last_result.status == "running"


@both
def test_retries_are_the_calls_own(colour):
    class Patient(Settings):
        max_retries: int = 3

    transport = FaultTransport([500, 500, run("running"), 503, run("done")])
    client = Runs(Patient(), transport=transport)
    assert sent(client.poll(client.get_run(7), until=done), colour).status == "done" and len(transport.requests) == 5


@both
@pytest.mark.parametrize("which", ["until", "on_update", "function"])
def test_what_a_function_raises_ends_it(colour, which):
    client, _ = runs()

    def fails(*_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    polled: Any = fails if which == "function" else client.get_run(7)
    more: Any = {"until": done, **({which: fails} if which != "function" else {})}
    with pytest.raises(ZeroDivisionError):
        sent(client.poll(polled, **more), colour)


def test_a_function_has_to_make_calls():
    client, _ = runs()
    not_a_call: Any = lambda: 7  # noqa: E731
    with pytest.raises(TypeError, match="must return a Call, not int"):
        client.poll(not_a_call, until=done).result()


def test_cancelled_it_sends_no_more():
    client, transport = runs()

    async def main() -> None:
        call = client.poll(client.get_run(7), until=done, interval=1e6, max_interval=1e6)
        task = asyncio.ensure_future(call)
        while not transport.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.done() and call.cancelled() and len(transport.requests) == 1

    asyncio.run(main())


def test_closing_the_client_ends_a_wait(holdfast_clock):
    client, transport = runs(run("running"))

    async def main() -> None:
        def later(found: Run) -> None:
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(client.close()))

        with pytest.raises(ClientClosedError):
            await client.poll(client.get_run(7), until=done, interval=1e9, max_interval=1e9, on_update=later)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert len(transport.requests) == 1 and holdfast_clock.elapsed < 1


def test_a_service_gives_its_deadline_a_class_of_its_own():
    class RunError(HoldfastError):
        """What users of the service catch."""

    class Own(Runs):
        def translate(self, error: HoldfastError) -> HoldfastError:
            return renamed(error, RunError)

    client = Own(transport=FaultTransport(run("running")))
    with pytest.raises(RunError) as info:
        client.poll(client.get_run(7), until=done, deadline=2).result()
    assert isinstance(info.value, PollDeadlineError) and info.value.last_result.status == "running"


# As a call


def test_it_is_a_call_like_others():
    client, transport = runs(run("done"))
    polled = client.get_run(7)
    call = client.poll(polled, until=done)
    assert repr(call) == "<Call poll of GET /runs/7 (not sent)>" and not call.done()
    assert "taken over" in repr(polled)
    with pytest.raises(TypeError, match=r"poll the call's \.raw\(\)"):
        _ = call.raw()
    with pytest.raises(TypeError, match="put the options on the call that it repeats"):
        _ = call.with_options(deadline=3)
    assert call.cancel() and call.done() and not transport.requests
    call = client.poll(lambda: client.get_run(7), until=done)
    assert "poll of test_it_is_a_call_like_others" in repr(call) and call.result() is call.result()


def test_what_must_not_or_cannot_be_repeated_is_refused():
    client, transport = runs()
    with pytest.raises(TypeError, match="a POST is not safe to repeat"):
        _ = client.poll(post := client.start_run(), until=done)
    with pytest.raises(TypeError, match="give it a function that makes a new one each time"):
        _ = client.poll(walk := client.list_runs().all(), until=bool)
    with pytest.raises(TypeError, match="poll needs a call, or a function that makes one, not int"):
        _ = client.poll(7, until=done)  # type: ignore[arg-type]
    assert post.cancel() and walk.cancel() and not transport.requests


@both
def test_a_call_that_was_refused_raises_when_it_is_polled(colour):
    client, transport = runs()
    bad: Any = None
    with pytest.raises(APIStatusError, match=r"Runs\.get_run was not sent"):
        sent(client.poll(client.get_run(bad), until=done), colour)
    assert not transport.requests


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"interval": 0}, ValueError, "interval must be more than 0, not 0"),
        ({"interval": "1"}, TypeError, "interval must be a number, not str"),
        ({"factor": 0.5}, ValueError, "factor must be at least 1, not 0.5"),
        ({"max_interval": float("inf")}, ValueError, "max_interval must be more than 0, not inf"),
        ({"interval": 5, "max_interval": 1}, ValueError, "max_interval must be at least the interval of 5 s, not 1"),
        ({"deadline": -1}, ValueError, "deadline must be at least 0 seconds"),
        ({"tolerate": -1}, ValueError, "tolerate must be a whole number of polls, 0 or more, not -1"),
        ({"until": None}, TypeError, "until must be a function of the result, not NoneType"),
        ({"on_update": 7}, TypeError, "on_update must be a function of the result, not int"),
    ],
)
def test_wrong_arguments_are_named_at_once(arguments, error, message):
    client, _ = runs()
    call = client.get_run(7)
    with pytest.raises(error, match=message):
        _ = client.poll(call, **{"until": done, **arguments})
    assert call.cancel(), "it is still its owner's"


def test_answers_without_content_are_polled_too():
    client, _ = runs(200, 200)
    seen: list[None] = []
    call: Call[None] = client.get(NoneType, "/ready")
    client.poll(call, until=lambda _: len(seen) == 2, on_update=seen.append).result()
    assert seen == [None, None]
