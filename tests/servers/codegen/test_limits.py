"""Rate limits: how requests are counted, and what callers are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.http.headers import rate_limit, retry_after
from holdfast.servers.codegen.limits import LIMITS, Limit, Quotas
from holdfast.servers.service import Storage
from tests.support.codegen_served import ORGANIZATION, RUN, RUNS, codegen_served

ME = "/v1/users/me"
SMALL = Limit("small", "GET", "/x", 3, 10)


@pytest.fixture
def limited(tmp_path):
    with codegen_served(Storage(tmp_path)) as served:
        yield served


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5), st.integers(1, 12))
def test_no_window_has_more_than_the_quota_and_nobody_is_refused_who_fits(gaps, quota, window):
    limit = Limit("x", "GET", "/x", quota, window)
    quotas = Quotas()
    now = 0.0
    accepted: list[float] = []
    for gap in gaps:
        now += gap
        within = [then for then in accepted if now - then < window]
        standing = quotas.take("me", limit, now)
        assert standing.accepted is (len(within) < quota)
        if standing.accepted:
            accepted.append(now)
            within.append(now)
        assert (standing.used, standing.remaining) == (len(within), quota - len(within))
        assert 0 < standing.wait <= window
        if not standing.accepted:
            # Whoever waits as long as told is let through, but not much earlier.
            assert now - within[0] + standing.wait >= window - 1e-9
            assert now - within[0] + standing.wait - 1 < window
    for one in accepted:
        assert len([other for other in accepted if one <= other < one + window]) <= quota


def test_a_clock_that_is_set_back_locks_nobody_out():
    quotas = Quotas()
    assert [quotas.take("me", SMALL, 10_000.0).accepted for _ in range(4)] == [True, True, True, False]
    assert quotas.take("me", SMALL, 50.0).accepted


def test_what_has_lapsed_is_forgotten_however_many_tokens_there_are():
    quotas = Quotas()
    for number in range(5_000):
        quotas.take(f"token {number}", SMALL, float(number))
    assert len(list(quotas.standings(5_000.0))) == 9
    assert len(quotas._accepted) <= 1_010


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_every_operation_is_held_to_its_limit(limited, limit):
    path = limit.path.format(org_id=123, agent_run_id=1, user_id=1)
    answers = [
        limited(limit.method, path, {"prompt": "x"} if limit.method == "POST" else None) for _ in range(limit.quota)
    ]
    assert [answer.status_code for answer in answers] == [200] * limit.quota
    assert [int(answer.headers["X-RateLimit-Remaining"]) for answer in answers] == list(reversed(range(limit.quota)))
    limited.clock.advance(seconds=limit.window / 2)
    refused = limited(limit.method, path)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == str(limit.window // 2)
    assert limit.name in refused.json()["message"] and refused.json()["status_code"] == 429
    assert f"{limit.quota} requests in {limit.window} s" in refused.json()["detail"]
    # A refused request does not count.
    limited.clock.advance(seconds=limit.window / 2)
    assert limited(limit.method, path, {"prompt": "x"}).status_code in {200, 422}


def test_the_limits_are_the_official_ones():
    assert {limit.name: (limit.quota, limit.window) for limit in LIMITS} == {
        "create-agent-run": (10, 60),
        "get-agent-run": (60, 30),
        "list-agent-runs": (60, 30),
        "get-current-user": (60, 30),
        "list-organizations": (60, 30),
        "list-users": (60, 30),
        "get-user": (60, 30),
        "list-repos": (60, 30),
        "get-agent-run-logs": (60, 60),
    }


def test_our_client_reads_the_headers_as_they_are_meant(limited):
    limited(*("GET", ME))
    limited.clock.advance(seconds=10)
    answer = limited("GET", ME)
    assert answer.headers["RateLimit-Policy"] == '"get-current-user";q=60;w=30'
    assert answer.headers["RateLimit"] == '"get-current-user";r=58;t=20'
    raw = [(name.title(), value) for name, value in answer.headers.raw]
    assert rate_limit(raw, 0.0) == (58, 20.0, 60, 30.0)
    assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Reset"]) == ("60", "20")
    for _ in range(58):
        limited("GET", ME)
    raw = limited("GET", ME).headers.raw
    assert (retry_after(raw, 0.0), rate_limit(raw, 0.0)) == (20.0, (0, 20.0, 60, 30.0))


def test_tokens_and_operations_have_limits_of_their_own(limited):
    for _ in range(10):
        limited.new_run()
    assert limited("POST", RUN, {"prompt": "x"}).status_code == 429
    assert limited("POST", RUN, {"prompt": "x"}, headers={"Authorization": "Bearer another"}).status_code == 200
    assert limited("GET", RUNS).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", f"{ORGANIZATION}/users/abc", 422), ("GET", "/v1/organizations/7/users", 403), ("POST", RUN, 422)],
)
def test_a_request_that_is_refused_for_another_reason_counts_too(limited, method, path, status):
    answers = [limited(method, path, {} if method == "POST" else None) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [status, status]
    first, second = (int(answer.headers["X-RateLimit-Remaining"]) for answer in answers)
    assert first - second == 1


def test_a_newline_at_the_end_of_a_path_is_no_way_around(limited):
    for _ in range(60):
        limited("GET", ME)
    assert limited("GET", f"{ME}%0A").status_code == 429


def test_what_has_no_limit_has_no_headers(limited):
    for path in ("/health", "/v1/activity", "/v1/webhooks", "/v1/nowhere"):
        assert not [name for name in limited("GET", path).headers if "limit" in name]


def test_a_request_without_a_token_is_counted_for_nobody(limited):
    for _ in range(70):
        assert limited("GET", ME, headers={"Authorization": ""}).status_code == 401
    assert limited("GET", ME).headers["X-RateLimit-Remaining"] == "59"


def test_relaxed_limits_are_a_hundred_times_as_wide(codegen):
    answer = codegen("GET", ME)
    assert answer.headers["RateLimit-Policy"] == '"get-current-user";q=6000;w=30'
    assert codegen.ok("GET", "/health")["limits"] == "relaxed"
