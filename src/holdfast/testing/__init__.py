"""What the project's own tests are built with, and yours can be: scripted faults, and a clock that nobody waits for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.testing.catalogue import SCENARIOS
    from holdfast.testing.clock import VirtualClock
    from holdfast.testing.routes import Route
    from holdfast.testing.scenario import CallSpec, Scenario, run_async, run_sync, run_virtual
    from holdfast.testing.scripted import Step
    from holdfast.testing.server import FaultyServer
    from holdfast.testing.transport import FaultTransport
    from holdfast.testing.virtual import VirtualClient, VirtualTime

__all__ = [
    "SCENARIOS",
    "CallSpec",
    "FaultTransport",
    "FaultyServer",
    "Route",
    "Scenario",
    "Step",
    "VirtualClient",
    "VirtualClock",
    "VirtualTime",
    "run_async",
    "run_sync",
    "run_virtual",
]

_MODULE_OF = {
    "SCENARIOS": "holdfast.testing.catalogue",
    "CallSpec": "holdfast.testing.scenario",
    "Scenario": "holdfast.testing.scenario",
    "run_async": "holdfast.testing.scenario",
    "run_sync": "holdfast.testing.scenario",
    "run_virtual": "holdfast.testing.scenario",
    "FaultTransport": "holdfast.testing.transport",
    "FaultyServer": "holdfast.testing.server",
    "Route": "holdfast.testing.routes",
    "Step": "holdfast.testing.scripted",
    "VirtualClient": "holdfast.testing.virtual",
    "VirtualClock": "holdfast.testing.clock",
    "VirtualTime": "holdfast.testing.virtual",
}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)
