"""An environment without settings of the Service Integration client, and the stand-in for its server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.integration import close_service_integration_client
from holdfast.testing import VirtualClock
from tests.support.colours import Colour
from tests.support.integration import StubRegistry


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variables, no .env, and no shared client before and after."""
    for name in list(os.environ):
        if name.startswith("SERVICE_INTEGRATION_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    close_service_integration_client().result()


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync")
    yield user
    user.close()


@pytest.fixture
def registry(holdfast_clock: VirtualClock) -> StubRegistry:
    return StubRegistry(now=lambda: holdfast_clock.elapsed)
