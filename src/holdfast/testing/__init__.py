"""What the project's own tests are built with, and yours can be: scripted faults, and a clock that nobody waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._lazy import lazily

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

_PLACES = {
    "holdfast.testing.catalogue": "SCENARIOS",
    "holdfast.testing.clock": "VirtualClock",
    "holdfast.testing.routes": "Route",
    "holdfast.testing.scenario": "CallSpec Scenario run_async run_sync run_virtual",
    "holdfast.testing.scripted": "Step",
    "holdfast.testing.server": "FaultyServer",
    "holdfast.testing.transport": "FaultTransport",
    "holdfast.testing.virtual": "VirtualClient VirtualTime",
}

if not TYPE_CHECKING:  # to type checkers the package has the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
