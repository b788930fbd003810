"""One execution per idempotency key, whatever becomes of connections, of servers, and of the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import httpx2
import pytest
from fastapi import HTTPException
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from holdfast.auth import internal_auth
from holdfast.servers import claims, executions, idempotency
from holdfast.servers.contextiq import Settings as ContextSettings
from holdfast.servers.crews.settings import Settings
from holdfast.servers.crews_and_sessions import create_app
from holdfast.servers.idempotency import REPLAYED_HEADER, Key, idempotency_keys, purge
from holdfast.servers.service import Storage
from tests.support.crews import ServedCrews, serving_crews
from tests.support.served import Clock, Served

PATIENCE = 20.0


class Counter:
    """A crew that counts its executions, and goes on when it is told to."""

    def __init__(self, *, waits: bool = False) -> None:
        self.times = 0
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        if not waits:
            self.go_on.set()

    async def akickoff(self, inputs: dict[str, Any]) -> int:
        self.times += 1
        times = self.times
        self.began.set()
        await self.go_on.wait()
        if inputs.get("fails"):
            raise ZeroDivisionError
        return times


def counter(crews: ServedCrews, *, waits: bool = False) -> Counter:
    made = Counter(waits=waits)
    crews.add(count=made)
    return made


def rows(crews: ServedCrews) -> list[Any]:
    async def main() -> list[Any]:
        async with crews.served.app.state.resources.database.reading() as connection:
            return list(await connection.execute(select(idempotency_keys)))

    return crews.served.run(main())


def in_time(crews: ServedCrews, story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            await story()

    crews.served.run(main())


def test_a_repeated_request_is_answered_alike_and_executes_nothing(everywhere):
    count = counter(everywhere)
    first = everywhere.served.run(everywhere.ask("count", key="k"))
    again = everywhere.served.run(everywhere.ask("count", key="k"))
    assert (REPLAYED_HEADER in first.headers, again.headers[REPLAYED_HEADER]) == (False, "true")
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"] == "application/json"
    assert count.times == 1
    (row,) = rows(everywhere)
    assert (row.service, row.operation, row.key, row.status) == ("sessions", "POST /execute_crew", "k", 200)
    assert row.lease_until is None


def test_the_request_id_is_a_key_too(crews):
    count = counter(crews)
    body = {"crew_name": "count", "inputs": {}}
    for headers, times in [
        ({"X-Request-ID": "1"}, 1),
        ({"X-Request-ID": "1"}, 1),
        ({"X-Request-ID": "1", "Idempotency-Key": "k"}, 2),
        ({"X-Request-ID": "2", "Idempotency-Key": "k"}, 2),
        ({}, 3),
        ({"X-Request-ID": ""}, 4),
    ]:
        assert crews.served.ok("POST", "/execute_crew", body, headers=headers)["result"] == times
    assert count.times == 4


def test_a_failed_crew_stays_failed(everywhere):
    count = counter(everywhere)
    first = everywhere("count", key="k", fails=True)
    assert first["success"] is False
    assert everywhere("count", key="k", fails=True) == first
    assert count.times == 1


def test_a_crew_that_was_not_there_stays_so_for_its_key(crews):
    first = crews.served.run(crews.ask("count", key="k"))
    counter(crews)
    again = crews.served.run(crews.ask("count", key="k"))
    for answer in (first, again):
        assert (answer.status_code, answer.json()["detail"][:22]) == (404, "Crew 'count' not found")
    assert crews("count", key="another")["result"] == 1


def test_the_same_key_with_another_body_is_refused(everywhere):
    count = counter(everywhere)
    everywhere("count", key="k", a=1)
    answer = everywhere.served.run(everywhere.ask("count", key="k", a=2))
    (problem,) = answer.json()["detail"]
    assert (answer.status_code, problem["loc"]) == (422, ["header", "idempotency-key"])
    assert count.times == 1


def test_a_key_belongs_to_its_caller(crews):
    count = counter(crews)
    for subject, times in [("a", 1), ("b", 2), ("a", 1)]:
        headers = {"Authorization": f"Bearer {internal_auth(subject=subject).mint()}", "Idempotency-Key": "k"}
        body = {"crew_name": "count", "inputs": {}}
        assert crews.served.ok("POST", "/execute_crew", body, headers=headers)["result"] == times
    assert count.times == 2


def test_duplicates_at_the_same_time_wait_for_one_execution(everywhere):
    count = counter(everywhere, waits=True)

    async def story() -> None:
        asked = [asyncio.create_task(everywhere.ask("count", key="k")) for _ in range(20)]
        await count.began.wait()
        other = await everywhere.ask("count", key="k", a="another body")
        assert other.status_code == 422
        count.go_on.set()
        answers = await asyncio.gather(*asked)
        assert {answer.content for answer in answers} == {answers[0].content}
        assert sum(REPLAYED_HEADER not in answer.headers for answer in answers) == 1

    in_time(everywhere, story)
    assert count.times == 1
    assert everywhere.executions.slots.busy == 0


def test_an_execution_survives_those_who_asked_for_it(everywhere):
    count = counter(everywhere, waits=True)

    async def story() -> None:
        for _ in range(3):
            asked = asyncio.create_task(everywhere.ask("count", key="k"))
            await count.began.wait()
            await asyncio.sleep(0.01)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        count.go_on.set()
        answer = await everywhere.ask("count", key="k")
        assert (answer.json()["result"], answer.headers[REPLAYED_HEADER]) == (1, "true")

    in_time(everywhere, story)
    assert count.times == 1


def test_an_execution_that_nobody_waits_for_is_stored(everywhere):
    count = counter(everywhere, waits=True)

    async def story() -> None:
        asked = asyncio.create_task(everywhere.ask("count", key="k"))
        await count.began.wait()
        asked.cancel()
        await asyncio.wait({asked})
        count.go_on.set()
        while everywhere.executions.slots.busy:
            await asyncio.sleep(0.005)

    in_time(everywhere, story)
    assert everywhere("count", key="k")["result"] == 1
    assert count.times == 1


def test_the_database_is_free_while_a_crew_runs(everywhere):
    count = counter(everywhere, waits=True)

    async def story() -> None:
        asked = asyncio.create_task(everywhere.ask("count", key="k"))
        await count.began.wait()
        made = await everywhere.served.ask("POST", "/sessions", {"scope": {}})
        assert made.status_code == 201
        count.go_on.set()
        assert (await asked).json()["result"] == 1

    in_time(everywhere, story)


def test_more_than_can_run_are_refused_but_stored_answers_are_given(tmp_path, storage):
    with serving_crews(storage, {"max_concurrency": 3}) as crews:
        count = counter(crews)
        crews("count", key="old")
        count.go_on.clear()

        async def story() -> None:
            asked = [asyncio.create_task(crews.ask("count", key=key)) for key in ("a", "b", None)]
            while crews.executions.slots.busy < 3:
                await asyncio.sleep(0.005)
            for key in ("c", None):
                answer = await crews.ask("count", key=key)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert (await crews.ask("count", key="old")).json()["result"] == 1
            count.go_on.set()
            assert sorted([(await one).json()["result"] for one in asked]) == [2, 3, 4]

        in_time(crews, story)
        assert crews("count", key="c")["result"] == 5


@asynccontextmanager
async def another(storage: Storage, clock: Clock, count: Counter, **settings: Any) -> AsyncIterator[ServedCrews]:
    """A second server on the same database, in the same event loop. They share nothing else."""
    app = create_app(storage, ContextSettings(), Settings(**settings), clock=clock)
    headers = {"Authorization": f"Bearer {internal_auth().mint()}"}
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    client = httpx2.AsyncClient(transport=transport, base_url="http://other", headers=headers)
    async with app.router.lifespan_context(app), client:
        other = ServedCrews(Served(app, cast("asyncio.Runner", None), client, clock))
        other.add(count=count)
        yield other


def test_a_duplicate_at_another_server_waits_for_the_same_execution(storage):
    with serving_crews(storage) as one:
        count, elsewhere = counter(one, waits=True), Counter()

        async def story() -> None:
            async with another(storage, one.served.clock, elsewhere) as other:
                first = asyncio.create_task(one.ask("count", key="k"))
                await count.began.wait()
                second = asyncio.create_task(other.ask("count", key="k"))
                assert (await other.ask("count", key="k", a="another body")).status_code == 422
                await asyncio.sleep(0.1)
                assert not second.done()
                # Waiting takes nobody's place.
                assert other.executions.slots.busy == 0
                count.go_on.set()
                assert (await second).content == (await first).content
                assert (await second).headers[REPLAYED_HEADER] == "true"

        in_time(one, story)
        assert (count.times, elsewhere.times) == (1, 0)


def test_two_servers_that_are_asked_at_the_same_time_execute_once(storage):
    with serving_crews(storage) as one:
        count, elsewhere = counter(one), Counter()

        async def story() -> None:
            async with another(storage, one.served.clock, elsewhere) as other:
                for number in range(10):
                    asked = [server.ask("count", key=f"k{number}") for server in (one, other) * 3]
                    answers = await asyncio.gather(*asked)
                    assert len({answer.content for answer in answers}) == 1, [answer.text for answer in answers]

        in_time(one, story)
        assert count.times + elsewhere.times == 10
        assert one.executions.slots.busy == 0


def test_what_a_dead_server_was_doing_is_not_done_again(storage):
    with serving_crews(storage, {"lease_seconds": 10}) as one:
        count, elsewhere = counter(one, waits=True), Counter()
        clock = one.served.clock

        async def story() -> None:
            # The other one never shows that it is alive: to this one it looks dead when its lease is over.
            async with another(storage, clock, elsewhere, lease_seconds=3600) as other:
                first = asyncio.create_task(one.ask("count", key="k"))
                await count.began.wait()
                second = asyncio.create_task(other.ask("count", key="k"))
                clock.advance(seconds=9.9)
                await asyncio.sleep(0.2)
                assert not second.done()
                clock.advance(seconds=0.2)
                answer = (await second).json()
                assert (answer["success"], answer["result"], answer["crew_name"]) == (False, None, "count")
                assert "interrupted" in answer["error"] and "may have been executed in part" in answer["error"]
                assert (await other.ask("count", key="k")).json() == answer
                # It was alive after all: then what it says is what counts.
                count.go_on.set()
                assert (await first).json()["result"] == 1
                for server in (one, other):
                    assert (await server.ask("count", key="k")).json()["result"] == 1

        in_time(one, story)
        assert (count.times, elsewhere.times) == (1, 0)


def test_who_works_puts_off_the_end_of_the_lease_and_is_not_purged(storage):
    with serving_crews(storage, {"lease_seconds": 1}) as one:
        count = counter(one, waits=True)
        seen: list[Any] = []

        async def story() -> None:
            database = one.served.app.state.resources.database
            asked = asyncio.create_task(one.ask("count", key="k"))
            await count.began.wait()
            one.served.clock.advance(hours=25)
            while not seen or seen[-1] < one.served.clock():
                async with database.reading() as connection:
                    seen.append(await connection.scalar(select(idempotency_keys.c.lease_until)))
                await asyncio.sleep(0.02)
            await purge(database, "sessions", one.served.clock())
            count.go_on.set()
            assert (await asked).json()["result"] == 1

        in_time(one, story)
        assert one("count", key="k")["result"] == 1
        assert seen[-1] == one.served.clock() + timedelta(seconds=1)


def test_a_claim_of_nobody_who_is_alive_is_interrupted_at_once(storage):
    """As after a long time without a server."""
    with serving_crews(storage, {"lease_seconds": 3600}) as one:
        count, elsewhere = counter(one, waits=True), Counter()

        async def story() -> None:
            asked = asyncio.create_task(one.ask("count", key="k"))
            await count.began.wait()
            one.served.clock.advance(hours=1, seconds=1)
            async with another(storage, one.served.clock, elsewhere) as other:
                assert "interrupted" in (await other.ask("count", key="k")).json()["error"]
            count.go_on.set()
            await asked

        in_time(one, story)
        assert (count.times, elsewhere.times) == (1, 0)


def test_a_server_that_stops_lets_what_runs_come_to_its_end(storage):
    with serving_crews(storage) as crews:
        count = counter(crews, waits=True)

        async def story() -> None:
            asked = asyncio.create_task(crews.ask("count", key="k"))
            await count.began.wait()
            asked.cancel()
            await asyncio.wait({asked})
            asyncio.get_running_loop().call_later(0.1, count.go_on.set)

        in_time(crews, story)
    with serving_crews(storage) as crews:
        assert crews("count", key="k")["result"] == 1


def test_a_server_that_stops_interrupts_what_does_not_end(storage, monkeypatch, caplog):
    monkeypatch.setattr(executions, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(executions, "CLEANUP_SECONDS", 0.2)
    released = asyncio.Event()
    cancelled: list[str] = []

    began: list[str] = []

    async def polite(inputs: dict[str, Any]) -> None:
        began.append("polite")
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            cancelled.append("polite")

    async def stubborn(inputs: dict[str, Any]) -> None:
        began.append("stubborn")
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                cancelled.append("stubborn")
                asyncio.get_running_loop().call_later(0.5, released.set)

    with serving_crews(storage) as crews:
        crews.add(polite=polite, stubborn=stubborn)

        async def story() -> None:
            asked = [asyncio.create_task(crews.ask(name, key=name)) for name in ("polite", "stubborn")]
            while len(began) < 2:
                await asyncio.sleep(0.005)
            for one in asked:
                one.cancel()
            await asyncio.wait(asked)

        in_time(crews, story)
    assert sorted(cancelled)[:2] == ["polite", "stubborn"]
    assert "2 executions are interrupted" in caplog.text
    with serving_crews(storage) as crews:
        for name in ("polite", "stubborn"):
            # Not a second time, though nobody has the crew any more.
            answer = crews(name, key=name)
            assert answer["success"] is False and "interrupted" in answer["error"]


def test_a_server_that_stops_takes_no_new_work(storage, monkeypatch):
    monkeypatch.setattr(executions, "GRACE_SECONDS", 0.3)
    with serving_crews(storage) as crews:
        count = counter(crews, waits=True)

        async def story() -> None:
            asked = asyncio.create_task(crews.ask("count", key="k"))
            await count.began.wait()
            life = crews.executions._life
            assert life is not None
            life.stopping = True
            for key in ("another", None):
                answer = await crews.ask("count", key=key)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            count.go_on.set()
            assert (await asked).json()["result"] == 1

        in_time(crews, story)


def test_what_is_claimed_while_the_server_stops_is_not_begun_and_may_be_tried_again(storage, monkeypatch):
    with serving_crews(storage) as crews:
        count = counter(crews)

        async def insert(*arguments: Any, **named: Any) -> bool:
            life = crews.executions._life
            assert life is not None
            life.stopping = True
            return await idempotency.insert_key(*arguments, **named)

        monkeypatch.setattr(executions, "insert_key", insert)
        answer = crews.served.run(crews.ask("count", key="k"))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert (count.times, crews.executions.slots.busy, rows(crews)) == (0, 0, [])


def failing(times: int, monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Makes a step in the database fail so often."""
    left = [times]
    real = getattr(claims, name)

    async def step(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OperationalError(name, {}, OSError("the database is away"))
        return await real(*arguments)

    monkeypatch.setattr(claims, name, step)
    return left


def test_an_answer_is_stored_by_a_database_that_comes_back(crews, monkeypatch):
    count = counter(crews)
    left = failing(3, monkeypatch, "settle")
    assert crews("count", key="k")["result"] == 1
    assert left == [0]
    assert crews("count", key="k")["result"] == 1
    assert count.times == 1


def test_an_answer_that_cannot_be_stored_is_given_all_the_same(crews, monkeypatch, caplog):
    monkeypatch.setattr(executions, "SHORTEST_WAIT", 0.001)
    count = counter(crews)
    failing(executions.STORE_TRIES, monkeypatch, "settle")
    assert crews("count", key="k")["result"] == 1
    (record,) = (one for one in caplog.records if one.levelno == logging.ERROR)
    assert "could not be stored" in record.getMessage() and "'k'" in record.getMessage()
    # Whoever repeats it is not told the result, but nothing is executed.
    crews.served.clock.advance(minutes=1)
    assert "interrupted" in crews("count", key="k")["error"]
    assert count.times == 1


@pytest.mark.parametrize("committed", [False, True])
def test_a_claim_that_fails_executes_nothing_and_may_be_tried_again(crews, monkeypatch, committed):
    count = counter(crews)
    real = idempotency.insert_key
    times = [0]

    async def insert(connection: Any, *arguments: Any, **named: Any) -> bool:
        times[0] += 1
        claimed = await real(connection, *arguments, **named)
        if times[0] > 1:
            return claimed
        if committed:
            await connection.commit()
        raise OperationalError("INSERT", {}, OSError("the database is away"))

    monkeypatch.setattr(executions, "insert_key", insert)
    answer = crews.served.run(crews.ask("count", key="k"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert (count.times, crews.executions.slots.busy, rows(crews)) == (0, 0, [])
    assert crews("count", key="k")["result"] == 1


class Work:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.times = 0

    async def run(self, slot: Any) -> executions.Answer:
        self.times += 1
        raise self.error

    def interrupted(self, seconds: float) -> executions.Answer:
        raise NotImplementedError


@pytest.mark.parametrize("status", [408, 429, 503])
def test_answers_that_ask_for_another_try_are_not_stored(crews, status):
    work = Work(HTTPException(status))

    async def story() -> None:
        for _ in range(2):
            with pytest.raises(HTTPException):
                await crews.executions.once(Key.of("s", "c", "POST /x", "k", b"", b""), work)

    in_time(crews, story)
    assert (work.times, rows(crews)) == (2, [])


def test_work_with_a_bug_is_not_tried_again_under_its_key(crews, caplog):
    work = Work(ZeroDivisionError("bug"))

    async def story() -> None:
        for _ in range(2):
            answer = await crews.executions.once(Key.of("s", "c", "POST /x", "k", b"", b""), work)
            assert (answer.status_code, answer.body) == (500, b'{"detail":"Internal Server Error"}')

    in_time(crews, story)
    assert work.times == 1
    assert "ZeroDivisionError" in caplog.text
