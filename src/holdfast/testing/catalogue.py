"""The built-in scenarios: what every layer does to a call, each with the outcome that all drivers must agree on."""

from __future__ import annotations

from collections.abc import Callable
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
from holdfast.testing.scenario import CallSpec, Scenario
from holdfast.testing.transport import Script, Step

# Seconds of real time. What must come one after the other is a unit apart, which is long for two threads to meet in.
_UNIT = 0.1


def _retry(**settings: Any) -> RetryConfig:
    return RetryConfig(**{"min_wait_seconds": 0.001, "max_wait_seconds": 0.003, **settings})


_ONCE = _retry(max_attempts=1)
_LATER = _retry(min_wait_seconds=4 * _UNIT, max_wait_seconds=4 * _UNIT, jitter=False)


def _scenario(name: str, script: Script, *calls: CallSpec, requests: int | None = None, **config: Any) -> Scenario:
    settings = {"base_url": "https://api.example.com", "retry": _retry(), **config}
    return Scenario(name, script, calls, requests, ClientConfig(**settings))


def _post(outcome: int | str, attempts: int = 1, **options: Any) -> CallSpec:
    return CallSpec(outcome, attempts, "POST", options={"json": {"n": 1}, **options})


def _get(outcome: int | str, attempts: int = 1, url: str = "/", at: float | None = 0.0, **options: Any) -> CallSpec:
    return CallSpec(outcome, attempts, url=url, at=None if at is None else at * _UNIT, options=options)


def _then(outcome: int | str, attempts: int = 1, **options: Any) -> CallSpec:
    return _get(outcome, attempts, at=None, **options)


def _slow(status: int = 200, units: float = 2.0, **more: Any) -> Step:
    return Step(status, delay=units * _UNIT, **more)


def _moved(status: int, location: str) -> Step:
    return Step(status, headers={"Location": location})


def _route(**paths: Step | int) -> Callable[[httpx2.Request], Step | int]:
    return lambda request: paths[request.url.path.strip("/") or "root"]


def _guarded(scheme: str) -> Callable[[httpx2.Request], int]:
    return lambda request: 200 if request.headers.get("authorization", "").startswith(scheme) else 401


def _missing_may_come(outcome: Outcome) -> bool | None:
    return True if outcome.status == 404 else None


def _never(_: Outcome) -> bool:
    return False


def _always(_: Outcome) -> bool:
    return True


_WAIT = {"Retry-After": f"{_UNIT}"}
_CHALLENGE = {"WWW-Authenticate": 'Digest realm="api", nonce="0a1b2c", qop="auth", algorithm=SHA-256'}
_BROKEN = Step(headers={"Content-Encoding": "gzip"}, content=b"not gzip")
_CACHED: dict[str, Any] = {"cache_ttl": 60.0}

_RETRIES: Final = (
    _scenario("success", [200], _get(200)),
    _scenario("503, then success", [503, 200], _get(200, 2)),
    _scenario("500, then success", [500, 200], _get(200, 2)),
    _scenario("408, then success", [408, 200], _get(200, 2)),
    _scenario("429 with Retry-After, then success", [Step(429, headers=_WAIT), 200], _get(200, 2)),
    _scenario("connection refused, then success", [httpx2.ConnectError, 200], _get(200, 2)),
    _scenario("connection lost, then success", [httpx2.ReadError, 200], _get(200, 2)),
    _scenario("read timeout, then success", [_slow(), 200], _get(200, 2, timeout=_UNIT)),
    _scenario("broken content coding, then success", [_BROKEN, 200], _get(200, 2)),
    _scenario("retries used up", [500], _get("ServerError", 3)),
    _scenario("retries used up without an answer", [httpx2.ConnectError], _get("APIConnectionError", 3)),
    _scenario("a 404 is not retried", [404], _get("NotFoundError")),
    _scenario("no retries for one call", [503], _get("ServiceUnavailableError", retry=None)),
    _scenario("a predicate wants a retry", [404, 200], _get(200, 2), retry=_retry(retry_if=_missing_may_come)),
    _scenario("a predicate forbids one", [503], _get("ServiceUnavailableError"), retry=_retry(retry_if=_never)),
    _scenario("Retry-After beyond the maximum", [Step(429, headers={"Retry-After": "120"})], _get("RateLimitError", 1)),
    _scenario(
        "Retry-After beyond the deadline",
        [Step(503, headers={"Retry-After": "30"})],
        _get("ServiceUnavailableError", 1, deadline=5.0),
    ),
    _scenario(
        "budget spent",
        [500],
        _get("ServerError", 2),
        _then("ServerError", 1),
        retry=_retry(budget=RetryBudgetConfig(ratio=0.0, floor=1)),
    ),
    _scenario(
        "a predicate wants more than the budget gives",
        [200],
        _get(200),
        retry=_retry(retry_if=_always, budget=RetryBudgetConfig(ratio=0.0, floor=0)),
    ),
    _scenario(
        "a predicate wants more than the rate limit gives",
        [200],
        _get(200),
        retry=_retry(retry_if=_always),
        rate_limit=RateLimitConfig(rate=1, period=60.0, burst=1, max_wait=_UNIT),
    ),
    _scenario("cannot be built", [200], _get("InvalidRequestError", 0, headers={"X-Note": "a\nb"})),
)

