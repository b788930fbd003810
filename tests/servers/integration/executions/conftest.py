"""A service for workflows to call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.workflows import CountingService, counting_service


@pytest.fixture
def service() -> Iterator[CountingService]:
    with counting_service() as one:
        yield one
