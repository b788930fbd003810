"""The states of an execution, whatever happens in whatever order: people, processes that work on it, and late ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import HTTPException
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from holdfast.servers.db import Database, database_url
from holdfast.servers.integration.executions import progress, store
from holdfast.servers.integration.executions.progress import Failure, Progress, SupersededError
from holdfast.servers.integration.executions.schemas import Execution, NewExecution, Status
from holdfast.servers.integration.plans import Plan, PlannedStep
from holdfast.servers.service import Storage

pytestmark = pytest.mark.slow

START = datetime(2030, 1, 1, tzinfo=UTC)
ENDED = {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


def planned(count: int) -> Plan:
    made = [
        PlannedStep(f"s{n}", "act", f"s{n + 1}" if n + 1 < count else None, None, uuid4(), "svc", {}, {})
        for n in range(count)
    ]
    return Plan(uuid4(), "w", active=True, steps=tuple(made))


class Machine(RuleBasedStateMachine):
    """Any number of processes have begun the execution in any of its runs, and come back with results at any time.

    The model is what people may see: the status, the run, the outputs of steps, and which keys were sent.
    """

    database: Database
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.going: list[tuple[Progress, int]] = []
        self.status, self.run = Status.PENDING, 1
        self.done: list[dict[str, Any]] = []
        self.sent: Counter[int] = Counter()
        self.keys: dict[int, int] = {}
        self.definite = False
        self.waiting = True

    def write(self, work: Any, *arguments: Any, **named: Any) -> Any:
        async def main() -> Any:
            async with self.database.writing() as connection:
                return await work(connection, *arguments, **named)

        self.now += timedelta(seconds=1)
        return self.runner.run(main())

    @initialize(steps=st.integers(1, 3))
    def create(self, steps: int) -> None:
        self.steps = steps
        made = self.write(store.create, planned(steps), NewExecution(input_data={"x": 0}), "request", self.now)
        self.id: UUID = made.id
        self.check()

    @rule(run=st.integers(0, 1))
    def a_process_begins(self, run: int) -> None:
        """The first, or one that takes over; or one that has heard of an older run only now."""
        wanted = self.run - run
        going = self.write(progress.begin, self.id, wanted, self.now)
        if run or self.status in ENDED:
            assert going is None
        else:
            position = len(self.done)
            step = going.steps[position]
            given = {"x": 0}
            for output in self.done:
                given |= output
            assert (step.status, step.input, step.key_number) == (Status.RUNNING, given, self.keys.get(position, 1))
            assert [one.status for one in going.steps[:position]] == [Status.COMPLETED] * position
            self.status, self.waiting = Status.RUNNING, False
            self.sent[position] += 1
            self.going.append((going, position))
        self.check()

    def counts(self, going: Progress, position: int) -> bool:
        """Whether what a process comes back with still counts."""
        return (
            self.status is Status.RUNNING and going.run == self.run and position == len(self.done) and not self.waiting
        )

    @precondition(lambda self: self.going)
    @rule(which=st.integers(0, 10), attempts=st.integers(0, 3), go_on=st.booleans())
    def a_process_has_an_output(self, which: int, attempts: int, go_on: bool) -> None:
        going, position = self.going.pop(which % len(self.going))
        counts, last = self.counts(going, position), position + 1 == self.steps
        output = {f"o{position}": len(self.done), "x": position + 1}
        merged = {**(going.steps[position].input or {}), **output}
        following = None if last else merged
        self.sent[position] += attempts - 1
        try:
            self.write(
                progress.complete,
                going,
                going.steps[position],
                output,
                attempts,
                self.now,
                following,
                go_on=go_on,
            )
            assert counts
        except SupersededError:
            assert not counts
            self.write(progress.count_attempts, going, going.steps[position], attempts)
        if counts:
            self.done.append(output)
            if last:
                self.status = Status.COMPLETED
            elif go_on:
                going.steps[position + 1].input = merged
                self.sent[position + 1] += 1
                self.going.append((going, position + 1))
            else:
                self.waiting = True
        self.check()

    @precondition(lambda self: self.going)
    @rule(which=st.integers(0, 10), attempts=st.integers(0, 3), definite=st.booleans())
    def a_process_has_failed(self, which: int, attempts: int, definite: bool) -> None:
        going, position = self.going.pop(which % len(self.going))
        counts = self.counts(going, position)
        self.sent[position] += attempts - 1
        failure = Failure("no", 400 if definite else None, definite=definite, attempts=attempts)
        try:
            self.write(progress.fail, going, going.steps[position], failure, self.now)
            assert counts
        except SupersededError:
            assert not counts
            self.write(progress.count_attempts, going, going.steps[position], attempts)
        if counts:
            self.status, self.definite = Status.FAILED, definite
        self.check()

    @precondition(lambda self: self.going)
    @rule(which=st.integers(0, 10))
    def a_process_dies(self, which: int) -> None:
        self.going.pop(which % len(self.going))

    @rule()
    def somebody_cancels(self) -> None:
        if self.status in {Status.COMPLETED, Status.FAILED}:
            self.refused(store.cancel)
        else:
            found = self.write(store.cancel, str(self.id), self.now)
            assert found.status is Status.CANCELLED
            self.definite = False
            self.status = Status.CANCELLED
        self.check()

    @rule()
    def somebody_resumes(self) -> None:
        if self.status not in {Status.FAILED, Status.CANCELLED}:
            self.refused(store.resume)
        else:
            found = self.write(store.resume, str(self.id), self.now)
            self.status, self.run, self.waiting = Status.PENDING, self.run + 1, True
            assert (found.run, found.status) == (self.run, Status.PENDING)
            if self.definite:
                position = len(self.done)
                self.keys[position] = self.keys.get(position, 1) + 1
            self.definite = False
        self.check()

    def refused(self, work: Any) -> None:
        with pytest.raises(HTTPException) as caught:
            self.write(work, str(self.id), self.now)
        assert caught.value.status_code == 409

    def check(self) -> None:
        """What people see is what the model says."""

        async def read() -> tuple[Execution, Any]:
            async with self.database.reading() as connection:
                found = await store.get(connection, str(self.id))
                return found, await store.list_events(connection, str(self.id), 0, 1000)

        found, events = self.runner.run(read())
        assert (found.status, found.run) == (self.status, self.run)
        assert [step.output for step in found.steps] == self.done + [None] * (self.steps - len(self.done))
        assert [step.attempts for step in found.steps] == [self.sent[n] for n in range(self.steps)]
        assert found.result == (self.done[-1] if self.status is Status.COMPLETED else None)
        assert (found.error is not None) == (self.status is Status.FAILED)
        assert (found.ended_at is not None) == (self.status in ENDED)
        running = [step for step in found.steps if step.status is Status.RUNNING]
        assert len(running) == (self.status is Status.RUNNING and not self.waiting)
        assert [event.number for event in events.events] == list(range(1, len(events.events) + 1))
        assert events.done == (self.status in ENDED)
        kinds = Counter(event.kind for event in events.events)
        assert kinds["execution.resumed"] == self.run - 1
        assert kinds["step.completed"] == len(self.done)
        ends = sum(kinds[f"execution.{status.value.lower()}"] for status in ENDED)
        assert ends == self.run - 1 + (self.status in ENDED)


@pytest.fixture
def machine(tmp_path) -> Iterator[type[Machine]]:
    """On a database that its examples share: each has an execution of its own."""
    with asyncio.Runner() as runner:
        database = Database(database_url(Storage(tmp_path), "test"), ("registry", "executions"))
        runner.run(database.open())
        Machine.database, Machine.runner = database, runner
        yield Machine
        runner.run(database.close())


def test_what_happens_in_whatever_order_comes_to_what_it_should(machine):
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=20))


def test_what_a_process_comes_back_with_after_a_resume_changes_nothing(machine):
    one = machine()
    one.create(steps=2)
    one.a_process_begins(run=0)
    one.somebody_cancels()
    one.somebody_resumes()
    one.a_process_begins(run=0)
    one.a_process_has_an_output(which=0, attempts=3, go_on=True)
    assert one.done == []
    one.a_process_has_an_output(which=0, attempts=1, go_on=True)
    assert len(one.done) == 1


def test_of_two_processes_with_the_same_step_the_first_to_end_it_counts(machine):
    one = machine()
    one.create(steps=2)
    one.a_process_begins(run=0)
    one.a_process_begins(run=0)
    one.a_process_has_an_output(which=0, attempts=1, go_on=True)
    one.a_process_has_an_output(which=0, attempts=1, go_on=True)
    one.a_process_has_failed(which=0, attempts=1, definite=True)
    assert one.status is Status.FAILED and len(one.done) == 1
