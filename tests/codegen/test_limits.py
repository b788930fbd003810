"""The adaptive rate limiter as the client sets it up: what it starts with, and what 429s and headers make of it."""

from __future__ import annotations

import pytest

from holdfast import PoolTimeoutError
from holdfast.codegen import CodegenAPIError
from holdfast.codegen.limits import LOGS, RUNS
from holdfast.testing import Step, VirtualClock
from tests.support.codegen import RUN, Service, problem
from tests.support.codegen_limits import load
from tests.support.colours import is_a

ME = "GET /v1/users/me"


def test_a_burst_goes_out_at_once_and_then_one_at_a_time(holdfast_clock: VirtualClock) -> None:
    service = Service()
    client = service.client(enable_caching=False, rate_limit_requests_per_period=5, rate_limit_period_seconds=10.0)
    for _ in range(7):
        client.get_current_user().result()
    assert holdfast_clock.waits == (2.0, 2.0)


def test_429s_halve_the_rate_down_to_ten(holdfast_clock: VirtualClock) -> None:
    service = Service()
    client = service.client(enable_caching=False)
    service.broken[ME] = [problem(429, "later", **{"Retry-After": "1"})] * 3
    client.get_current_user().result()
    limits = client.get_metrics_summary()["rate_limiter"]
    assert limits["limits"]["other"] == {
        "requests_per_period": 10.0,
        "retry_after_seconds": 0.0,
        "refused_requests": 3,
    }
    assert limits["refused_requests"] == 3 and limits["configured_requests_per_period"] == 60
    assert len(holdfast_clock.waits) == 3 and min(holdfast_clock.waits) >= 1.0


def test_ten_successes_raise_it_by_a_tenth_up_to_two_hundred(holdfast_clock: VirtualClock) -> None:
    service = Service()
    client = service.client(enable_caching=False)
    rates = []
    for number in range(200):
        client.get_current_user().result()
        if number % 10 == 9:
            rates.append(client.resilient.rate_limiter.rate)
    assert rates[:2] == [pytest.approx(66.0), pytest.approx(72.6)] and rates[-1] == 200.0


def test_creating_and_logs_have_limits_of_their_own(holdfast_clock: VirtualClock) -> None:
    service = Service()
    client = service.client(enable_caching=False)
    used_up = {"RateLimit-Policy": '"create";q=10;w=60', "RateLimit": '"create";r=0;t=60'}
    service.broken[f"POST {RUN}"] = [Step(json={"id": 1, "organization_id": 123}, headers=used_up)]
    client.create_agent_run(123, "p").result()
    client.get_current_user().result()
    assert holdfast_clock.elapsed < 1.0
    client.create_agent_run(123, "p").result()
    assert holdfast_clock.waits == (60.0,)
    of = client.resilient.rate_limiter_of
    base = client.config.url
    service.broken["GET /v1/alpha/organizations/123/agent/run/1/logs"] = [problem(429, "later")]
    client.get_agent_run_logs(123, 1).result()
    assert [of(base, lane).refusals for lane in (None, RUNS, LOGS)] == [0, 0, 1]
    assert [of(base, lane).rate for lane in (None, RUNS, LOGS)] == [60.0, 60.0, 30.0]


def test_who_would_wait_too_long_is_told(holdfast_clock: VirtualClock) -> None:
    service = Service()
    client = service.client(enable_caching=False, rate_limit_requests_per_period=1, rate_limit_max_wait_seconds=30.0)
    client.get_current_user().result()
    with pytest.raises(CodegenAPIError, match="at most 30 s are waited") as caught:
        client.get_current_user().result()
    assert is_a(caught.value, PoolTimeoutError) and caught.value.retry_after == pytest.approx(60.0)


@pytest.mark.slow
def test_a_client_finds_the_rate_of_the_service() -> None:
    seen = load(clients=1, workers=20, method="GET", seconds=300.0)
    assert seen.refused <= 0.02 * seen.accepted and seen.accepted >= 0.9 * seen.ideal


@pytest.mark.slow
def test_clients_that_do_not_know_of_each_other_come_to_terms() -> None:
    seen = load(clients=10, workers=5, method="GET", seconds=300.0)
    assert seen.accepted >= 0.9 * seen.ideal
    assert seen.refused_after(180.0) <= 0.05 * seen.accepted
