"""The Crews server in process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.servers.service import Storage
from tests.support.crews import ServedCrews, serving_crews


@pytest.fixture
def crews(tmp_path) -> Iterator[ServedCrews]:
    with serving_crews(Storage(tmp_path)) as crews:
        yield crews


@pytest.fixture
def everywhere(storage: Storage) -> Iterator[ServedCrews]:
    """On each database."""
    with serving_crews(storage) as crews:
        yield crews
