from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.config import (
    BulkheadConfig,
    CacheConfig,
    CircuitBreakerConfig,
    ClientConfig,
    RateLimitConfig,
    RetryBudgetConfig,
    RetryConfig,
    TimeoutConfig,
)
from holdfast.lint import LintWarning

URL = "https://api.example.com"


def codes(handed_in=None, **settings):
    return [warning.code for warning in ClientConfig(**{"base_url": URL, **settings}).lint(handed_in)]


@pytest.mark.parametrize(
    "make", [ClientConfig, ClientConfig.development, ClientConfig.production, ClientConfig.high_throughput]
)
@pytest.mark.parametrize("url", ["http://localhost:8000", "http://api.example.com", URL])
def test_defaults_and_presets_are_silent(make, url):
    assert make(base_url=url).lint() == []


@pytest.mark.parametrize("window", ["count", "time"])
def test_another_window_of_the_breaker_is_silent_with_defaults(window):
    assert codes(circuit_breaker=CircuitBreakerConfig(window=window)) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_limit": RateLimitConfig(rate=10)},
        {"rate_limit": RateLimitConfig(rate=10, adaptive=True, min_rate=1, max_rate=20)},
        {"rate_limit": RateLimitConfig(rate=60, period=60)},
        {"cache": CacheConfig(default_ttl=60, stale_if_error=600, stale_while_revalidate=30)},
        {"cache": CacheConfig(from_response=True, stale_if_error=600)},
        {"headers": {"Authorization": "Bearer x"}},
        {"base_url": "http://127.0.0.9:8000", "headers": {"Authorization": "Bearer x"}},
        {"base_url": "http://[::1]:8000", "headers": {"Cookie": "a=b"}},
        {"base_url": "http://api.localhost", "headers": {"X-API-Key": "x"}},
        {"base_url": "http://api.example.com", "headers": {"Accept": "text/html"}},
        {"max_connections": 50},
        {"max_keepalive_connections": 50},
        {"max_keepalive_connections": 0},
        {"deadline": None},
        {"timeout": TimeoutConfig(connect=None, read=None)},
        {"deadline": 75, "retry": RetryConfig(max_attempts=1)},
        {"retry": RetryConfig(max_attempts=1, budget=RetryBudgetConfig(ratio=0, floor=0))},
        {"retry": RetryConfig(budget=None)},
        {"circuit_breaker": CircuitBreakerConfig(slow_call_seconds=3, slow_call_rate=0.5, window_size=20)},
        {"circuit_breaker": CircuitBreakerConfig(enabled=False, half_open_probes=99, window_size=1)},
    ],
)
def test_settings_that_fit_together_are_silent(settings):
    assert codes(**settings) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"deadline": 5}, "deadline-shorter-than-attempt"),
        ({"deadline": 74.9, "retry": RetryConfig(max_attempts=1)}, "deadline-shorter-than-attempt"),
        ({"deadline": 230}, "deadline-shorter-than-attempts"),
        ({"retry": RetryConfig(max_attempts=9)}, "deadline-shorter-than-attempts"),
        (
            {
                "timeout": TimeoutConfig(connect=1, read=1),
                "deadline": 60,
                "retry": RetryConfig(max_attempts=3, min_wait_seconds=40),
            },
            "deadline-shorter-than-attempts",
        ),
        ({"deadline": None, "timeout": TimeoutConfig(read=None)}, "no-time-limit"),
        ({"deadline": None, "timeout": TimeoutConfig(connect=None)}, "no-time-limit"),
        ({"bulkhead": BulkheadConfig(acquisition_timeout=301)}, "acquisition-longer-than-deadline"),
        ({"rate_limit": RateLimitConfig(rate=1, max_wait=301)}, "rate-wait-longer-than-deadline"),
        ({"retry": RetryConfig(max_retry_after=301)}, "retry-after-longer-than-deadline"),
        ({"retry": RetryConfig(budget=RetryBudgetConfig(ratio=0, floor=0))}, "budget-forbids-retries"),
        (
            {"circuit_breaker": CircuitBreakerConfig(window="time", window_seconds=30)},
            "breaker-window-shorter-than-timeout",
        ),
        ({"circuit_breaker": CircuitBreakerConfig(window="count", window_size=9)}, "minimum-calls-beyond-window"),
        ({"circuit_breaker": CircuitBreakerConfig(failure_rate=0.1)}, "breaker-window-unset"),
        ({"circuit_breaker": CircuitBreakerConfig(window_size=20)}, "breaker-window-unset"),
        ({"circuit_breaker": CircuitBreakerConfig(slow_call_rate=0.1)}, "slow-calls-half-set"),
        (
            {"circuit_breaker": CircuitBreakerConfig(window="count", slow_call_seconds=3)},
            "slow-calls-half-set",
        ),
        ({"circuit_breaker": CircuitBreakerConfig(window="count", slow_call_rate=0.5)}, "slow-calls-half-set"),
        ({"circuit_breaker": CircuitBreakerConfig(half_open_probes=51)}, "probes-beyond-bulkhead"),
        ({"max_connections": 49}, "pool-smaller-than-bulkhead"),
        ({"max_keepalive_connections": 51}, "keepalive-beyond-pool"),
        ({"max_connections": 60, "max_keepalive_connections": 61}, "keepalive-beyond-pool"),
        ({"rate_limit": RateLimitConfig(adaptive=True)}, "adaptive-without-rate"),
        ({"rate_limit": RateLimitConfig(burst=5)}, "limit-without-rate"),
        ({"rate_limit": RateLimitConfig(period=60.0)}, "limit-without-rate"),
        ({"rate_limit": RateLimitConfig(rate=5, min_rate=1)}, "rate-bounds-without-adaptive"),
        ({"rate_limit": RateLimitConfig(rate=5, adaptive=True, min_rate=6)}, "rate-outside-bounds"),
        ({"rate_limit": RateLimitConfig(rate=5, adaptive=True, max_rate=4)}, "rate-outside-bounds"),
        ({"rate_limit": RateLimitConfig(rate=1, period=60)}, "rate-slower-than-wait"),
        ({"cache": CacheConfig(stale_if_error=60)}, "stale-without-ttl"),
        ({"cache": CacheConfig(stale_while_revalidate=60)}, "stale-without-ttl"),
        ({"verify_ssl": False}, "tls-not-verified"),
        ({"base_url": "http://api.example.com", "headers": {"authorization": "Bearer x"}}, "credentials-in-clear"),
        ({"base_url": "HTTP://10.0.0.1", "headers": {"X-API-Key": "x"}}, "credentials-in-clear"),
    ],
)
def test_each_combination_that_cannot_work_is_named_alone(settings, expected):
    assert codes(**settings) == [expected]


