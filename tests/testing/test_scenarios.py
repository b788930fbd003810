"""One scenario, three drivers: the same attempts and the same outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import httpx2
import pytest

from holdfast.testing import SCENARIOS, CallSpec, Scenario, Step, VirtualClock, run_async, run_sync, run_virtual
from holdfast.testing.scenario import Result, Run


def _run_async(scenario: Scenario) -> Run:
    return asyncio.run(run_async(scenario))


def _clocked_async(scenario: Scenario) -> Run:
    with VirtualClock():
        return _run_async(scenario)


def _clocked_sync(scenario: Scenario) -> Run:
    with VirtualClock():
        return run_sync(scenario)


RUNS = {
    "async": _run_async,
    "sync": run_sync,
    "virtual": run_virtual,
    "async-clock": _clocked_async,
    "sync-clock": _clocked_sync,
}
every_driver = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "resilient_client")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@every_driver
def test_every_driver_comes_to_what_is_expected(run: Callable[[Scenario], Run], scenario: Scenario):
    came_to = run(scenario)
    if came_to != scenario.expected and run in (RUNS["async"], RUNS["sync"]):
        # These two are told in real time, of which a busy machine may take more than a scenario has between two events.
        came_to = run(scenario)
    assert came_to == scenario.expected, [result.error for result in came_to.results]


def test_every_scenario_has_a_name_of_its_own():
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS) > 60


@every_driver
def test_a_wrong_expectation_is_noticed(run: Callable[[Scenario], Run]):
    calls = (CallSpec(200, 1), CallSpec("NotFoundError", at=None))
    scenario = Scenario("not so", [503, Step(404)], calls, config=SCENARIOS[0].config)
    assert run(scenario) == Run((Result("NotFoundError", 2), Result("NotFoundError", 1)), 3)
    assert run(scenario) != scenario.expected


def test_a_result_keeps_the_exception_for_people():
    (result,) = run_virtual(Scenario("lost", [httpx2.ReadError], (CallSpec("", method="POST"),))).results
    assert result.outcome == "APIConnectionError"
    assert isinstance(result.error, httpx2.ReadError)


@every_driver
def test_a_delay_ends_with_the_read_timeout(run: Callable[[Scenario], Run]):
    """As it would over a socket; without that, no deadline could be tried in sync use."""
    slow = Scenario(
        "slow", [Step(delay=60.0)], (CallSpec("APITimeoutError", options={"timeout": 0.01, "retry": None}),)
    )
    assert run(slow) == slow.expected
