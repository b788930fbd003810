"""What a client can tell of itself: the summary of its figures, and the same as text for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from holdfast.codegen.limits import LANES

if TYPE_CHECKING:
    from holdfast.client import ResilientClient
    from holdfast.codegen.config import ClientConfig
    from holdfast.telemetry.metrics import CallStats

_FEATURES = ("caching", "webhooks", "bulk_operations", "streaming", "metrics")
_COMMON = "other"  # the name of the limit that has none

_Sample = tuple[dict[str, str], float]


def summary(settings: ClientConfig, client: ResilientClient) -> dict[str, Any]:
    """The figures that a client has of itself, ready for `json.dumps`; secrets are masked."""
    found: dict[str, Any] = {
        "client_config": settings.model_dump(mode="json"),
        "enabled_features": {feature: getattr(settings, f"enable_{feature}") for feature in _FEATURES},
    }
    figures = client.metrics()
    found["engine"] = figures.engine
    if settings.enable_metrics:
        found["monitoring"] = {"performance_stats": performance(figures.total)}
    found["cache"] = cache(settings, client)
    found["rate_limiter"] = rate_limiter(settings, client)
    found["circuit_breaker"] = {"state": client.circuit_breaker.state}
    return found


def performance(total: CallStats) -> dict[str, Any]:
    """The figures of all calls: shares in percent, times in milliseconds."""
    return {
        "total_requests": total.calls,
        "successful_requests": total.calls - total.errors,
        "failed_requests": total.errors,
        "error_rate": 100.0 * total.error_rate,
        "average_response_time_ms": 1e3 * total.mean,
        "p50": 1e3 * total.p50,
        "p95": 1e3 * total.p95,
        "p99": 1e3 * total.p99,
        "slowest_response_time_ms": 1e3 * total.slowest,
        "attempts": total.attempts,
        "retries": total.retries,
        "statuses": dict(total.statuses),
        "outcomes": dict(total.outcomes),
    }


def cache(settings: ClientConfig, client: ResilientClient) -> dict[str, Any]:
    """The figures of the cache. `hit_rate` is in percent of all look-ups."""
    kept = client.cache
    asked = kept.hits + kept.misses
    return {
        "enabled": settings.enable_caching,
        "size": len(kept),
        "max_size": settings.cache_max_size,
        "bytes": kept.bytes,
        "hits": kept.hits,
        "misses": kept.misses,
        "evictions": kept.evictions,
        "hit_rate": 100.0 * kept.hits / asked if asked else 0.0,
    }


def rate_limiter(settings: ClientConfig, client: ResilientClient) -> dict[str, Any]:
    """The figures of the rate limiter: for each of the service's limits, what it allows at the moment."""
    kinds: dict[str, Any] = {}
    for lane in LANES:
        limiter = client.rate_limiter_of(settings.url, lane)
        kinds[lane or _COMMON] = {
            "requests_per_period": limiter.rate,
            "retry_after_seconds": limiter.retry_after,
            "refused_requests": limiter.refusals,
        }
    return {
        "configured_requests_per_period": settings.rate_limit_requests_per_period,
        "period_seconds": settings.rate_limit_period_seconds,
        "refused_requests": sum(one["refused_requests"] for one in kinds.values()),
        "limits": kinds,
    }


def limiter_health(settings: ClientConfig, client: ResilientClient) -> dict[str, Any]:
    """How the rate limiter is: degraded as long as 429s keep it below the rate that is configured."""
    found = rate_limiter(settings, client)
    slow = [
        name
        for name, one in found["limits"].items()
        if (one["requests_per_period"] or 0.0) < found["configured_requests_per_period"]
    ]
    return {"status": "degraded" if slow else "healthy", "slowed_down": slow, **found}


def breaker_health(client: ResilientClient) -> dict[str, Any]:
    """How the circuit breaker is."""
    breaker = client.circuit_breaker
    state, after = breaker.state, breaker.retry_after
    status = {"closed": "healthy", "disabled": "healthy", "half_open": "degraded"}.get(state, "unhealthy")
    return {"status": status, "state": state, "retry_after_seconds": after if after < 1e9 else None}


# Prometheus


def prometheus(found: dict[str, Any]) -> str:
    """The figures of `summary` in the text format of Prometheus, version 0.0.4."""
    lines: list[str] = []
    for name, kind, help_, samples in _families(found):
        lines += [f"# HELP codegen_{name} {help_}", f"# TYPE codegen_{name} {kind}"]
        lines += [f"codegen_{name}{_labels(labels)} {value:.10g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _families(found: dict[str, Any]) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    """Name, type, description and samples of each metric."""
    yield "client_info", "gauge", "1, with the engine that sends.", [({"engine": found["engine"]}, 1)]
    if "monitoring" in found:
        stats = found["monitoring"]["performance_stats"]
        calls: list[_Sample] = [({"outcome": name}, count) for name, count in sorted(stats["outcomes"].items())]
        yield "requests_total", "counter", "Calls that have ended, by how.", calls
        answers: list[_Sample] = [({"status": name}, count) for name, count in stats["statuses"].items()]
        yield "answers_total", "counter", "Calls that have ended, by the class of the last status.", answers
        yield "attempts_total", "counter", "Requests sent.", _one(stats["attempts"])
        yield "retries_total", "counter", "Requests that were sent again.", _one(stats["retries"])
        times: list[_Sample] = [({"quantile": f"0.{share}"}, stats[f"p{share}"] / 1e3) for share in (50, 95, 99)]
        yield "request_seconds_quantile", "gauge", "Durations of calls, waits included.", times
        yield "request_seconds_mean", "gauge", "Mean duration of calls.", _one(stats["average_response_time_ms"] / 1e3)
    kept = found["cache"]
    yield "cache_hits_total", "counter", "Answers found in the cache.", _one(kept["hits"])
    yield "cache_misses_total", "counter", "Answers not found in the cache.", _one(kept["misses"])
    yield "cache_evictions_total", "counter", "Answers dropped for want of room.", _one(kept["evictions"])
    yield "cache_entries", "gauge", "Answers in the cache.", _one(kept["size"])
    limits = found["rate_limiter"]["limits"]
    rates: list[_Sample] = [
        ({"limit": name}, one["requests_per_period"]) for name, one in limits.items() if one["requests_per_period"]
    ]
    yield "rate_limit_requests_per_period", "gauge", "Requests that the limiter allows in a period.", rates
    refused: list[_Sample] = [({"limit": name}, one["refused_requests"]) for name, one in limits.items()]
    yield "rate_limit_refused_total", "counter", "Requests that the service answered with 429.", refused
    states = ("closed", "open", "half_open", "isolated")
    state = found["circuit_breaker"]["state"]
    yield (
        "circuit_breaker_state",
        "gauge",
        "1 for the state that it is in.",
        [({"state": name}, float(name == state)) for name in states],
    )
    bulk = found["bulk_operations"]
    yield "bulk_operations_total", "counter", "Bulks that have ended.", _one(bulk["total_operations"])
    items: list[_Sample] = [({"result": name}, bulk[f"{name}_items"]) for name in ("successful", "failed")]
    yield "bulk_items_total", "counter", "Items of bulks.", items


def _one(value: float) -> list[_Sample]:
    return [({}, value)]


def _labels(labels: dict[str, str]) -> str:
    # No value has a quote, a backslash or a line end in it: they are names of ours.
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""