def test_a_default_that_the_deadline_cuts_is_no_finding_but_one_set_by_hand_is():
    short = {"timeout": TimeoutConfig(connect=1, read=1), "deadline": 10.0}
    quick = RetryConfig(max_wait_seconds=1)
    assert codes(**short, retry=quick) == []
    assert codes(**short, retry=quick, bulkhead=BulkheadConfig(acquisition_timeout=30)) == [
        "acquisition-longer-than-deadline"
    ]


def test_several_findings_come_together():
    assert set(codes(deadline=5, verify_ssl=False, max_connections=1)) == {
        "deadline-shorter-than-attempt",
        "tls-not-verified",
        "pool-smaller-than-bulkhead",
    }


@pytest.mark.parametrize("handed_in", ["http_client", "transport"])
class TestHandedIn:
    def test_no_deadline_can_cut_it_in_sync_use(self, handed_in):
        (warning,) = ClientConfig(base_url=URL).lint(handed_in)
        assert warning.code == "deadline-cannot-cut"
        assert handed_in in warning.fields
        assert codes(handed_in, deadline=None) == []

    def test_settings_of_the_connection_have_no_effect_on_it(self, handed_in):
        warnings = ClientConfig(base_url=URL, http2=True, proxy="http://proxy").lint(handed_in)
        (ignored,) = (warning for warning in warnings if warning.code == "ignored-by-handed-in")
        assert ignored.fields == ("http2", "proxy", handed_in)


def test_a_finding_names_its_settings_and_shows_no_secret():
    (warning,) = ClientConfig(base_url="http://api.example.com", headers={"X-API-Key": "s3cret"}).lint()
    assert warning.fields == ("base_url", "headers")
    assert "X-API-Key" in str(warning)
    assert "credentials-in-clear" in str(warning)
    assert "s3cret" not in repr(warning)


def test_a_finding_is_a_value():
    warning = LintWarning("code", "message", ("deadline",))
    assert warning == LintWarning("code", "message", ("deadline",))
    assert pickle.loads(pickle.dumps(warning)) == warning
    with pytest.raises(AttributeError):
        warning.code = "other"  # type: ignore[misc]


@given(
    attempts=st.integers(1, 50),
    connect=st.none() | st.floats(0.1, 100),
    read=st.none() | st.floats(0.1, 100),
    deadline=st.none() | st.floats(0.1, 10_000),
)
def test_the_fields_of_any_finding_exist(attempts, connect, read, deadline):
    config = ClientConfig(
        base_url=URL,
        timeout=TimeoutConfig(connect=connect, read=read),
        retry=RetryConfig(max_attempts=attempts),
        deadline=deadline,
    )
    for warning in config.lint():
        for field in warning.fields:
            value = config
            for name in field.split("."):
                value = getattr(value, name)
