"""The Service Integration server in process, and services for it to call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.servers.integration import create_app
from holdfast.servers.integration.settings import Settings
from holdfast.servers.service import Storage
from tests.support.registry import Registry
from tests.support.served import serving_app


@pytest.fixture
def everywhere(storage: Storage) -> Iterator[Registry]:
    """On each database."""
    with serving_app(create_app, storage, Settings()) as served:
        yield Registry(served)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with serving_app(create_app, Storage(tmp_path), Settings(action_attempts=3)) as served:
        yield Registry(served)