_REPLAYS: Final = (
    _scenario("POST refused, then success", [httpx2.ConnectError, 200], _post(200, 2)),
    _scenario("POST without a free connection, then success", [httpx2.PoolTimeout, 200], _post(200, 2)),
    _scenario("POST answered with 500, then success", [500, 200], _post(200, 2)),
    _scenario("POST lost is not repeated", [httpx2.ReadError, 200], _post("APIConnectionError")),
    _scenario("POST timed out is not repeated", [_slow(), 200], _post("APITimeoutError", timeout=_UNIT)),
    _scenario("POST with a broken answer is not repeated", [_BROKEN, 200], _post("ResponseError")),
    _scenario("POST lost with a key", [httpx2.ReadError, 200], _post(200, 2, idempotency_key="order-7")),
    _scenario("POST lost with an id of the caller's", [httpx2.ReadError, 200], _post(200, 2, request_id="order-7")),
    _scenario("POST lost, deduplicated", [httpx2.ReadError, 200], _post(200, 2), server_deduplicates=True),
    _scenario("when_safe: POST", [500, 200], _post("ServerError"), retry=_retry(replay="when_safe")),
    _scenario("when_safe: GET", [500, 200], _get(200, 2), retry=_retry(replay="when_safe")),
    _scenario("always: POST", [httpx2.ReadError, 200], _post(200, 2), retry=_retry(replay="always")),
)

_DEADLINES: Final = (
    _scenario(
        "the deadline leaves no time for a backoff",
        [503],
        _get("ServiceUnavailableError", deadline=_UNIT),
        retry=_LATER,
    ),
    _scenario("deadline during an attempt", [_slow(units=4)], _get("DeadlineExceededError", deadline=_UNIT)),
    _scenario(
        "deadline during the second attempt",
        [503, _slow(units=8)],
        _get("DeadlineExceededError", 2, deadline=3 * _UNIT),
    ),
)


def _breaker(**settings: Any) -> CircuitBreakerConfig:
    return CircuitBreakerConfig(**{"failure_threshold": 1, "recovery_timeout": 2 * _UNIT, **settings})


_BREAKERS: Final = (
    _scenario(
        "the breaker opens after three calls",
        [500],
        _get("ServerError", 2),
        _then("ServerError", 2),
        _then("ServerError", 2),
        _then("CircuitOpenError", 0),
        _then("CircuitOpenError", 0),
        retry=_retry(max_attempts=2),
        circuit_breaker=_breaker(failure_threshold=3, recovery_timeout=30.0),
    ),
    _scenario(
        "the breaker counts attempts",
        [500],
        _get("ServerError", 3),
        _then("CircuitOpenError", 0),
        retry=_retry(max_attempts=5),
        circuit_breaker=_breaker(failure_threshold=3, recovery_timeout=30.0, counts="attempts"),
    ),
    _scenario(
        "a good probe closes the breaker",
        [500, 200],
        _get("ServerError"),
        _then("CircuitOpenError", 0),
        _get(200, at=4),
        _then(200),
        retry=_ONCE,
        circuit_breaker=_breaker(),
    ),
    _scenario(
        "a bad probe opens it again",
        [500],
        _get("ServerError", 3),
        _get("ServerError", 1, at=4),
        _then("CircuitOpenError", 0),
        circuit_breaker=_breaker(),
    ),
    _scenario(
        "one probe however many come",
        [500, _slow(units=5), 200],
        _get("ServerError"),
        _get(200, at=4),
        _get("CircuitOpenError", 0, at=5),
        _get("CircuitOpenError", 0, at=6),
        _get(200, at=12),
        retry=_ONCE,
        circuit_breaker=_breaker(),
    ),
    _scenario(
        "attempts are probes of their own",
        [500, 500, 200],
        _get("ServerError"),
        _get("ServerError", 1, at=4),
        _get(200, at=8),
        circuit_breaker=_breaker(counts="attempts"),
    ),
    _scenario(
        "a breaker opened meanwhile stops a retry",
        [503, 500],
        _get("ServiceUnavailableError", 1),
        _get("ServerError", at=1, retry=None),
        retry=_LATER,
        circuit_breaker=_breaker(recovery_timeout=30.0),
    ),
)


