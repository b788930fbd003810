"""Many flows in one pipeline under virtual time, for an exception to be thrown into the middle of them."""

from __future__ import annotations

from typing import Any, Final

import httpx2

from holdfast.config import (
    BulkheadConfig,
    CacheConfig,
    CircuitBreakerConfig,
    ClientConfig,
    RateLimitConfig,
    RetryBudgetConfig,
    RetryConfig,
)
from holdfast.core.outcome import Outcome
from holdfast.testing import SCENARIOS, CallSpec, Scenario, Step
from tests.support.throwing import Crowd

_CHALLENGE = {"WWW-Authenticate": 'Digest realm="api", nonce="0a1b2c", qop="auth", algorithm=SHA-256'}
_FAST = RetryConfig(min_wait_seconds=1.0, max_wait_seconds=2.0)


def _crowd(name: str, script: Any, *calls: CallSpec, acts: Any = (), **config: Any) -> Crowd:
    settings = {"base_url": "https://api.example.com", "retry": _FAST, **config}
    return Crowd(Scenario(name, script, calls, None, ClientConfig(**settings)), acts)


def _call(at: float, method: str = "GET", url: str = "/", *, stream: bool = False, **options: Any) -> CallSpec:
    return CallSpec(200, 1, method, url, options, at, stream)


def _wants_a_number(outcome: Outcome) -> bool | None:
    return True if outcome.status == 202 else None


def _invalidate(client: Any) -> None:
    client.assembly.cache.clear()


def _close(client: Any) -> None:
    client.assembly.shut()


