"""One server, one service and one browser for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import chromium
from tests.support.live_page import Live, live_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser


# Not for the session: while Playwright runs, no other test of the process can have an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_page(tmp_path_factory.mktemp("data")) as live:
        yield live


@pytest.fixture
def live(served: Live) -> Live:
    """The server, with a service that does what it should; `slow` waits."""
    served.worker.gate.clear()
    served.worker.refuses = False
    served.worker.extra = {}
    return served
