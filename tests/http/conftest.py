"""Both colours with each engine, and two servers on origins of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.colours import Colour
from tests.support.loopback import Loopback

COLOURS: dict[str, dict[str, Any]] = {
    "async": {"sync": False, "engine": "httpx2"},
    "native": {"sync": False, "engine": "native"},
    "sync": {"sync": True, "engine": "httpx2"},
    "native-sync": {"sync": True, "engine": "native"},
}


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(**COLOURS[request.param])
    yield user
    user.close()


@pytest.fixture(params=["httpx2", "native"])
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Has `tests.support.wire.config` name one engine after the other."""
    monkeypatch.setenv("TEST_ENGINE", request.param)
    engine: str = request.param
    return engine


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
