"""Combinations of settings that are valid one by one but cannot work as meant, or surprise."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

from holdfast.redaction import is_secret_header

if TYPE_CHECKING:
    from holdfast.config import ClientConfig
    from holdfast.parts import Part

HandedIn: TypeAlias = Literal["http_client", "transport"]

_TRANSPORT_FIELDS = (
    "verify_ssl",
    "cert",
    "http2",
    "proxy",
    "max_connections",
    "max_keepalive_connections",
    "keepalive_expiry",
)
_RATE_FIELDS = ("window_seconds", "failure_rate")
_WINDOW_FIELDS = ("window_size", "minimum_calls")


@dataclass(frozen=True, slots=True)
class LintWarning:
    """One finding.

    Attributes:
        code: stable name of the rule, to filter by.
        message: what will happen and what to do about it, for people.
        fields: dotted names of the settings that do not fit together.
    """

    code: str
    message: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


def lint(config: ClientConfig, handed_in: HandedIn | None = None) -> list[LintWarning]:
    """Returns the findings for `config`, silent on every default and preset.

    A limit that is longer than the deadline is a finding only where it was set by hand: of a default the deadline just
    cuts off what it leaves no time for.

    Args:
        config: the settings.
        handed_in: what a client for sync use was given of the caller's own.
    """
    found: list[LintWarning] = []
    for rule in (_deadline, _waits, _retry, _breaker, _bulkhead, _rate_limit, _cache, _security, _engine):
        found += [LintWarning(*finding) for finding in rule(config)]
    if handed_in is not None:
        found += [LintWarning(*finding) for finding in _handed_in(config, handed_in)]
    return found


_Findings: TypeAlias = Iterator[tuple[str, str, tuple[str, ...]]]


def _attempt_seconds(config: ClientConfig) -> float:
    """What one attempt may take until the first byte of its answer: connect and read; infinite if either is None."""
    connect, read = config.timeout.connect, config.timeout.read
    return inf if connect is None or read is None else connect + read


def _wait_seconds(config: ClientConfig) -> float:
    """The longest waits between all attempts."""
    return config.retry.policy().backoff.longest(config.retry.max_attempts - 1)


def _is_set(part: Part, *names: str) -> bool:
    return not part.model_fields_set.isdisjoint(names)


def _deadline(config: ClientConfig) -> _Findings:
    attempt, attempts, deadline = _attempt_seconds(config), config.retry.max_attempts, config.deadline
    if deadline is None:
        if attempt == inf:
            yield (
                "no-time-limit",
                (
                    "Nothing bounds a call: there is no deadline, and a connect or read timeout is None;"
                    " a silent server holds it for ever"
                ),
                ("deadline", "timeout.connect", "timeout.read"),
            )
        return
    if attempt == inf:
        return
    if deadline < attempt:
        yield (
            "deadline-shorter-than-attempt",
            (
                f"The deadline of {deadline:g} s is shorter than one attempt may take (connect + read: {attempt:g} s):"
                " a call whose first attempt times out is never retried; shorten the timeouts"
            ),
            ("deadline", "timeout.connect", "timeout.read"),
        )
        return
    total = attempts * attempt + _wait_seconds(config)
    if deadline < total:
        yield (
            "deadline-shorter-than-attempts",
            (
                f"{attempts} attempts of {attempt:g} s (connect + read) and the waits may take {total:g} s,"
                f" the deadline ends them after {deadline:g} s: the last attempts may never be made"
            ),
            ("deadline", "retry.max_attempts", "timeout.connect", "timeout.read"),
        )


def _waits(config: ClientConfig) -> _Findings:
    deadline = config.deadline
    if deadline is None:
        return
    bulkhead, limit, retry = config.bulkhead, config.rate_limit, config.retry
    if bulkhead.acquisition_timeout > deadline and _is_set(bulkhead, "acquisition_timeout"):
        yield (
            "acquisition-longer-than-deadline",
            (
                f"The wait of {bulkhead.acquisition_timeout:g} s for a slot outlasts the deadline of {deadline:g} s:"
                " a full bulkhead shows as a passed deadline"
            ),
            ("bulkhead.acquisition_timeout", "deadline"),
        )
    if limit.max_wait > deadline and _is_set(limit, "max_wait"):
        yield (
            "rate-wait-longer-than-deadline",
            f"The wait of {limit.max_wait:g} s for the rate limiter outlasts the deadline of {deadline:g} s",
            ("rate_limit.max_wait", "deadline"),
        )
    if retry.max_retry_after > deadline and _is_set(retry, "max_retry_after"):
        yield (
            "retry-after-longer-than-deadline",
            (
                f"A Retry-After of up to {retry.max_retry_after:g} s is to be waited for,"
                f" but the deadline ends the call after {deadline:g} s"
            ),
            ("retry.max_retry_after", "deadline"),
        )


def _retry(config: ClientConfig) -> _Findings:
    budget = config.retry.budget
    if config.retry.max_attempts > 1 and budget is not None and budget.floor == 0 and budget.ratio == 0:
        yield (
            "budget-forbids-retries",
            f"The retry budget allows no retry at all, although max_attempts is {config.retry.max_attempts}",
            ("retry.budget.floor", "retry.budget.ratio", "retry.max_attempts"),
        )


def _breaker(config: ClientConfig) -> _Findings:
    breaker = config.circuit_breaker
    if not breaker.enabled:
        return
    longest = max((seconds for seconds in (config.timeout.connect, config.timeout.read) if seconds), default=0.0)
    if breaker.window == "time" and breaker.window_seconds < longest:
        yield (
            "breaker-window-shorter-than-timeout",
            (
                f"The breaker looks back {breaker.window_seconds:g} s, a timeout takes up to {longest:g} s:"
                " results of earlier calls are forgotten before a timeout is counted"
            ),
            ("circuit_breaker.window_seconds", "timeout.connect", "timeout.read"),
        )
    if breaker.window == "count" and breaker.minimum_calls > breaker.window_size:
        yield (
            "minimum-calls-beyond-window",
            (
                f"The breaker waits for {breaker.minimum_calls} calls but remembers {breaker.window_size}:"
                f" it decides after {breaker.window_size}"
            ),
            ("circuit_breaker.minimum_calls", "circuit_breaker.window_size"),
        )
    slow = breaker.slow_call_seconds is not None and breaker.slow_call_rate is not None
    idle = _RATE_FIELDS if slow else _RATE_FIELDS + _WINDOW_FIELDS
    names = [name for name in idle if name in breaker.model_fields_set]
    if breaker.window is None and names:
        yield (
            "breaker-window-unset",
            (
                f"{', '.join(names)} of the breaker have no effect while window is None;"
                " set window='count' or window='time'"
            ),
            ("circuit_breaker.window", *(f"circuit_breaker.{name}" for name in names)),
        )
    if (breaker.slow_call_seconds is None) != (breaker.slow_call_rate is None):
        yield (
            "slow-calls-half-set",
            "Slow calls open the breaker only if both slow_call_seconds and slow_call_rate are set",
            ("circuit_breaker.slow_call_seconds", "circuit_breaker.slow_call_rate"),
        )
    if breaker.half_open_probes > config.bulkhead.max_concurrency:
        yield (
            "probes-beyond-bulkhead",
            (
                f"{breaker.half_open_probes} probes of the breaker cannot be in flight together:"
                f" the bulkhead lets {config.bulkhead.max_concurrency} through"
            ),
            ("circuit_breaker.half_open_probes", "bulkhead.max_concurrency"),
        )


def _bulkhead(config: ClientConfig) -> _Findings:
    slots = config.bulkhead.max_concurrency
    if config.max_connections is not None and config.max_connections < slots:
        yield (
            "pool-smaller-than-bulkhead",
            (
                f"The pool has {config.max_connections} connections for {slots} calls in flight:"
                " the rest wait for a connection and end in pool timeouts; leave max_connections at None"
            ),
            ("max_connections", "bulkhead.max_concurrency"),
        )
    kept, size = config.max_keepalive_connections, config.max_connections or slots
    if kept is not None and kept > size:
        yield (
            "keepalive-beyond-pool",
            f"{kept} idle connections are to be kept, but the pool has only {size}; the rest has no effect",
            ("max_keepalive_connections", "max_connections", "bulkhead.max_concurrency"),
        )


def _rate_limit(config: ClientConfig) -> _Findings:
    limit = config.rate_limit
    if limit.rate is None:
        names = [name for name in ("adaptive", "burst", "min_rate", "max_rate") if getattr(limit, name)]
        names += [name for name in ("period",) if name in limit.model_fields_set]
        if names:
            yield (
                "adaptive-without-rate" if limit.adaptive else "limit-without-rate",
                f"{', '.join(names)} of the rate limiter: no effect without a rate",
                ("rate_limit.rate", *(f"rate_limit.{name}" for name in names)),
            )
        return
    if not limit.adaptive and (limit.min_rate is not None or limit.max_rate is not None):
        yield (
            "rate-bounds-without-adaptive",
            "min_rate and max_rate have no effect unless the rate limiter is adaptive",
            ("rate_limit.adaptive", "rate_limit.min_rate", "rate_limit.max_rate"),
        )
    if limit.adaptive and not (limit.min_rate or 0.0) <= limit.rate <= (limit.max_rate or inf):
        yield (
            "rate-outside-bounds",
            f"The rate of {limit.rate:g} is not between min_rate and max_rate",
            ("rate_limit.rate", "rate_limit.min_rate", "rate_limit.max_rate"),
        )
    if limit.period / limit.rate > limit.max_wait:
        yield (
            "rate-slower-than-wait",
            (
                f"A turn comes every {limit.period / limit.rate:g} s but is waited for at most {limit.max_wait:g} s:"
                " once the burst is used up, a call may find every turn too late"
            ),
            ("rate_limit.rate", "rate_limit.period", "rate_limit.max_wait"),
        )


def _cache(config: ClientConfig) -> _Findings:
    cache = config.cache
    if cache.default_ttl is None and not cache.from_response:
        names = [name for name in ("stale_if_error", "stale_while_revalidate") if getattr(cache, name)]
        if names:
            yield (
                "stale-without-ttl",
                (
                    f"{', '.join(names)} of the cache: only for calls that give a cache_ttl themselves, as"
                    " there is no default_ttl and from_response is off"
                ),
                ("cache.default_ttl", *(f"cache.{name}" for name in names)),
            )


def _security(config: ClientConfig) -> _Findings:
    if config.verify_ssl is False:
        yield (
            "tls-not-verified",
            (
                "verify_ssl is False: anyone on the way can read and change what is sent;"
                " give the path of the server's CA certificate instead"
            ),
            ("verify_ssl",),
        )
    url = urlsplit(config.base_url or "")
    secrets = [name for name in config.headers if is_secret_header(name)]
    if url.scheme.lower() == "http" and secrets and not _is_loopback(url.hostname or ""):
        yield (
            "credentials-in-clear",
            f"Sent in clear text to {url.hostname}: {', '.join(secrets)}; use an https:// base_url",
            ("base_url", "headers"),
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _engine(config: ClientConfig) -> _Findings:
    beyond = [name for name in ("http2", "proxy") if getattr(config, name)]
    if config.engine == "native" and beyond:
        listed = " and ".join(beyond)
        yield (
            "engine-not-used",
            (
                f'engine="native" has no effect with {listed}: it speaks HTTP/1.1 without a proxy, and httpx2 sends'
                " instead; leave out one of them"
            ),
            ("engine", *beyond),
        )


def _handed_in(config: ClientConfig, handed_in: HandedIn) -> _Findings:
    if config.deadline is not None:
        yield (
            "deadline-cannot-cut",
            (
                f"No deadline can cut a read of a handed-in {handed_in} in sync use: a server that trickles its answer"
                " holds a call for as long as every single read stays within the read timeout"
            ),
            ("deadline", handed_in),
        )
    names = [name for name in _TRANSPORT_FIELDS if name in config.model_fields_set]
    if names:
        yield (
            "ignored-by-handed-in",
            f"No effect: {', '.join(names)}; the handed-in {handed_in} brings its own",
            (*names, handed_in),
        )
