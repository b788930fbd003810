"""What becomes of executions when the server that has them ends, in whatever way."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from dbos import DBOS
from fastapi import FastAPI
from sqlalchemy import func, insert, select, text, update

from holdfast.servers.integration.executions import durable, progress, server
from holdfast.servers.integration.executions.server import ExecutionsServer
from holdfast.servers.integration.executions.tables import events, executions, executors, steps
from holdfast.servers.integration.executions.takeover import Takeover
from holdfast.servers.service import ServerStartError, Storage
from tests.support.executions import Asked, run, serving

pytestmark = pytest.mark.loopback


async def rows(app: FastAPI, statement: Any) -> list[Any]:
    async with app.state.resources.database.reading() as connection:
        return list((await connection.execute(statement)).all())


async def write(app: FastAPI, statement: Any) -> None:
    async with app.state.resources.database.writing() as connection:
        await connection.execute(statement)


async def known_to_dbos() -> dict[str, str]:
    return {one.workflow_id: one.status for one in await DBOS.list_workflows_async()}


async def step_begins(api: Asked, execution: str, number: int) -> None:
    await api.until(execution, lambda found: found["steps"][number]["status"] == "RUNNING")


def test_there_is_one_such_server_in_a_process_at_a_time(tmp_path, storage, service):
    async def main() -> None:
        for _ in range(2):
            async with serving(storage) as api:
                found = await api.execute(await api.workflow(service, "a"), wait=20)
                assert found["status"] == "COMPLETED"
                with pytest.raises(ServerStartError, match="one per process"):
                    async with serving(storage):
                        pass
                # The first is as it was.
                assert (await api.execute(found["workflow_id"], wait=20))["status"] == "COMPLETED"

    run(main)
    run(main)


def test_what_a_stopped_server_leaves_the_next_one_goes_on_with(storage, service, monkeypatch):
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.2)
    service.held["b"] = threading.Event()

    async def main() -> None:
        async with serving(storage) as api:
            workflow = await api.workflow(service, "a", "b", "c")
            begun = (await api.execute(workflow))["id"]
            await step_begins(api, begun, 1)
            while ("b", f"{begun}:s1") not in service.effects:
                await asyncio.sleep(0.01)
        service.held.pop("b").set()
        async with serving(storage) as api:
            found = await api.get(begun, wait=30)
            assert (found["status"], found["run"]) == ("COMPLETED", 1)
            assert [step["attempts"] for step in found["steps"]] == [1, 2, 1]
            (alive,) = await rows(api.app, select(executors))
            assert alive.seen_at is not None
        assert set(service.effects.values()) == {1}

    run(main)


def test_a_step_that_ends_in_the_grace_is_done_and_the_next_one_is_left(storage, service):
    service.held["a"] = threading.Event()

    async def main() -> None:
        async with serving(storage) as api:
            begun = (await api.execute(await api.workflow(service, "a", "b")))["id"]
            while not service.effects:
                await asyncio.sleep(0.01)
            asyncio.get_running_loop().call_later(0.3, service.held.pop("a").set)
        assert [one.action for one in service.called] == ["a"]
        async with serving(storage) as api:
            found = await api.get(begun, wait=30)
            assert [step["attempts"] for step in found["steps"]] == [1, 1]

    run(main)


def test_an_execution_that_was_committed_and_not_begun_is_begun_by_the_next_server(storage, service, monkeypatch):
    async def nothing(self: object, execution_id: UUID, run: int) -> None:
        pass

    # Of more than are looked at together.
    monkeypatch.setattr("holdfast.servers.integration.executions.takeover.AT_ONCE", 2)

    async def main() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(ExecutionsServer, "start", nothing)
            async with serving(storage) as api:
                workflow = await api.workflow(service, "a")
                begun = [(await api.execute(workflow))["id"] for _ in range(5)]
                assert not {f"{one}.1" for one in begun} & (await known_to_dbos()).keys()
        async with serving(storage) as api:
            for one in begun:
                assert (await api.get(one, wait=30))["status"] == "COMPLETED"

    run(main)


def test_an_execution_that_could_not_be_begun_is_begun_by_the_sweep(tmp_path, storage, service, monkeypatch):
    monkeypatch.setattr("holdfast.servers.integration.executions.takeover.SWEEP_SECONDS", 0.1)
    original = durable.Durable.start
    failed: list[UUID] = []

    async def failing(self: Any, execution_id: UUID, run: int, *, queued: bool) -> None:
        if not failed:
            failed.append(execution_id)
            raise OSError("no database")
        await original(self, execution_id, run, queued=queued)

    monkeypatch.setattr(durable.Durable, "start", failing)

    async def main() -> None:
        async with serving(storage, lease_seconds=1) as api:
            found = await api.execute(await api.workflow(service, "a"), wait=30)
            assert found["status"] == "COMPLETED" and [str(one) for one in failed] == [found["id"]]

    run(main)


def test_what_strayed_to_a_process_that_nobody_knows_is_gone_on_with(storage, service, monkeypatch):
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.1)
    service.held["a"] = threading.Event()

    async def main() -> None:
        async with serving(storage) as api:
            begun = (await api.execute(await api.workflow(service, "a")))["id"]
            await step_begins(api, begun, 0)
            app = api.app
        service.held.pop("a").set()
        database = app.state.resources.database
        await database.open()
        async with database.writing() as connection:
            await connection.execute(text("DELETE FROM executors"))
        await database.close()
        async with serving(storage) as api:
            assert (await api.get(begun, wait=30))["status"] == "COMPLETED"

    run(main)


def test_two_processes_with_the_same_execution_do_not_both_leave_it_to_the_other(storage, service):
    service.held["a"] = threading.Event()

    async def main() -> None:
        async with serving(storage) as api:
            begun = (await api.execute(await api.workflow(service, "a", "b", "c")))["id"]
            while not service.effects:
                await asyncio.sleep(0.01)
            now = datetime.now(UTC)
            async with api.app.state.resources.database.writing() as connection:
                # One that was believed dead, has done the step, and is then told by dbos that it is not its any more.
                other = await progress.begin(connection, UUID(begun), 1, now)
                assert other is not None
                given = {"a": 7}
                await progress.complete(connection, other, other.steps[0], {"a": 7}, 1, now, given, go_on=True)
            service.held.pop("a").set()
            found = await api.get(begun, wait=30)
            assert (found["status"], found["steps"][0]["output"]) == ("COMPLETED", {"a": 7})
            assert found["steps"][1]["input"] == given
            # What was counted for the other one, too.
            assert [step["attempts"] for step in found["steps"]] == [2, 2, 1]
            assert [one.action for one in service.called] == ["a", "b", "c"]

    run(main)


@pytest.mark.parametrize("status", ["MAX_RECOVERY_ATTEMPTS_EXCEEDED", "ERROR", "SUCCESS"])
def test_what_dbos_has_given_up_fails_and_can_be_resumed(tmp_path, storage, service, monkeypatch, status):
    monkeypatch.setattr("holdfast.servers.integration.executions.takeover.SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.1)
    service.held["a"] = threading.Event()
    original = durable.Durable.known

    async def main() -> None:
        async with serving(storage, lease_seconds=1) as api:
            begun = (await api.execute(await api.workflow(service, "a", "b")))["id"]
            await step_begins(api, begun, 0)

            async def known(self: Any, runs: Any) -> Any:
                found = await original(self, runs)
                for (_, number), one in found.items():
                    if number == 1:
                        one.status, one.recovery_attempts = status, 12
                return found

            monkeypatch.setattr(durable.Durable, "known", known)
            found = await api.get(begun, wait=30)
            assert (found["status"], found["steps"][0]["status"]) == ("FAILED", "FAILED"), found
            message = found["error"]["message"]
            assert ("12 times" if status.startswith("MAX") else "unexpectedly") in message
            assert found["error"]["may_have_executed"] is True
            assert found["steps"][0]["error"]["message"] == message
            service.held.pop("a").set()
            await api.ok("POST", f"/executions/{begun}/resume")
            assert (await api.get(begun, wait=30))["status"] == "COMPLETED"

    run(main)


@pytest.mark.slow
def test_one_that_ends_its_server_again_and_again_is_given_up(tmp_path, service, monkeypatch):
    storage = Storage(tmp_path)
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr("holdfast.servers.integration.executions.takeover.SWEEP_SECONDS", 0.2)
    service.held["a"] = threading.Event()

    async def main() -> None:
        async with serving(storage) as api:
            begun = (await api.execute(await api.workflow(service, "a")))["id"]
            await step_begins(api, begun, 0)
        ended = 0

        def further(found: Any) -> bool:
            return bool(found["steps"][0]["attempts"] > ended + 1 or found["status"] == "FAILED")

        while True:
            async with serving(storage, lease_seconds=1) as api:
                found = await api.until(begun, further)
                if found["status"] == "FAILED":
                    break
                ended += 1
        assert ended == durable.MOST_RECOVERIES
        assert found["error"]["message"].startswith("given up")

    run(main)


def test_a_step_that_fails_unexpectedly_fails_the_execution(tmp_path, storage, service, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)

    async def broken(*args: Any, **named: Any) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("holdfast.servers.integration.calling.ServiceCaller.call", broken)

    async def main() -> None:
        async with serving(storage) as api:
            found = await api.execute(await api.workflow(service, "a"), wait=20)
            assert found["status"] == "FAILED" and "KeyError" in found["error"]["message"], found
            assert "oops" not in found["error"]["message"]

    run(main)
    assert "oops" in caplog.text


def test_a_database_that_fails_for_a_while_only_takes_time(storage, service, monkeypatch, caplog):
    original, failures = progress.complete, [OSError("gone"), OSError("still gone")]

    async def failing(*args: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return await original(*args, **named)

    monkeypatch.setattr(progress, "complete", failing)

    async def main() -> None:
        async with serving(storage) as api:
            found = await api.execute(await api.workflow(service, "a", "b"), wait=30)
            assert (found["status"], len(service.called), failures) == ("COMPLETED", 2, [])

    run(main)
    assert "waits for the database: gone" in caplog.text


def test_what_is_too_old_is_removed_here_and_in_dbos(storage, service):
    now = datetime.now(UTC)

    async def main() -> None:
        async with serving(storage, retention_days=1) as api:
            workflow = await api.workflow(service, "a")
            old, new = [(await api.execute(workflow, wait=20))["id"] for _ in range(2)]
            service.held["a"] = threading.Event()
            running = (await api.execute(workflow))["id"]
            await step_begins(api, running, 0)
            ago = now - timedelta(days=1, seconds=1)
            await write(api.app, update(executions).where(executions.c.id == UUID(old)).values(ended_at=ago))
            executing: ExecutionsServer = api.app.state.executions
            await executing.purge(api.app.state.resources.database, now)
            service.held.pop("a").set()
            await api.get(running, wait=20)
            assert (await api("GET", f"/executions/{old}"))[0] == 404
            assert (await api.ok("GET", "/executions"))["total"] == 2
            known = await known_to_dbos()
            assert f"{old}.1" not in known and f"{new}.1" in known
            for table in (steps, events):
                of_old = select(func.count()).select_from(table).where(table.c.execution_id == UUID(old))
                assert await rows(api.app, of_old) == [(0,)]

    run(main)


def test_many_dead_processes_are_forgotten(storage, service):
    async def main() -> None:
        async with serving(storage, lease_seconds=1) as api:
            now, hour = datetime.now(UTC), timedelta(hours=1)
            # Whatever their clocks said.
            said = {"long ago": now - hour, "just now": now, "later": now + hour, "stopped": None}
            await write(api.app, insert(executors).values([{"id": one, "seen_at": at} for one, at in said.items()]))
            await write(api.app, insert(executors).values([{"id": "slow", "seen_at": now - hour}]))
            async with asyncio.timeout(20):
                while len(left := {row.id for row in await rows(api.app, select(executors))}) > 2:
                    slow = update(executors).where(executors.c.id == "slow")
                    await write(api.app, slow.values(seen_at=datetime.now(UTC) - hour))
                    await asyncio.sleep(0.05)
            assert "slow" in left

    run(main)


def test_nobody_is_believed_dead_because_the_database_was_away(storage, service, monkeypatch):
    away = False
    original = Takeover._beat

    async def beat(self: Takeover) -> None:
        if away:
            raise OSError("gone")
        await original(self)

    monkeypatch.setattr(Takeover, "_beat", beat)

    async def main() -> None:
        nonlocal away
        async with serving(storage, lease_seconds=1) as api:

            async def heard(other: bool) -> datetime | None:
                same = executors.c.id == "other" if other else executors.c.id != "other"
                return next((row.seen_at for row in await rows(api.app, select(executors).where(same))), None)

            await write(api.app, insert(executors).values(id="other", seen_at=datetime.now(UTC)))
            away = True
            await asyncio.sleep(1.2)
            last, away = await heard(other=False), False
            for _ in range(2):
                # It looks after others as soon as it can show that it is alive.
                while (now := await heard(other=False)) == last:
                    await asyncio.sleep(0.01)
                last = now
            assert await heard(other=True)

    run(main)


def test_a_server_that_finds_itself_declared_dead_says_so_and_is_alive(storage, service, caplog):
    async def main() -> None:
        async with serving(storage, lease_seconds=1) as api:
            await write(api.app, executors.delete())
            async with asyncio.timeout(20):
                while not await rows(api.app, select(executors)):
                    await asyncio.sleep(0.05)
            assert (await api.execute(await api.workflow(service, "a"), wait=20))["status"] == "COMPLETED"

    run(main)
    assert "was believed dead" in caplog.text


def test_dbos_keeps_no_pickles_and_prints_nothing(storage, service, capfd):
    async def main() -> None:
        async with serving(storage) as api:
            await api.execute(await api.workflow(service, "a"), wait=20)
            await asyncio.sleep(0.2)
            (found,) = await DBOS.list_workflows_async(load_output=True, load_input=True)
            assert (found.output, found.status) == ("COMPLETED", "SUCCESS")

    run(main)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("dbos").propagate
    assert [type(one) for one in logging.getLogger("dbos").handlers] == [logging.NullHandler]
