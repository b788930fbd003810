"""The typed client of the Crews service, which runs crews of agents.

    async with CrewClient() as client:
        result = await client.execute_crew("memory_maker_crew", {"text_content": "Ada lives in Berlin."})

Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
