"""The pytest plugin: the fixtures `holdfast_clock` and `faulty_server`.

pytest loads it by itself where Holdfast is installed. It imports nothing until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from holdfast.testing.clock import VirtualClock
    from holdfast.testing.server import FaultyServer


@pytest.fixture
def holdfast_clock() -> Iterator[VirtualClock]:
    """A clock that jumps over the waits of every client that the test makes: nobody sleeps.

    For all tests of a folder, put into its ``conftest.py``::

        @pytest.fixture(autouse=True)
        def no_waits(holdfast_clock): ...
    """
    from holdfast.testing.clock import VirtualClock

    with VirtualClock() as clock:
        yield clock


@pytest.fixture(scope="session")
def _holdfast_server() -> Iterator[FaultyServer]:
    """The one server of the session, or with xdist of one worker."""
    try:
        from holdfast.testing.server import FaultyServer
    except ImportError as error:
        pytest.fail(f"faulty_server needs the extra 'servers' of Holdfast ({error})", pytrace=False)
    with FaultyServer() as server:
        yield server


@pytest.fixture
def faulty_server(_holdfast_server: FaultyServer) -> FaultyServer:
    """A real server on the loopback interface that behaves, until the test tells it not to."""
    _holdfast_server.reset()
    return _holdfast_server