def _bulkhead(**settings: Any) -> BulkheadConfig:
    return BulkheadConfig(**{"max_concurrency": 1, **settings})


_LIMITS: Final = (
    _scenario(
        "the bulkhead queues",
        [_slow()],
        _get(200),
        _get(200, at=0.5),
        _get(200, at=1),
        bulkhead=_bulkhead(),
    ),
    _scenario(
        "no slot in time",
        [_slow(units=6)],
        _get(200),
        _get("PoolTimeoutError", 0, at=1),
        bulkhead=_bulkhead(acquisition_timeout=_UNIT),
    ),
    _scenario(
        "no place in the queue",
        [_slow(units=4)],
        _get(200),
        _get(200, at=1),
        _get("PoolTimeoutError", 0, at=2),
        bulkhead=_bulkhead(max_queue=1),
    ),
    _scenario(
        "deadline while waiting for a slot",
        [_slow(units=6)],
        _get(200),
        _get("DeadlineExceededError", 0, at=1, deadline=_UNIT),
        bulkhead=_bulkhead(),
    ),
    _scenario(
        "a slot is not kept while backing off",
        [503, 200],
        _get(200, 2),
        _get(200, at=1, retry=None),
        retry=_LATER,
        bulkhead=_bulkhead(acquisition_timeout=0.0),
    ),
    _scenario(
        "the rate limiter makes wait",
        [200],
        _get(200),
        _then(200),
        _then(200),
        rate_limit=RateLimitConfig(rate=1, period=_UNIT, burst=1),
    ),
    _scenario(
        "no token in time",
        [200],
        _get(200),
        _then("PoolTimeoutError", 0),
        rate_limit=RateLimitConfig(rate=1, period=60.0, burst=1, max_wait=_UNIT),
    ),
    _scenario(
        "no token before the deadline",
        [200],
        _get(200),
        _then("DeadlineExceededError", 0, deadline=_UNIT),
        rate_limit=RateLimitConfig(rate=1, period=60.0, burst=1, max_wait=90.0),
    ),
    _scenario(
        "a token, but no slot",
        [_slow(units=6)],
        _get(200),
        _get("PoolTimeoutError", 0, at=1),
        rate_limit=RateLimitConfig(rate=10, period=0.1),
        bulkhead=_bulkhead(acquisition_timeout=_UNIT),
    ),
    _scenario(
        "paced by the server",
        [Step(headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{_UNIT}"}), 200],
        _get(200),
        _then(200),
    ),
)


def _cache(**settings: Any) -> CacheConfig:
    return CacheConfig(**{"default_ttl": _UNIT, **settings})


_CACHES: Final = (
    _scenario("cache hit", [200], _get(200, **_CACHED), _then(200, 0, **_CACHED)),
    _scenario("expired", [200], _get(200), _get(200, at=3), cache=_cache()),
    _scenario(
        "a write invalidates",
        [200],
        _get(200, **_CACHED),
        CallSpec(200, 1, "POST", at=None),
        _then(200, **_CACHED),
    ),
    _scenario(
        "single flight",
        [_slow(units=3)],
        _get(200, **_CACHED),
        _get(200, 0, at=1, **_CACHED),
        _get(200, 0, at=2, **_CACHED),
    ),
    _scenario(
        "single flight: an error of the server is shared",
        [_slow(404, units=3)],
        _get("NotFoundError", **_CACHED),
        _get("NotFoundError", 0, at=1, **_CACHED),
    ),
    _scenario(
        "single flight: the leader fails",
        [_slow(units=3, error=httpx2.ConnectError), _slow(units=2)],
        _get("APIConnectionError", **_CACHED),
        _get(200, 1, at=1, **_CACHED),
        _get(200, 0, at=2, **_CACHED),
        retry=_ONCE,
    ),
    _scenario(
        "single flight: the leader's deadline passes",
        [_slow(units=8), 200],
        _get("DeadlineExceededError", deadline=2 * _UNIT, **_CACHED),
        _get(200, 1, at=1, **_CACHED),
    ),
    _scenario(
        "single flight: a follower's deadline passes",
        [_slow(units=4)],
        _get(200, **_CACHED),
        _get("DeadlineExceededError", 0, at=1, deadline=_UNIT, **_CACHED),
    ),
    _scenario(
        "stale if error hides no 404",
        [200, 404],
        _get(200),
        _get("NotFoundError", 1, at=2),
        cache=_cache(stale_if_error=60.0),
    ),
    _scenario(
        "stale if error",
        [200, 500],
        _get(200),
        _get(200, 3, at=2),
        cache=_cache(stale_if_error=60.0),
    ),
    _scenario(
        "stale if error, the breaker open",
        _route(kept=200, broken=500),
        _get(200, url="/kept"),
        _get("ServerError", url="/broken", at=2),
        _then(200, 0, url="/kept"),
        retry=_ONCE,
        cache=_cache(stale_if_error=60.0),
        circuit_breaker=_breaker(recovery_timeout=30.0),
    ),
    _scenario(
        "stale while revalidate",
        [200],
        _get(200),
        _get(200, 0, at=6),
        _get(200, 0, at=8),
        requests=2,
        cache=_cache(default_ttl=5 * _UNIT, stale_while_revalidate=60.0),
    ),
)

_HTTP: Final = (
    _scenario("basic auth", _guarded("Basic "), _get(200, auth=("ada", "secret"))),
    _scenario("basic auth on every attempt", [503, 200], _get(200, 2, auth=httpx2.BasicAuth("ada", "secret"))),
    _scenario(
        "digest auth",
        [Step(401, headers=_CHALLENGE), 200],
        _get(200, 1, auth=httpx2.DigestAuth("ada", "secret")),
        requests=2,
    ),
    _scenario(
        "digest auth refused",
        [Step(401, headers=_CHALLENGE)],
        _get("AuthenticationError", 1, auth=httpx2.DigestAuth("ada", "wrong")),
        requests=2,
    ),
    _scenario(
        "no token for renewed credentials",
        [Step(401, headers=_CHALLENGE), 200],
        _get("PoolTimeoutError", 1, auth=httpx2.DigestAuth("ada", "secret")),
        rate_limit=RateLimitConfig(rate=1, period=60.0, burst=1, max_wait=_UNIT),
    ),
    _scenario("a redirect", _route(old=_moved(302, "/new"), new=200), _get(200, url="/old"), requests=2),
    _scenario("a redirect that is not followed", [_moved(302, "/new")], _get(302, follow_redirects=False)),
    _scenario("a redirect after a POST", [_moved(303, "/new"), 200], _post(200), requests=2),
    _scenario("a redirect to another origin", [_moved(302, "https://cdn.example.net/"), 200], _get(200), requests=2),
    _scenario(
        "a redirect that would carry a body away",
        [_moved(307, "https://cdn.example.net/"), 200],
        _post("TooManyRedirectsError"),
    ),
    _scenario(
        "a circle of redirects", [_moved(302, "/")], _get("TooManyRedirectsError", 1), requests=3, max_redirects=2
    ),
    _scenario(
        "the end of a redirect fails",
        [_moved(302, "/new"), 503, _moved(302, "/new"), 200],
        _get(200, 2),
        requests=4,
    ),
    _scenario("a stream", [Step(content=b"text")], CallSpec(200, stream=True)),
    _scenario("a stream after a failure", [500, Step(content=b"text")], CallSpec(200, 2, stream=True)),
    _scenario(
        "streams give back slot and probe",
        [500, Step(content=b"text")],
        CallSpec("ServerError", stream=True),
        CallSpec(200, at=4 * _UNIT, stream=True),
        CallSpec(200, at=None, stream=True),
        retry=_ONCE,
        bulkhead=_bulkhead(acquisition_timeout=0.0),
        circuit_breaker=_breaker(),
    ),
)

SCENARIOS: Final = (*_RETRIES, *_REPLAYS, *_DEADLINES, *_BREAKERS, *_LIMITS, *_CACHES, *_HTTP)
"""All of them. None takes more than half a second of real time, and none of virtual time."""
