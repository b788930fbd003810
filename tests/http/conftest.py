"""Both colours, the async one with each engine, and two servers on origins of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.colours import Colour
from tests.support.loopback import Loopback


@pytest.fixture(params=["async", "native", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync", engine={"async": "httpx2", "native": "native"}.get(request.param))
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
