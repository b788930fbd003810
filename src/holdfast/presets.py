"""The settings that the presets of `ClientConfig` give, as far as they differ from the defaults."""

from __future__ import annotations

from typing import Any, Final

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "development": {
        "timeout": {"connect": 5.0},
        "retry": {"max_attempts": 2, "min_wait_seconds": 0.1, "max_wait_seconds": 1.0},
        "circuit_breaker": {"recovery_timeout": 5.0},
        "logging": {"level": "DEBUG"},
    },
    "production": {
        "timeout": {"read": 30.0, "write": 30.0, "pool": 10.0},
        "retry": {"max_wait_seconds": 30.0},
        "circuit_breaker": {"recovery_timeout": 60.0},
        "bulkhead": {"max_concurrency": 20, "acquisition_timeout": 10.0},
    },
    "high_throughput": {
        "timeout": {"connect": 30.0, "read": 10.0, "write": 10.0, "pool": 2.0},
        "retry": {"max_attempts": 2, "min_wait_seconds": 0.1, "max_wait_seconds": 1.0},
        "bulkhead": {"max_concurrency": 100, "acquisition_timeout": 5.0},
        "logging": {"level": "WARNING"},
    },
}
