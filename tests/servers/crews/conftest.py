"""The Crews server in process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.servers.crews import Registry, discovery, registry
from holdfast.servers.service import Storage
from tests.support.crews import ServedCrews, serving_crews


@pytest.fixture(autouse=True)
def decorated(monkeypatch) -> Registry:
    """What is decorated in a test is forgotten after it, and what was decorated before, by the documentation say."""
    fresh = Registry()
    monkeypatch.setattr(registry, "DECORATED", fresh)
    monkeypatch.setattr(discovery, "DECORATED", fresh)
    return fresh


@pytest.fixture
def crews(tmp_path) -> Iterator[ServedCrews]:
    with serving_crews(Storage(tmp_path)) as crews:
        yield crews


@pytest.fixture
def everywhere(storage: Storage) -> Iterator[ServedCrews]:
    """On each database."""
    with serving_crews(storage) as crews:
        yield crews
