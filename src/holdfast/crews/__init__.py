"""The typed client of the Crews service, which runs crews of agents.

    async with CrewClient() as client:
        result = await client.execute_crew("memory_maker_crew", {"text_content": "Ada lives in Berlin."})

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._lazy import lazily

if TYPE_CHECKING:
    from holdfast.crews.client import CrewClient, close_crew_client, get_crew_client
    from holdfast.crews.config import CrewClientConfig
    from holdfast.crews.exceptions import (
        CrewClientError,
        CrewExecutionError,
        CrewNotFoundError,
        CrewServiceUnavailableError,
    )
    from holdfast.crews.models import CrewResult

__all__ = [
    "CrewClient",
    "CrewClientConfig",
    "CrewClientError",
    "CrewExecutionError",
    "CrewNotFoundError",
    "CrewResult",
    "CrewServiceUnavailableError",
    "close_crew_client",
    "get_crew_client",
]

_PLACES = {
    "holdfast.crews.client": "CrewClient close_crew_client get_crew_client",
    "holdfast.crews.config": "CrewClientConfig",
    "holdfast.crews.exceptions": ("CrewClientError CrewExecutionError CrewNotFoundError CrewServiceUnavailableError"),
    "holdfast.crews.models": "CrewResult",
}

if not TYPE_CHECKING:  # to type checkers the package has the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
