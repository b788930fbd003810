"""Which of the service's rate limits a request counts for."""

from __future__ import annotations

from typing import Final

RUNS: Final = "agent runs"
"""Creating and resuming: 10 requests a minute, where everything else has 60 in 30 s."""

LOGS: Final = "logs"
"""The log of a run: 60 requests a minute."""

LANES: Final = (None, RUNS, LOGS)
"""All limits; None is that of everything else."""


def lane(method: str, path: str) -> str | None:
    """The name of the limit that a request counts for, None for the common one (see `holdfast.RateLimitConfig.key`)."""
    if method == "POST":
        return RUNS
    return LOGS if path.endswith("/logs") else None
