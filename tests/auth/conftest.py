"""Both colours, two servers on origins of their own, and warnings that are given anew in each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.auth import notices
from tests.support.colours import Colour
from tests.support.loopback import Loopback


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync")
    yield user
    user.close()


@pytest.fixture
def server() -> Iterator[Loopback]:
    """The origin of base_url."""
    with Loopback() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Loopback]:
    """Another origin."""
    with Loopback() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "_given", {})