CROWDS: Final = (
    _crowd(
        "a queue for two slots, with failures",
        [Step(500, delay=2), Step(delay=3), Step(429, headers={"Retry-After": "2"}, delay=1), httpx2.ConnectError,
         Step(delay=2), Step(error=httpx2.ReadError, delay=2), Step(503, delay=1), Step(delay=2)],
        *(_call(at / 2, method) for at, method in enumerate(["GET", "POST", "GET", "PUT", "GET", "POST", "GET"])),
        bulkhead=BulkheadConfig(max_concurrency=2, acquisition_timeout=4.0, max_queue=4),
    ),
    _crowd(
        "tokens and slots",
        [Step(delay=3), Step(503, delay=1), Step(delay=2)],
        *(_call(at / 4, deadline=9.0) for at in range(5)),
        bulkhead=BulkheadConfig(max_concurrency=1, acquisition_timeout=3.0),
        rate_limit=RateLimitConfig(rate=1, period=1.0, burst=2, max_wait=6.0),
        retry=RetryConfig(max_attempts=2, min_wait_seconds=1.0, budget=RetryBudgetConfig(ratio=0.0, floor=2)),
    ),
    _crowd(
        "a slot in the moment of the deadline",
        [Step(delay=4)],
        _call(0),
        _call(0, deadline=4.0),
        bulkhead=BulkheadConfig(max_concurrency=1),
        rate_limit=RateLimitConfig(rate=1000, period=1.0, burst=5),
    ),
    _crowd(
        "two probes",
        [500, Step(delay=2), Step(delay=3), Step(500, delay=1), 200],
        _call(0, retry=None),
        *(_call(at) for at in (5, 6, 6.5, 7, 14, 14.5, 15)),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=1, recovery_timeout=4.0, half_open_probes=2),
    ),
    _crowd(
        "a probe that must wait for its slot and token",
        [500, Step(delay=9), Step(delay=1)],
        _call(0, retry=None),
        _call(5, url="https://other.example.com/"),
        _call(6, deadline=12.0),
        _call(7),
        _call(20),
        _call(21),
        bulkhead=BulkheadConfig(max_concurrency=1, acquisition_timeout=4.0),
        rate_limit=RateLimitConfig(rate=1, period=6.0, burst=1, max_wait=30.0),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=1, recovery_timeout=4.0),
    ),
    _crowd(
        "probes that stream, fail, or are rejected",
        [500, Step(content=b"a", delay=1), Step(content=b"b", delay=1), 500, Step(404, delay=1), 500, 429, 200],
        _call(0, retry=None),
        *(_call(at, stream=True, retry=None) for at in (5, 5.5, 8)),
        _call(14, retry=None),
        _call(14.5, retry=None),
        _call(20, retry=None),
        _call(26, retry=None),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=1, recovery_timeout=4.0, half_open_probes=2),
    ),
    _crowd(
        "slow probes, and attempts as probes",
        [500, Step(delay=3), Step(delay=1), 500, Step(delay=1), Step(content=b"a", delay=1), 200],
        _call(0, retry=None),
        _call(5),
        _call(10),
        _call(12, retry=None),
        _call(17, stream=True),
        _call(18),
        circuit_breaker=CircuitBreakerConfig(
            failure_threshold=1, recovery_timeout=4.0, slow_call_seconds=2.0, slow_call_rate=0.5
        ),
    ),
    _crowd(
        "a breaker that counts attempts",
        [500, Step(500, delay=1), Step(content=b"a", delay=1), Step(503, delay=1), Step(delay=1)],
        _call(0),
        _call(0.5),
        _call(6, stream=True),
        _call(6.5),
        _call(12),
        _call(12.5, stream=True),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=2, recovery_timeout=4.0, counts="attempts"),
    ),
    _crowd(
        "leaders that fail one after the other",
        [Step(error=httpx2.ConnectError, delay=2), Step(error=httpx2.ReadError, delay=2), Step(delay=2)],
        *(_call(at / 4, cache_ttl=60.0, retry=None) for at in range(4)),
        _call(1, cache_ttl=60.0, deadline=2.0),
    ),
    _crowd(
        "leaders in a queue, writes in between",
        [Step(delay=2), Step(404, delay=2), Step(delay=2, headers={"Vary": "*"}), Step(500, delay=1), Step(delay=2)],
        *(_call(at / 2, cache_ttl=3.0, url=f"/{at % 2}") for at in range(6)),
        _call(1, "PUT", "/0"),
        _call(2, "DELETE", "/1"),
        *(_call(9 + at / 2, cache_ttl=3.0, url=f"/{at % 2}") for at in range(4)),
        bulkhead=BulkheadConfig(max_concurrency=1, acquisition_timeout=3.0),
        acts=((2.5, _invalidate),),
    ),
    _crowd(
        "refreshing in the background",
        [200, Step(error=httpx2.ConnectError, delay=2), Step(500, delay=2), Step(delay=2)],
        _call(0, retry=None),
        *(_call(at, retry=None) for at in (5, 5, 6, 7, 9, 12, 12)),
        cache=CacheConfig(default_ttl=3.0, stale_while_revalidate=60.0, stale_if_error=60.0),
        bulkhead=BulkheadConfig(max_concurrency=1, acquisition_timeout=1.0),
    ),
    _crowd(
        "credentials that are renewed in a queue",
        [*[Step(401, headers=_CHALLENGE, delay=1)] * 2, Step(503, delay=1), Step(delay=1)],
        _call(0, auth=httpx2.DigestAuth("ada", "1")),
        _call(0.5, auth=httpx2.DigestAuth("ada", "2")),
        _call(0.7, "POST", auth=httpx2.BasicAuth("ada", "3")),
        bulkhead=BulkheadConfig(max_concurrency=1, acquisition_timeout=2.0),
        rate_limit=RateLimitConfig(rate=1, period=1.0, burst=2),
    ),
    _crowd(
        "streams that a predicate sends back",
        [Step(202, content=b"-", delay=1), 500, Step(302, headers={"Location": "/b"}), Step(content=b"a", delay=1)],
        _call(0, stream=True),
        _call(0.5, stream=True),
        _call(0.6),
        retry=RetryConfig(min_wait_seconds=1.0, retry_if=_wants_a_number),
        bulkhead=BulkheadConfig(max_concurrency=1, acquisition_timeout=4.0),
    ),
    _crowd(
        "closed in the middle",
        [Step(503, delay=1), Step(delay=4), Step(error=httpx2.ConnectError, delay=4), Step(delay=4)],
        _call(0),
        _call(0.2, cache_ttl=60.0),
        _call(0.3, cache_ttl=60.0),
        _call(0.4),
        _call(0.5, stream=True),
        _call(3),
        bulkhead=BulkheadConfig(max_concurrency=2),
        rate_limit=RateLimitConfig(rate=1, period=1.0, burst=2),
        acts=((2.0, _close),),
    ),
)  # fmt: skip
"""With several flows each."""

ALL: Final = (*CROWDS, *(Crowd(scenario) for scenario in SCENARIOS))
"""The built-in scenarios too."""
