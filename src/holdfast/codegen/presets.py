"""`ConfigPresets`: settings for common situations, to be changed as needed."""

from __future__ import annotations

from typing import Any

from holdfast.codegen.config import ClientConfig

__all__ = ["ConfigPresets"]


class ConfigPresets:
    """Settings for common situations. Each call makes new ones, whose attributes can be set.

    What is given wins over the preset, that over the environment: a preset is the same on every machine. Only caching,
    where a preset has it on, can be switched off by ``CODEGEN_ENABLE_CACHING``. What a preset does not mention is as in
    the environment: the token, the organization, features, webhooks.
    """

    @staticmethod
    def base(**given: Any) -> ClientConfig:
        """The defaults, and the environment."""
        return ClientConfig(**given)

    @staticmethod
    def development(**given: Any) -> ClientConfig:
        """Patient, slow, without cache, and tells everything: 60 s, 1 retry, 30 requests a minute."""
        preset = _preset(timeout=60.0, max_retries=1, requests=30, log_level="DEBUG", debug_mode=True)
        return ClientConfig(**{**preset, "enable_caching": False, "log_responses": True, **given})

    @staticmethod
    def production(**given: Any) -> ClientConfig:
        """30 s, 3 retries, 60 requests a minute; answers are kept for 300 s."""
        preset = _preset(timeout=30.0, max_retries=3, requests=60)
        return ClientConfig(**{**preset, "cache_ttl_seconds": 300.0, **given})

    @staticmethod
    def high_performance(**given: Any) -> ClientConfig:
        """Impatient and quiet: 15 s, 2 retries, 100 requests a minute, 10 workers; answers are kept for 600 s."""
        preset = _preset(timeout=15.0, max_retries=2, requests=100, log_level="WARNING", log_requests=False, workers=10)
        return ClientConfig(**{**preset, "cache_ttl_seconds": 600.0, **given})

    @staticmethod
    def testing(**given: Any) -> ClientConfig:
        """Fails at once: 5 s, no retries, no cache, 1,000 requests a minute."""
        preset = _preset(timeout=5.0, max_retries=0, requests=1000, log_level="DEBUG", debug_mode=True)
        return ClientConfig(**{**preset, "enable_caching": False, **given})


def _preset(
    *,
    timeout: float,
    max_retries: int,
    requests: int,
    workers: int = 5,
    log_level: str = "INFO",
    log_requests: bool = True,
    debug_mode: bool = False,
) -> dict[str, Any]:
    return {
        "timeout": timeout,
        "max_retries": max_retries,
        "rate_limit_requests_per_period": requests,
        "rate_limit_period_seconds": 60.0,
        "bulk_max_workers": workers,
        "log_level": log_level,
        "log_requests": log_requests,
        "log_responses": False,
        **({"debug_mode": True} if debug_mode else {}),
    }
