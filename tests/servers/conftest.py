"""Where the servers under test keep their data: in each of the databases that they support."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.servers.service import Storage
from tests.support.loopback import Loopback
from tests.support.postgres import FOLDER, Postgres, binaries, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL for the whole session (with xdist: for one worker)."""
    folder = binaries()
    if folder is None:
        missing = f"PostgreSQL is not installed (apt-get install postgresql; or {FOLDER}=/folder/with/postgres)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with postgres(folder) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return Storage(tmp_path)
    server: Postgres = request.getfixturevalue("postgres_server")
    return Storage(tmp_path, server.emptied())


@pytest.fixture
def peer() -> Iterator[Loopback]:
    """What a server calls."""
    peer = Loopback()
    yield peer
    peer.close()
