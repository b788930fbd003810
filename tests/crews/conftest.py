"""An environment without settings of the Crews service, and a logger whose level nobody has set."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.auth import notices
from holdfast.crews import close_crew_client
from tests.support.colours import Colour
from tests.support.loopback import Loopback


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variables but a secret, no .env, nothing warned of yet, and no shared client before and after."""
    for name in list(os.environ):
        if name.startswith("CREWS_") or name == "ENVIRONMENT":
            monkeypatch.delenv(name)
    monkeypatch.setenv("API_SECRET_KEY", "a-secret-of-more-than-32-bytes-for-tests")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notices, "_given", {})
    yield
    close_crew_client().result()
    logging.getLogger("holdfast.crews").setLevel(logging.NOTSET)


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync")
    yield user
    user.close()


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running
